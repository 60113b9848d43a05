"""A load: very many new rows of one source, copied into PostgreSQL while their file is still being read.

In one transaction of its own, on a connection and in a thread of its own, which commits just before the transaction of
the outcome does. Until that one the rows do not count (`account_data.applied_to`). So whatever ends the run before,
nothing is left behind; after a crash between the two the next attempt removes them.
"""

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import polars as pl
import sqlalchemy as sa

from landingzone.db import Database, DatabaseBusy
from landingzone.feed import Feed
from landingzone.tables import runs
from processor.account_data import table_of
from processor.copying import copy_in
from processor.pipeline import behind
from processor.run import BEFORE_COMMIT, Run, TakenOver

_IDLE_SECONDS = 300
"""How long the file may keep a load waiting for the next rows."""


class CopyLoad:
    """Writes batches of rows, in order; a context manager. The same as `BulkLoad` is for SQLite.

    Args:
        db: the database.
        run: which run they are from.
        owner: this process's name as the run's owner.
        source_id: whose rows they are.
    """

    def __init__(self, db: Database, run: Run, *, owner: str, source_id: int) -> None:
        self._db, self._run, self._owner, self._source_id = db, run, owner, source_id
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Begin the transaction."""
        self._tx = self._db.engine.connect()
        self._tx.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")
        self._give = self._held.enter_context(behind(self._copy))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End it; what has not been finished is undone."""
        with contextlib.suppress(Exception):  # told by `add` or `finish`, or nobody asks any more
            self._held.close()
        with contextlib.suppress(sa.exc.SQLAlchemyError):  # a connection that is broken
            self._tx.rollback()
        self._tx.close()

    def add(self, feed: Feed, rows: pl.DataFrame) -> None:
        """Have rows written. Raises what has gone wrong with earlier ones."""
        self._give((feed, rows))

    def finish(self) -> None:
        """Returns when all are written and committed. Raises TakenOver, DatabaseBusy, what the database raises."""
        self._held.close()
        ours = sa.select(runs.c.id).where(runs.c.id == self._run.id, runs.c.owner == self._owner)
        ours = ours.where(runs.c.state.in_([state.value for state in BEFORE_COMMIT])).with_for_update()
        if self._tx.execute(ours).first() is None:
            raise TakenOver
        self._tx.commit()

    def _copy(self, given: tuple[Feed, pl.DataFrame]) -> None:
        feed, rows = given
        fields: Sequence[str] = feed.field_names
        same = {"source_id": self._source_id, "first_run": self._run.serial, "changed_run": self._run.serial}
        batch = rows.select(*fields, *(pl.lit(value).alias(name) for name, value in same.items()))
        try:
            copy_in(self._tx, table_of(feed).name, batch.columns, [batch])
        except sa.exc.IntegrityError as error:
            raise DatabaseBusy from error  # what another attempt has left was not to be seen yet: begin again
