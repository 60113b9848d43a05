"""What does not fit together between an account's files: told as long as it is so, and never a reason to reject."""

import json
from collections.abc import Callable, Collection
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from landingzone.cli import app
from processor.integrity import CODES, Finding, findings, shared_ids, warnings_for

pytestmark = pytest.mark.both_databases

SECTIONS = "staff_id,school_id,section_id,period,course_name\n"
ENROLLMENTS = "student_id,school_id,section_id\n"
STAFF = "staff_id,last_name,first_name,phone,school_id\n"
GUARDIANS = "guardian_id,first_name,last_name,phone\n"
ASSOCIATIONS = "student_id,guardian_id,category\n"


@pytest.fixture
def bring(desk: Any) -> Callable[[str, str], None]:
    def brought(name: str, text: str) -> None:
        told = desk.bring(f"{name}.csv", text.encode())
        assert told["outcome"] == "imported", told

    return brought


@pytest.fixture
def look(desk: Any) -> Callable[..., dict[tuple[str, str, str], Finding]]:
    """What is open: by code, feed and field."""

    def looked(limit: int | None = 10) -> dict[tuple[str, str, str], Finding]:
        here = desk.night.here
        with here.db.read() as tx:
            found = list(findings(tx, here.catalogue, here.accounts.get("springfield").id, limit=limit))
        return {(one.code, one.feed, one.field): one for one in found}

    return looked


@pytest.fixture
def warn(desk: Any) -> Callable[..., list[dict[str, Any]]]:
    """The warnings of a file that gave records of these feeds."""

    def warned(feeds: Collection[str], run: int | None = None) -> list[dict[str, Any]]:
        here = desk.night.here
        with here.db.read() as tx:
            return warnings_for(tx, here.catalogue, here.accounts.get("springfield").id, feeds, run=run)

    return warned


Bring = Callable[[str, str], None]
Look = Callable[..., dict[tuple[str, str, str], Finding]]
Warn = Callable[..., list[dict[str, Any]]]
Students = Callable[..., bytes]
TO_SECTION = ("reference_missing", "enrollments", "school_id,section_id")
TO_STUDENT = ("reference_missing", "enrollments", "student_id")


def test_a_missing_partner_is_open_until_its_file_comes(bring: Bring, look: Look, students: Students) -> None:
    bring("students", students(3).decode())
    bring("sections", SECTIONS + "t1,001,A,1,Art\n")
    bring("enrollments", ENROLLMENTS + "1000,001,A\n1001,001,B\n77,002,A\n")
    open_now = look()
    assert open_now[TO_SECTION].count == 2
    assert open_now[TO_SECTION].records[0] == {"student_id": "1001", "school_id": "001", "section_id": "B"}
    assert open_now[TO_STUDENT].records == ({"student_id": "77", "school_id": "002", "section_id": "A"},)
    assert "77" in open_now[TO_STUDENT].message
    bring("sections", SECTIONS + "t1,001,A,1,Art\nt1,001,B,1,Art\nt1,002,A,1,Art\n")
    bring("students", students(3).decode() + "77,Ann,Lee,2065550000,001,4255550000,1\n")
    assert set(look()) == {("feed_never_sent", "sections", "staff_id")}


def test_a_partner_that_leaves_opens_its_references(bring: Bring, look: Look, students: Students) -> None:
    bring("students", students(3).decode())
    bring("enrollments", ENROLLMENTS + "1002,001,A\n")
    bring("students", students(2).decode())
    assert look()[TO_STUDENT].count == 1


def test_a_file_that_never_comes_is_told_once(bring: Bring, look: Look, warn: Warn) -> None:
    bring("sections", SECTIONS + "".join(f"t{at},001,S{at},1,Art\n" for at in range(30)))
    bring("teachers", "teacher_id,first_name,last_name,user_name,email\nt1,A,B,ab,a@example.com\n")
    (only,) = look().values()
    assert (only.code, only.other) == ("feed_never_sent", "staff")
    assert "staff_id of sections, teacher_id of teachers" in only.message
    assert warn(["sections", "teachers"]) == []


def test_a_file_that_came_once_is_asked_for(bring: Bring, look: Look) -> None:
    bring("staff", STAFF + "t1,Ames,Tia,2065550000,001\n")
    bring("sections", SECTIONS + "t1,001,A,1,Art\nt2,001,B,1,Art\n")
    found = look()["reference_missing", "sections", "staff_id"]
    assert found.records == ({"school_id": "001", "section_id": "B", "staff_id": "t2"},)


def test_an_id_of_two_kinds_of_people_is_told(desk: Any, bring: Bring, warn: Warn, students: Students) -> None:
    bring("students", students(3).decode())
    bring("staff", STAFF + "1001,Ames,Tia,2065550000,001\n")
    bring("guardians", GUARDIANS + "1001,Eva,Diaz,2065550101\n1002,Leo,Diaz,2065550101\n")
    here = desk.night.here
    with here.db.read() as tx:
        found = list(shared_ids(tx, here.catalogue, here.accounts.get("springfield").id))
    assert [(one.feed, one.other, [record[one.field] for record in one.records]) for one in found] == [
        ("students", "staff", ["1001"]),
        ("students", "guardians", ["1001", "1002"]),
        ("staff", "guardians", ["1001"]),
    ]
    assert [(one["code"], one["field"], one["count"]) for one in warn(["staff"])] == [
        ("id_shared", "student_id", 1),
        ("id_shared", "staff_id", 1),
    ]
    assert warn(["sections"]) == []


