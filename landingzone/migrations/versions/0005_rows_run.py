"""Which run has changed a source's rows last; whatever there is already counts as changed by an operator."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("sources") as batch_op:
        batch_op.add_column(sa.Column("rows_run", sa.Integer(), nullable=True))
    op.execute("UPDATE sources SET rows_run = 0")
