"""Runs that wait for somebody are found without reading all that ever were."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_UNANSWERED = sa.text("outcome IN ('held', 'failed')")


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_runs_unanswered", ["outcome"], unique=False, sqlite_where=_UNANSWERED, postgresql_where=_UNANSWERED
        )


def downgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index("ix_runs_unanswered", sqlite_where=_UNANSWERED, postgresql_where=_UNANSWERED)
