"""What of an account is in, due, late or held at a moment: its sources' due times beside what has landed.

A file is in once a run has applied it. One that landed and was held, rejected or failed is not in, whenever it came.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from landingzone import due
from landingzone.account import Account
from landingzone.broadcast import Broadcast, broadcasts_of
from landingzone.due import Off, Schedule, Timetable
from landingzone.landing import moment_of
from landingzone.learned_due import LEARN_DAYS, Learned, learn
from landingzone.pattern import Pattern
from landingzone.school_calendar import SchoolCalendar
from landingzone.source import Source, Sources
from landingzone.tables import landings, runs
from landingzone.tables import sources as source_rows
from processor.outcome import APPLIED, Outcome

UNDER_WAY = "under way"
_TO_BE_DONE = (Outcome.HELD.value, Outcome.REJECTED.value, Outcome.FAILED.value)
_COUNTS_NOT = (Outcome.WITHDRAWN.value, Outcome.SUPERSEDED.value, Outcome.REVERTED.value)
_LOOK_BACK = timedelta(days=LEARN_DAYS + 1)
_NEVER_CAME = timedelta(minutes=10)
"""A landing that was noted so long ago and has no run has most likely never come to be (landingzone.landing_record)."""
_PATIENCE = timedelta(minutes=30)
"""How long after its due time a file that landed in time may be under way."""


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
class Came:
    """A file that has landed.

    Attributes:
        landing_id: its landing.
        source: the source that it belongs to.
        landed_at: when, UTC.
        outcome: how its newest run ended; `under way` before that.
        run: that run's id; empty before it was taken up.
        finished_at: when that run ended, UTC; None while it is under way.
    """

    landing_id: str
    source: str
    landed_at: datetime
    outcome: str
    run: str
    finished_at: datetime | None

    @property
    def is_in(self) -> bool:
        """Whether it was applied."""
        return self.outcome in {outcome.value for outcome in APPLIED}


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
    """

    arrivals: tuple[Arrival, ...]
    missing: tuple[Missing, ...]
    changes_at: datetime | None


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
    zone = ZoneInfo(account.time_zone)
    off = SchoolCalendar.days_of(tx, account.name)
    declared = known.of(account.name)
    expected = [one for source in declared for one in _schools(known, account.name, source)]
    goes_out = broadcasts_of(tx, account.name)
    came = _came(tx, account.id, declared, at)
    arrivals: list[Arrival] = []
    changes: list[datetime] = []
    for source in expected:
        files = came.get(source.name, [])
        timed = _timed(source, goes_out, files, zone, off, at, by_default=by_default)
        times = due.schedule(timed.table, zone, off, at) if timed.table is not None else Schedule(None, None)
        arrivals.append(_arrival(account, source, timed, times, files, zone=zone, off=off, at=at))
        ahead = [times.current.due_at] if times.current else []
        ahead += [times.next.opens_at, times.next.due_at] if times.next else []
        changes += [moment for moment in ahead if moment > at]
    lead = timedelta(minutes=warn_minutes)
    lacking = []
    for one in goes_out:
        moment = due.moment_of_day(one.table, zone, off, at)
        if moment is None:
            continue
        changes += [ahead for ahead in (moment - lead, moment) if ahead > at]
        out = [found for found in arrivals if found.feed in one.feeds and found.timing not in _NOT_MISSED]
        if out:
            urgent = any(found.timing in {Timing.LATE, Timing.HELD} for found in out)
            names = tuple(found.source for found in out)
            lacking.append(Missing(account.name, one.name, moment, names, urgent or at >= moment - lead))
    return Outlook(tuple(arrivals), tuple(lacking), min(changes, default=None))


@dataclass(frozen=True, slots=True)
class _Timed:
    table: Timetable | None
    origin: str
    sure: str = ""
    why: str = ""
    broadcasts: tuple[str, ...] = ()


