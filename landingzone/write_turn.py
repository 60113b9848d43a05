"""Whose turn it is to write to an SQLite database, over all threads and processes, in the order of asking.

SQLite's own waiting sleeps, ever longer, and whoever looks at the right moment comes first: with six writers one waits
for seconds while the database is idle for a third of the time. Here each waits at two doors: who has the first one is
the next, and holds it until it has the second. So nobody who has just written overtakes those who wait.

It is a courtesy, and decides nothing: the database's own lock does. Who cannot get its turn soon (a large import is
being committed; a process was stopped while it had the turn) asks the database without it.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_WAITS_SECONDS = 1.0
_LOOK_SECONDS = 0.0005


class WriteTurn:
    """The turns at one database.

    Args:
        database: the database's file; two files beside it are made, and locked (flock).
    """

    def __init__(self, database: Path) -> None:
        self._paths = [database.with_name(f".{database.name}.{door}") for door in ("next", "turn")]
        self._doors: list[int] = []
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """While it is the caller's turn, or it has waited for long enough."""
        until = time.monotonic() + _WAITS_SECONDS
        if not self._threads.acquire(timeout=_WAITS_SECONDS):
            yield
            return
        has_turn = False
        try:
            has_turn = self._take(until)
            yield
        finally:
            if has_turn:
                fcntl.flock(self._doors[1], fcntl.LOCK_UN)
            self._threads.release()

    def close(self) -> None:
        """Close the files; the next turn opens them again."""
        with self._threads:
            doors, self._doors = self._doors, []
            for door in doors:
                os.close(door)

    def _take(self, until: float) -> bool:
        """Whether the turn is the caller's."""
        if not self._doors and not self._open():
            return False
        following, turn = self._doors
        if not _locked(following, until):
            return False
        try:
            return _locked(turn, until)
        finally:
            fcntl.flock(following, fcntl.LOCK_UN)

    def _open(self) -> bool:
        """Whether there are files to lock: a full disk, or a folder that is not ours, is the database's to tell of."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        doors: list[int] = []
        try:
            for path in self._paths:
                doors.append(os.open(path, flags, 0o600))  # noqa: PERF401 - those that were opened must be closed
        except OSError:
            for door in doors:
                os.close(door)
            return False
        self._doors = doors
        return True


def _locked(descriptor: int, until: float) -> bool:
    """Whether the file could be locked by then."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_SECONDS)
        else:
            return True
