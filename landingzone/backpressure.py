"""Backpressure: whether new files are taken. It stops before queue or disk are full, and takes them again later.

What is under way may finish. Between stopping and starting again lies some room, so that it does not flap.
"""

import os
import time
from dataclasses import dataclass
from enum import StrEnum

import structlog

from landingzone.refusal import Busy, NoRoom, Refused
from landingzone.settings import LimitSettings
from landingzone.zone import Zone, free_bytes

DISK_STOP, DISK_AGAIN = 1.25, 1.5
"""New files are refused below, and taken again from, so many times what uploads leave free at all."""
QUEUE_AGAIN = 0.8
"""New files are taken again once the queue is down to this share of what it may hold."""
COUNT_SECONDS = 5.0
COUNT_SHARE = 20
"""The queue is counted every five seconds; where that takes long, after twenty times as long."""

_log = structlog.get_logger()


class Full(StrEnum):
    """Why nothing new is taken."""

    DISK = "disk"
    QUEUE = "queue"


@dataclass
class Backpressure:
    """Looked at in a thread; asked on the event loop.

    Attributes:
        waiting: files of all accounts in the inboxes, when they were last counted.
        full: why nothing new is taken now.
    """

    zone: Zone
    waiting: int = 0
    full: frozenset[Full] = frozenset()
    _count_at: float = 0.0

    def look(self, limits: LimitSettings) -> None:
        """Look at the disk and, at most every few seconds, at the queue."""
        full = set()
        floor = limits.free_mebibytes << 20
        if free_bytes(self.zone.root) < floor * (DISK_AGAIN if Full.DISK in self.full else DISK_STOP):
            full.add(Full.DISK)
        if limits.queue_files and time.monotonic() >= self._count_at:
            began = time.monotonic()
            self.waiting = count_waiting(self.zone)
            took = time.monotonic() - began
            self._count_at = time.monotonic() + max(COUNT_SECONDS, COUNT_SHARE * took)
        most = limits.queue_files
        if most and self.waiting >= (most * QUEUE_AGAIN if Full.QUEUE in self.full else most):
            full.add(Full.QUEUE)
        for why in full - self.full:
            _log.error("door.full", reason=why.value, waiting=self.waiting)
        if self.full and not full:
            _log.info("door.accepts_again", waiting=self.waiting)
        self.full = frozenset(full)

    def check(self) -> None:
        """Raise NoRoom or Busy if nothing new is taken."""
        if Full.DISK in self.full:
            raise NoRoom
        if self.full:
            raise Busy

    @staticmethod
    def reason(refused: Refused) -> str:
        """Why a file was refused, in the log's word."""
        return "queue_full" if isinstance(refused, Busy) else "disk_floor"


def count_waiting(zone: Zone) -> int:
    """How many files wait in the inboxes of all accounts. Asks the system for each account: not for the event loop."""
    waiting = 0
    for account in zone.accounts_with("inbox"):
        try:
            waiting += len(os.listdir(zone.folder("inbox", account)))  # noqa: PTH208 - thousands of folders
        except FileNotFoundError:  # the account has just been erased
            continue
    return waiting
