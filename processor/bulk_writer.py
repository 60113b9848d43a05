"""The other process of a bulk load: takes Arrow batches from its standard input and inserts them into SQLite.

It imports little, so that it starts quickly: ADBC's own classes, since its DB-API brings pyarrow and what that finds.
Input: a line of JSON (see BulkLoad), then for each batch its parts: a head, which insert it is for, how long the part
is and whether it is the batch's last, and an Arrow IPC stream. Output: one line that says how it went.

Three threads: one takes in the next batch, one inserts, and one has SQLite move what was committed to where it belongs.
"""

import contextlib
import io
import json
import struct
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import adbc_driver_sqlite
import numpy as np
import polars as pl
from adbc_driver_manager import AdbcConnection, AdbcStatement

from landingzone.write_turn import WriteTurn
from processor.pipeline import ahead

HEAD: Final = struct.Struct("!HQ?")
"""Before each part of a batch: the number of its insert, its length in bytes, whether it is the last."""
_MOVED_AFTER: Final = 64 << 20
"""Bytes of batches, nearly twice as many as what is written ahead for them."""
_LONGEST_LOG: Final = 64_000
"""Pages that are written ahead until the inserting waits: SQLite begins again at the log's start once all are moved."""
_ROWS_AT_ONCE: Final = 8
"""Rows of one statement: each statement opens the table anew, and looks for its place from the root on; the next row of
the same one mostly belongs beside the row before."""


class NotOurs(Exception):
    """The run has another owner, or has ended."""


class _CutOff(Exception):
    """Whoever sends has died."""


def main(orders: IO[bytes], answers: IO[bytes]) -> int:
    """Write what comes in, and tell how it went: `done`, `taken over`, `busy`, `full`, or the kind of another error."""
    order = json.loads(orders.readline())
    turn = WriteTurn(Path(order["database"]))
    try:
        with _connected(order["database"], order["busy_milliseconds"]) as database, _Mover(order) as mover:
            inserts = [_Insert(database, **insert) for insert in order["inserts"]]
            with contextlib.closing(ahead(_batches(orders))) as batches:
                for batch in batches:
                    with turn.taken():
                        _insert_batch(database, order["ours"], inserts[batch.number], batch)
                    mover.committed(batch.size)
            _tell(answers, b"done")  # what is left to move may be moved while others commit
    except _CutOff:
        return 1
    except NotOurs:
        answer = b"taken over"
    except Exception as error:  # noqa: BLE001 - its text may hold a row's values: only its kind is told
        text = str(error)
        answer = b"busy" if "locked" in text else b"full" if "disk is full" in text else type(error).__name__.encode()
    else:
        return 0
    _tell(answers, answer)
    return 1


def _tell(answers: IO[bytes], answer: bytes) -> None:
    answers.write(answer + b"\n")
    answers.flush()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of one transaction.

    Attributes:
        number: of the insert that they are for.
        size: bytes that came.
        some: parameters of statements of several rows.
        one: parameters of statements of one row.
    """

    number: int
    size: int
    some: Sequence[pl.DataFrame]
    one: Sequence[pl.DataFrame]


def _batches(orders: IO[bytes]) -> Iterator[_Batch]:
    some: list[pl.DataFrame] = []
    one: list[pl.DataFrame] = []
    taken = 0
    while head := orders.read(HEAD.size):
        if len(head) < HEAD.size:
            raise _CutOff
        number, size, last = HEAD.unpack(head)
        packed = orders.read(size)
        if len(packed) < size:
            raise _CutOff
        rows = pl.read_ipc_stream(io.BytesIO(packed))
        even = rows.height // _ROWS_AT_ONCE * _ROWS_AT_ONCE
        if even:
            some.append(_beside(rows[:even]))
        if even < rows.height:
            one.append(rows[even:])
        taken += size
        if last:
            yield _Batch(number, taken, some, one)
            some, one, taken = [], [], 0


def _beside(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows side by side: those of one statement are one row."""
    count = rows.height // _ROWS_AT_ONCE
    order = np.arange(rows.height, dtype=np.uint32).reshape(count, _ROWS_AT_ONCE).T.ravel()
    columns = rows.select(pl.all().gather(pl.Series(order))).get_columns()
    return pl.DataFrame(
        [
            column.slice(at * count, count).alias(f"{at} {column.name}")
            for at in range(_ROWS_AT_ONCE)
            for column in columns
        ]
    )


