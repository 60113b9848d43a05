"""The control tables: accounts, sources, keys and what else opens an account, the audit trail, landings, runs, and what
the door sees of logins.

Alembic's migrations make them; a test holds the two equal. Times are UTC, ISO 8601 text, so that they sort and read
the same on every database.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(32), nullable=False, unique=True),
    sa.Column("title", sa.String(255), nullable=False, server_default=""),
    sa.Column("time_zone", sa.String(64), nullable=False, server_default="UTC"),
    sa.Column("created_at", sa.String(24), nullable=False),
    sa.Column("disabled_at", sa.String(24)),
    sa.Column("options", sa.JSON, nullable=False, server_default="{}"),
)

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("pattern", sa.String(255), nullable=False),
    sa.Column("feed", sa.String(32), nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False, server_default="100"),
    sa.Column("due", sa.String(5), nullable=False, server_default=""),
    sa.Column("mapping", sa.JSON),
    sa.Column("empty_means", sa.String(16), nullable=False, server_default="held"),
    sa.Column("part_of", sa.String(255)),
    sa.Column("retired_at", sa.String(24)),
    sa.Column("created_at", sa.String(24), nullable=False),
    sa.Column("standing_run", sa.String(48)),
    sa.Column("standing_sha256", sa.String(64)),
    sa.Column("standing_form", sa.String(64)),
    sa.Column("rows_run", sa.Integer),
    sa.Column("due_rule", sa.String(255), nullable=False, server_default=""),
    sa.UniqueConstraint("account_id", "name"),
)
"""`part_of`: the declared source whose `{school}` this one is of.

`due_rule`: see landingzone.due. `due` is what the version before kept of it, and is read no more.

`standing_*`: what the source stands at: the newest run applied, its file's hash, and a hash of how it was read.
`rows_run`: serial of the run that has changed its rows last (0: an operator has); NULL before anything was applied."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("algorithm", sa.String(64), nullable=False),
    sa.Column("bits", sa.Integer, nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("label", sa.String(255), nullable=False, server_default=""),
    sa.Column("networks", sa.Text, nullable=False, server_default=""),
    sa.Column("expires_at", sa.String(24)),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.Column("revoked_at", sa.String(24)),
    sa.Column("revoked_by", sa.String(255)),
    sa.Column("last_used_at", sa.String(24)),
    sa.Column("last_used_from", sa.String(64)),
    sa.Column("last_used_client", sa.String(255)),
    sa.Column("revoked_reason", sa.String(255), nullable=False, server_default=""),
    sa.Column("new_in_rotation", sa.ForeignKey("key_rotations.id"), index=True),
    sa.Column("old_in_rotation", sa.ForeignKey("key_rotations.id"), index=True),
    sa.Index(None, "account_id", "fingerprint"),
)
"""`new_in_rotation`, `old_in_rotation`: the rotation that brought the key, and the one that replaces it."""

key_rotations = sa.Table(
    "key_rotations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("started_at", sa.String(24), nullable=False),
    sa.Column("started_by", sa.String(255), nullable=False),
    sa.Column("overlap_ends_at", sa.String(24), nullable=False),
    sa.Column("uses_wanted", sa.Integer, nullable=False),
    sa.Column("uses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ended_at", sa.String(24)),
    sa.Column("ended_because", sa.String(16)),
)
"""A key takes the place of others: once it was used so often, or the overlap has ended."""

