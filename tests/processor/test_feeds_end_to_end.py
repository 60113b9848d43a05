"""Every feed, from its file to the account's data: what each gives, what a later file of it says."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.both_databases

GUARDIANS = "Student ID,Guardian ID,Guardian Category,First Name,Last Name,Phone Number"


def csv(header: str, *lines: str) -> bytes:
    quoted = (",".join(f'"{value}"' for value in line.split(",")) for line in lines)
    return ("\r\n".join([header, *quoted]) + "\r\n").encode()


def active(desk: Any, feed: str) -> list[tuple[Any, ...]]:
    return [row[:-1] for row in desk.night.rows(feed) if row[-1]]


def test_attendance_is_the_whole_truth_of_each_date_that_it_names(desk: Any) -> None:
    header = "Student ID,Absence Date,Reason,Periods"
    desk.bring("attendance.csv", csv(header, "1,01/30/2026,SICK,1", "2,01/30/2026,,1;3", "1,01/31/2026,SICK,"))
    assert len(active(desk, "attendance")) == 4
    told = desk.bring("attendance.csv", csv(header, "2,01/30/2026,,1"))
    assert told["outcome"] == "imported"
    rows = {tuple(row[:4]) for row in active(desk, "attendance")}
    assert len(rows) == 2
    assert {("1", "2026-01-31"), ("2", "2026-01-30")} == {
        (row[desk.context.catalogue["attendance"].field_names.index("student_id")], day)
        for row in active(desk, "attendance")
        for day in row
        if str(day).startswith("2026-")
    }


def test_attendance_without_a_date_means_the_day_of_landing_where_the_account_is(desk: Any) -> None:
    told = desk.bring("attendance.csv", csv("Student ID,Reason", "1,SICK"))
    assert told["rows"]["added"] == 1
    day = next(value for value in active(desk, "attendance")[0] if len(value) == 10 and value[4] == "-")
    assert day == told["landed_at"][:10]


def test_a_guardians_file_with_students_gives_guardians_and_associations(desk: Any) -> None:
    told = desk.bring(
        "guardians.csv",
        csv(
            GUARDIANS,
            "1,G1,Mother,Ann,Lee,2065550101",
            "2,G1,Mother,Ann,Lee,2065550101",
            "2,G2,Father,Bo,Lee,2065550102",
        ),
    )
    assert told["outcome"] == "imported"
    assert [row[0] for row in active(desk, "guardians")] == ["G1", "G2"]
    assert [row[:2] for row in active(desk, "associations")] == [("1", "G1"), ("2", "G1"), ("2", "G2")]
    desk.bring("guardians.csv", csv(GUARDIANS, "1,G1,Mother,Ann,Lee,2065550101", "2,G2,Father,Bo,Lee,2065550102"))
    assert [row[:2] for row in active(desk, "associations")] == [("1", "G1"), ("2", "G2")]


def test_three_files_give_the_same(desk: Any) -> None:
    header = "Guardian ID,First Name,Last Name,Phone Number"
    desk.bring("guardians.csv", csv(header, "G1,Ann,Lee,2065550101", "G2,Bo,Lee,2065550102"))
    desk.bring("associations.csv", csv("Student ID,Guardian ID,Category", "1,G1,Mother", "2,G1,Mother", "2,G2,Father"))
    assert len(active(desk, "guardians")) == 2
    assert [row[:2] for row in active(desk, "associations")] == [("1", "G1"), ("2", "G1"), ("2", "G2")]


def test_an_all_in_one_file_gives_students_guardians_and_associations(desk: Any) -> None:
    names = ("ID Number", "First Name", "Last Name", "Category", "Phone Number")
    group = ",".join(f"Guardian {{0}} {name}" for name in names)
    header = f"Student ID,Student First Name,Student Last Name,{group.format(1)},{group.format(2)}"
    told = desk.bring(
        "families.csv",
        csv(
            header,
            "1,Al,Lee,G1,Ann,Lee,Mother,2065550101,G2,Bo,Lee,Father,2065550102",
            "2,Cy,Ray,G3,Di,Ray,Mother,2065550103,,,,,",
        ),
    )
    assert told["outcome"] == "imported"
    assert [row[0] for row in active(desk, "students")] == ["1", "2"]
    assert [row[0] for row in active(desk, "guardians")] == ["G1", "G2", "G3"]
    assert [row[:2] for row in active(desk, "associations")] == [("1", "G1"), ("1", "G2"), ("2", "G3")]


def test_each_school_speaks_for_its_own_students_only(desk: Any, students: Callable[..., bytes]) -> None:
    here = desk.night.here
    here.sources.expect("springfield", "students_{school}.csv", feed=here.catalogue["students"], actor="test")
    desk.bring("students_001.csv", students(10))
    told = desk.bring("students_002.csv", students(10, start=2000))
    assert (told["source"], told["rows"]["deactivated"]) == ("students_002", 0)
    desk.bring("students_001.csv", students(8))
    assert len(active(desk, "students")) == 18


def test_a_mapping_of_the_accounts_own_is_used_and_changes_what_unchanged_means(
    desk: Any, students: Callable[..., bytes]
) -> None:
    from landingzone.kept_mapping import KeptMapping

    content = students(10).replace(b"Student ID", b"Perm").replace(b"Grade", b"Klass")
    assert desk.bring("students.csv", content)["outcome"] == "rejected"
    kept = KeptMapping({"student_id": "Perm"})
    desk.night.here.sources.keep_mapping("springfield", "students", kept, actor="test")
    assert desk.bring("students.csv", content)["outcome"] == "imported"
    kept = KeptMapping({"student_id": "Perm", "grade": "Klass"})
    desk.night.here.sources.keep_mapping("springfield", "students", kept, actor="test")
    told = desk.bring("students.csv", content)
    assert (told["outcome"], told["rows"]["changed"]) == ("imported", 10)


@pytest.mark.parametrize(("strict", "outcome"), [(False, "imported"), (True, "imported_with_rejects")])
def test_an_account_may_hold_to_the_letter_of_the_reference(
    desk: Any, students: Callable[..., bytes], strict: bool, outcome: str
) -> None:
    desk.night.here.accounts.set_options("springfield", {"strict_alt_phone": strict}, actor="test")
    assert desk.bring("students.csv", students(10, alt={4: ""}))["outcome"] == outcome


def test_delta_files_add_and_change_and_deactivate_nothing(desk: Any, students: Callable[..., bytes]) -> None:
    from landingzone.feed import Mode

    here = desk.night.here
    here.sources.expect("springfield", "students.csv", feed=here.catalogue["students"], actor="test", mode=Mode.DELTA)
    desk.bring("students.csv", students(30))
    told = desk.bring("students.csv", students(2, start=1029))
    assert (told["outcome"], told["rows"]["added"], told["rows"]["deactivated"]) == ("imported", 1, 0)
    assert len(active(desk, "students")) == 31


def test_a_missing_partner_is_a_warning_that_resolves_when_its_file_comes(
    desk: Any, students: Callable[..., bytes]
) -> None:
    enrolled = csv("Student ID,School ID#,Section#", "1000,001,M1", "9999,001,M1")
    desk.bring("students.csv", students(3))
    told = desk.bring("enrollments.csv", enrolled)
    assert told["outcome"] == "imported"
    assert "reference_missing" in {warning["code"] for warning in told["warnings"]}
    desk.bring("students.csv", students(3) + b'"9999","Ed","Roe","2065550999","001","4255550999",""\r\n')
    sections = csv("Staff ID,School ID#,Section#,Period,Course Name", "T1,001,M1,1,Math")
    desk.bring("sections.csv", sections)
    told = desk.bring(
        "enrollments.csv", csv("Student ID,School ID#,Section#,Instructor", "1000,001,M1,X", "9999,001,M1,X")
    )
    assert [warning["code"] for warning in told["warnings"]] == []


def test_an_older_attendance_file_that_comes_late_speaks_only_for_days_of_which_no_newer_one_has_spoken(
    desk: Any,
) -> None:
    header = "Student ID,Absence Date,Reason,Periods"
    older = desk.night.land("attendance.csv", csv(header, "1,01/29/2026,SICK,1", "1,01/30/2026,SICK,1"))
    desk.bring("attendance.csv", csv(header, "2,01/30/2026,LATE,2"))
    told = desk.take(older)
    assert (told["outcome"], told["rows"]["added"]) == ("imported", 1)
    days = {(row[0], day) for row in active(desk, "attendance") for day in row if str(day).startswith("2026-01")}
    assert days == {("1", "2026-01-29"), ("2", "2026-01-30")}
    latest = desk.night.receipts / "latest-attendance.receipt.json"
    assert '"LATE"' not in latest.read_text()
    assert older.id not in latest.read_text()


def test_a_partner_that_only_lacks_its_leading_zeros_is_told(desk: Any, students: Callable[..., bytes]) -> None:
    desk.bring("students.csv", students(3, id={2: "001234"}))
    told = desk.bring("enrollments.csv", csv("Student ID,School ID#,Section#", "1234,001,M1", "1001,001,M1"))
    (warning,) = told["warnings"]
    assert (warning["code"], warning["count"]) == ("reference_missing", 1)
    assert "with other leading zeros" in warning["message"]
    told = desk.bring("enrollments.csv", csv("Student ID,School ID#,Section#", "77,001,M1", "1001,001,M1"))
    assert "leading zeros" not in told["warnings"][0]["message"]
