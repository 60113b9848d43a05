"""Live: one watcher of each process keeps Tonight up to date, and tells the pages that are open when it has changed."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import structlog

from console.sessions import Sessions
from console.tonight import Board, Grid, Row, Wanted
from landingzone.command import Installation
from landingzone.db import is_busy
from landingzone.errors import LandingZoneError
from processor.night import Night, Sight

LOOK_SECONDS = 1.0
_ALIVE_SECONDS = 5.0
"""After so long without news a stream says that it is alive, and looks whether its session is."""
_LASTS_SECONDS = 600.0
"""Then a stream ends, and the page asks for another one."""
MOST_STREAMS = 200
MOST_OF_SESSION = 6
_FIRST_SECONDS = 10.0
"""How long a page waits for the first look of a process."""

log = structlog.get_logger("console")


class TooManyStreams(LandingZoneError):
    """Too many pages are kept up to date at the same time. This one shows how it was when it was opened."""


class _Stopped(Exception):
    """A look is broken off: the console stops."""


class Live:
    """What the pages see of all accounts; the watcher begins with the first page that asks, or with `start`."""

    def __init__(self, here: Installation, sessions: Sessions) -> None:
        self._night = Night(here.db, here.sources, here.settings.arrivals)
        self._sessions = sessions
        self.board = Board(tuple(here.catalogue))
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._streams: Counter[str] = Counter()
        self._drawn: dict[str, tuple[Row, str]] = {}

    def start(self) -> None:
        """Begin to watch, unless it has begun."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="tonight", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Watch no more, and end the streams."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def grid(self, wanted: Wanted) -> Grid:
        """A page of Tonight, as it was within the last second or so; right after the start as far as it is known."""
        self.start()
        self._begun.wait(_FIRST_SECONDS)
        return self.board.grid(self._night.sight, wanted)

    def drawn(self, row: Row, draw: Callable[[Row], str]) -> str:
        """An account's row as HTML: drawn anew only if it is another one than the last time."""
        kept, html = self._drawn.get(row.account, (None, ""))
        if kept is not row:
            html = draw(row)
            self._drawn[row.account] = (row, html)
        return html

    @property
    def streams(self) -> int:
        """How many pages are kept up to date."""
        return self._streams.total()

    def open(self, session: str) -> None:
        """Take in a stream of a session; raises TooManyStreams."""
        if self._streams.total() >= MOST_STREAMS or self._streams[session] >= MOST_OF_SESSION:
            raise TooManyStreams
        self._streams[session] += 1

    async def stream(self, session: str) -> AsyncIterator[bytes]:
        """Server-sent events of a stream that was taken in: `changed` with a version, `ended` with the session."""
        try:
            async for event in self._events(session):
                yield event
        finally:
            self._streams[session] -= 1
            if not self._streams[session]:
                del self._streams[session]

    async def _events(self, session: str) -> AsyncIterator[bytes]:
        yield b"retry: 3000\n\n"
        told, began = self.board.version, time.monotonic()
        alive = began
        while not self._stopping.is_set() and time.monotonic() - began < _LASTS_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            if self.board.version != told:
                told = self.board.version
                yield f"event: changed\ndata: {told}\n\n".encode()
            if time.monotonic() - alive >= _ALIVE_SECONDS:
                alive = time.monotonic()
                if not await asyncio.to_thread(self._sessions.holds, session):
                    yield b"event: ended\ndata: session\n\n"
                    return
                yield b": alive\n\n"

    def _watch(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self._night.look(on_change=self._take)
            except _Stopped:
                return
            except Exception as error:
                if not failing:
                    reason = "database" if is_busy(error) else "internal"
                    log.error("console.watch_failed", reason=reason, exc_info=error)
                failing = True
            else:
                self._begun.set()
                if failing:
                    log.info("console.watch_again")
                failing = False
            self._stopping.wait(LOOK_SECONDS)

    def _take(self, sight: Sight, names: frozenset[str]) -> None:
        if self._stopping.is_set():
            raise _Stopped
        self.board.take(sight, names)
        for name in names - sight.stands.keys():
            self._drawn.pop(name, None)
        self._begun.set()
