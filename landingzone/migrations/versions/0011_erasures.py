"""Erasures of accounts: how far each is, so that it goes on after a crash."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("begun_at", sa.String(length=24), nullable=False),
        sa.Column("begun_by", sa.String(length=255), nullable=False),
        sa.Column("ended_at", sa.String(length=24), nullable=True),
        sa.Column("erased", sa.JSON(), nullable=False),
        sa.Column("audit_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_erasures")),
    )
