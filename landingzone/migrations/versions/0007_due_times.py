"""Due times by weekday or learned, the school calendar, broadcasts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with op.batch_alter_table("sources") as batch_op:
        batch_op.add_column(sa.Column("due_rule", sa.String(length=255), server_default="", nullable=False))
    op.execute("UPDATE sources SET due_rule = due")
    op.create_table(
        "no_school",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("first_day", sa.String(length=10), nullable=False),
        sa.Column("last_day", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=100), server_default="", nullable=False),
        sa.Column("added_at", sa.String(length=24), nullable=False),
        sa.Column("added_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_no_school_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_no_school")),
    )
    with op.batch_alter_table("no_school") as batch_op:
        batch_op.create_index(batch_op.f("ix_no_school_account_id"), ["account_id"], unique=False)
    op.create_table(
        "broadcasts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("times", sa.String(length=255), nullable=False),
        sa.Column("feeds", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_broadcasts_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcasts")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_broadcasts_account_id_name")),
    )


def downgrade() -> None:
    op.drop_table("broadcasts")
    op.drop_table("no_school")