def test_an_associations_two_sides_are_asked_for(bring: Bring, look: Look, students: Students) -> None:
    bring("students", students(3).decode())
    bring("guardians", GUARDIANS + "g1,Eva,Diaz,2065550101\n")
    bring("associations", ASSOCIATIONS + "1000,g1,Mother\n1001,g2,Father\n5,g1,Aunt\n")
    found = look()
    assert found["reference_missing", "associations", "guardian_id"].records[0]["guardian_id"] == "g2"
    assert found["reference_missing", "associations", "student_id"].records[0]["student_id"] == "5"


def test_values_that_only_together_look_the_same_are_no_partners(bring: Bring, look: Look, students: Students) -> None:
    bring("students", students(1).decode())
    bring("sections", SECTIONS + "7,01,23,1,Art\n7,1:2,3,1,Art\n")
    bring("enrollments", ENROLLMENTS + "1000,01,23\n1000,012,3\n1000,1,2:3\n")
    assert look()["reference_missing", "enrollments", "school_id,section_id"].count == 2


def test_two_sources_of_a_record_count_once_and_say_what_they_say_together(desk: Any, bring: Bring, look: Look) -> None:
    here = desk.night.here
    bring("staff", STAFF + "t1,Ames,Tia,2065550000,001\n")
    bring("students", "student_id,first_name,last_name,phone,school_id\n1,A,B,2065550000,001\n")
    for feed in ("sections", "enrollments"):
        for name, priority in (("first", 1), ("second", 2)):
            here.sources.expect(
                "springfield", f"{name}_{feed}.csv", feed=here.catalogue[feed], actor="test", priority=priority
            )
    bring("first_sections", SECTIONS + "t1,001,A,1,Art\nt7,001,B,1,Art\n")
    bring("second_sections", SECTIONS + "t8,001,A,1,Art\nt1,001,B,1,Art\n")
    bring("first_enrollments", ENROLLMENTS + "1,001,A\n1,001,Q\n")
    bring("second_enrollments", ENROLLMENTS + "1,001,Q\n1,001,B\n")
    found = look()
    assert found["reference_missing", "sections", "staff_id"].records == (
        {"school_id": "001", "section_id": "B", "staff_id": "t7"},
    )
    assert found[TO_SECTION].count == 1


def test_the_first_ones_are_listed_and_all_on_request(bring: Bring, look: Look, students: Students) -> None:
    bring("students", students(1).decode())
    bring("enrollments", ENROLLMENTS + "".join(f"x{at},001,A\n" for at in range(15)))
    assert (look()[TO_STUDENT].count, len(look()[TO_STUDENT].records)) == (15, 10)
    assert len(look(limit=None)[TO_STUDENT].records) == 15


def test_a_receipts_warnings_are_of_its_own_feeds_and_on_request_of_its_own_rows(
    desk: Any, bring: Bring, warn: Warn, students: Students
) -> None:
    bring("students", students(3).decode())
    bring("enrollments", ENROLLMENTS + "1000,001,A\n8,001,A\n")
    bring("enrollments", ENROLLMENTS + "1000,001,A\n8,001,A\n9,001,A\n")
    (warning,) = warn(["enrollments"])
    assert (warning["code"], warning["field"], warning["count"], warning["lines"]) == (
        "reference_missing",
        "student_id",
        2,
        [],
    )
    newest = desk.night.runs()[-1].serial
    assert [one["count"] for one in warn(["enrollments"], newest)] == [1]
    assert warn(["students"]) == []


def test_the_command_lists_what_is_open(desk: Any, bring: Bring, students: Students) -> None:
    root = str(desk.night.here.settings.root)

    def typed(*words: str) -> str:
        told = CliRunner().invoke(app, ["--root", root, "accounts", "integrity", "springfield", *words])
        assert told.exit_code == 0, told.output
        return told.stdout

    assert typed() == "Nothing is open.\n"
    bring("students", students(1).decode())
    bring("enrollments", ENROLLMENTS + "".join(f"x{at:02},001,A\n" for at in range(12)))
    assert "student_id x00" in typed()
    assert "and 2 more" in typed()
    assert "student_id x11" in typed("--all")
    told = json.loads(typed("--json"))
    assert {one["code"] for one in told} == {"reference_missing", "feed_never_sent"} <= set(CODES)
    assert told[0]["records"][0] == {"student_id": "x00", "school_id": "001", "section_id": "A"}


def test_rows_of_which_statistics_know_nothing_are_not_compared_each_with_each(desk: Any) -> None:
    asked: list[str] = []
    sa.event.listen(desk.context.db.engine, "before_cursor_execute", lambda *told: asked.append(told[2]), named=False)
    desk.bring("sections.csv", b"Staff ID,School ID#,Section ID,Period,Course Name\r\n9,001,S1,1,Art\r\n")
    desk.bring("enrollments.csv", b"Student ID,School ID#,Section ID\r\n1,001,S1\r\n2,001,S2\r\n")
    if desk.context.db.is_sqlite:
        return
    told = [one.rpartition(" ")[2] if "enable_nestloop" in one else "asked" for one in asked]
    comparing = [before for before, one in zip(told, asked[1:], strict=False) if "AS MATERIALIZED" in one]
    assert comparing
    assert set(comparing) == {"off"}
    assert [one for one in told if one in {"on", "off"}][-1] == "on"
