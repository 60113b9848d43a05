"""Times off from a file: an iCalendar as schools publish it, or a CSV of days. Hostile until read, and bounded."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from landingzone.school_calendar import MOST_REASON, CalendarError, TimeOff, checked, parse_days

MOST_BYTES = 1 << 20
MOST_EVENTS = 2000
_MOST_COLUMNS = 3


def read_calendar(content: bytes, *, containing: Sequence[str] = (), everything: bool = False) -> list[TimeOff]:
    """The times off that a file holds, in order.

    A CSV has `day[,last day][,reason]` a line, with or without a header line. Of an iCalendar only events of whole days
    count: those that have one of the words `containing` in their name, or with `everything` all. Raises CalendarError
    for a file that is too large or cannot be read, and, if neither is given, one that names the events there are.
    """
    if len(content) > MOST_BYTES:
        raise CalendarError(f"The file has more than {MOST_BYTES >> 20} MiB, which no school calendar needs.")
    if b"BEGIN:VCALENDAR" not in content[:1000].upper():
        return sorted(_of_csv(content))
    events = _events(content)
    if everything:
        return _times_off(events)
    words = [word.casefold() for word in containing if word.strip()]
    if not words:
        names = sorted({_name(event) for event in events})[:20]
        raise CalendarError(
            "Which of its events mean that there is no school? Say --containing WORD (several times, if need be), or "
            f"--all. Its events of whole days are: {'; '.join(names) or 'none'}."
        )
    return _times_off(event for event in events if any(word in _name(event).casefold() for word in words))


def _of_csv(content: bytes) -> Iterator[TimeOff]:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as wrong:
        raise CalendarError("The file is neither an iCalendar nor a CSV in UTF-8 with a day at each line.") from wrong
    if len(rows) > MOST_EVENTS:
        raise CalendarError(f"The file has more than {MOST_EVENTS} lines.")
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and not cells[0][:1].isdigit()):
            continue
        if len(cells) > _MOST_COLUMNS:
            raise CalendarError(f"Line {number} has more than a day, a last day and a reason.")
        first, last, reason = (*cells, "", "")[:3]
        if last and not last[:1].isdigit():
            last, reason = "", last
        try:
            yield parse_days(f"{first}..{last}" if last else first, reason)
        except CalendarError as wrong:
            raise CalendarError(f"Line {number}: {wrong}") from None


def _events(content: bytes) -> list[Any]:
    """The events of whole days of an iCalendar that were not cancelled."""
    import icalendar  # noqa: PLC0415 - a third of a second that other commands need not spend

    if content.upper().count(b"BEGIN:") > 2 * MOST_EVENTS:
        raise CalendarError(f"The calendar has more than {MOST_EVENTS} events.")
    if not content.upper().rstrip().endswith(b"END:VCALENDAR"):
        raise CalendarError("The calendar has no end: it was cut off.")
    try:
        found = icalendar.Calendar.from_ical(content, multiple=True)
        return [event for one in found for event in one.walk("VEVENT") if _counts(event)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as wrong:
        raise CalendarError("The calendar cannot be read: it is no iCalendar (RFC 5545).") from wrong


def _counts(event: Any) -> bool:  # noqa: ANN401 - icalendar's component
    return _is_day(_value(event, "DTSTART")) and str(event.get("STATUS", "")).upper() != "CANCELLED"


def _name(event: Any) -> str:  # noqa: ANN401 - icalendar's component
    return "".join(char for char in str(event.get("SUMMARY", "")) if char.isprintable()).strip()[:MOST_REASON]


def _times_off(events: Iterable[Any]) -> list[TimeOff]:
    return sorted({_time_off(event) for event in events})


def _time_off(event: Any) -> TimeOff:  # noqa: ANN401 - icalendar's component
    first, end, length = (_value(event, name) for name in ("DTSTART", "DTEND", "DURATION"))
    reason = _name(event)
    if any(event.get(name) is not None for name in ("RRULE", "RDATE", "RECURRENCE-ID")):
        raise CalendarError(
            f"The event {reason!r} of {first} repeats itself, which is not followed: export the calendar with single "
            "events, or add its days by `landingzone calendar add`."
        )
    if _is_day(end):
        length = end - first
    days = length.days if isinstance(length, timedelta) else 1
    if not 1 <= days <= MOST_EVENTS or date.max - first < timedelta(days=days):
        raise CalendarError(f"The event {reason!r} of {first} ends before it begins, or lasts for years.")
    return checked(TimeOff(first, first + timedelta(days=days - 1), reason))


def _value(event: Any, name: str) -> Any:  # noqa: ANN401 - icalendar's component and value
    """A date, time or length of an event; None: it has none. Raises CalendarError for one that cannot be read."""
    try:
        return getattr(event.get(name), "dt", None)
    except ValueError as wrong:
        raise CalendarError(
            f"The event {_name(event)!r} has a {name} that cannot be read: mend it in the calendar and export it again."
        ) from wrong


def _is_day(value: object) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)
