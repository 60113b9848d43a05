"""The processor as a service: watches, takes in, runs, until it is told to stop."""

import fcntl
import os
import signal
import threading
import time
from types import FrameType
from typing import IO

import sqlalchemy as sa
import structlog

from landingzone.db import Database, is_away, is_busy, is_disk_full
from landingzone.errors import LandingZoneError
from landingzone.feed import load_catalogue
from landingzone.job import Jobs
from landingzone.metrics import Metrics
from landingzone.settings import Settings
from landingzone.source import Sources
from landingzone.zone import FILE_MODE, Zone
from processor import account_data
from processor.archive import archive_of
from processor.context import Context, owner_name
from processor.durable import Durable
from processor.durable_steps import durable_steps, wait_for_room
from processor.heartbeat import Heartbeat
from processor.inbox_watch import InboxWatch
from processor.intake import Intake
from processor.processor_status import ProcessorStatus
from processor.turns import Turns
from processor.upkeep import jobs_of

log = structlog.get_logger()

_JOBS_END_WITHIN = 5.0
_LOCK_TRIES = 60
_LONGEST_WAIT = 10.0


class NodeTaken(LandingZoneError):
    """Another processor of this name is running."""


def open_context(settings: Settings, db: Database) -> Context:
    """What every step works with, with the account's tables made.

    On a server the connections bear the owner's name, so that another processor can end them once this one is dead.
    """
    catalogue = load_catalogue(extra=settings.feeds)
    account_data.ensure_tables(db, catalogue)
    owner = owner_name(settings.node)
    named = db if db.is_sqlite else Database(settings.url, name=owner)
    progress = named.with_durability("normal", name=owner)
    zone = Zone(settings.root)
    archive = archive_of(settings, zone)
    return Context(settings, named, progress, zone, archive, catalogue, Sources(named, catalogue), owner)


def serve(settings: Settings, db: Database, metrics: Metrics) -> None:
    """Run until SIGTERM or SIGINT; what is under way then is finished, or taken up at the next start.

    `metrics` is what the log is counted into.
    """
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    _wait_for_database(db, stopping)
    here = open_context(settings, db)
    here.zone.prepare()
    lock = hold_node_lock(settings)
    here.zone.take_reserve(settings.reserve_mebibytes)
    durable = Durable(
        settings.workflows_url,
        owner=here.owner,
        node=settings.node,
        workers=settings.processor.workers,
        poll_seconds=settings.processor.poll_seconds,
        steps=durable_steps(here),
        on_disk_full=lambda: wait_for_room(here),
    )
    turns = Turns(here, durable)
    heartbeat = Heartbeat(here, durable, turns)
    watch = InboxWatch(settings.root / "inbox", settings.processor.watch)
    heartbeat.start()
    durable.start(ended=turns.ended)
    turns.start()
    watch.start()
    log.info("processor.started", node=settings.node, workers=settings.processor.workers)
    status = ProcessorStatus(here, watch, metrics, lock=lock.fileno())
    status.start()
    jobs = Jobs(db, jobs_of(here), owner=here.owner)
    jobs.start()
    _work(here, Intake(here, turns), watch, stopping, status)
    log.info("processor.stopping")
    status.stop()
    jobs.stop(seconds=_JOBS_END_WITHIN)
    watch.stop()
    turns.stop()
    durable.stop(drain_seconds=int(settings.door.drain_seconds))
    heartbeat.stop()
    log.info("processor.stopped")
    lock.close()
    os._exit(
        0
    )  # a run that waits for room on a full disk must not keep the process alive; it goes on at the next start


def _wait_for_database(db: Database, stopping: threading.Event) -> None:
    """Bring the database to this version's form; one that is away is waited for."""
    wait = 0.5
    while True:
        try:
            db.migrate()
        except sa.exc.DBAPIError as error:
            if not is_away(error) or stopping.is_set():
                raise
            log.error("processor.waits", reason="database", exc_info=error)
            stopping.wait(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        else:
            return


def hold_node_lock(settings: Settings) -> IO[bytes]:
    """Hold the lock of this node's processor; a predecessor that is just ending is waited for.

    Raises NodeTaken if another process keeps it: two of one name would take each other's runs for their own.
    """
    path = settings.root / f".processor-{settings.node}.lock"
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE), "r+b")
    for left in range(_LOCK_TRIES, -1, -1):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise NodeTaken(
                    f"Another processor runs as {settings.node!r} here; give each its own `node`."
                ) from None
            time.sleep(0.5)
        else:
            break
    return lock


def _work(here: Context, intake: Intake, watch: InboxWatch, stopping: threading.Event, status: ProcessorStatus) -> None:
    settings = here.settings.processor
    next_scan = 0.0
    while not stopping.is_set():
        try:
            present = time.monotonic()
            status.beat()
            if present >= next_scan:
                status.scan_begins(late=present - next_scan if next_scan else 0.0)
                watch.revive()
                here.zone.take_reserve(here.settings.reserve_mebibytes)
                intake.scan()
                status.scan_ended()
                next_scan = present + settings.rescan_seconds
            for account in watch.wait(min(0.5, settings.rescan_seconds)):
                intake.scan_account(account)
        except Exception as error:
            full = is_disk_full(error)
            reason = "disk_full" if full else "database" if is_busy(error) else "internal"
            log.error("processor.scan_failed", reason=reason, exc_info=error)
            if full:
                here.zone.release_reserve()
            next_scan = 0  # what was noticed and not taken in is found again
            stopping.wait(1)
