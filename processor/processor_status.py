"""The import's status: what must hold for it to be ready, and the figures that only it knows."""

import os
import time
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
import structlog

from landingzone import zone_status
from landingzone.clock import now
from landingzone.landing import moment_of
from landingzone.metrics import Metrics
from landingzone.notices import notice
from landingzone.status import Status
from landingzone.tables import UNANSWERED, runs
from processor.context import Context
from processor.inbox_watch import InboxWatch
from processor.outcome import Outcome
from processor.run import State

_WAIT_FOR_SOMEBODY = (Outcome.HELD, Outcome.FAILED)

log = structlog.get_logger()

_Figures = Mapping[str, float | Mapping[str, float]]


class ProcessorStatus(Status):
    """How the processor is.

    Args:
        here: its context.
        watch: what notices new files.
        metrics: what its log is counted into.
        lock: descriptor of the node's lock file; its time says when the main loop last turned, also to other processes.
    """

    def __init__(self, here: Context, watch: InboxWatch, metrics: Metrics, *, lock: int) -> None:
        settings = here.settings
        self._here = here
        self._lock = lock
        self._scanned_at = 0.0
        self._noted = 0.0
        checks = {
            "database": lambda: zone_status.answers(here.db),
            "watcher": lambda: watch.alive,
            "scanned": lambda: self._scanned_at > 0,
            "disk": lambda: zone_status.above_floor(settings),
        }
        samples = (self._disk_and_database, self._queue)
        super().__init__(metrics, settings.status, port=settings.status.processor_port, checks=checks, samples=samples)
        metrics.look_up("last_scan_timestamp_seconds", lambda: self._scanned_at)

    def beat(self) -> None:
        """The main loop has turned; other processes see it at the lock file's time."""
        super().beat()
        present = time.monotonic()
        if present - self._noted > 1:
            os.utime(self._lock)
            self._noted = present

    def scan_begins(self, *, late: float) -> None:
        """A full scan begins, so many seconds after it was due."""
        if late > self._here.settings.processor.rescan_seconds:
            log.warning("scan.late", seconds=round(late, 1))

    def scan_ended(self) -> None:
        """A full scan has gone through."""
        self._scanned_at = time.time()
        self.metrics.count("scans")

    def _disk_and_database(self) -> _Figures:
        settings = self._here.settings
        return {**zone_status.disk(settings.root), **zone_status.database_bytes(settings, self._here.db)}

    def _queue(self) -> _Figures:
        """What waits, and for whom."""
        first = runs.c.attempt == 1
        waiting = sa.select(
            sa.func.count(),
            sa.func.min(runs.c.landing_id).filter(first),
            sa.func.min(runs.c.created_at).filter(~first),
        ).where(runs.c.state != State.RECEIPTED.value)
        with self._here.db.read() as tx:
            count, landing_id, requested_at = tx.execute(waiting).one()
            found = {outcome: float(number) for outcome, number in tx.execute(unanswered())}
            late, told_since = notice.open_late(tx), notice.oldest_waiting(tx)
        since = [moment_of(landing_id)] if landing_id else []
        since += [datetime.fromisoformat(requested_at)] if requested_at else []
        return {
            "runs_waiting": float(count),
            "oldest_waiting_seconds": max((now() - min(since)).total_seconds(), 0.0) if since else 0.0,
            "sources_late": float(late),
            "oldest_notice_seconds": _age(told_since) if told_since else 0.0,
            "runs_unanswered": {outcome.value: found.get(outcome.value, 0.0) for outcome in _WAIT_FOR_SOMEBODY},
        }


def _age(since: str) -> float:
    return max((now() - datetime.fromisoformat(since)).total_seconds(), 0.0)


def unanswered() -> sa.Select[str, int]:
    """How many files wait for somebody, by the outcome of their newest attempt; however many runs there were."""
    later = runs.alias("later")
    answered = sa.exists().where(later.c.landing_id == runs.c.landing_id, later.c.attempt > runs.c.attempt)
    return (
        sa.select(runs.c.outcome, sa.func.count())
        .where(sa.text(f"runs.{UNANSWERED}"), ~answered)
        .group_by(runs.c.outcome)
    )