class _Database:
    """A connection to SQLite, through ADBC; what must be closed before it is `held`."""

    def __init__(self, connection: AdbcConnection, held: contextlib.ExitStack) -> None:
        self._connection, self._held = connection, held

    def query(self, statement: str) -> pl.DataFrame:
        """Execute a statement; gives what it finds."""
        with AdbcStatement(self._connection) as prepared:
            prepared.set_sql_query(statement)
            found, _ = prepared.execute_query()
            return pl.DataFrame(found)

    def prepared(self, statement: str) -> AdbcStatement:
        """A statement that is to be executed with parameters."""
        made: AdbcStatement = self._held.enter_context(AdbcStatement(self._connection))
        made.set_sql_query(statement)
        made.prepare()
        return made


class _Insert:
    """An insert of rows.

    Args:
        database: where to.
        into: the statement up to its first row.
        row: a row of it, with a place for each column of the rows that come.
    """

    def __init__(self, database: _Database, *, into: str, row: str) -> None:
        self._one, self._some = (
            database.prepared(into + ", ".join([row] * rows_at_once)) for rows_at_once in (1, _ROWS_AT_ONCE)
        )

    def rows(self, batch: _Batch) -> None:
        """Insert rows."""
        for statement, parts in ((self._some, batch.some), (self._one, batch.one)):
            for parameters in parts:
                statement.bind_stream(parameters)
                statement.execute_update()


class _Mover:
    """Has SQLite move what was written ahead into its file, by a connection of its own, while more is being inserted.

    Args:
        order: what the process was told.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._held = contextlib.ExitStack()
        self._waiting, self._pages = 0, 0
        self._moved: Future[int] | None = None

    def __enter__(self) -> Self:
        """Open its connection."""
        database = _connected(self._order["database"], self._order["busy_milliseconds"])
        self._database = self._held.enter_context(database)
        self._thread = self._held.enter_context(ThreadPoolExecutor(1, thread_name_prefix="moving"))
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until it is done, and close its connection."""
        self._held.close()

    def committed(self, size: int) -> None:
        """So many bytes of rows were committed. Raises what has gone wrong with earlier ones."""
        self._waiting += size
        if self._moved is not None and self._moved.done():
            self._pages = self._moved.result()
            self._moved = None
        if self._waiting < _MOVED_AFTER:
            return
        if self._moved is not None:
            self._pages = self._moved.result()
        self._waiting = 0
        self._moved = self._thread.submit(self._move)
        if self._pages >= _LONGEST_LOG:
            self._moved.result()
            self._pages, self._moved = 0, None

    def _move(self) -> int:
        """Returns how many pages were written ahead."""
        return int(self._database.query("PRAGMA wal_checkpoint(PASSIVE)")["log"].item())


@contextlib.contextmanager
def _connected(path: str, busy_milliseconds: int) -> Iterator[_Database]:
    with (
        adbc_driver_sqlite.connect(path) as opened,
        AdbcConnection(opened) as connection,
        contextlib.ExitStack() as held,
    ):
        database = _Database(connection, held)
        for pragma in (
            f"busy_timeout={busy_milliseconds:d}",
            "synchronous=NORMAL",  # the commit that makes the rows count has them on the disk, too
            "wal_autocheckpoint=0",  # see _Mover
            "cache_size=-65536",
        ):
            database.query(f"PRAGMA {pragma}")
        yield database


def _insert_batch(database: _Database, ours: str, insert: _Insert, batch: _Batch) -> None:
    database.query("BEGIN IMMEDIATE")
    try:
        _require(database, ours)
        insert.rows(batch)
    except BaseException:
        with contextlib.suppress(Exception):
            database.query("ROLLBACK")
        raise
    database.query("COMMIT")


def _require(database: _Database, ours: str) -> None:
    if database.query(ours).item() != 1:
        raise NotOurs


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer))
