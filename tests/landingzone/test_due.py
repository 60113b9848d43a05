"""By when a file is due: what may be written, and the moments that follow, also where clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landingzone.due import OPENS_BEFORE, WEEKDAYS, DueError, Timetable, canonical, clock_time, parse_rule, schedule
from landingzone.school_calendar import Days, TimeOff

ZONES = [ZoneInfo(name) for name in ("America/Chicago", "UTC", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kolkata")]
CHICAGO = ZONES[0]
EVERY_DAY = Days([])
minutes = st.one_of(st.none(), st.integers(0, 1439))
tables = st.lists(minutes, min_size=7, max_size=7).map(tuple).map(Timetable)
moments = st.integers(1_300_000_000, 2_100_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
zones = st.sampled_from(ZONES)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("6:30", "06:30"),
        ("Mon-Fri 06:30", "06:30"),
        ("monday-friday 6:30", "06:30"),
        ("daily 23:59", "Mon-Sun 23:59"),
        ("Mon-Thu 06:00, Fri 07:00", "Mon-Thu 06:00, Fri 07:00"),
        ("Sat-Mon 8:00", "Mon 08:00, Sat-Sun 08:00"),
        ("mon/wed 10:00", "Mon 10:00, Wed 10:00"),
        (" LEARNED ", "learned"),
        ("none", "none"),
        ("", ""),
    ],
)
def test_what_an_operator_writes_is_kept_in_one_form(written: str, kept: str) -> None:
    assert canonical(written) == kept
    assert canonical(kept) == kept


@pytest.mark.parametrize(
    "written",
    [
        "half past six",
        "24:00",
        "6:60",
        "630",
        "Mon 6:00, Mon 7:00",
        "Foo 6:00",
        "Mon-Fri",
        "6:00,",
        "6:00;7:00",
        "-1:00",
    ],
)
def test_what_is_no_time_is_refused_in_words(written: str) -> None:
    with pytest.raises(DueError):
        canonical(written)


@given(tables)
def test_a_timetable_can_be_written_and_read_back(table: Timetable) -> None:
    if table.due_at_all:
        assert parse_rule(str(table)) == table


@given(st.text(max_size=40))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        kept = canonical(text)
    except DueError:
        return
    assert canonical(kept) == kept


@given(tables, zones, moments)
def test_the_current_occasion_is_the_newest_that_has_opened_and_the_next_one_comes_after_it(
    table: Timetable, zone: ZoneInfo, at: datetime
) -> None:
    found = schedule(table, zone, EVERY_DAY, at)
    assert (found.current is not None) == (found.next is not None) == table.due_at_all
    if found.current is None or found.next is None:
        return
    assert found.current.opens_at <= at < found.next.opens_at
    assert found.current.day < found.next.day
    between = [found.current.day + timedelta(days=n) for n in range(1, (found.next.day - found.current.day).days)]
    for day in between:  # nothing is passed over (but that a zone may skip a whole day)
        moment = table.moment(day, zone)
        assert moment is None or moment - OPENS_BEFORE in {found.current.opens_at, found.next.opens_at}


@given(tables, zones, moments)
def test_time_that_goes_by_meets_every_occasion_once_and_in_order(
    table: Timetable, zone: ZoneInfo, at: datetime
) -> None:
    seen = []
    for hours in range(0, 24 * 8, 3):
        current = schedule(table, zone, EVERY_DAY, at + timedelta(hours=hours)).current
        if current is not None and (not seen or current != seen[-1]):
            seen.append(current)
    assert seen == sorted(set(seen), key=lambda one: one.day)


@given(st.integers(0, 1439), zones, st.dates(date(2011, 1, 1), date(2037, 1, 1)))
def test_the_clock_on_the_wall_shows_the_time_that_was_written_unless_it_skipped_it(
    minute: int, zone: ZoneInfo, day: date
) -> None:
    moment = Timetable((minute,) * 7).moment(day, zone)
    assert moment is not None
    wall = moment.astimezone(zone)
    shown = f"{wall:%H:%M}"
    assert shown == clock_time(minute) or wall - datetime(
        day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone
    ) <= timedelta(days=1)
    if zone is CHICAGO and not 120 <= minute < 180:
        assert (wall.date(), shown) == (day, clock_time(minute))


def test_six_in_the_morning_stays_six_when_the_clocks_change() -> None:
    table = Timetable((360,) * 7)
    before, after = (table.moment(day, CHICAGO) for day in (date(2026, 3, 7), date(2026, 3, 8)))
    assert before
    assert after
    assert after - before == timedelta(hours=23)
    assert [moment.astimezone(CHICAGO).hour for moment in (before, after)] == [6, 6]


def test_of_an_hour_that_comes_twice_the_first_is_meant() -> None:
    moment = Timetable((90,) * 7).moment(date(2026, 11, 1), CHICAGO)
    assert moment == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


def test_a_holiday_moves_the_next_occasion_past_it() -> None:
    off = Days([TimeOff(date(2026, 11, 26), date(2026, 11, 27), "Thanksgiving")])
    rule = parse_rule("06:00")
    assert isinstance(rule, Timetable)
    found = schedule(rule, CHICAGO, off, datetime(2026, 11, 26, 15, tzinfo=UTC))
    assert found.current
    assert found.next
    assert (found.current.day, found.next.day) == (date(2026, 11, 25), date(2026, 11, 30))
    assert WEEKDAYS[found.next.day.weekday()] == "Mon"


def test_the_export_of_the_evening_before_counts_for_the_morning() -> None:
    rule = parse_rule("06:00")
    assert isinstance(rule, Timetable)
    evening = datetime(2026, 11, 23, 20, tzinfo=CHICAGO).astimezone(UTC)
    current = schedule(rule, CHICAGO, EVERY_DAY, evening).current
    assert current
    assert current.day == date(2026, 11, 24)