certificate_authorities = sa.Table(
    "certificate_authorities",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id")),
    sa.Column("fingerprint", sa.String(64), nullable=False, index=True),
    sa.Column("algorithm", sa.String(64), nullable=False),
    sa.Column("bits", sa.Integer, nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("label", sa.String(255), nullable=False, server_default=""),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.Column("removed_at", sa.String(24)),
    sa.Column("removed_by", sa.String(255)),
    sa.Column("removed_reason", sa.String(255), nullable=False, server_default=""),
    sa.Column("last_used_at", sa.String(24)),
    sa.Column("last_used_from", sa.String(64)),
    sa.Column("last_used_client", sa.String(255)),
)
"""Whose certificates open an account; without `account_id` every account that the certificate names."""

certificate_revocations = sa.Table(
    "certificate_revocations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("ca_fingerprint", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("value", sa.String(255), nullable=False),
    sa.Column("reason", sa.String(255), nullable=False, server_default=""),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.Column("lifted_at", sa.String(24)),
    sa.Column("lifted_by", sa.String(255)),
    sa.Index(None, "kind", "value"),
)
"""Certificates that open no more: by `serial` or `key_id` of one authority, or by the `fingerprint` of their key."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.String(24), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("account", sa.String(32), nullable=False, server_default=""),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "account"),
)
"""A chain: `hash` covers the record and `previous_hash`. Triggers refuse to change or remove records."""

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("last_id", sa.Integer, nullable=False),
    sa.Column("records", sa.Integer, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""One row: where the chain ends. Who appends locks it first; triggers let it only go forward."""

refused_logins = sa.Table(
    "refused_logins",
    metadata,
    sa.Column("minute", sa.String(24), primary_key=True),
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("account", sa.String(32), primary_key=True),
    sa.Column("reason", sa.String(32), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("last_at", sa.String(24), nullable=False),
    sa.Index(None, "account", "minute"),
)
"""Sums: a flood makes counts grow, not rows."""

landings = sa.Table(
    "landings",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("resumed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("key_fingerprint", sa.String(64), nullable=False, server_default=""),
    sa.Column("peer", sa.String(64), nullable=False, server_default=""),
    sa.Column("withdrawn_at", sa.String(24)),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("mtime", sa.Float),
    sa.Index(None, "account_id", "id"),
)
"""What the door knows of a landing, noted before the rename that makes it one. The file is the truth, not this row.

`bytes`, `mtime` (seconds since 1970): what a client is shown that looks back; NULL if no door has noted it."""

HAS_TURN = "turn_at IS NOT NULL AND state <> 'receipted'"
"""Which run its account's turn belongs to, word for word as the index has it; at most one of an account."""
AWAITS_TURN = "turn_at IS NULL AND state <> 'receipted'"
"""Which runs wait for their account's turn."""
UNANSWERED = "outcome IN ('held', 'failed')"
"""Which runs wait for somebody, word for word as the index has it: SQLite takes it for no other words."""

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("serial", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(48), nullable=False, unique=True),
    sa.Column("landing_id", sa.ForeignKey("landings.id"), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("source_id", sa.ForeignKey("sources.id")),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("outcome", sa.String(24)),
    sa.Column("owner", sa.String(128)),
    sa.Column("request", sa.JSON),
    sa.Column("superseded_by", sa.String(48), index=True),
    sa.Column("requested_by", sa.String(255), nullable=False, server_default=""),
    sa.Column("created_at", sa.String(24), nullable=False),
    sa.Column("finished_at", sa.String(24)),
    sa.Column("sha256", sa.String(64), index=True),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("report", sa.JSON),
    sa.Column("priority", sa.Integer, nullable=False, server_default="10"),
    sa.Column("turn_at", sa.String(24)),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("landing_id", "attempt"),
    sa.Index(
        "ix_runs_turn",
        "account_id",
        unique=True,
        sqlite_where=sa.text(HAS_TURN),
        postgresql_where=sa.text(HAS_TURN),
    ),
    sa.Index(
        "ix_runs_waiting",
        "account_id",
        "priority",
        "landing_id",
        "attempt",
        sqlite_where=sa.text(AWAITS_TURN),
        postgresql_where=sa.text(AWAITS_TURN),
    ),
    sa.Index("ix_runs_arrivals", "account_id", "id", "source_id", "outcome", "finished_at"),
    sa.Index(
        "ix_runs_unfinished",
        "state",
        sqlite_where=sa.text("state <> 'receipted'"),
        postgresql_where=sa.text("state <> 'receipted'"),
    ),
    sa.Index("ix_runs_unanswered", "outcome", sqlite_where=sa.text(UNANSWERED), postgresql_where=sa.text(UNANSWERED)),
)
"""One attempt to take one landing through the import step; id is `<landing-id>:<attempt>`.

`owner` is the process that works on it, checked when its data commits; `request` what an operator asked this attempt
for; `report` the receipt's body; `priority` lower first within an account; `turn_at` since when its account's turn is
its; `crashes` how many processes have died while they had it in hand."""

processors = sa.Table(
    "processors",
    metadata,
    sa.Column("node", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.String(24), nullable=False),
    sa.Column("beat_at", sa.String(24), nullable=False),
    sa.Column("gone_at", sa.String(24)),
)
"""The processors, each under its node's name: `beat` counts up while it lives; `gone_at` once others took its runs."""

no_school = sa.Table(
    "no_school",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), index=True),
    sa.Column("first_day", sa.String(10), nullable=False),
    sa.Column("last_day", sa.String(10), nullable=False),
    sa.Column("reason", sa.String(100), nullable=False, server_default=""),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
)
"""Days on which nothing is due, in the account's time zone; without `account_id` of all accounts."""

broadcasts = sa.Table(
    "broadcasts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("times", sa.String(255), nullable=False),
    sa.Column("feeds", sa.JSON, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
)
"""When messages go out that are made from an account's data; `times` as landingzone.due reads them."""

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("cause", sa.String(400), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("said", sa.JSON, nullable=False),
    sa.Column("created_at", sa.String(24), nullable=False, index=True),
    sa.Column("settled_at", sa.String(24)),
)
"""What is told by webhook and e-mail, once for each cause, see landingzone.notices; `settled_at`: it holds no more."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("notice_id", sa.ForeignKey("notices.id"), nullable=False, index=True),
    sa.Column("channel", sa.String(16), nullable=False),
    sa.Column("target", sa.String(300), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", sa.String(24), index=True),
    sa.Column("delivered_at", sa.String(24)),
    sa.Column("problem", sa.String(200), nullable=False, server_default=""),
)
"""A notice on its way to one target, until `next_at` is NULL: it was delivered, or given up."""

notify_addresses = sa.Table(
    "notify_addresses",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("address", sa.String(254), nullable=False),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.UniqueConstraint("account_id", "address"),
)
"""Whom an account's notices go to beside the operator."""

notice_marks = sa.Table(
    "notice_marks",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("serial", sa.Integer, nullable=False),
)
"""Up to which run all is told."""

login_attempts = sa.Table(
    "login_attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("account", sa.String(32), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("client", sa.String(255), nullable=False),
    sa.Column("outcome", sa.String(32), nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("first_at", sa.String(24), nullable=False),
    sa.Column("last_at", sa.String(24), nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Index(None, "account", "last_at"),
)
"""Recent login attempts, see landingzone.login_attempt; `digest` says which are the same but for their time."""

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("account", sa.String(32), nullable=False),
    sa.Column("account_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("begun_at", sa.String(24), nullable=False),
    sa.Column("begun_by", sa.String(255), nullable=False),
    sa.Column("ended_at", sa.String(24)),
    sa.Column("erased", sa.JSON, nullable=False),
    sa.Column("audit_id", sa.Integer),
)
"""Accounts that are erased, or being erased; `erased` counts what went so far."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("due_at", sa.String(24), nullable=False),
    sa.Column("owner", sa.String(128)),
    sa.Column("lease_until", sa.String(24)),
    sa.Column("started_at", sa.String(24)),
    sa.Column("ended_at", sa.String(24)),
    sa.Column("outcome", sa.String(16)),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
)
"""What is done now and then, once over all nodes, see landingzone.job; `owner` holds it until `lease_until`."""

penalties = sa.Table(
    "penalties",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("account", sa.String(32), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("counted_from", sa.String(24), nullable=False),
    sa.Column("last_at", sa.String(24), nullable=False),
    sa.Column("times", sa.Integer, nullable=False, server_default="0"),
    sa.Column("until", sa.String(24), index=True),
)
"""Failed logins of an address (with an empty account) and of an address at an account, see landingzone.penalty.

`times`: how many penalties there were; the next one is twice as long."""

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(254), nullable=False, unique=True),
    sa.Column("full_name", sa.String(100), nullable=False, server_default=""),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), index=True),
    sa.Column("password_hash", sa.String(255)),
    sa.Column("totp_secret", sa.String(255)),
    sa.Column("totp_last_step", sa.BigInteger),
    sa.Column("oidc_subject", sa.String(255)),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.Column("disabled_at", sa.String(24)),
    sa.Column("disabled_by", sa.String(255)),
    sa.Column("last_seen_at", sa.String(24)),
)
"""Who may sign in to the console. `account_id`: a district's own staff; `totp_secret` is encrypted (console.secret);
`totp_last_step`: the newest one-time code that was taken, none is taken twice; `oidc_subject`: `<issuer> <subject>`."""

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.Column("expires_at", sa.String(24), nullable=False),
    sa.Column("used_at", sa.String(24)),
)
"""One-time links by which a user sets a password and a second factor; `digest` is the SHA-256 of the link's
secret."""

open_sessions = sa.Table(
    "open_sessions",
    metadata,
    sa.Column("node", sa.String(64), primary_key=True),
    sa.Column("session", sa.String(16), primary_key=True),
    sa.Column("account", sa.String(32), nullable=False, index=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("seen_at", sa.String(24), nullable=False),
)
"""Who is inside at the front doors, see landingzone.open_session; a row without a session says when its
door last wrote."""

web_sessions = sa.Table(
    "web_sessions",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("began_at", sa.String(24), nullable=False),
    sa.Column("last_seen_at", sa.String(24), nullable=False),
    sa.Column("expires_at", sa.String(24), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("client", sa.String(255), nullable=False),
    sa.Column("ended_at", sa.String(24)),
)
"""The console's sessions; `digest` is the SHA-256 of what the cookie holds."""

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("label", sa.String(255), nullable=False, server_default=""),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), index=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), index=True),
    sa.Column("added_at", sa.String(24), nullable=False),
    sa.Column("added_by", sa.String(255), nullable=False),
    sa.Column("expires_at", sa.String(24)),
    sa.Column("revoked_at", sa.String(24)),
    sa.Column("revoked_by", sa.String(255)),
    sa.Column("revoked_reason", sa.String(255), nullable=False, server_default=""),
    sa.Column("last_used_at", sa.String(24)),
    sa.Column("last_used_from", sa.String(64)),
    sa.Column("last_used_client", sa.String(255)),
)
"""Tokens: `upload` lets a district's program send files for `account_id` over HTTPS; `api` speaks for the user
`user_id`, with that user's role (`account_id`: that user's, too). `digest` is the SHA-256 of the token, which is
shown once."""

