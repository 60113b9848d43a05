"""Watches what becomes late, comes after all, or is missing for a broadcast, and makes notices of it and of ended runs.

An account is looked at when something of it becomes due, while something of it is late, when somebody has changed what
is expected (each such change leaves an audit record), and once an hour. So thousands of accounts cost next to nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import sqlalchemy as sa

from landingzone.account import Account, Accounts
from landingzone.clock import iso, now
from landingzone.job import Work
from landingzone.notices import notice
from landingzone.notices.notice import Kind, Notice
from landingzone.notices.target import targets
from landingzone.tables import audit, audit_head
from processor import run_notices
from processor.arrivals import Arrival, Lessons, Missing, Outlook, Timing, assess, districts
from processor.context import Context
from processor.moved import EXPECTS

_AGAIN = timedelta(hours=1)
_MANY, _AGAIN_OF_MANY = 200, timedelta(minutes=5)
"""Where so many are late it is most likely us; some milliseconds each, every minute, would not help."""
_AT_ONCE = 100
"""Accounts that are asked for together."""
_EVER = datetime.min.replace(tzinfo=UTC)
_AT_NIGHT = timedelta(hours=36)
"""What was due longer ago when it is first seen (a service that was down, or is new) is shown, and not told."""


class ArrivalWatch:
    """The watch of one process; it remembers when to look at which account again, and nothing that counts."""

    def __init__(self, here: Context) -> None:
        self._here = here
        self._look_at: dict[str, datetime] = {}
        self._audited = -1

    def look(self, work: Work) -> dict[str, int] | None:
        """Make a notice of everything that is new; returns how many there are, None for none."""
        made = self._ended_runs(work) + self._accounts(work)
        return {"notices": made} if made else None

    def _ended_runs(self, work: Work) -> int:
        with self._here.db.read() as tx:
            since, upto = run_notices.mark(tx), run_notices.next_mark(tx)
            found = run_notices.ended(tx, since) if since is not None else []
        made = self._make(work, (one.notice for one in found if one.notice is not None))
        if len(found) >= run_notices.AT_ONCE:  # the rest at the next turn; what is told already makes no second notice
            upto = min(upto, found[-1].serial)
        if since is None or upto > since:
            with work.commit() as tx:
                run_notices.set_mark(tx, upto)
        return made

    def _accounts(self, work: Work) -> int:
        self._forget_changed()
        made = 0
        with self._here.db.read() as tx:
            late = notice.open_late(tx)
        again = timedelta(seconds=self._here.settings.arrivals.watch_seconds) if late < _MANY else _AGAIN_OF_MANY
        wanted = [
            account
            for account in Accounts(self._here.db).all()
            if account.enabled and self._look_at.get(account.name, _EVER) <= now()
        ]
        for begin in range(0, len(wanted), _AT_ONCE):
            work.go_on()
            made += self._some(work, wanted[begin : begin + _AT_ONCE], again=again)
        return made

    def _some(self, work: Work, some: Sequence[Account], *, again: timedelta) -> int:
        """Look at some accounts; `again`: after what time anew while something of one is over its time."""
        settings, at = self._here.settings.arrivals, now()
        assessed = partial(assess, by_default=settings.due, warn_minutes=settings.broadcast_minutes)
        open_late: dict[str, list[Notice]] = defaultdict(list)
        with self._here.db.read() as tx:
            found = districts(tx, some, self._here.sources, at)
            looked = [(one.account, assessed(one, Lessons(), at)) for one in found]
            for late in notice.open_of(tx, Kind.LATE, [account.name for account in some]):
                open_late[late.account].append(late)
        lead = timedelta(minutes=settings.broadcast_minutes)
        news: list[Notice] = []
        settled: list[Notice] = []
        for account, seen in looked:
            came, over = _over(account, seen, open_late[account.name])
            news += [*_late(account, seen, at), *_broadcasts(account, seen, at, lead), *came]
            settled += over
        made = self._make(work, news)
        if settled:
            with work.commit() as tx:
                for one in settled:
                    notice.settle(tx, one.id)
        for account, seen in looked:
            self._look_at[account.name] = _changes_at(seen, at, again)
        return made

    def _make(self, work: Work, found: Iterable[Notice]) -> int:
        found = list(found)
        if not found:
            return 0
        settings = self._here.settings.notify
        with work.commit() as tx:
            told = list(targets(settings, notice.addresses_of(tx)))
            return sum(notice.make(tx, one, told, digest_seconds=settings.digest_seconds) for one in found)

    def _forget_changed(self) -> None:
        """Look anew at whose expectations have changed since the last time; at all, if they are everybody's."""
        with self._here.db.read() as tx:
            last = tx.execute(sa.select(audit_head.c.last_id)).scalar() or 0
            changed = sa.select(audit.c.account, audit.c.action).where(audit.c.id > self._audited, audit.c.id <= last)
            rows = tx.execute(changed).all() if self._audited >= 0 else []
        self._audited = last
        for account, action in rows:
            if action.startswith(EXPECTS):
                if account:
                    self._look_at.pop(account, None)
                else:
                    self._look_at.clear()


