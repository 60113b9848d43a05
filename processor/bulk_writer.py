"""The other process of a bulk load: takes Arrow batches from its standard input and inserts them into SQLite.

It imports little, so that it starts quickly. Input: a line of JSON (see BulkLoad), then for each batch a head, which
insert it is for and how long it is, and an Arrow IPC stream. Output: one line that says how it went.
"""

import contextlib
import io
import json
import struct
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, Final

import adbc_driver_sqlite.dbapi as adbc
import polars as pl

HEAD: Final = struct.Struct("!HQ")
"""Before each batch: the number of its insert, and its length in bytes."""
_PAUSE: Final = 0.005
"""Seconds between two transactions, in which others get their turn."""
_CHECKPOINT_PAGES: Final = 16_000


class NotOurs(Exception):
    """The run has another owner, or has ended."""


def main(orders: IO[bytes], answers: IO[bytes]) -> int:
    """Write what comes in, and tell how it went: `done`, `taken over`, `busy`, `full`, or the kind of another error."""
    order = json.loads(orders.readline())
    try:
        with _connected(order["database"], order["busy_milliseconds"]) as cursor:
            while head := orders.read(HEAD.size):
                if len(head) < HEAD.size:
                    return 1  # whoever sends has died
                number, size = HEAD.unpack(head)
                packed = orders.read(size)
                if len(packed) < size:
                    return 1
                _insert_batch(cursor, order["ours"], order["inserts"][number], pl.read_ipc_stream(io.BytesIO(packed)))
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


@contextlib.contextmanager
def _connected(database: str, busy_milliseconds: int) -> Iterator[Any]:
    with adbc.connect(database, autocommit=True) as connection, connection.cursor() as cursor:
        for pragma in (
            f"busy_timeout={busy_milliseconds:d}",
            "synchronous=NORMAL",  # the commit that makes the rows count has them on the disk, too
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
            "cache_size=-65536",
        ):
            cursor.execute(f"PRAGMA {pragma}")
            cursor.fetch_polars()
        yield cursor


def _insert_batch(cursor: Any, ours: str, insert: str, rows: pl.DataFrame) -> None:  # noqa: ANN401 - has no types
    cursor.execute("BEGIN IMMEDIATE")
    try:
        _require(cursor, ours)
        cursor.executemany(insert, rows)
    except BaseException:
        with contextlib.suppress(Exception):
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def _require(cursor: Any, ours: str) -> None:  # noqa: ANN401 - has no types
    cursor.execute(ours)
    if cursor.fetch_polars().item() != 1:
        raise NotOurs


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer))