def _timed(
    source: Source,
    goes_out: Sequence[Broadcast],
    files: Sequence[Came],
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
        learned = learn((file.landed_at for file in files), zone, off, at)
        if learned.table is not None:
            return _Timed(learned.table, "learned", learned.sure, broadcasts=names)
    if needed_by:
        return _Timed(due.earliest([one.table for one in needed_by]), "broadcast", broadcasts=names)
    return _Timed(None, "none", why=learned.why_not)


def _arrival(
    account: Account,
    source: Source,
    timed: _Timed,
    times: Schedule,
    files: Sequence[Came],
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


def judged(
    times: Schedule, files: Sequence[Came], zone: ZoneInfo, at: datetime
) -> tuple[Timing, datetime | None, Came | None]:
    """How a source stands: in one word, by when the file that is meant is due, and the file that tells it.

    Args:
        times: what is due around the moment.
        files: what has landed of the source before it, in order of landing.
        zone: the account's time zone.
        at: the moment, UTC.
    """
    today = at.astimezone(zone).date()
    now_due = times.current
    if now_due is not None:
        is_in = _last_in(times, files)
        if is_in is None:
            counting = (file for file in reversed(files) if file.landed_at >= now_due.opens_at)
            newest = next((file for file in counting if file.outcome not in _COUNTS_NOT), None)
            return _not_in(newest, now_due.due_at, at), now_due.due_at, newest
        if at < now_due.due_at or today in {now_due.day, now_due.due_at.astimezone(zone).date()}:
            return Timing.IN, now_due.due_at, is_in
    if times.next is not None and times.next.due_at.astimezone(zone).date() == today:
        return Timing.DUE, times.next.due_at, None
    return Timing.NOTHING, None, None


def _last_in(times: Schedule, files: Sequence[Came]) -> Came | None:
    """The newest file that is in of those that count for the current occasion."""
    if times.current is None:
        return None
    return next((file for file in reversed(files) if file.landed_at >= times.current.opens_at and file.is_in), None)


def _not_in(newest: Came | None, due_at: datetime, at: datetime) -> Timing:
    if newest is not None and newest.outcome in _TO_BE_DONE:
        return Timing.LATE if at >= due_at else Timing.HELD
    in_hand = newest is not None and newest.outcome == UNDER_WAY and newest.landed_at < due_at
    return Timing.LATE if at >= due_at + (_PATIENCE if in_hand else timedelta(0)) else Timing.DUE


def _schools(known: Sources, account: str, declared: Source) -> Iterable[Source]:
    """The sources that files come for: of a pattern with `{school}` those that it has made."""
    made = known.schools_of(account, declared.name) if Pattern(declared.pattern).is_per_school else ()
    return made or (declared,)


def _came(tx: sa.Connection, account_id: int, declared: Sequence[Source], at: datetime) -> dict[str, list[Came]]:
    """What has landed in the last weeks before a moment, by source, in order of landing."""
    query = (
        sa.select(
            landings.c.id,
            landings.c.name,
            landings.c.withdrawn_at,
            runs.c.id,
            runs.c.outcome,
            runs.c.finished_at,
            source_rows.c.name,
        )
        .outerjoin(runs, runs.c.landing_id == landings.c.id)
        .outerjoin(source_rows, source_rows.c.id == runs.c.source_id)
        .where(landings.c.account_id == account_id)
        .where(landings.c.id >= _first_id(at - _LOOK_BACK), landings.c.id < _first_id(at))
        .order_by(landings.c.id, runs.c.attempt)
    )
    newest: dict[str, Came] = {}
    for landing_id, file, withdrawn_at, run, outcome, finished_at, source in tx.execute(query):
        name = source or next((found.name for one in declared if (found := one.of_file(file))), None)
        landed_at = moment_of(landing_id)
        if name is None or (run is None and (withdrawn_at is not None or at - landed_at > _NEVER_CAME)):
            continue
        ended = datetime.fromisoformat(finished_at) if finished_at else None
        newest[landing_id] = Came(landing_id, name, landed_at, outcome or UNDER_WAY, run or "", ended)
    by_source: dict[str, list[Came]] = defaultdict(list)
    for came in newest.values():
        by_source[came.source].append(came)
    return by_source


def _first_id(moment: datetime) -> str:
    """The lowest id of a landing at that moment."""
    milliseconds = f"{int(moment.timestamp() * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-000000000000"
