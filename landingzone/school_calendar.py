"""The school calendar: days on which nothing is due, for one account or for all."""

import bisect
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.tables import accounts, no_school

MOST_DAYS = 370
"""The longest time off that is taken in one piece: a mistyped year must not silence the watch for ever."""
MOST_REASON = 100


class CalendarError(LandingZoneError):
    """The calendar is not as the command needs it."""


@dataclass(frozen=True, slots=True, order=True)
class TimeOff:
    """Days on which nothing is due.

    Attributes:
        first: the first day.
        last: the last day, which is one of them.
        reason: for people.
        account: whose; empty: of all accounts.
        id: the database's number; 0: not kept yet.
    """

    first: date
    last: date
    reason: str = ""
    account: str = ""
    id: int = 0

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"


def parse_days(text: str, reason: str = "") -> TimeOff:
    """`2026-11-26` or `2026-11-26..2026-11-27`; raises CalendarError.

    >>> str(parse_days("2026-11-26..2026-11-27"))
    '2026-11-26..2026-11-27'
    """
    first, dots, last = text.strip().partition("..")
    try:
        begin = date.fromisoformat(first)
        end = date.fromisoformat(last) if dots else begin
    except ValueError:
        raise CalendarError(
            f"{text[:40]!r} is no day; write 2026-11-26, or 2026-11-26..2026-11-27 for several."
        ) from None
    return checked(TimeOff(begin, end, reason))


def checked(off: TimeOff) -> TimeOff:
    """It, if it may be kept; raises CalendarError."""
    if off.last < off.first:
        raise CalendarError(f"{off}: the last day lies before the first.")
    if (off.last - off.first).days >= MOST_DAYS:
        raise CalendarError(f"{off}: that is more than {MOST_DAYS} days; is the year right?")
    if len(off.reason) > MOST_REASON or not off.reason.isprintable():
        raise CalendarError(f"The reason of {off} must be one line of at most {MOST_REASON} characters.")
    return off


class Days:
    """Which days of one account are off, and why."""

    def __init__(self, off: Iterable[TimeOff]) -> None:
        # overlapping ones are cut, so that one look finds a day
        self._firsts: list[date] = []
        self._kept: list[TimeOff] = []
        for one in sorted(off):
            begin = max(one.first, self._kept[-1].last + timedelta(days=1)) if self._kept else one.first
            if begin <= one.last:
                self._firsts.append(begin)
                self._kept.append(TimeOff(begin, one.last, one.reason))

    def __eq__(self, other: object) -> bool:
        """Whether the same days are off, for the same reasons."""
        return isinstance(other, Days) and self._kept == other._kept

    def __hash__(self) -> int:
        """Equal ones have the same."""
        return hash(tuple(self._kept))

    def __call__(self, day: date) -> str | None:
        """Why nothing is due on a day; None if it is a day like others.

        >>> Days([parse_days("2026-11-26..2026-11-27", "Thanksgiving")])(date(2026, 11, 27))
        'Thanksgiving'
        """
        at = bisect.bisect_right(self._firsts, day) - 1
        if at < 0 or self._kept[at].last < day:
            return None
        return self._kept[at].reason or "no school"


class SchoolCalendar:
    """The calendar in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, off: Sequence[TimeOff], *, account: str | None, actor: str) -> int:
        """Keep times off, of an account or (None) of all; those that are kept already are passed over.

        Returns how many are new. Raises CalendarError if there is no such account.
        """
        added = 0
        with self._db.write() as tx:
            account_id = _account_id(tx, account)
            for one in off:
                checked(one)
                same = sa.and_(_of(account_id), no_school.c.first_day == str(one.first))
                same = sa.and_(same, no_school.c.last_day == str(one.last))
                if tx.execute(sa.select(no_school.c.id).where(same)).first():
                    continue
                values = {"first_day": str(one.first), "last_day": str(one.last), "reason": one.reason}
                tx.execute(
                    no_school.insert().values(account_id=account_id, added_at=iso(now()), added_by=actor, **values)
                )
                audit.record(
                    tx, actor=actor, action="calendar.added", account=account or "", days=str(one), reason=one.reason
                )
                added += 1
        return added

    def remove(self, days: TimeOff, *, account: str | None, actor: str) -> int:
        """Forget whatever is kept of an account (None: of all) and lies within these days; returns how many."""
        with self._db.write() as tx:
            within = sa.and_(_of(_account_id(tx, account)), no_school.c.first_day >= str(days.first))
            within = sa.and_(within, no_school.c.last_day <= str(days.last))
            removed = tx.execute(no_school.delete().where(within)).rowcount
            if removed:
                audit.record(tx, actor=actor, action="calendar.removed", account=account or "", days=str(days))
        return removed

    def all(self, account: str | None = None) -> list[TimeOff]:
        """What is kept, in order; with an account only what holds for it."""
        with self._db.read() as tx:
            return sorted(_kept(tx, None if account is None else [account]))

    @staticmethod
    def days_of(tx: sa.Connection, accounts: Collection[str]) -> dict[str, Days]:
        """The days off of some accounts, those of all accounts among them."""
        everybody: list[TimeOff] = []
        own: dict[str, list[TimeOff]] = defaultdict(list)
        for one in _kept(tx, accounts):
            (own[one.account] if one.account else everybody).append(one)
        return {account: Days([*everybody, *own[account]]) for account in accounts}


def _kept(tx: sa.Connection, of: Collection[str] | None) -> Iterator[TimeOff]:
    query = sa.select(
        no_school.c.first_day,
        no_school.c.last_day,
        no_school.c.reason,
        sa.func.coalesce(accounts.c.name, ""),
        no_school.c.id,
    ).outerjoin(accounts, accounts.c.id == no_school.c.account_id)
    if of is not None:
        query = query.where(sa.or_(no_school.c.account_id.is_(None), accounts.c.name.in_(of)))
    for first, last, reason, name, number in tx.execute(query):
        yield TimeOff(date.fromisoformat(first), date.fromisoformat(last), reason, name, number)


def _of(account_id: int | None) -> sa.ColumnElement[bool]:
    return no_school.c.account_id.is_(None) if account_id is None else no_school.c.account_id == account_id


def _account_id(tx: sa.Connection, account: str | None) -> int | None:
    if account is None:
        return None
    found: int | None = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
    if found is None:
        raise CalendarError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
    return found
