"""What is in, due, late or held at a moment, and `landingzone due`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from landingzone import landing_record
from landingzone.account import Account
from landingzone.broadcast import BroadcastError, Broadcasts
from landingzone.clock import iso
from landingzone.command import Installation
from landingzone.landing import Landing
from landingzone.school_calendar import SchoolCalendar, parse_days
from landingzone.tables import runs as table
from processor import run as runs
from processor.arrivals import Arrival, Outlook, Timing, outlook

CHICAGO = ZoneInfo("America/Chicago")
ACCOUNT = "springfield"
TUESDAY = datetime(2026, 11, 24, tzinfo=CHICAGO)


def clock(text: str, day: datetime = TUESDAY) -> datetime:
    """A time of that day in the account's zone, as UTC."""
    hours, _, minutes = text.partition(":")
    return day.replace(hour=int(hours), minute=int(minutes)).astimezone(UTC)


@pytest.fixture
def district(here: Installation) -> Account:
    return here.accounts.add(ACCOUNT, time_zone="America/Chicago", actor="test")


@pytest.fixture
def expect(here: Installation, district: Account) -> Callable[..., None]:
    def expect(due: str, feed: str = "students", pattern: str = "", **options: Any) -> None:
        here.sources.expect(
            ACCOUNT, pattern or f"{feed}.csv", feed=here.catalogue[feed], due=due, actor="test", **options
        )

    return expect


Came = Callable[..., str]


