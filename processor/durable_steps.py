"""From a step of the import to a step of a durable run: what is done is passed over, a full disk is waited for."""

import time
from collections.abc import Callable

import structlog

from landingzone.db import is_busy, is_disk_full
from processor import run as runs
from processor.archive_store import ArchiveAway
from processor.context import Context
from processor.durable import Lost
from processor.import_step import STEPS, leave
from processor.run import Run, State

log = structlog.get_logger()

_LONGEST_WAIT = 30.0


def durable_steps(here: Context) -> tuple[Callable[[str], None], ...]:
    """The import's steps as functions of a run's id."""
    return tuple(_durable(here, step, states) for step, states in STEPS)


def wait_for_room(here: Context) -> None:
    """Give the reserve free, and wait a little: something on this machine may be removed meanwhile."""
    if not here.zone.release_reserve():
        time.sleep(1)


def _durable(here: Context, step: Callable[[Context, Run], None], states: tuple[State, ...]) -> Callable[[str], None]:
    def durable(run_id: str) -> None:
        wait = 0.5
        while True:
            try:
                _once(here, step, states, run_id)
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
            else:
                return

    durable.__name__ = step.__name__
    return durable


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


def _once(here: Context, step: Callable[[Context, Run], None], states: tuple[State, ...], run_id: str) -> None:
    with here.db.read() as tx:
        run = runs.get(tx, run_id)
    if run_id in here.in_hand and run.owner != here.owner:
        raise runs.TakenOver
    if run.state not in states:
        return
    with structlog.contextvars.bound_contextvars(account=run.account, landing_id=run.landing_id, attempt=run.attempt):
        if run.owner != here.owner:
            _take_in_hand(here, run)
        step(here, run)


def _take_in_hand(here: Context, run: Run) -> None:
    """Own a run that nobody owns. Raises TakenOver if somebody does."""
    here.in_hand.add(run.id)  # before: what is its own and not in hand has strayed
    try:
        with here.progress.write() as tx:
            runs.own(tx, run, here.owner)
    except BaseException:
        here.in_hand.discard(run.id)
        raise
