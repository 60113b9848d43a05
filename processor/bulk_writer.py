"""The other process of a bulk load: takes Arrow batches from its standard input and inserts them into SQLite.

It imports little, so that it starts quickly: ADBC's own classes, since its DB-API brings pyarrow and what that finds.
Input: a line of JSON (see BulkLoad), then for each batch its parts: a head, which insert it is for, how long the part
is and whether it is the batch's last, and an Arrow IPC stream. Output: one line that says how it went.
"""

import contextlib
import io
import json
import struct
import sys
import time
from collections.abc import Iterator
from typing import IO, Final

import adbc_driver_sqlite
import polars as pl
from adbc_driver_manager import AdbcConnection, AdbcStatement

HEAD: Final = struct.Struct("!HQ?")
"""Before each part of a batch: the number of its insert, its length in bytes, whether it is the last."""
_PAUSE: Final = 0.005
"""Seconds between two transactions, in which others get their turn."""
_CHECKPOINT_PAGES: Final = 16_000
_ROWS_AT_ONCE: Final = 8
"""Rows of one statement: each statement opens the table anew, and looks for its place from the root on; the next row of
the same one mostly belongs beside the row before."""


class NotOurs(Exception):
    """The run has another owner, or has ended."""


def main(orders: IO[bytes], answers: IO[bytes]) -> int:
    """Write what comes in, and tell how it went: `done`, `taken over`, `busy`, `full`, or the kind of another error."""
    order = json.loads(orders.readline())
    try:
        with _connected(order["database"], order["busy_milliseconds"]) as database:
            inserts = [_Insert(database, **insert) for insert in order["inserts"]]
            parts: list[pl.DataFrame] = []
            while head := orders.read(HEAD.size):
                if len(head) < HEAD.size:
                    return 1  # whoever sends has died
                number, size, last = HEAD.unpack(head)
                packed = orders.read(size)
                if len(packed) < size:
                    return 1
                parts.append(pl.read_ipc_stream(io.BytesIO(packed)))
                if last:
                    _insert_batch(database, order["ours"], inserts[number], pl.concat(parts))
                    parts = []
                    time.sleep(_PAUSE)
    except NotOurs:
        answer = b"taken over"
    except Exception as error:  # noqa: BLE001 - its text may hold a row's values: only its kind is told
        text = str(error)
        answer = b"busy" if "locked" in text else b"full" if "disk is full" in text else type(error).__name__.encode()
    else:
        answers.write(b"done\n")
        answers.flush()
        return 0
    answers.write(answer + b"\n")
    answers.flush()
    return 1


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

    def rows(self, rows: pl.DataFrame) -> None:
        """Insert rows."""
        even = rows.height // _ROWS_AT_ONCE * _ROWS_AT_ONCE
        columns = rows[:even].get_columns()
        beside = [
            column.gather_every(_ROWS_AT_ONCE, at).alias(f"{at} {column.name}")
            for at in range(_ROWS_AT_ONCE)
            for column in columns
        ]
        for statement, parameters in ((self._some, pl.DataFrame(beside)), (self._one, rows[even:])):
            if parameters.height:
                statement.bind_stream(parameters)
                statement.execute_update()


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
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
            "cache_size=-65536",
        ):
            database.query(f"PRAGMA {pragma}")
        yield database


def _insert_batch(database: _Database, ours: str, insert: _Insert, rows: pl.DataFrame) -> None:
    database.query("BEGIN IMMEDIATE")
    try:
        _require(database, ours)
        insert.rows(rows)
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
