"""The audit trail becomes a chain that refuses changes; refused logins, key rotations, certificate authorities.

Whoever recreates the table `audit` in a later migration (Alembic's batch mode on SQLite does) makes the triggers again.
"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

GENESIS = "0" * 64
APPEND_ONLY = "the audit trail is append-only"


def upgrade() -> None:
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.add_column(sa.Column("previous_hash", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("hash", sa.String(length=64), nullable=True))
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    _chain()
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.alter_column("previous_hash", existing_type=sa.String(length=64), nullable=False)
        batch_op.alter_column("hash", existing_type=sa.String(length=64), nullable=False)
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)

    op.create_table(
        "refused_logins",
        sa.Column("minute", sa.String(length=24), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("minute", "address", "account", "reason", name=op.f("pk_refused_logins")),
    )
    with op.batch_alter_table("refused_logins", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refused_logins_account_minute"), ["account", "minute"], unique=False)

    op.create_table(
        "key_rotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.String(length=24), nullable=False),
        sa.Column("started_by", sa.String(length=255), nullable=False),
        sa.Column("overlap_ends_at", sa.String(length=24), nullable=False),
        sa.Column("uses_wanted", sa.Integer(), nullable=False),
        sa.Column("uses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.String(length=24), nullable=True),
        sa.Column("ended_because", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_key_rotations_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_rotations")),
    )
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("revoked_reason", sa.String(length=255), server_default="", nullable=False))
        batch_op.add_column(sa.Column("new_in_rotation", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("old_in_rotation", sa.Integer(), nullable=True))
        for column in ("new_in_rotation", "old_in_rotation"):
            batch_op.create_foreign_key(f"fk_keys_{column}_key_rotations", "key_rotations", [column], ["id"])
            batch_op.create_index(batch_op.f(f"ix_keys_{column}"), [column], unique=False)

    op.create_table(
        "certificate_authorities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=64), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("label", sa.String(length=255), server_default="", nullable=False),
        sa.Column("added_at", sa.String(length=24), nullable=False),
        sa.Column("added_by", sa.String(length=255), nullable=False),
        sa.Column("removed_at", sa.String(length=24), nullable=True),
        sa.Column("removed_by", sa.String(length=255), nullable=True),
        sa.Column("removed_reason", sa.String(length=255), server_default="", nullable=False),
        sa.Column("last_used_at", sa.String(length=24), nullable=True),
        sa.Column("last_used_from", sa.String(length=64), nullable=True),
        sa.Column("last_used_client", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_certificate_authorities_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_authorities")),
    )
    with op.batch_alter_table("certificate_authorities", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_authorities_fingerprint"), ["fingerprint"], unique=False)
    op.create_table(
        "certificate_revocations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ca_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=255), server_default="", nullable=False),
        sa.Column("added_at", sa.String(length=24), nullable=False),
        sa.Column("added_by", sa.String(length=255), nullable=False),
        sa.Column("lifted_at", sa.String(length=24), nullable=True),
        sa.Column("lifted_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_revocations")),
    )
    with op.batch_alter_table("certificate_revocations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_revocations_kind_value"), ["kind", "value"], unique=False)


def downgrade() -> None:
    op.drop_table("certificate_revocations")
    op.drop_table("certificate_authorities")
    with op.batch_alter_table("keys", schema=None) as batch_op:
        for column in ("new_in_rotation", "old_in_rotation"):
            batch_op.drop_index(batch_op.f(f"ix_keys_{column}"))
            batch_op.drop_constraint(f"fk_keys_{column}_key_rotations", type_="foreignkey")
            batch_op.drop_column(column)
        batch_op.drop_column("revoked_reason")
    op.drop_table("key_rotations")
    op.drop_table("refused_logins")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_refuses() CASCADE")
    else:
        for name in ("audit_no_update", "audit_no_delete", "audit_head_no_delete", "audit_head_forward"):
            op.execute(f"DROP TRIGGER {name}")
    op.drop_table("audit_head")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_column("hash")
        batch_op.drop_column("previous_hash")


def _chain() -> None:
    """Chain the records that are there, in their order; the form is that of landingzone.audit at this revision."""
    audit = sa.table(
        "audit",
        *(sa.column(name) for name in ("id", "at", "actor", "action", "account", "previous_hash", "hash")),
        sa.column("detail", sa.JSON),
    )
    head = sa.table("audit_head", *(sa.column(name) for name in ("id", "last_id", "records", "hash")))
    tx = op.get_bind()
    last, records, link = 0, 0, GENESIS
    query = sa.select(audit.c.id, audit.c.at, audit.c.actor, audit.c.action, audit.c.account, audit.c.detail)
    for row in tx.execute(query.order_by(audit.c.id)).all():
        content = json.dumps([*row, link], sort_keys=True, separators=(",", ":"))
        made = hashlib.sha256(content.encode("ascii")).hexdigest()
        tx.execute(audit.update().where(audit.c.id == row.id).values(previous_hash=link, hash=made))
        last, records, link = row.id, records + 1, made
    tx.execute(head.insert().values(id=1, last_id=last, records=records, hash=link))


TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END",
        (
            "CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head "
            f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        ),
        (
            "CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head "
            "WHEN NEW.id <> OLD.id OR NEW.last_id <> OLD.last_id + 1 OR NEW.records <> OLD.records + 1 "
            f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        ),
    ),
    "postgresql": (
        (
            f"CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{APPEND_ONLY}'; END $$"
        ),
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuses()",
        "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_refuses()",
        "CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_refuses()",
        "CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON audit_head EXECUTE FUNCTION audit_refuses()",
        (
            "CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head FOR EACH ROW "
            "WHEN (NEW.id <> OLD.id OR NEW.last_id <> OLD.last_id + 1 OR NEW.records <> OLD.records + 1) "
            "EXECUTE FUNCTION audit_refuses()"
        ),
    ),
}
