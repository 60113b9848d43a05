"""When a file is due: what an operator may write, and the moments that follow from it. Pure.

A rule is `none`, `learned` (from the last weeks, see landingzone.learned_due), or times of day with the weekdays on
which they hold. Local times become moments by the account's time zone, so that a change of the clocks moves none.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from landingzone.errors import LandingZoneError

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SCHOOL_DAYS = frozenset(range(5))
DAY_MINUTES = 24 * 60
OPENS_BEFORE = timedelta(hours=12)
"""A file counts for a day from so long before it is due: the export of the evening before is the morning's."""
LOOK_BACK_DAYS = 35
LOOK_AHEAD_DAYS = 14
NONE, LEARNED = "none", "learned"

Off = Callable[[date], str | None]
"""Why nothing is due on a day; None where something is."""

_CLAUSE = re.compile(r"(?:(?P<days>[A-Za-z]+(?:-[A-Za-z]+)?(?:\s*/\s*[A-Za-z]+)*)\s+)?(?P<h>\d{1,2}):(?P<m>\d{2})")


class DueError(LandingZoneError):
    """This is no time by which a file can be due."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """By which time of each weekday a file is due.

    Attributes:
        minutes: seven, from Monday: minutes after that day's midnight (from 1440 on: on the next day); None: not due.
    """

    minutes: tuple[int | None, ...]

    @property
    def due_at_all(self) -> bool:
        """Whether any weekday has a time."""
        return any(minutes is not None for minutes in self.minutes)

    def moment(self, day: date, zone: ZoneInfo) -> datetime | None:
        """When the file of a day is due, in UTC; None if it is not.

        A time that the clocks skip means the one as long after the change; of one that they repeat the first is meant.

        >>> Timetable((150,) * 7).moment(date(2026, 3, 8), ZoneInfo("America/Chicago")).isoformat()  # skipped
        '2026-03-08T08:30:00+00:00'
        """
        minutes = self.minutes[day.weekday()]
        if minutes is None:
            return None
        days, rest = divmod(minutes, DAY_MINUTES)
        wall = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), zone)
        return wall.astimezone(UTC)

    def __str__(self) -> str:
        """As an operator may write it; neighbours with one time together.

        >>> str(Timetable((360, 360, 360, 360, 420, None, None)))
        'Mon-Thu 06:00, Fri 07:00'
        """
        told: list[str] = []
        first = 0
        while first < len(WEEKDAYS):
            minutes = self.minutes[first]
            last = first
            while last + 1 < len(WEEKDAYS) and self.minutes[last + 1] == minutes:
                last += 1
            if minutes is not None:
                days = WEEKDAYS[first] if first == last else f"{WEEKDAYS[first]}-{WEEKDAYS[last]}"
                told.append(f"{days} {clock_time(minutes)}")
            first = last + 1
        return ", ".join(told)


def clock_time(minutes: int) -> str:
    """Minutes after midnight as a time of day; past the next midnight it says so.

    >>> clock_time(390), clock_time(1455)
    ('06:30', '00:15 of the next day')
    """
    days, rest = divmod(minutes, DAY_MINUTES)
    return f"{rest // 60:02}:{rest % 60:02}" + (" of the next day" if days else "")


def parse_rule(text: str) -> Timetable | str:
    """What an operator has written: a timetable, or one of the words `none` and `learned`; empty stays empty.

    Without weekdays a time holds from Monday to Friday; `daily` means all seven. Raises DueError.

    >>> str(parse_rule("6:30")), str(parse_rule("daily 23:15")), str(parse_rule("Mon-Thu 06:00, Fri 07:00"))
    ('Mon-Fri 06:30', 'Mon-Sun 23:15', 'Mon-Thu 06:00, Fri 07:00')
    """
    text = text.strip()
    if text.lower() in {"", NONE, LEARNED}:
        return text.lower()
    minutes: list[int | None] = [None] * 7
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause.strip())
        if found is None or int(found["h"]) > 23 or int(found["m"]) > 59:  # noqa: PLR2004 - a clock
            raise DueError(
                f"{clause.strip()[:40]!r} is not a time by which a file is due. Write 06:30 (Monday to Friday), "
                "'Mon-Thu 06:00, Fri 07:00', 'daily 06:30', learned or none."
            )
        for day in _weekdays(found["days"]):
            if minutes[day] is not None:
                raise DueError(f"{WEEKDAYS[day]} has two times; a file is due once a day.")
            minutes[day] = int(found["h"]) * 60 + int(found["m"])
    return Timetable(tuple(minutes))


def canonical(text: str) -> str:
    """A rule as it is kept; raises DueError. Of times that hold from Monday to Friday only the time stays.

    >>> canonical("6:30"), canonical("Learned"), canonical("sat/sun 8:00")
    ('06:30', 'learned', 'Sat-Sun 08:00')
    """
    rule = parse_rule(text)
    if isinstance(rule, str):
        return rule
    told = str(rule)
    return told.removeprefix("Mon-Fri ") if "," not in told else told


def _weekdays(text: str | None) -> Iterator[int]:
    if text is None:
        yield from SCHOOL_DAYS
        return
    for part in text.split("/"):
        first, dash, last = part.strip().partition("-")
        if first.lower() == "daily" and not dash:
            yield from range(7)
            continue
        begin = _weekday(first)
        end = _weekday(last) if dash else begin
        yield begin
        while begin != end:
            begin = (begin + 1) % 7
            yield begin


def _weekday(text: str) -> int:
    for number, name in enumerate(WEEKDAYS):
        if text.strip().lower()[:3] == name.lower():
            return number
    raise DueError(f"{text!r} is not a weekday; write Mon, Tue, Wed, Thu, Fri, Sat or Sun.")


@dataclass(frozen=True, slots=True)
class Occasion:
    """One day's file.

    Attributes:
        day: the day that it is for, in the account's time zone.
        opens_at: what lands from then on counts for it, UTC; until the next occasion opens.
        due_at: by when it is to be in, UTC.
    """

    day: date
    opens_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """The occasions around a moment.

    Attributes:
        current: the newest one that has opened; None if there was none within the last weeks.
        next: the first one that has not; None if there is none within two weeks.
    """

    current: Occasion | None
    next: Occasion | None


def schedule(table: Timetable, zone: ZoneInfo, off: Off, at: datetime) -> Schedule:
    """What is due around a moment (UTC)."""
    today = at.astimezone(zone).date()
    current = upcoming = None
    for back in range(-2, LOOK_BACK_DAYS):
        occasion = _occasion(table, zone, off, today - timedelta(days=back))
        if occasion is not None and occasion.opens_at <= at:
            current = occasion
            break
    for ahead in range(-2, LOOK_AHEAD_DAYS):
        occasion = _occasion(table, zone, off, today + timedelta(days=ahead))
        if occasion is not None and occasion.opens_at > at:
            upcoming = occasion
            break
    return Schedule(current, upcoming)


def _occasion(table: Timetable, zone: ZoneInfo, off: Off, day: date) -> Occasion | None:
    due_at = table.moment(day, zone)
    if due_at is None or off(day) is not None:
        return None
    return Occasion(day, due_at - OPENS_BEFORE, due_at)


def moment_of_day(table: Timetable, zone: ZoneInfo, off: Off, at: datetime) -> datetime | None:
    """The moment that a timetable gives for the local day of a moment (both UTC); None if there is none on that day."""
    today = at.astimezone(zone).date()
    return None if off(today) is not None else table.moment(today, zone)


def earliest(tables: Sequence[Timetable]) -> Timetable:
    """Of each weekday the earliest of several times.

    >>> str(earliest([Timetable((600,) * 5 + (None, None)), Timetable((570,) + (None,) * 6)]))
    'Mon 09:30, Tue-Fri 10:00'
    """
    columns = zip(*(table.minutes for table in tables), strict=True)
    return Timetable(tuple(min((one for one in column if one is not None), default=None) for column in columns))