def _changes_at(seen: Outlook, at: datetime, again: timedelta) -> datetime:
    """When an account is to be looked at anew."""
    not_in = (one for one in seen.arrivals if one.timing in {Timing.LATE, Timing.DUE, Timing.HELD})
    is_late = any(one.due_at is not None and one.due_at <= at for one in not_in)
    latest = at + (again if is_late else _AGAIN)
    return min(seen.changes_at or latest, latest)


def _late(account: Account, seen: Outlook, at: datetime) -> Iterable[Notice]:
    for one in seen.arrivals:
        if one.timing is Timing.LATE and one.due_at is not None and at - one.due_at < _AT_NIGHT:
            said = {**_file(one), "due_at": iso(one.due_at), "outcome": one.outcome, "run": one.run}
            if one.landed_at is not None:
                said["landed_at"] = iso(one.landed_at)
            said = {name: value for name, value in said.items() if value}
            yield _notice(f"late:{account.id}:{one.source}:{iso(one.due_at)}", Kind.LATE, account, said)


def _broadcasts(account: Account, seen: Outlook, at: datetime, lead: timedelta) -> Iterable[Notice]:
    for one in seen.missing:
        if one.goes_out_at - lead <= at < one.goes_out_at:
            yield _broadcast(account, one)


def _broadcast(account: Account, one: Missing) -> Notice:
    said = {"broadcast": one.broadcast, "goes_out_at": iso(one.goes_out_at), "sources": list(one.sources)}
    cause = f"broadcast:{account.id}:{one.broadcast}:{iso(one.goes_out_at)}"
    return _notice(cause, Kind.BROADCAST, account, said)


def _over(account: Account, seen: Outlook, open_late: Iterable[Notice]) -> tuple[list[Notice], list[Notice]]:
    """What came after all, and which notices of lateness hold no more: for that, or because another day has begun."""
    by_source = {one.source: one for one in seen.arrivals}
    came, over = [], []
    for late in open_late:
        one = by_source.get(late.said["source"])
        due_at = late.said["due_at"]
        if one is not None and one.last_due_at is not None and iso(one.last_due_at) == due_at:
            if one.last_in_at is None:
                continue
            said = {**_file(one), "due_at": due_at, "in_at": iso(one.last_in_at)}
            came.append(_notice(f"came:{account.id}:{one.source}:{due_at}", Kind.CAME, account, said))
        over.append(late)
    return came, over


def _file(one: Arrival) -> dict[str, str]:
    return {"source": one.source, "feed": one.feed, "file": one.file}


def _notice(cause: str, kind: Kind, account: Account, said: Mapping[str, object]) -> Notice:
    return Notice(cause, kind, account.name, account.title, account.time_zone, dict(said))
