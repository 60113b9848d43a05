"""From a step of the import to a step of a durable run: what is done is passed over, a full disk is waited for."""

import time
from collections.abc import Callable

import structlog

from landingzone.db import is_busy, is_disk_full
from processor import run as runs
from processor.archive_store import ArchiveAway
from processor.context import Context
from processor.durable import Lost
from processor.import_step import STEPS, Step, leave
from processor.run import Run, State

log = structlog.get_logger()

_LONGEST_WAIT = 30.0


def durable_steps(here: Context) -> Callable[[str], None]:
    """The import's steps, one after another, as a function of a run's id."""

    def go_on(run_id: str) -> None:
        run: Run | None = None
        for step, states in STEPS:
            run = _durable(here, step, states, run_id, run)

    return go_on


def wait_for_room(here: Context) -> None:
    """Give the reserve free, and wait a little: something on this machine may be removed meanwhile."""
    if not here.zone.release_reserve():
        time.sleep(1)


def _durable(here: Context, step: Step, states: tuple[State, ...], run_id: str, run: Run | None) -> Run | None:
    """Do a step until it succeeds; `run`, before and after it, is as the database has it, or None: not known."""
    wait = 0.5
    while True:
        try:
            return _once(here, step, states, run or _read(here, run_id))
        except runs.TakenOver:
            here.in_hand.discard(run_id)
            log.warning("run.taken_over", step=step.__name__, run=run_id)
            _leave(here, run_id)
            raise Lost from None
        except Exception as error:
            full = is_disk_full(error)
            reason = _reason(error, full=full)
            log.error("run.waits", step=step.__name__, reason=reason, exc_info=error)
            if full:
                here.zone.release_reserve()
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            run = None


def _leave(here: Context, run_id: str) -> None:
    """Put right what was written since the run was lost; where that fails, the next attempt or import does it."""
    try:
        with here.db.read() as tx:
            run = runs.get(tx, run_id)
        leave(here, run)
    except Exception as error:
        log.error("run.waits", step="leave", reason=_reason(error, full=is_disk_full(error)), exc_info=error)


def _reason(error: Exception, *, full: bool) -> str:
    """A step's wait in one word of the log's."""
    reason = "archive_away" if isinstance(error, ArchiveAway) else "database" if is_busy(error) else "internal"
    return "disk_full" if full else reason


def _read(here: Context, run_id: str) -> Run:
    """The run as it is now. Raises TakenOver if it was in this process's hand, and is no more."""
    with here.db.read() as tx:
        run = runs.get(tx, run_id)
    if run_id in here.in_hand and run.owner != here.owner:
        raise runs.TakenOver
    return run


def _once(here: Context, step: Step, states: tuple[State, ...], run: Run) -> Run | None:
    if run.state not in states:
        return run
    with structlog.contextvars.bound_contextvars(account=run.account, landing_id=run.landing_id, attempt=run.attempt):
        if run.owner != here.owner:
            run = _take_in_hand(here, run)
        return step(here, run)


def _take_in_hand(here: Context, run: Run) -> Run:
    """Own a run that nobody owns. Raises TakenOver if somebody does."""
    here.in_hand.add(run.id)  # before: what is its own and not in hand has strayed
    try:
        with here.progress.write() as tx:
            return runs.own(tx, run, here.owner)
    except BaseException:
        here.in_hand.discard(run.id)
        raise
