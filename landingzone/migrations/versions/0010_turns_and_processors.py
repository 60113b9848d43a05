"""Whose turn it is in an account's queue, how often a run's process has died, and which processors are alive."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "processors",
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.String(24), nullable=False),
        sa.Column("beat_at", sa.String(24), nullable=False),
        sa.Column("gone_at", sa.String(24)),
    )
    with op.batch_alter_table("runs") as batch_op:
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="10"))
        batch_op.add_column(sa.Column("turn_at", sa.String(24)))
        batch_op.add_column(sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"))
    taken = sa.text("turn_at IS NOT NULL AND state <> 'receipted'")
    waiting = sa.text("turn_at IS NULL AND state <> 'receipted'")
    op.create_index("ix_runs_turn", "runs", ["account_id"], unique=True, sqlite_where=taken, postgresql_where=taken)
    op.create_index(
        "ix_runs_waiting",
        "runs",
        ["account_id", "priority", "landing_id", "attempt"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
