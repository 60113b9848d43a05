"""The control tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("title", sa.String(length=255), server_default="", nullable=False),
        sa.Column("time_zone", sa.String(length=64), server_default="UTC", nullable=False),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("disabled_at", sa.String(length=24), nullable=True),
        sa.Column("options", sa.JSON(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=24), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=32), server_default="", nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_account"), ["account"], unique=False)

    op.create_table(
        "keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=64), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("label", sa.String(length=255), server_default="", nullable=False),
        sa.Column("networks", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_at", sa.String(length=24), nullable=True),
        sa.Column("added_at", sa.String(length=24), nullable=False),
        sa.Column("added_by", sa.String(length=255), nullable=False),
        sa.Column("revoked_at", sa.String(length=24), nullable=True),
        sa.Column("revoked_by", sa.String(length=255), nullable=True),
        sa.Column("last_used_at", sa.String(length=24), nullable=True),
        sa.Column("last_used_from", sa.String(length=64), nullable=True),
        sa.Column("last_used_client", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_keys_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_keys_account_id_fingerprint"), ["account_id", "fingerprint"], unique=False)

    op.create_table(
        "landings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("resumed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("key_fingerprint", sa.String(length=64), server_default="", nullable=False),
        sa.Column("peer", sa.String(length=64), server_default="", nullable=False),
        sa.Column("withdrawn_at", sa.String(length=24), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_landings_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_landings")),
    )
    with op.batch_alter_table("landings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_landings_account_id_id"), ["account_id", "id"], unique=False)

    op.create_table(
        "sources",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("pattern", sa.String(length=255), nullable=False),
        sa.Column("feed", sa.String(length=32), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="100", nullable=False),
        sa.Column("due", sa.String(length=5), server_default="", nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=True),
        sa.Column("empty_means", sa.String(length=16), server_default="held", nullable=False),
        sa.Column("part_of", sa.String(length=255), nullable=True),
        sa.Column("retired_at", sa.String(length=24), nullable=True),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("standing_run", sa.String(length=48), nullable=True),
        sa.Column("standing_sha256", sa.String(length=64), nullable=True),
        sa.Column("standing_form", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sources_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_sources_account_id_name")),
    )
    op.create_table(
        "runs",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("landing_id", sa.String(length=36), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=True),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("request", sa.JSON(), nullable=True),
        sa.Column("superseded_by", sa.String(length=48), nullable=True),
        sa.Column("requested_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("finished_at", sa.String(length=24), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_runs_account_id_accounts")),
        sa.ForeignKeyConstraint(["landing_id"], ["landings.id"], name=op.f("fk_runs_landing_id_landings")),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_runs_source_id_sources")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
        sa.UniqueConstraint("landing_id", "attempt", name=op.f("uq_runs_landing_id_attempt")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_account_id_id"), ["account_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_superseded_by"), ["superseded_by"], unique=False)
        batch_op.create_index(
            "ix_runs_unfinished",
            ["state"],
            unique=False,
            sqlite_where=sa.text("state <> 'receipted'"),
            postgresql_where=sa.text("state <> 'receipted'"),
        )


def downgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_runs_unfinished",
            sqlite_where=sa.text("state <> 'receipted'"),
            postgresql_where=sa.text("state <> 'receipted'"),
        )
        batch_op.drop_index(batch_op.f("ix_runs_superseded_by"))
        batch_op.drop_index(batch_op.f("ix_runs_account_id_id"))

    op.drop_table("runs")
    op.drop_table("sources")
    with op.batch_alter_table("landings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_landings_account_id_id"))

    op.drop_table("landings")
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_keys_account_id_fingerprint"))

    op.drop_table("keys")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_account"))

    op.drop_table("audit")
    op.drop_table("accounts")
