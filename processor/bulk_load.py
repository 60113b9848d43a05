"""A load: very many new rows of one source, written into SQLite while their file is still being read.

A process of its own (`bulk_writer`) binds Arrow batches through ADBC, twice as fast as the standard library's driver.
It must not be this process: two copies of SQLite in one process undo each other's file locks. Each batch is a
transaction, which waits for its turn as every other one does; the rows count only from the transaction on that commits
their run's outcome (`account_data.applied_to`). Each transaction asks whether the run is still its owner's.
"""

import contextlib
import errno
import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from landingzone.db import DatabaseBusy
from landingzone.feed import Feed
from landingzone.tables import runs
from processor import bulk_writer
from processor.account_data import table_of
from processor.run import BEFORE_COMMIT, Run, TakenOver

BUSY_MILLISECONDS = 30_000
"""How long a batch waits for another writer."""
_KEEP_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
"""glibc: batches of equal size take the same memory again, or each costs thousands of page faults."""
_PACKED_AT_ONCE: Final = 32768
"""Rows: for so few the same memory is taken again, while each whole batch would cost thousands of page faults."""
_WAITING: Final = 4
"""Batches that wait to be written before reading has to wait."""


class LoadFailed(Exception):
    """The rows could not be written; the message names the kind of error, never its text."""


class BulkLoad:
    """Writes batches of rows, in order, in a process of its own; a context manager.

    Args:
        database: SQLite's file.
        run: which run they are from.
        owner: this process's name as the run's owner.
        source_id: whose rows they are.
        feeds: of which feeds.
    """

    def __init__(self, database: Path, run: Run, *, owner: str, source_id: int, feeds: Sequence[Feed]) -> None:
        self._number = {feed.name: at for at, feed in enumerate(feeds)}
        self._columns = {feed.name: feed.field_names for feed in feeds}
        self._order = {
            "database": str(database),
            "busy_milliseconds": BUSY_MILLISECONDS,
            "ours": _ours(run, owner),
            "inserts": [_insert(feed, source_id, run.serial) for feed in feeds],
        }
        self._batches: queue.Queue[tuple[str, pl.DataFrame] | None] = queue.Queue(_WAITING)
        self._failed: BaseException | None = None
        self._finished = False

    def __enter__(self) -> Self:
        """Start the other process."""
        self._process = subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, "-m", bulk_writer.__name__],
            env={**os.environ, **_KEEP_MEMORY},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._writer = threading.Thread(target=self._write, name="bulk-load", daemon=True)
        self._writer.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End it; at once, if it has not finished. What it still moves in the database then is not waited for."""
        if not self._finished:
            self._process.kill()
        self._batches.put(None)
        self._writer.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        if self._finished:
            threading.Thread(target=self._process.wait, name="bulk-load-end").start()
        else:
            self._process.wait()

    def add(self, feed: Feed, rows: pl.DataFrame) -> None:
        """Have rows written. Raises what has gone wrong with earlier ones."""
        if self._failed is not None:
            assert self._process.stdout is not None
            self._fail(self._process.stdout.readline().decode().strip())
        self._batches.put((feed.name, rows.select(self._columns[feed.name])))

    def finish(self) -> None:
        """Returns when all are written. Raises TakenOver, DatabaseBusy, OSError on a full disk, LoadFailed."""
        self._batches.put(None)
        self._writer.join()
        assert self._process.stdout is not None
        told = self._process.stdout.readline().decode().strip()
        if self._failed is not None or told != "done":
            self._fail(told)
        self._finished = True

    def _write(self) -> None:
        out = self._process.stdin
        assert out is not None
        ended = False
        try:
            out.write(json.dumps(self._order).encode() + b"\n")
            packed = io.BytesIO()
            while (batch := self._batches.get()) is not None:
                name, rows = batch
                left = rows.height
                for part in rows.iter_slices(_PACKED_AT_ONCE):
                    left -= part.height
                    packed.seek(0)
                    part.write_ipc_stream(packed)
                    out.write(bulk_writer.HEAD.pack(self._number[name], packed.tell(), not left))
                    with packed.getbuffer() as content, content[: packed.tell()] as written:
                        out.write(written)
            ended = True
            out.close()
        except Exception as error:  # noqa: BLE001 - told to whoever adds the next batch
            self._failed = error
            while not ended:  # what is closed may fail, too: nothing comes after the end
                ended = self._batches.get() is None

    def _fail(self, told: str) -> NoReturn:
        self._process.wait()
        if told == "taken over":
            raise TakenOver from self._failed
        if told == "busy":
            raise DatabaseBusy from self._failed
        if told == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from self._failed
        raise LoadFailed(told or f"exit code {self._process.returncode}") from self._failed


def _ours(run: Run, owner: str) -> str:
    """A query that gives 1 as long as the run is its owner's, and has no outcome."""
    states = [state.value for state in BEFORE_COMMIT]
    query = sa.select(sa.func.count().label("ours")).select_from(runs)
    query = query.where(runs.c.id == run.id, runs.c.owner == owner, runs.c.state.in_(states))
    return str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))


def _insert(feed: Feed, source_id: int, run: int) -> dict[str, str]:
    """The parts of an insert of several rows (see `bulk_writer`).

    A conflict undoes the whole transaction, which is what it leads to anyway: then SQLite need not be able to undo a
    single statement.
    """
    table, names = table_of(feed).name, ", ".join(f'"{name}"' for name in feed.field_names)
    places = ", ".join("?" for _ in feed.field_names)
    return {  # names are of the declaration, which allows letters, digits and underscores; numbers the database's
        "into": f'INSERT OR ROLLBACK INTO "{table}" '  # noqa: S608
        f"(source_id, {names}, first_run, changed_run, ended_run) VALUES ",
        "row": f"({source_id:d}, {places}, {run:d}, {run:d}, NULL)",
    }
