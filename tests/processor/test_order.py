"""The state after a day's files is the same in whatever order they came; of one source the newest wins."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landingzone import landing_record
from landingzone.command import Installation
from processor import account_data, merged
from processor import run as runs
from processor.durable_steps import durable_steps
from processor.service import open_context

pytestmark = pytest.mark.both_databases


def lines(header: str, *rows: str) -> bytes:
    return ("\r\n".join([header, *rows]) + "\r\n").encode()


STUDENTS = "Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone,Email"
GUARDIANS = "Student ID,Guardian ID,Category,First Name,Last Name,Phone Number"
FAMILIES = (
    "Student ID,Student First Name,Student Last Name,Guardian 1 ID Number,Guardian 1 First Name,"
    "Guardian 1 Last Name,Guardian 1 Category,Guardian 1 Phone Number"
)
#: file name -> the day's files of that source, oldest first
DAY = {
    "students_001.csv": [
        lines(STUDENTS, "1,Al,Lee,2065550001,001,,al@example.org", "2,Bo,Ray,2065550002,001,,"),
        lines(STUDENTS, "1,Al,Lee,2065550009,001,,", "2,Bo,Ray,2065550002,001,,", "9,Ed,Roe,bad,001,,"),
    ],
    "students_002.csv": [
        lines(STUDENTS, "2,Bo,Ray,2065550003,002,4255550003,bo@example.org", "3,Cy,Poe,2065550004,002,,")
    ],
    "families.csv": [
        lines(FAMILIES, "1,Alan,Lee,G1,Ann,Lee,Mother,2065550101", "4,Di,Fox,G2,Fay,Fox,Mother,2065550102")
    ],
    "guardians.csv": [lines(GUARDIANS, "1,G1,Mother,Anne,Lee,2065550199", "3,G3,Father,Guy,Poe,2065550103")],
    "sections.csv": [
        lines("Staff ID,School ID#,Section#,Period,Course Name", "T1,001,M1,1,Math", "T2,002,S1,2,Science")
    ],
    "enrollments.csv": [lines("Student ID,School ID#,Section#", "1,001,M1", "2,001,M1", "3,002,S1")],
    "staff.csv": [lines("Staff ID,Last Name,First Name,Phone,School", "T1,Orr,Pat,2065550201,001")],
    "attendance.csv": [
        lines("Student ID,Absence Date,Reason,Periods", "1,01/30/2026,SICK,1;2", "2,01/30/2026,,"),
        lines("Student ID,Absence Date,Reason,Periods", "2,01/30/2026,LATE,", "3,01/31/2026,SICK,3"),
    ],
}
NUMBERS = itertools.count()
FILES = [(name, number) for name, contents in DAY.items() for number in range(len(contents))]


@st.composite
def interleavings(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Any order in which the files of each source keep theirs."""
    order = draw(st.permutations(FILES))
    waiting = {name: iter(range(len(DAY[name]))) for name in DAY}
    return [(name, next(waiting[name])) for name, _ in order]


class Zone:
    """A copy of an empty zone, in which files are taken through at once."""

    def __init__(self, template: Path, root: Path) -> None:
        shutil.copytree(template, root)
        self.here = Installation(root)
        self.here.accounts.add("springfield", actor="test")
        self.here.zone.prepare_account("springfield")
        for pattern, priority in (("students_{school}.csv", 10), ("families.csv", 50)):
            feed = self.here.catalogue["students" if "{" in pattern else "families"]
            self.here.sources.expect("springfield", pattern, feed=feed, actor="test", priority=priority)
        self.context = open_context(self.here.settings, self.here.db)

    def bring(self, name: str, content: bytes) -> str:
        zone = self.here.zone
        upload, descriptor = zone.begin_upload("springfield", name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        landing = zone.new_landing("springfield", name)
        zone.land(upload, landing)
        with self.here.db.write() as tx:
            landing_record.note(tx, landing)
            run_id = runs.add(tx, landing)
        durable_steps(self.context)(run_id)
        with self.here.db.read() as tx:
            outcome = runs.get(tx, run_id).outcome
        assert outcome is not None
        return outcome.value

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every feed's merged records, and every source's active rows, without the runs' numbers."""
        found: dict[str, list[tuple[Any, ...]]] = {}
        with self.here.db.read() as tx:
            account = self.here.accounts.get("springfield").id
            for feed in account_data.kept_feeds(self.here.catalogue):
                rows = tx.execute(sa.select(merged.merged(tx, feed, account))).all()
                found[feed.name] = sorted(tuple(row) for row in rows)
                table = account_data.table_of(feed)
                names = sa.text("SELECT id, name FROM sources")
                source = dict(tuple(row) for row in tx.execute(names))
                active = tx.execute(table.select().where(table.c.ended_run.is_(None))).mappings()
                found[f"rows of {feed.name}"] = sorted(
                    (source[row["source_id"]], *(row[name] for name in feed.field_names)) for row in active
                )
        return found


@pytest.fixture
def make_zone(_empty_root: Path, tmp_path: Path) -> Callable[[str], Zone]:
    return lambda name: Zone(_empty_root, tmp_path / name)


@pytest.fixture
def expected(make_zone: Callable[[str], Zone]) -> dict[str, list[tuple[Any, ...]]]:
    zone = make_zone("expected")
    for name, number in FILES:
        zone.bring(name, DAY[name][number])
    state = zone.state()
    assert all(state[feed] for feed in ("students", "guardians", "associations", "attendance", "enrollments", "staff"))
    return state


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=interleavings())
def test_any_order_between_sources_gives_the_same_state(
    make_zone: Callable[[str], Zone], expected: dict[str, Any], order: list[tuple[str, int]]
) -> None:
    zone = make_zone(f"zone-{next(NUMBERS)}")
    for name, number in order:
        assert zone.bring(name, DAY[name][number]) in {"imported", "imported_with_rejects"}
    assert zone.state() == expected
    zone.here.db.close()
    shutil.rmtree(zone.here.settings.root)


def test_fields_come_from_the_sources_in_order_of_priority(expected: dict[str, list[tuple[Any, ...]]]) -> None:
    by_id: Callable[[str], tuple[Any, ...]] = lambda key: next(row for row in expected["students"] if key in row)  # noqa: E731
    assert "Al" in by_id("1")
    assert "2065550009" in by_id("1")
    assert {"bo@example.org", "2065550002"} <= set(by_id("2"))
    assert "Di" in by_id("4")
