"""By which time a file comes, learned from the last weeks. Pure.

The middle of each weekday, and how far days stray from their middle, all weekdays taken together: one late day moves
nothing, and a Monday that is always later stays later. A file that comes around midnight has its days cut where it
never comes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from landingzone.due import DAY_MINUTES, WEEKDAYS, Off, Timetable

LEARN_DAYS = 42
"""How far back arrivals count."""
LEAST_DAYS = 10
LEAST_OF_WEEKDAY = 3
LEAST_SHARE = 0.6
"""A weekday is one on which the file is due if it came on so many of them."""
FORGOTTEN_AFTER_DAYS = 28
MOST_SPREAD = 240
"""Minutes between early and late days beyond which there is no time that could be told."""
MARGIN = 15
"""Minutes beyond which even a file that is always on time is late."""
ALIKE = 20
"""Minutes by which a weekday's middle may differ from that of all without having a time of its own."""
STEP = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Learned:
    """What the last weeks say.

    Attributes:
        table: the times, each the 90th of hundred days, and a margin; None if they cannot be told.
        days: on how many days the file came.
        spread: minutes between an early day (10th of hundred) and a late one (90th).
        why_not: a sentence, where there are no times.
        holds_until: from when on the same arrivals may say something else, UTC; None: never.
    """

    table: Timetable | None
    days: int = 0
    spread: int = 0
    why_not: str = ""
    holds_until: datetime | None = field(default=None, compare=False)

    @property
    def sure(self) -> str:
        """How sure that is: `high`, `medium`, or `none`."""
        if self.table is None:
            return "none"
        return "high" if self.days >= 2 * LEAST_DAYS and self.spread <= MOST_SPREAD // 4 else "medium"


def learn(arrivals: Iterable[datetime], zone: ZoneInfo, off: Off, at: datetime) -> Learned:
    """The times that the arrivals (UTC) of the last weeks speak for, at a moment (UTC); the present day is left out."""
    since = at - timedelta(days=LEARN_DAYS)
    counting = sorted(moment for moment in arrivals if since <= moment <= at)
    if not counting:
        return Learned(None, why_not="Nothing has come within the last weeks.")
    walls = [(moment.date(), moment.hour * 60 + moment.minute) for moment in (one.astimezone(zone) for one in counting)]
    cut = _quiet([minute for _, minute in walls])
    oldest_counts_until = counting[0] + timedelta(days=LEARN_DAYS, milliseconds=1)
    holds_until = min(oldest_counts_until, _next_day(zone, 0, at), _next_day(zone, cut, at))
    return replace(_learned(walls, cut, zone, off, at), holds_until=holds_until)


def _learned(walls: Sequence[tuple[date, int]], cut: int, zone: ZoneInfo, off: Off, at: datetime) -> Learned:
    """The same of local days and minutes, in order of time."""
    firsts: dict[date, int] = {}
    for day, minute in walls:
        if minute >= cut:
            firsts.setdefault(day, minute)
        else:
            firsts.setdefault(day - _DAY, minute + DAY_MINUTES)
    firsts.pop(_placed(at.astimezone(zone), cut)[0], None)
    if len(firsts) < LEAST_DAYS:
        return Learned(None, len(firsts), why_not=f"It came on {len(firsts)} days; {LEAST_DAYS} are needed.")
    last = max(firsts)
    if (at.astimezone(zone).date() - last).days > FORGOTTEN_AFTER_DAYS:
        return Learned(None, len(firsts), why_not=f"Nothing has come since {last}.")
    return _timetable(firsts, off, begin=max(min(firsts), last - timedelta(days=LEARN_DAYS - 1)), last=last)


def _timetable(firsts: dict[date, int], off: Off, *, begin: date, last: date) -> Learned:
    chances, came = [0] * 7, defaultdict[int, list[int]](list)
    for number in range(begin.toordinal(), last.toordinal() + 1):
        day, weekday = date.fromordinal(number), (number - 1) % 7
        if day in firsts or off(day) is None:
            chances[weekday] += 1
    for day, minutes in firsts.items():
        came[day.weekday()].append(minutes)
    middles = {
        weekday: median(minutes)
        for weekday, minutes in came.items()
        if len(minutes) >= min(LEAST_OF_WEEKDAY, chances[weekday]) and len(minutes) >= LEAST_SHARE * chances[weekday]
    }
    common = median(minute for weekday in middles for minute in came[weekday]) if middles else 0
    middles = {weekday: own if abs(own - common) > ALIKE else common for weekday, own in middles.items()}
    strays = sorted(minute - middle for weekday, middle in middles.items() for minute in came[weekday])
    if len(strays) < LEAST_DAYS:
        return Learned(None, len(firsts), why_not="It comes on no weekday regularly.")
    early, late = _share(strays, 0.1), _share(strays, 0.9)
    spread = round(late - early)
    if spread > MOST_SPREAD:
        return Learned(None, len(firsts), spread, why_not=f"It comes at no regular time: {spread} minutes apart.")
    beyond = late + MARGIN + (late - early) / 4
    times = [_rounded_up(middles[day] + beyond) if day in middles else None for day in range(len(WEEKDAYS))]
    return Learned(Timetable(tuple(times)), len(strays), spread)


def _minute(moment: datetime) -> int:
    return moment.hour * 60 + moment.minute


def _placed(moment: datetime, cut: int) -> tuple[date, int]:
    """The day that a local moment belongs to, and minutes after that day's midnight; a day begins at the cut."""
    if _minute(moment) >= cut:
        return moment.date(), _minute(moment)
    return moment.date() - timedelta(days=1), _minute(moment) + DAY_MINUTES


def _quiet(minutes: Sequence[int]) -> int:
    """Midnight, unless the file comes around it: then the middle of the longest time of day at which it never came."""
    times = sorted(set(minutes))
    gaps = [(after - before, before) for before, after in zip(times, [*times[1:], times[0] + DAY_MINUTES], strict=True)]
    length, before = max(gaps)
    if before == times[-1]:  # the longest gap goes over midnight, which is as good a cut as any
        return 0
    return before + length // 2


def _next_day(zone: ZoneInfo, cut: int, at: datetime) -> datetime:
    """When the day that begins at a cut next gives way to another, UTC; around a change of the clocks rather too soon.

    >>> _next_day(ZoneInfo("America/Chicago"), 720, datetime(2026, 11, 24, 18, 1, tzinfo=UTC)).isoformat()
    '2026-11-25T18:00:00+00:00'
    """
    local = at.astimezone(zone)
    day = local.date() + timedelta(days=1 if _minute(local) >= cut else 0)
    begins = datetime.combine(day, time(cut // 60, cut % 60), zone)
    if begins.utcoffset() == local.utcoffset():
        return begins.astimezone(UTC)
    quarter = timedelta(minutes=15)  # clocks change at whole ones
    return min(at + quarter - (at - datetime.min.replace(tzinfo=UTC)) % quarter, begins.astimezone(UTC))


def _share(ordered: Sequence[float], share: float) -> float:
    """The value below which that share lies, between neighbours in proportion."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _rounded_up(minutes: float) -> int:
    return min(-int(-minutes // STEP) * STEP, 2 * DAY_MINUTES - STEP)
