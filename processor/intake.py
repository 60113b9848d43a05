"""Intake: what waits in an inbox becomes a run, which waits for its account's turn."""

import itertools
import time
from dataclasses import dataclass

import structlog

from landingzone import landing_record
from landingzone.account import Account, Accounts
from landingzone.feed import Mode
from landingzone.landing import Landing, NameRefused
from landingzone.source import Source, is_temporary, source_of
from processor import run as runs
from processor.context import Context
from processor.turns import Turns

log = structlog.get_logger()

_TAKEN_AT_ONCE = 200


@dataclass
class _Dropped:
    """A file that an operator put into an inbox by hand, and since when it has been like this."""

    form: tuple[int, int]
    since: float


class Intake:
    """Finds what has landed, and makes each landing a run once."""

    def __init__(self, here: Context, turns: Turns) -> None:
        self._here = here
        self._turns = turns
        self._taken: dict[str, set[str]] = {}
        self._dropped: dict[tuple[str, str], _Dropped] = {}
        self._accounts = Accounts(here.db)
        self._unknown: set[str] = set()

    def scan(self) -> None:
        """Everything: all inboxes, withdrawals that no run has taken up."""
        for account in self._here.zone.accounts_with("inbox"):
            self.scan_account(account)
        with self._here.db.read() as tx:
            withdrawn = landing_record.withdrawn_without_run(tx)
        for account, landings in itertools.groupby(sorted(withdrawn, key=_account_of), key=_account_of):
            self._take(self._accounts.get(account), sorted(landings))

    def scan_account(self, name: str) -> None:
        """What waits in one account's inbox, in order of landing; left alone where there is no such account."""
        if self._here.zone.inbox_is_empty(name):  # as almost all are at each scan: they cost no query
            self._taken.pop(name, None)
            return
        account = self._accounts.find(name)
        if account is None:
            if name not in self._unknown:
                self._unknown.add(name)
                log.warning("inbox.unknown_account", account=name)
            return
        self._unknown.discard(name)
        self._adopt_dropped(name)
        waiting = self._here.zone.waiting(name)
        taken = self._taken[name] = self._taken.get(name, set()) & {landing.id for landing in waiting}
        new = [landing for landing in waiting if landing.id not in taken]
        for begin in range(0, len(new), _TAKEN_AT_ONCE):
            self._take(account, new[begin : begin + _TAKEN_AT_ONCE])

    def _take(self, account: Account, waiting: list[Landing]) -> None:
        declared = self._here.sources.of(account.name)
        priorities = {landing.id: _priority(source_of(declared, landing.name)) for landing in waiting}
        with self._here.db.write() as tx:
            runs.hold_account(tx, account.id)
            for landing in waiting:
                landing_record.note(tx, landing)
                if not runs.exists(tx, landing.id):
                    runs.add(tx, landing, priority=priorities[landing.id])
        self._taken.setdefault(account.name, set()).update(priorities)
        self._turns.ask(account.id)

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


def _priority(source: Source | None) -> int:
    return runs.EVENTS if source is not None and source.mode == Mode.EVENTS else runs.ROSTERS


def _account_of(landing: Landing) -> str:
    return landing.account
