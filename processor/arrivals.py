"""What of an account is in, due, late or held at a moment: its sources' due times beside what has landed.

A file is in once a run has applied it. One that landed and was held, rejected or failed is not in, whenever it came.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from landingzone import due
from landingzone.account import Account
from landingzone.broadcast import Broadcast, broadcasts_of
from landingzone.due import Off, Schedule, Timetable
from landingzone.learned_due import Learned, learn
from landingzone.school_calendar import SchoolCalendar
from landingzone.source import Expected, Source, Sources
from processor.arrived import NO_FILES, UNDER_WAY, Arrived, Came, Files, arrived
from processor.outcome import Outcome

_TO_BE_DONE = (Outcome.HELD.value, Outcome.REJECTED.value, Outcome.FAILED.value)
_PATIENCE = timedelta(minutes=30)
"""How long after its due time a file that landed in time may be under way."""
_AT_ONCE = 250
"""Accounts that are looked at together."""


class Timing(StrEnum):
    """How a source stands; in the order in which somebody should look at it."""

    LATE = "late"
    HELD = "held"
    DUE = "due"
    IN = "in"
    NOTHING = "nothing due"


_NOT_MISSED = (Timing.IN, Timing.NOTHING)
ORDER = {timing: at for at, timing in enumerate(Timing)}


@dataclass(frozen=True, slots=True)
class Arrival:
    """How one source of an account stands; times are UTC.

    Attributes:
        account: the account's name.
        source: the source's name; feed and file what it holds and how it is called.
        timing: in one word.
        due_at: by when the file that is meant is (or was) to be in; None if nothing is due.
        landed_at: when the newest file that counts for it landed.
        outcome: how that ended.
        run: its run.
        in_at: when it was applied.
        last_due_at: by when the newest file that could have come already is (or was) to be in.
        last_in_at: when that one was applied; None if it was not.
        rule: the due times, as an operator may write them.
        origin: where they come from: `typed`, `learned`, `broadcast`, `none`.
        sure: of learned times: `high` or `medium`.
        why: a sentence, where nothing is due.
        broadcasts: what goes out from it today.
    """

    account: str
    source: str
    feed: str
    file: str
    timing: Timing
    due_at: datetime | None = None
    landed_at: datetime | None = None
    outcome: str = ""
    run: str = ""
    in_at: datetime | None = None
    last_due_at: datetime | None = None
    last_in_at: datetime | None = None
    rule: str = ""
    origin: str = "none"
    sure: str = ""
    why: str = ""
    broadcasts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A broadcast that lacks a feed.

    Attributes:
        account: whose.
        broadcast: its name.
        goes_out_at: when, UTC.
        sources: those that are not in.
        near: whether it goes out soon, or has; or a file of it is late or held.
    """

    account: str
    broadcast: str
    goes_out_at: datetime
    sources: tuple[str, ...]
    near: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """An account at a moment.

    Attributes:
        arrivals: its sources, in their order.
        missing: what its broadcasts of the day lack.
        changes_at: the next moment at which something becomes due or late by itself, UTC; None if nothing does.
        holds_until: until when all of this stays as it is unless something comes or is changed, UTC; rather too soon.
    """

    arrivals: tuple[Arrival, ...]
    missing: tuple[Missing, ...]
    changes_at: datetime | None
    holds_until: datetime


@dataclass(frozen=True, slots=True)
class District:
    """An account, with what is to be expected of it and what has landed.

    Attributes:
        account: the account.
        expected: its sources.
        broadcasts: what goes out from them.
        off: why nothing is due on a day.
        arrived: its files.
    """

    account: Account
    expected: Expected
    broadcasts: Sequence[Broadcast]
    off: Off
    arrived: Arrived