@pytest.fixture
def came(here: Installation, district: Account) -> Came:
    """Notes a landing at a moment, and how its run has ended; as the door and a run would."""
    numbers = iter(range(1, 1000))

    def came(at: datetime, outcome: str | None = "imported", file: str = "students.csv", took: float = 5) -> str:
        milliseconds = f"{int(at.timestamp() * 1000):012x}"
        landing = Landing(f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{next(numbers):012x}", ACCOUNT, file)
        source = here.sources.match(ACCOUNT, file)
        with here.db.write() as tx:
            landing_record.note(tx, landing)
            run = runs.add(tx, landing)
            values: dict[str, Any] = {"state": "receipted", "outcome": outcome} if outcome else {"state": "read"}
            if source is not None:
                values["source_id"] = here.sources.id_of(tx, district.id, source)
            if outcome:
                values["finished_at"] = iso(at + timedelta(seconds=took))
            tx.execute(table.update().where(table.c.id == run).values(**values))
        return run

    return came


@pytest.fixture
def look(here: Installation, district: Account) -> Callable[..., Outlook]:
    def look(at: datetime, by_default: str = "learned") -> Outlook:
        with here.db.read() as tx:
            return outlook(tx, district, here.sources, at, by_default=by_default, warn_minutes=30)

    return look


@pytest.fixture
def students(look: Callable[..., Outlook]) -> Callable[[datetime], Arrival]:
    return lambda at: next(one for one in look(at).arrivals if one.feed == "students")


Look = Callable[[datetime], Arrival]


def test_a_file_is_due_then_late_then_in(expect: Any, came: Came, students: Look) -> None:
    expect("06:00")
    assert students(clock("5:00")).timing is Timing.DUE
    assert students(clock("5:59")).timing is Timing.DUE
    late = students(clock("6:00"))
    assert (late.timing, late.due_at, late.landed_at) == (Timing.LATE, clock("6:00"), None)
    came(clock("7:30"))
    found = students(clock("8:00"))
    assert (found.timing, found.landed_at, found.outcome) == (Timing.IN, clock("7:30"), "imported")


@pytest.mark.parametrize("outcome", ["held", "rejected", "failed"])
def test_a_file_that_was_not_applied_is_not_in_whenever_it_came(
    expect: Any, came: Came, students: Look, outcome: str
) -> None:
    expect("06:00")
    run = came(clock("5:00"), outcome)
    before, after = students(clock("5:30")), students(clock("6:30"))
    assert (before.timing, before.outcome, before.run) == (Timing.HELD, outcome, run)
    assert (after.timing, after.outcome, after.run) == (Timing.LATE, outcome, run)


@pytest.mark.parametrize("outcome", ["withdrawn", "superseded", "reverted"])
def test_a_file_that_counts_no_more_is_as_if_it_had_not_come(
    expect: Any, came: Came, students: Look, outcome: str
) -> None:
    expect("06:00")
    came(clock("5:00"), outcome)
    assert (students(clock("6:30")).timing, students(clock("6:30")).outcome) == (Timing.LATE, "")


@pytest.mark.parametrize("outcome", ["imported", "imported_with_rejects", "unchanged"])
def test_a_file_that_was_applied_is_in_also_if_a_later_one_is_held(
    expect: Any, came: Came, students: Look, outcome: str
) -> None:
    expect("06:00")
    came(clock("5:00"), outcome)
    came(clock("5:10"), "held")
    assert students(clock("7:00")).timing is Timing.IN


def test_a_file_that_landed_in_time_and_is_under_way_has_half_an_hour(expect: Any, came: Came, students: Look) -> None:
    expect("06:00")
    came(clock("5:58"), None)
    assert students(clock("6:10")).timing is Timing.DUE
    assert students(clock("6:31")).timing is Timing.LATE


def test_a_file_of_yesterday_that_came_in_the_afternoon_does_not_count_for_today(
    expect: Any, came: Came, students: Look
) -> None:
    expect("06:00")
    yesterday = TUESDAY - timedelta(days=1)
    came(clock("14:00", yesterday))
    assert students(clock("15:00", yesterday)).timing is Timing.IN
    assert students(clock("6:01")).timing is Timing.LATE


def test_the_evening_before_counts(expect: Any, came: Came, students: Look) -> None:
    expect("06:00")
    came(clock("21:00", TUESDAY - timedelta(days=1)))
    assert students(clock("21:30", TUESDAY - timedelta(days=1))).timing is Timing.IN
    assert students(clock("7:00")).timing is Timing.IN


def test_a_file_that_is_due_late_in_the_evening_may_come_past_midnight(expect: Any, came: Came, students: Look) -> None:
    expect("23:30")
    wednesday = TUESDAY + timedelta(days=1)
    assert students(clock("0:10", wednesday)).timing is Timing.LATE
    came(clock("0:20", wednesday))
    after = students(clock("0:30", wednesday))
    assert (after.timing, after.due_at) == (Timing.DUE, clock("23:30", wednesday))
    assert (after.last_due_at, after.last_in_at) == (clock("23:30"), clock("0:20", wednesday) + timedelta(seconds=5))
    assert students(clock("10:00", wednesday)).timing is Timing.DUE


def test_friday_s_file_that_never_came_is_late_over_the_weekend_and_nothing_else_is(
    expect: Any, came: Came, students: Look
) -> None:
    expect("06:00")
    friday, saturday = TUESDAY + timedelta(days=3), TUESDAY + timedelta(days=4)
    assert students(clock("9:00", saturday)).due_at == clock("6:00", friday)
    came(clock("5:00", friday))
    weekend = students(clock("9:00", saturday))
    assert (weekend.timing, weekend.why) == (Timing.NOTHING, "Not on Sat.")


def test_on_a_holiday_nothing_is_due_and_it_says_why(
    here: Installation, expect: Any, came: Came, students: Look
) -> None:
    expect("06:00")
    came(clock("5:00", TUESDAY - timedelta(days=1)))
    SchoolCalendar(here.db).add([parse_days("2026-11-24", "Conference")], account=ACCOUNT, actor="test")
    assert students(clock("9:00")).timing is Timing.NOTHING
    assert students(clock("9:00")).why == "No school: Conference."


def test_what_has_no_time_is_learned_and_none_is_never_late(
    expect: Any, came: Came, students: Look, look: Callable[..., Outlook]
) -> None:
    for back in range(40, 0, -1):
        day = TUESDAY - timedelta(days=back)
        if day.weekday() < 5:
            came(clock("5:30", day))
    learned = students(clock("9:00"))
    assert (learned.timing, learned.origin, learned.sure) == (Timing.LATE, "learned", "high")
    assert learned.rule == "Mon-Fri 05:45"
    assert {one.origin for one in look(clock("9:00"), by_default="none").arrivals} == {"none"}
    expect("none")
    assert students(clock("9:00")).timing is Timing.NOTHING


def test_each_school_has_its_own_file(expect: Any, came: Came, look: Callable[..., Outlook]) -> None:
    expect("06:00", pattern="students_{school}.csv")
    for school in ("014", "015"):
        came(clock("5:00", TUESDAY - timedelta(days=1)), file=f"students_{school}.csv")
    came(clock("5:00"), file="students_014.csv")
    found = {one.source: one.timing for one in look(clock("7:00")).arrivals if one.feed == "students"}
    assert found == {"students_014": Timing.IN, "students_015": Timing.LATE}


def test_a_broadcast_makes_its_feeds_due_and_says_what_it_lacks(
    here: Installation, district: Account, came: Came, look: Callable[..., Outlook]
) -> None:
    made = Broadcasts(here.db, here.catalogue)
    made.put(ACCOUNT, "absences", "10:00", ["attendance"], actor="test")
    with pytest.raises(BroadcastError):
        made.put(ACCOUNT, "absences", "learned", ["attendance"], actor="test")
    with pytest.raises(BroadcastError):
        made.put(ACCOUNT, "absences", "10:00", ["weather"], actor="test")
    early, soon, after = (look(clock(text)).missing for text in ("8:00", "9:30", "10:30"))
    assert [(one.broadcast, one.sources, one.near) for one in early] == [("absences", ("attendance",), False)]
    assert [one.near for one in (*soon, *after)] == [True, True]
    assert look(clock("8:00")).changes_at == clock("9:30")
    came(clock("9:40"), file="attendance.csv")
    assert look(clock("9:45")).missing == ()


def test_the_command_tells_what_is_late_first_and_what_to_do(
    here: Installation, district: Account, expect: Any, came: Came, capsys: pytest.CaptureFixture[str]
) -> None:
    from landingzone.cli import app

    expect("06:00")
    expect("05:00", "staff")
    expect("07:00", "guardians")
    expect("06:30", "sections")
    held = came(clock("4:00"), "held", "staff.csv")
    came(clock("4:00"), "imported", "guardians.csv")

    def run(*words: str) -> str:
        app(["--root", str(here.settings.root), *words], standalone_mode=False)
        return capsys.readouterr().out

    run("broadcasts", "set", ACCOUNT, "absences", "6:20", "--needs", "attendance")
    at = iso(clock("6:10"))
    told = run("due", ACCOUNT, "--at", at).splitlines()
    assert told[0] == f"WARNING  {ACCOUNT}: attendance for the 06:20 broadcast (absences) is not in."
    assert [line.split()[::2][:2] for line in told[2:4]] == [["LATE", "staff"], ["LATE", "students"]]
    assert f"late for 1 h 10 min; landed Tue 04:00, held; landingzone runs show {held}" in told[2]
    assert "Tue 06:00 CST" in told[3]
    assert "nothing has come" in told[3]
    assert told[-1] == "2 late, 0 held, 2 due, 1 in, 4 nothing due."
    everywhere = run("due", "--at", at)
    assert "guardians" not in everywhere
    found = json.loads(run("due", "--json", "--at", at))
    assert found["at"] == at
    assert found["missing"][0]["sources"] == ["attendance"]
    assert [one["timing"] for one in found["sources"]] == ["late"] * 2 + ["due"] * 2 + ["in"] + ["nothing due"] * 4
    assert found["sources"][1]["due_at"] == iso(clock("6:00"))
