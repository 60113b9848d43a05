"""Noticing what has landed: the system's events make it fast, a scan at the start and every so often is the truth."""

import queue
import sys
from pathlib import Path
from typing import Literal

import structlog
from watchdog.events import (
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

if sys.platform == "linux":
    from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

log = structlog.get_logger()

_PAIRING_SECONDS = 0.002
"""How long watchdog holds back what left an inbox, to pair it with where it went. Each claim leaves one, and
everything behind it in the queue waits as long: with its default of 0.5 s, the next landing does."""


class InboxWatch:
    """Watches all inboxes; gives the names of accounts in whose inbox something has happened.

    Args:
        inboxes: the folder of all inboxes.
        kind: `native`, or `polling` for network filesystems, which send no events.
    """

    def __init__(self, inboxes: Path, kind: Literal["native", "polling"]) -> None:
        self._inboxes = inboxes
        self._kind = kind
        # Not SimpleQueue: in CPython 3.11 its get waits for ever if a signal comes just as the time is up.
        self._accounts: queue.Queue[str] = queue.Queue()
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Begin to watch. Scan after this, not before: what lands between the two would be missed."""
        if sys.platform == "linux":
            InotifyMoveEventGrouper.delay = _PAIRING_SECONDS
        observer = Observer() if self._kind == "native" else PollingObserver(timeout=1)
        observer.schedule(
            _Handler(self._inboxes, self._accounts),
            str(self._inboxes),
            recursive=True,
            event_filter=[FileCreatedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent],
        )
        observer.start()
        self._observer = observer

    def wait(self, seconds: float) -> set[str]:
        """The accounts in whose inbox something has happened, as soon as there is one; empty after `seconds`."""
        found: set[str] = set()
        try:
            found.add(self._accounts.get(timeout=seconds))
            while True:
                found.add(self._accounts.get_nowait())
        except queue.Empty:
            return found

    def revive(self) -> None:
        """Start again if the watcher has died: events are only a hint, but a fast one."""
        if self._observer is not None and not self._observer.is_alive():
            log.error("watch.died")
            self.start()

    @property
    def alive(self) -> bool:
        """Whether events are noticed."""
        return self._observer is not None and self._observer.is_alive()

    def stop(self) -> None:
        """Watch no more."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)


class _Handler(FileSystemEventHandler):
    """Puts names on a queue and does nothing else: an exception here would kill the observer."""

    def __init__(self, inboxes: Path, accounts: "queue.Queue[str]") -> None:
        self._depth = len(inboxes.parts)
        self._accounts = accounts

    def on_any_event(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            parts = Path(str(path)).parts
            if len(parts) > self._depth:
                self._accounts.put(parts[self._depth])
