"""The sight of every account, kept up to date, says what is said of each account when it is asked for alone."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from console.tonight import PAGE, Board, State, Wanted, state_of
from landingzone import landing_record
from landingzone.broadcast import Broadcasts
from landingzone.clock import iso
from landingzone.command import Installation
from landingzone.landing import Landing, least_id_of
from landingzone.school_calendar import SchoolCalendar, parse_days
from landingzone.settings import ArrivalSettings
from landingzone.tables import landings
from landingzone.tables import runs as table
from processor import run as runs
from processor.arrivals import Arrival, Timing, outlook
from processor.arrived import Came, Files
from processor.night import Night
from processor.outcome import Outcome

SETTINGS = ArrivalSettings()
START = datetime(2026, 9, 7, 4, tzinfo=UTC)
ZONES = ("America/Chicago", "Pacific/Auckland", "UTC", "America/Santiago")
FILES = (
    "students.csv",
    "Students.csv.gz",
    "staff.csv",
    "attendance.csv",
    "sections_014.csv",
    "sections_015.csv",
    "x.csv",
)


@pytest.fixture
def districts(here: Installation) -> list[str]:
    names = [f"district-{number}" for number in range(len(ZONES))]
    for name, zone in zip(names, ZONES, strict=True):
        here.accounts.add(name, time_zone=zone, actor="test")
    for name in names[:3]:
        here.sources.expect(name, "sections_{school}.csv", feed=here.catalogue["sections"], actor="test")
    here.sources.expect(names[0], "students.csv", feed=here.catalogue["students"], due="06:00", actor="test")
    here.sources.expect(names[1], "staff.csv", feed=here.catalogue["staff"], due="daily 23:40", actor="test")
    Broadcasts(here.db, here.catalogue).put(names[2], "absences", "10:00", ["attendance"], actor="test")
    return names


class History:
    """What happens to some accounts, by chance; as the door, the import, and people write it down."""

    def __init__(self, here: Installation, districts: list[str], seed: int) -> None:
        self.here, self.districts, self.chance = here, districts, random.Random(seed)
        self._numbers = iter(range(1, 100_000))
        self._steady: set[tuple[str, date]] = set()
        self._open: list[tuple[str, str, str]] = []
        self._ended: list[tuple[str, str]] = []

    def go_on(self, at: datetime, until: datetime) -> None:
        """Some of what may happen between two moments, and what comes every morning."""
        while at < until:
            for name in self.districts[2:]:
                if (name, at.date()) not in self._steady and at.hour >= 9:
                    self._steady.add((name, at.date()))
                    morning = at.replace(hour=9, minute=self.chance.randint(0, 20))
                    self._take_up(name, "teachers.csv", morning)
            what = self.chance.choices(
                (self._lands, self._ends, self._asked, self._changed, self._noted_only), (40, 60, 8, 2, 6)
            )[0]
            what(at)
            at += timedelta(minutes=self.chance.randint(1, 180))

    def _lands(self, at: datetime) -> None:
        account = self.chance.choice(self.districts)
        self._take_up(account, self.chance.choice(FILES), at - timedelta(minutes=self.chance.choice((0, 0, -3))))

    def _take_up(self, account: str, file: str, at: datetime) -> None:
        landing = self._landing(account, file, at)
        with self.here.db.write() as tx:
            landing_record.note(tx, landing)
            self._open.append((runs.add(tx, landing), account, file))

    def _landing(self, account: str, file: str, at: datetime) -> Landing:
        milliseconds = f"{int(at.timestamp() * 1000):012x}"
        return Landing(f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{next(self._numbers):012x}", account, file)

    def _ends(self, at: datetime) -> None:
        if not self._open:
            return
        run, account, file = self._open.pop(self.chance.randrange(len(self._open)))
        source = self.here.sources.match(account, file)
        with self.here.db.write() as tx:
            outcome = (
                self.chance.choice([*Outcome, *[Outcome.HELD] * 9, *[Outcome.IMPORTED] * 9])
                if source
                else Outcome.UNRECOGNISED
            )
            values: dict[str, Any] = {"outcome": outcome.value, "finished_at": iso(at)}
            if source is not None:
                account_id = self.here.accounts.get(account).id
                values["source_id"] = self.here.sources.id_of(tx, account_id, source)
                if outcome is Outcome.IMPORTED:
                    theirs = (table.c.source_id == values["source_id"]) & table.c.outcome.in_(["held", "failed"])
                    tx.execute(table.update().where(theirs).values(outcome="superseded", superseded_by=run))
            state = self.chance.choice(("applied", "archived", "receipted", "receipted"))
            tx.execute(table.update().where(table.c.id == run).values(state=state, **values))
        self._ended.append((run, account))

    def _asked(self, at: datetime) -> None:
        """An operator asks for another attempt of a file that has ended."""
        if self._ended:
            run, account = self._ended.pop()
            landing_id = run.partition(":")[0]
            with self.here.db.write() as tx:
                file = tx.execute(sa.select(landings.c.name).where(landings.c.id == landing_id)).scalar_one()
                self._open.append((runs.add(tx, Landing(landing_id, account, file)), account, file))

    def _noted_only(self, at: datetime) -> None:
        """The door notes a landing that nobody has taken up; some are withdrawn."""
        landing = self._landing(self.chance.choice(self.districts), "staff.csv", at)
        with self.here.db.write() as tx:
            landing_record.note(tx, landing)
            if self.chance.random() < 0.3:
                landing_record.note_withdrawal(tx, landing)

    def _changed(self, at: datetime) -> None:
        """Somebody changes what is expected."""
        account = self.chance.choice(self.districts)
        match self.chance.randrange(3):
            case 0:
                due = self.chance.choice(("06:00", "learned", "none", "Mon-Thu 05:30, Fri 12:00"))
                feed = self.here.catalogue["students"]
                self.here.sources.expect(account, "students.csv", feed=feed, due=due, actor="test")
            case 1:
                day = parse_days(str(at.date() + timedelta(days=self.chance.randint(0, 3))), "Snow")
                SchoolCalendar(self.here.db).add([day], account=self.chance.choice((account, None)), actor="test")
            case 2:
                self.here.accounts.set_enabled(account, self.chance.random() < 0.8, actor="test")


def moments(chance: random.Random) -> Iterator[datetime]:
    """Steps of some minutes to two days, over a month in which some clocks are changed."""
    at = START
    while at < START + timedelta(days=30):
        yield at
        at += timedelta(minutes=chance.choice((1, 30, 90, 300, 500, 800, 1300)))


@pytest.mark.both_databases
@pytest.mark.parametrize("seed", [1, 3])
def test_of_each_account_the_same_is_seen_as_when_it_is_asked_for_alone(
    here: Installation, districts: list[str], seed: int
) -> None:
    history, night, before = History(here, districts, seed), Night(here.db, here.sources, SETTINGS), START
    board = Board(tuple(here.catalogue))
    told: set[str] = set()
    timings, origins = set(), set()
    for at in moments(history.chance):
        history.go_on(before, at)
        before = at
        old = night.sight
        told.clear()
        sight = night.look(at, on_change=lambda seen, names: told.update(names) or board.take(seen, names))
        enabled = [one for one in here.accounts.all() if one.enabled]
        assert sight.stands.keys() == {one.name for one in enabled}
        for account in enabled:
            with here.db.read() as tx:
                alone = outlook(tx, account, here.sources, at, by_default="learned", warn_minutes=30)
            seen = sight.stands[account.name].outlook
            assert (seen.arrivals, seen.missing, seen.changes_at) == (alone.arrivals, alone.missing, alone.changes_at)
            timings |= {one.timing for one in seen.arrivals}
            origins |= {one.origin for one in seen.arrivals}
            was = old.stands.get(account.name)
            assert account.name in told or (was is not None and was.outlook == seen)
        assert old.stands.keys() - sight.stands.keys() <= told
        fresh = Board(tuple(here.catalogue))
        fresh.take(sight, frozenset(sight.stands))
        grid = board.grid(sight, Wanted())
        assert (grid.rows, grid.counts) == (fresh.grid(sight, Wanted()).rows, fresh.grid(sight, Wanted()).counts)
    assert timings >= set(Timing) - {Timing.HELD}
    assert origins == {"typed", "learned", "broadcast", "none"}


AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def came(hours_ago: float, outcome: str) -> Came:
    landed_at = AT - timedelta(hours=hours_ago)
    landing_id = least_id_of(landed_at)
    return Came(landing_id, landed_at, outcome, f"{landing_id}:1", None)


def told(timing: Timing, newest: Came | None = None, newest_in: Came | None = None, run: str = "") -> State:
    """The one word of a source that is due at 11:00."""
    due_at = AT - timedelta(hours=1) if timing is not Timing.NOTHING else None
    arrival = Arrival("a", "students", "students", "students.csv", timing, due_at=due_at, run=run)
    files = Files((), newest or newest_in, newest_in)
    return state_of(arrival, files, ZoneInfo("UTC"), AT)[0]


@pytest.mark.parametrize(
    ("timing", "newest", "newest_in", "state"),
    [
        (Timing.DUE, None, None, State.DUE),
        (Timing.LATE, None, None, State.LATE),
        (Timing.LATE, None, came(30, "imported"), State.LATE),
        (Timing.IN, None, came(1, "imported"), State.IN),
        (Timing.IN, None, came(1, "unchanged"), State.UNCHANGED),
        (Timing.LATE, came(1, "held"), None, State.HELD),
        (Timing.DUE, came(40, "held"), came(90, "imported"), State.HELD),
        (Timing.DUE, came(40, "failed"), None, State.FAILED),
        (Timing.LATE, came(0.1, "under way"), came(24, "imported"), State.IMPORTING),
        (Timing.NOTHING, None, came(2, "imported"), State.IN),
        (Timing.NOTHING, None, came(20, "imported"), State.NOTHING),
        (Timing.NOTHING, None, None, State.NOTHING),
        (Timing.NOTHING, came(2, "rejected"), None, State.REJECTED),
        (Timing.NOTHING, came(20, "rejected"), None, State.NOTHING),
        (Timing.IN, came(3, "held"), came(1, "imported"), State.IN),
    ],
)
def test_a_source_stands_in_one_word(timing: Timing, newest: Came | None, newest_in: Came | None, state: State) -> None:
    assert told(timing, newest, newest_in) is state


def test_a_rejected_file_that_counts_for_what_is_due_is_told_however_old_it_is() -> None:
    rejected = came(40, "rejected")
    assert told(Timing.LATE, rejected, run=rejected.run) is State.REJECTED
    assert told(Timing.LATE, rejected) is State.LATE


def test_who_needs_somebody_comes_first_and_a_page_shows_some(here: Installation) -> None:
    for number in range(PAGE + 20):
        here.accounts.add(f"district-{number:03}", title=f"School No. {number}", actor="test")
    expected = "00:01"
    here.sources.expect("district-100", "students.csv", feed=here.catalogue["students"], due=expected, actor="test")
    night, board = Night(here.db, here.sources, SETTINGS), Board(tuple(here.catalogue))
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    sight = night.look(at, on_change=board.take)
    first, second = board.grid(sight, Wanted()), board.grid(sight, Wanted(page=2))
    assert (first.pages, len(first.rows), len(second.rows), first.urgent) == (2, PAGE, 20, 1)
    assert [row.account for row in first.rows[:2]] == ["district-100", "district-000"]
    assert board.grid(sight, Wanted(page=9)).page == 2
    assert [row.account for row in board.grid(sight, Wanted("no. 11", None)).rows][:2] == [
        "district-011",
        "district-110",
    ]
    assert [row.account for row in board.grid(sight, Wanted(state=State.LATE)).rows] == ["district-100"]
    assert first.counts[State.LATE] == 1
    assert first.digest == board.grid(night.look(at, on_change=board.take), Wanted()).digest
    here.accounts.set_enabled("district-100", False, actor="test")
    sight = night.look(at, on_change=board.take)
    assert board.grid(sight, Wanted()).urgent == 0
    assert board.grid(sight, Wanted()).digest != first.digest
    assert board.grid(sight, Wanted(page=2)).digest != second.digest
