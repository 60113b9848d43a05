"""Intake: what waits in an inbox, or was asked for by an operator, becomes a run in its account's queue."""

import time
from dataclasses import dataclass

import structlog

from landingzone import landing_record
from landingzone.account import Accounts
from landingzone.feed import Mode
from landingzone.landing import Landing, NameRefused
from landingzone.source import is_temporary
from processor import run as runs
from processor.context import Context
from processor.durable import Durable

log = structlog.get_logger()

_EVENTS_FIRST, _OTHERS = 1, 10


@dataclass
class _Dropped:
    """A file that an operator put into an inbox by hand, and since when it has been like this."""

    form: tuple[int, int]
    since: float


class Intake:
    """Finds what is to be run, and enqueues each run once."""

    def __init__(self, here: Context, durable: Durable) -> None:
        self._here = here
        self._durable = durable
        self._enqueued: set[str] = set()
        self._dropped: dict[tuple[str, str], _Dropped] = {}
        self._accounts = Accounts(here.db)
        self._unknown: set[str] = set()

    def scan(self) -> None:
        """Everything: all inboxes, runs that wait, withdrawals that no run has taken up."""
        for account in self._here.zone.accounts_with("inbox"):
            self.scan_account(account)
        with self._here.db.read() as tx:
            withdrawn = landing_record.withdrawn_without_run(tx)
        for landing in withdrawn:
            self._take(landing)
        self.take_requested()

    def scan_account(self, account: str) -> None:
        """What waits in one account's inbox, in order of landing; left alone where there is no such account."""
        if self._accounts.find(account) is None:
            if account not in self._unknown:
                self._unknown.add(account)
                log.warning("inbox.unknown_account", account=account)
            return
        self._adopt_dropped(account)
        for landing in self._here.zone.waiting(account):
            self._take(landing)

    def take_requested(self) -> None:
        """Runs that are in the database and not yet in the queue: further attempts, and what a crash left."""
        with self._here.db.read() as tx:
            waiting = runs.unfinished(tx)
        self._enqueued &= {run.id for run in waiting}
        for run in waiting:
            self._enqueue(run.id, run.landing)

    def _take(self, landing: Landing) -> None:
        run_id = f"{landing.id}:1"
        if run_id in self._enqueued:
            return
        with self._here.db.write() as tx:
            landing_record.note(tx, landing)
            if not runs.exists(tx, landing.id):
                runs.add(tx, landing)
        self._enqueue(run_id, landing)

    def _enqueue(self, run_id: str, landing: Landing) -> None:
        if run_id in self._enqueued:
            return
        source = self._here.sources.match(landing.account, landing.name)
        events = source is not None and source.mode == Mode.EVENTS
        self._durable.enqueue(run_id, account=landing.account, priority=_EVENTS_FIRST if events else _OTHERS)
        self._enqueued.add(run_id)

    def _adopt_dropped(self, account: str) -> None:
        """Give files that were put in by hand their landing id, once they have kept their size for a while."""
        names = self._here.zone.dropped_by_hand(account)
        for key in [key for key in self._dropped if key[0] == account and key[1] not in names]:
            del self._dropped[key]
        for name in names:
            if is_temporary(name):
                continue
            try:
                self._adopt_if_stable(account, name)
            except (NameRefused, OSError) as refused:
                log.warning("inbox.not_taken", account=account, reason=type(refused).__name__)

    def _adopt_if_stable(self, account: str, name: str) -> None:
        info = (self._here.zone.folder("inbox", account) / name).lstat()
        form, present = (info.st_size, info.st_mtime_ns), time.monotonic()
        seen = self._dropped.get((account, name))
        if seen is None or seen.form != form:
            self._dropped[account, name] = _Dropped(form, present)
        elif present - seen.since >= self._here.settings.processor.stable_seconds:
            landing = self._here.zone.adopt(account, name)
            del self._dropped[account, name]
            log.info("file.adopted", account=account, landing_id=landing.id, bytes=info.st_size)