web_uploads = sa.Table(
    "web_uploads",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("sent_by", sa.String(255), nullable=False),
    sa.Column("began_at", sa.String(24), nullable=False),
    sa.Column("expires_at", sa.String(24), nullable=False, index=True),
    sa.Column("landing_id", sa.String(36)),
    sa.Column("peer", sa.String(64), nullable=False, server_default=""),
    sa.Column("metadata", sa.String(2048), nullable=False, server_default=""),
    sa.Column("resumed", sa.Boolean, nullable=False, server_default=sa.false()),
)
"""Uploads over HTTPS: how long each is to be, by whom (`token 3`, `user ...`), and the landing that it became.

Its bytes lie in uploads/ under the same id; how many have come, its file's size tells. `landing_id` is set before the
rename that makes the landing: while the file still lies there, it has not landed. `metadata`: what the client has said
of it, word for word; `resumed`: it was continued after a cut."""

drafts = sa.Table(
    "drafts",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("stored_name", sa.String(255), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("begun_by", sa.String(255), nullable=False),
    sa.Column("began_at", sa.String(24), nullable=False),
    sa.Column("expires_at", sa.String(24), nullable=False, index=True),
    sa.Column("source", sa.String(255), nullable=False, server_default=""),
    sa.Column("school", sa.String(64), nullable=False, server_default=""),
    sa.Column("with_header", sa.Boolean),
    sa.Column("mapping", sa.JSON),
    sa.Column("landing_id", sa.String(36)),
)
"""Files that somebody has chosen in the console: `name` as the person calls it, the source and the columns that were
chosen for it so far. Its bytes lie in uploads/ under the same id as `stored_name`.

`landing_id` is set before the rename that makes the landing: while the file still lies there, it has not landed. Then
the row stays for a while: it tells what a file of that name was sent as."""
