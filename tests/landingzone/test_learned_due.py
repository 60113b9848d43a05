"""What the last weeks say about when a file comes."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from landingzone.due import DAY_MINUTES, Timetable
from landingzone.learned_due import LEAST_DAYS, Learned, learn
from landingzone.school_calendar import Days, TimeOff

CHICAGO = ZoneInfo("America/Chicago")
NONE_OFF = Days([])
TODAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 12, tzinfo=CHICAGO).astimezone(UTC)


def came(at: Callable[[date], int | None], *, days: int = 42, today: date = TODAY) -> list[datetime]:
    """Arrivals of the last days: `at` gives the minutes after a day's midnight, or None."""
    found = []
    for back in range(days, -1, -1):
        day = today - timedelta(days=back)
        minutes = at(day)
        if minutes is not None:
            shift, rest = divmod(minutes, DAY_MINUTES)
            wall = datetime(day.year, day.month, day.day, rest // 60, rest % 60, tzinfo=CHICAGO)
            found.append((wall + timedelta(days=shift)).astimezone(UTC))
    return found


def school_days(minutes: int) -> Callable[[date], int | None]:
    return lambda day: minutes + day.day % 10 if day.weekday() < 5 else None


def times(learned: Learned) -> Timetable:
    assert learned.table is not None, learned.why_not
    return learned.table


def test_a_nightly_file_is_due_some_minutes_after_it_mostly_comes_and_not_at_weekends() -> None:
    learned = learn(came(school_days(330)), CHICAGO, NONE_OFF, NOW)
    assert str(times(learned)) == "Mon-Fri 06:00"
    assert learned.sure == "high"


def test_one_day_on_which_it_came_at_noon_moves_nothing() -> None:
    usual = learn(came(school_days(330)), CHICAGO, NONE_OFF, NOW)
    strayed = came(lambda day: 720 if day == date(2026, 11, 10) else school_days(330)(day))
    assert learn(strayed, CHICAGO, NONE_OFF, NOW).table == usual.table


def test_a_weekday_that_is_always_later_stays_later() -> None:
    learned = learn(came(lambda day: 420 if day.weekday() == 0 else school_days(330)(day)), CHICAGO, NONE_OFF, NOW)
    monday, tuesday = times(learned).minutes[:2]
    assert monday
    assert tuesday
    assert monday - tuesday >= 60


def test_a_file_that_comes_around_midnight_is_due_after_it() -> None:
    learned = learn(came(lambda day: 1425 + day.day % 4 * 10 if day.weekday() < 5 else None), CHICAGO, NONE_OFF, NOW)
    friday, saturday = times(learned).minutes[4:6]
    assert friday is not None
    assert DAY_MINUTES < friday < DAY_MINUTES + 60
    assert saturday is None


def test_a_file_that_comes_several_times_a_day_is_due_when_it_comes_first() -> None:
    several = [*came(school_days(470)), *came(school_days(560)), *came(school_days(700))]
    assert str(times(learn(several, CHICAGO, NONE_OFF, NOW))) == "Mon-Fri 08:20"


def test_a_weekly_file_is_due_on_its_day_once_there_are_enough_weeks() -> None:
    learned = learn(came(lambda day: 600 if day.weekday() == 6 else None), CHICAGO, NONE_OFF, NOW)
    assert learned.table is None
    assert learned.sure == "none"
    assert str(LEAST_DAYS) in learned.why_not


def test_holidays_do_not_count_against_a_weekday() -> None:
    off = Days([TimeOff(date(2026, 10, 26), date(2026, 11, 8), "fall break")])
    learned = learn(came(lambda day: None if off(day) else school_days(330)(day)), CHICAGO, off, NOW)
    assert str(times(learned)) == "Mon-Fri 06:00"


def test_no_regular_time_is_not_called_one() -> None:
    learned = learn(came(lambda day: 60 + day.toordinal() * 397 % 1200), CHICAGO, NONE_OFF, NOW)
    assert learned.table is None
    assert "no regular time" in learned.why_not


def test_what_stopped_a_month_ago_is_not_late_every_day() -> None:
    learned = learn(came(lambda day: 330 if day < date(2026, 10, 26) else None), CHICAGO, NONE_OFF, NOW)
    assert learned.table is None


def test_the_present_day_does_not_change_its_own_due_time() -> None:
    before = came(school_days(330), days=42, today=TODAY - timedelta(days=1))
    late = [*before, datetime(2026, 11, 24, 11, tzinfo=CHICAGO).astimezone(UTC)]
    assert learn(late, CHICAGO, NONE_OFF, NOW) == learn(before, CHICAGO, NONE_OFF, NOW)


def test_the_change_of_the_clocks_within_the_weeks_moves_nothing() -> None:
    today = date(2026, 11, 20)
    at = datetime(2026, 11, 20, 12, tzinfo=CHICAGO).astimezone(UTC)
    assert str(times(learn(came(school_days(330), today=today), CHICAGO, NONE_OFF, at))) == "Mon-Fri 06:00"


@given(
    st.lists(
        st.integers(1_790_000_000, 1_796_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)), max_size=90
    )
)
def test_whatever_came_the_order_does_not_matter_and_times_are_within_two_days(arrivals: list[datetime]) -> None:
    learned = learn(arrivals, CHICAGO, NONE_OFF, NOW)
    assert learn(reversed(arrivals), CHICAGO, NONE_OFF, NOW) == learned
    assert (learned.table is None) == bool(learned.why_not)
    if learned.table is not None:
        assert learned.days >= LEAST_DAYS
        assert all(minutes is None or 0 <= minutes < 2 * DAY_MINUTES for minutes in learned.table.minutes)


@given(st.integers(0, DAY_MINUTES - 1), st.integers(0, 45), st.integers(0, 2**32))
def test_most_days_of_a_steady_file_are_not_late_by_what_is_learned_of_them(start: int, spread: int, seed: int) -> None:
    import random

    chance = random.Random(seed)
    strays = {TODAY - timedelta(days=n): chance.randint(0, spread) for n in range(44)}
    arrivals = came(lambda day: start + strays[day], today=TODAY - timedelta(days=1), days=41)
    learned = learn(arrivals, CHICAGO, NONE_OFF, NOW + timedelta(days=1))
    table = times(learned)
    late = 0
    for arrival in arrivals:
        moments = [table.moment(arrival.astimezone(CHICAGO).date() + timedelta(days=n), CHICAGO) for n in (-1, 0, 1)]
        nearest = min((abs((arrival - due).total_seconds()), arrival - due) for due in moments if due is not None)
        late += nearest[1] > timedelta(0)
    assert late <= len(arrivals) // 8
