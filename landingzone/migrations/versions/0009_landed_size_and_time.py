"""What a landing's size and time are shown as, so that every front door can answer a client that looks back."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("landings") as batch_op:
        batch_op.add_column(sa.Column("bytes", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("mtime", sa.Float(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("landings") as batch_op:
        batch_op.drop_column("mtime")
        batch_op.drop_column("bytes")