class Lessons:
    """What the last weeks say of one account's sources, kept as long as it holds."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[tuple[int, ...], ZoneInfo, Off], datetime, Learned]] = {}

    def of(self, source: str, files: Files, zone: ZoneInfo, off: Off, at: datetime) -> Learned:
        """What they say of a source at a moment (UTC)."""
        by = (files.moments, zone, off)
        kept_by, since, kept = self._kept.get(source, (None, at, None))
        if kept is not None and kept_by == by and since <= at and (kept.holds_until is None or at < kept.holds_until):
            return kept
        learned = learn(files.landed_at, zone, off, at)
        self._kept[source] = (by, at, learned)
        return learned


def outlook(
    tx: sa.Connection, account: Account, known: Sources, at: datetime, *, by_default: str, warn_minutes: float
) -> Outlook:
    """How an account stands at a moment (UTC).

    Args:
        tx: a read transaction.
        account: the account.
        known: the sources of every account.
        at: the moment; what landed after it is not seen.
        by_default: the rule of a source that has none of its own: `learned` or `none`.
        warn_minutes: how long before a broadcast what is missing counts as near.
    """
    district = next(districts(tx, [account], known, at))
    return assess(district, Lessons(), at, by_default=by_default, warn_minutes=warn_minutes)


def districts(tx: sa.Connection, of: Collection[Account], known: Sources, at: datetime) -> Iterator[District]:
    """Some accounts with all that tells how they stand, in their order: a few statements for many of them."""
    chosen = list(of)
    for begin in range(0, len(chosen), _AT_ONCE):
        some = chosen[begin : begin + _AT_ONCE]
        names = [one.name for one in some]
        expected = known.expected_of(tx, [one.id for one in some])
        came = arrived(tx, expected, at)
        off = SchoolCalendar.days_of(tx, names)
        goes_out: dict[str, list[Broadcast]] = {name: [] for name in names}
        for broadcast in broadcasts_of(tx, names):
            goes_out[broadcast.account].append(broadcast)
        for one in some:
            yield District(one, expected[one.id], goes_out[one.name], off[one.name], came[one.id])


def assess(district: District, lessons: Lessons, at: datetime, *, by_default: str, warn_minutes: float) -> Outlook:
    """How an account stands at a moment (UTC); see `outlook`. Pure, but for what is kept in `lessons`."""
    account, off = district.account, district.off
    zone = ZoneInfo(account.time_zone)
    arrivals: list[Arrival] = []
    changes: list[datetime] = []
    holds = [_midnight_after(at, zone)]
    for source in district.expected.sources:
        files = district.arrived.of_source.get(source.name, NO_FILES)
        timed = _timed(source, district.broadcasts, files, lessons, zone, off, at, by_default=by_default)
        times = due.schedule(timed.table, zone, off, at) if timed.table is not None else Schedule(None, None)
        arrivals.append(_arrival(account, source, timed, times, files, zone=zone, off=off, at=at))
        ahead = [times.current.due_at] if times.current else []
        ahead += [times.next.opens_at, times.next.due_at] if times.next else []
        changes += [moment for moment in ahead if moment > at]
        holds += [times.current.due_at + _PATIENCE] if times.current else []
        holds += [timed.holds_until] if timed.holds_until else []
    lead = timedelta(minutes=warn_minutes)
    lacking = []
    for one in district.broadcasts:
        moment = due.moment_of_day(one.table, zone, off, at)
        if moment is None:
            continue
        changes += [ahead for ahead in (moment - lead, moment) if ahead > at]
        out = [found for found in arrivals if found.feed in one.feeds and found.timing not in _NOT_MISSED]
        if out:
            urgent = any(found.timing in {Timing.LATE, Timing.HELD} for found in out)
            names = tuple(found.source for found in out)
            lacking.append(Missing(account.name, one.name, moment, names, urgent or at >= moment - lead))
    holds += [district.arrived.unsettled_until] if district.arrived.unsettled_until else []
    holds_until = min(moment for moment in (*changes, *holds) if moment > at)
    return Outlook(tuple(arrivals), tuple(lacking), min(changes, default=None), holds_until)


def _midnight_after(at: datetime, zone: ZoneInfo) -> datetime:
    """When the next local day begins, UTC."""
    day = at.astimezone(zone).date() + timedelta(days=1)
    begins = datetime.combine(day, time(0), zone).astimezone(UTC)
    return begins if begins > at else at + timedelta(minutes=1)  # where the clocks go back over midnight


@dataclass(frozen=True, slots=True)
class _Timed:
    table: Timetable | None
    origin: str
    sure: str = ""
    why: str = ""
    broadcasts: tuple[str, ...] = ()
    holds_until: datetime | None = None


def _timed(
    source: Source,
    goes_out: Sequence[Broadcast],
    files: Files,
    lessons: Lessons,
    zone: ZoneInfo,
    off: Off,
    at: datetime,
    *,
    by_default: str,
) -> _Timed:
    """The due times of a source: typed, learned, or by what goes out from it."""
    needed_by = [one for one in goes_out if source.feed in one.feeds]
    names = tuple(one.name for one in needed_by)
    rule = due.parse_rule(source.due or by_default)
    if isinstance(rule, Timetable):
        return _Timed(rule, "typed", broadcasts=names)
    learned = Learned(None, why_not="No time is set by which it is due.")
    if rule == due.LEARNED:
        learned = lessons.of(source.name, files, zone, off, at)
        if learned.table is not None:
            return _Timed(learned.table, "learned", learned.sure, "", names, learned.holds_until)
    if needed_by:
        return _Timed(due.earliest([one.table for one in needed_by]), "broadcast", "", "", names, learned.holds_until)
    return _Timed(None, "none", why=learned.why_not, holds_until=learned.holds_until)


def _arrival(
    account: Account,
    source: Source,
    timed: _Timed,
    times: Schedule,
    files: Files,
    *,
    zone: ZoneInfo,
    off: Off,
    at: datetime,
) -> Arrival:
    last = _last_in(times, files)
    timing, due_at, file = judged(times, files, zone, at)
    why = timed.why
    if timing is Timing.NOTHING and not why:
        today = at.astimezone(zone).date()
        why = f"No school: {off(today)}." if off(today) else f"Not on {due.WEEKDAYS[today.weekday()]}."
    return Arrival(
        account.name,
        source.name,
        source.feed,
        source.pattern,
        timing,
        due_at=due_at,
        landed_at=file.landed_at if file else None,
        outcome=file.outcome if file else "",
        run=file.run if file else "",
        in_at=file.finished_at if file and file.is_in else None,
        last_due_at=times.current.due_at if times.current else None,
        last_in_at=last.finished_at if last else None,
        rule=str(timed.table or ""),
        origin=timed.origin,
        sure=timed.sure,
        why=why,
        broadcasts=timed.broadcasts,
    )


def judged(times: Schedule, files: Files, zone: ZoneInfo, at: datetime) -> tuple[Timing, datetime | None, Came | None]:
    """How a source stands: in one word, by when the file that is meant is due, and the file that tells it.

    Args:
        times: what is due around the moment.
        files: what has landed of the source before it.
        zone: the account's time zone.
        at: the moment, UTC.
    """
    today = at.astimezone(zone).date()
    now_due = times.current
    if now_due is not None:
        is_in = _last_in(times, files)
        if is_in is None:
            newest = files.newest if files.newest and files.newest.landed_at >= now_due.opens_at else None
            return _not_in(newest, now_due.due_at, at), now_due.due_at, newest
        if at < now_due.due_at or today in {now_due.day, now_due.due_at.astimezone(zone).date()}:
            return Timing.IN, now_due.due_at, is_in
    if times.next is not None and times.next.due_at.astimezone(zone).date() == today:
        return Timing.DUE, times.next.due_at, None
    return Timing.NOTHING, None, None


def _last_in(times: Schedule, files: Files) -> Came | None:
    """The newest file that is in of those that count for the current occasion."""
    newest = files.newest_in
    return newest if times.current and newest and newest.landed_at >= times.current.opens_at else None


def _not_in(newest: Came | None, due_at: datetime, at: datetime) -> Timing:
    if newest is not None and newest.outcome in _TO_BE_DONE:
        return Timing.LATE if at >= due_at else Timing.HELD
    in_hand = newest is not None and newest.outcome == UNDER_WAY and newest.landed_at < due_at
    return Timing.LATE if at >= due_at + (_PATIENCE if in_hand else timedelta(0)) else Timing.DUE
