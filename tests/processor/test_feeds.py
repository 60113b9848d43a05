"""The feeds whose rows give more than one record, from the file to the records, and what they name besides."""

import datetime as dt
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landingzone.feed import FeedError, load_catalogue
from landingzone.kept_mapping import KeptMapping
from processor.examination import Examined, examine
from processor.reading import Limits
from processor.records import Records

CATALOGUE = load_catalogue()
TODAY = dt.date(2026, 11, 24)

Examine = Callable[..., Examined]


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    """Examines a file of one feed, given by its lines."""

    def look(feed: str, *lines: str, **options: Any) -> Examined:
        path = tmp_path / "file.csv"
        path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
        return examine(path, name="file.csv", feed=CATALOGUE[feed], effective_date=TODAY, **options)

    return look


def rows(found: Examined, feed: str, *names: str) -> list[tuple[str, ...]]:
    (records,) = (records for records in found.records if records.feed.name == feed)
    return records.rows.select(names or records.feed.field_names).rows()


def records(found: Examined, feed: str) -> Records:
    return next(records for records in found.records if records.feed.name == feed)


def rejects(found: Examined) -> list[tuple[int, str, str]]:
    return [(each["line"], each["field"], each["code"]) for each in found.rejects]


def warnings(found: Examined) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(each["code"], each["field"], tuple(each["lines"])) for each in found.warnings]


def absences(found: Examined) -> list[tuple[str, ...]]:
    return rows(found, "attendance", "student_id", "absence_date", "period", "reason")


# Attendance


def test_an_absence_without_a_date_or_a_period_is_the_whole_day_of_landing(examined: Examine) -> None:
    found = examined("attendance", "Student ID", "1001", "1002")
    assert absences(found) == [("1001", "2026-11-24", "", ""), ("1002", "2026-11-24", "", "")]
    assert records(found, "attendance").covers is not None
    assert records(found, "attendance").covers.rows() == [("2026-11-24",)]


@pytest.mark.parametrize(
    "lines",
    [
        ("Student ID,Date,Period", "1001,11/23/2026,1", "1001,11/23/2026,3", "1001,11/23/2026,5"),
        ("Student ID,Date,Periods Missed", '1001,11/23/2026,"1,3,5"'),
        ("Student ID,Date,Periods", "1001,11/23/2026,1; 3; 5"),
        ("Student ID,Date,Periods", "1001,11/23/2026,1 3 5"),
        ("Student ID,Date,Period 1,Period 2,Period 3", "1001,11/23/2026,1,3,5"),
        ("Student ID,Date,Per1,Per2,Per3,Per4,Per5", "1001,11/23/2026,X,,X,,X"),
        ("Student ID,Date,Per 1,Per 2,Per 3,Per 4,Per 5", "1001,11/23/2026,1,,3,,5"),
        ("Student ID,Date,Pd 01,Pd 03,Pd 05", "1001,11/23/2026,yes,yes,yes"),
    ],
)
def test_periods_become_one_record_each_however_they_are_written(examined: Examine, lines: tuple[str, ...]) -> None:
    found = examined("attendance", *lines)
    assert sorted(absences(found)) == [("1001", "2026-11-23", period, "") for period in "135"]
    assert found.read == len(lines) - 1
    assert found.rejected == found.collapsed == 0


@pytest.mark.parametrize("values", ["1,0,1", "A,,A", "P,A,P", ",,1", "1,1,1", "0,1,0"])
def test_marks_that_may_mean_anything_reject_the_row(examined: Examine, values: str) -> None:
    found = examined("attendance", "Student ID,Date,Period 1,Period 2,Period 3", f"1001,11/23/2026,{values}")
    assert rejects(found) == [(2, "period_1", "periods_unclear")]


def test_a_range_of_periods_is_kept_as_it_stands_with_a_warning(examined: Examine) -> None:
    found = examined("attendance", "Student ID,Date,Periods", "1001,11/23/2026,1-3")
    assert absences(found) == [("1001", "2026-11-23", "1-3", "")]
    assert warnings(found) == [("period_range", "period", (2,))]


@pytest.mark.parametrize(
    "written",
    [
        "01/09/2026", "1/9/2026", "1/9/26", "01-09-2026", "2026-01-09", "2026/1/9", "20260109", "01092026",
        "9-Jan-26", "09-JAN-2026", "1/9/2026 12:00:00 AM", "2026-01-09T00:00:00", "20260109.0",
    ],
)  # fmt: skip
def test_dates_are_read_in_every_way_that_leaves_no_doubt(examined: Examine, written: str) -> None:
    found = examined("attendance", "Student ID,Absence Date", f"1001,{written}")
    assert absences(found) == [("1001", "2026-01-09", "", "")]


@pytest.mark.parametrize(
    "written",
    [
        "02/30/2026",
        "13/01/2026",
        "09.01.2026",
        "26-01-09",
        "010926",
        "46031",
        "1/9",
        "today",
        "01/09/1926",
        "2026-13-1",
    ],
)
def test_dates_that_are_impossible_or_in_doubt_reject_the_row(examined: Examine, written: str) -> None:
    found = examined("attendance", "Student ID,Absence Date", f"1001,{written}", "1002,11/23/2026")
    assert rejects(found) == [(2, "absence_date", "date_invalid")]
    assert found.rejects[0]["value"] == written
    assert absences(found) == [("1002", "2026-11-23", "", "")]
    assert records(found, "attendance").keep_all


def test_days_are_covered_that_only_rejected_rows_name(examined: Examine) -> None:
    found = examined(
        "attendance", "Student ID,Date", "1001,11/23/2026", ",11/20/2026", "1001,11/20/26", "1001,11/20/26"
    )
    covers = records(found, "attendance").covers
    assert covers is not None
    assert sorted(covers.rows()) == [("2026-11-20",), ("2026-11-23",)]
    assert records(found, "attendance").keep_all


def test_a_file_without_rows_speaks_of_the_day_of_its_landing(examined: Examine) -> None:
    covers = records(examined("attendance", "Student ID,Date"), "attendance").covers
    assert covers is not None
    assert covers.rows() == [("2026-11-24",)]


def test_another_reason_for_the_same_period_is_rejected_and_a_new_period_beside_it_taken(examined: Examine) -> None:
    found = examined(
        "attendance",
        "Student ID,Date,Reason,Periods",
        '1001,11/23/2026,ILL,"1,2"',
        '1001,11/23/2026,ILL,"2"',
        "1001,11/23/2026,LATE,2",
        '1001,11/23/2026,LATE,"2,3"',
    )
    assert absences(found) == [("1001", "2026-11-23", *rest) for rest in (("1", "ILL"), ("2", "ILL"), ("3", "LATE"))]
    assert rejects(found) == [(4, "student_id+absence_date+period", "duplicate_key")]
    assert "Line 2 " in found.rejects[0]["message"]
    assert found.collapsed == 1
    assert warnings(found) == [("identical_rows", "", (3,)), ("details_differ", "student_id", (5,))]
    assert found.read == 4


def test_a_first_row_with_names_of_periods_is_no_header(examined: Examine) -> None:
    found = examined("attendance", "1001,ILL,11/23/2026,P1", "1002,ILL,11/23/2026,P2")
    assert absences(found) == [("1001", "2026-11-23", "P1", "ILL"), ("1002", "2026-11-23", "P2", "ILL")]


def test_without_a_header_two_columns_are_not_guessed_at(examined: Examine) -> None:
    assert examined("attendance", "1001,11/23/2026", "1002,11/23/2026").missing == ("student_id",)


# Guardians

GUARDIANS = "Associated Student ID Number,Guardian ID,Guardian Category,First Name,Last Name,Phone,Email"


def test_a_guardian_of_two_children_is_one_guardian_with_two_associations(examined: Examine) -> None:
    found = examined(
        "guardians",
        GUARDIANS,
        "1001,G1,Mother,Ann,Lee,919-555-0101,ann@example.org",
        "1002,G1,Mother,Ann,Lee,919-555-0101,ann@example.org",
        "1002,G2,Father,Bob,Lee,919-555-0102,",
    )
    assert [records.feed.name for records in found.records] == ["guardians", "associations"]
    assert rows(found, "guardians", "guardian_id", "phone", "language") == [
        ("G1", "9195550101", ""),
        ("G2", "9195550102", ""),
    ]
    assert rows(found, "associations") == [("1001", "G1", "Mother"), ("1002", "G1", "Mother"), ("1002", "G2", "Father")]
    assert (found.read, found.rejected, found.collapsed, warnings(found)) == (3, 0, 0, [])


def test_where_a_guardians_details_differ_the_first_line_counts_with_a_warning(examined: Examine) -> None:
    found = examined(
        "guardians",
        GUARDIANS,
        "1001,G1,Mother,Ann,Lee,919-555-0101,",
        "1002,G1,Mother,Ann,Lee,919-555-0199,",
    )
    assert rows(found, "guardians", "phone") == [("9195550101",)]
    assert len(rows(found, "associations")) == 2
    assert warnings(found) == [("details_differ", "guardian_id", (3,))]


def test_a_second_row_for_the_same_child_is_rejected_if_it_differs(examined: Examine) -> None:
    found = examined(
        "guardians",
        GUARDIANS,
        "1001,G1,Mother,Ann,Lee,919-555-0101,",
        "1001,G1,Aunt,Ann,Lee,919-555-0101,",
        "1001,G1,Mother,Ann,Lee,919-555-0101,",
    )
    assert rejects(found) == [(3, "student_id+guardian_id", "duplicate_key")]
    assert found.collapsed == 1


def test_a_row_that_names_a_student_must_say_what_the_guardian_is_to_it(examined: Examine) -> None:
    found = examined("guardians", GUARDIANS, "1001,G1,,Ann,Lee,919-555-0101,", ",G2,,Bob,Lee,919-555-0102,")
    assert rejects(found) == [(2, "category", "required_empty")]
    assert records(found, "associations").kept.rows() == [("1001", "G1")]
    assert records(found, "guardians").kept.rows() == [("G1",)]
    assert not any(each.keep_all for each in found.records)
    assert rows(found, "guardians", "guardian_id") == [("G2",)]
    assert rows(found, "associations") == []


def test_a_column_of_students_without_one_of_categories_is_missing_it(examined: Examine) -> None:
    assert examined("guardians", "Student ID,Guardian ID,First,Last,Phone").missing == ("category",)


def test_without_students_a_guardians_file_gives_guardians_only(examined: Examine) -> None:
    found = examined("guardians", "Guardian ID,First,Last,Phone", "G1,Ann,Lee,919-555-0101", "G1,Ann,Lee,919-555-0102")
    assert rows(found, "guardians", "guardian_id", "phone") == [("G1", "9195550101")]
    assert rows(found, "associations") == []
    assert rejects(found) == [(3, "guardian_id", "duplicate_key")]


def test_a_damaged_line_keeps_everything_of_both_kinds(examined: Examine) -> None:
    found = examined("guardians", GUARDIANS, "1001,G1,Mother,Ann,Lee,919-555-0101,", "1001,G2")
    assert all(each.keep_all for each in found.records)


def test_a_student_whose_id_is_too_long_rejects_the_row(examined: Examine) -> None:
    found = examined("guardians", GUARDIANS, f"{'1' * 256},G1,Mother,Ann,Lee,919-555-0101,")
    assert rejects(found) == [(2, "student_id", "too_long")]
    assert records(found, "guardians").kept.rows() == [("G1",)]
    assert [each.keep_all for each in found.records] == [False, True]


@pytest.mark.parametrize(
    ("feed", "lines"),
    [
        ("guardians", (GUARDIANS, "1001,1002,Mother,Ann,Lee,9195550101,", "1002,G2,Father,Bob,Lee,9195550102,")),
        ("associations", ("Student ID,Guardian ID,Category", "1001,1002,Mother", "1002,G2,Father")),
    ],
)
def test_a_guardian_with_the_id_of_a_student_is_warned_about(examined: Examine, feed: str, lines: list[str]) -> None:
    found = examined(feed, *lines)
    assert warnings(found) == [("id_shared", "guardian_id", (2,))]
    assert found.rejected == 0


def test_associations_are_a_row_for_each_pair(examined: Examine) -> None:
    found = examined(
        "associations",
        "Student ID Number,Associated Guardian ID Number,Guardian Category",
        "1001,G1,Mother",
        "1001,G2,Father",
        "1001,G2,Uncle",
        "1001,,Aunt",
    )
    assert rows(found, "associations") == [("1001", "G1", "Mother"), ("1001", "G2", "Father")]
    assert rejects(found) == [(4, "student_id+guardian_id", "duplicate_key"), (5, "guardian_id", "required_empty")]


# Families

GROUP = ("ID Number", "First Name", "Last Name", "Category", "Phone Number")


def header(*groups: str) -> str:
    named = [f"{group} {name}" for group in groups for name in GROUP]
    return ",".join(["Student ID", "Student First Name", "Student Last Name", *named])


def test_a_familys_row_gives_a_student_its_guardians_and_their_associations(examined: Examine) -> None:
    found = examined(
        "families",
        header("Guardian 1", "Guardian 2", "Guardian 3"),
        "1001,Amy,Lee,G1,Ann,Lee,Mother,919-555-0101,G2,Bob,Lee,Father,919-555-0102,,,,,",
        "1002,Ben,Lee,G1,Ann,Lee,Mother,919-555-0101,,,,,,G3,Cy,Lee,Uncle,919-555-0103",
    )
    assert [records.feed.name for records in found.records] == ["students", "guardians", "associations"]
    assert rows(found, "students") == [
        ("1001", "Amy", "Lee", *[""] * 8),
        ("1002", "Ben", "Lee", *[""] * 8),
    ]
    assert rows(found, "guardians", "guardian_id", "phone", "language") == [
        ("G1", "9195550101", ""), ("G2", "9195550102", ""), ("G3", "9195550103", ""),
    ]  # fmt: skip
    assert rows(found, "associations") == [
        ("1001", "G1", "Mother"), ("1001", "G2", "Father"), ("1002", "G1", "Mother"), ("1002", "G3", "Uncle"),
    ]  # fmt: skip
    assert (found.read, found.rejected, found.collapsed, warnings(found)) == (2, 0, 0, [])
    assert all(one.rows.columns == list(one.feed.field_names) for one in found.records)


@pytest.mark.parametrize(
    "group", ["Guardian {}", "G{}", "guardian_{}", "Parent {}", "Parent/Guardian {}", "CONTACT {} "]
)
def test_groups_are_known_by_several_names(examined: Examine, group: str) -> None:
    names = header(group.format(1), group.format(2), group.format(12))
    found = examined("families", names, "1,A,L" + "".join(f",G{n},A,L,M,919555010{n}" for n in range(3)))
    assert rows(found, "guardians", "guardian_id") == [("G0",), ("G1",), ("G2",)]
    assert found.ignored == ()


def test_a_faulty_further_group_is_left_out_and_its_guardian_kept(examined: Examine) -> None:
    found = examined(
        "families",
        header("Guardian 1", "Guardian 2"),
        "1001,Amy,Lee,G1,Ann,Lee,Mother,919-555-0101,G2,Bob,,Father,555-0102",
    )
    assert (found.read, found.rejected) == (1, 0)
    assert rows(found, "guardians", "guardian_id") == [("G1",)]
    assert records(found, "guardians").kept.rows() == [("G2",)]
    assert records(found, "associations").kept.rows() == [("1001", "G2")]
    assert warnings(found) == [("group_left_out", "guardian_2_last_name", (2,))]
    assert not any(one.keep_all for one in found.records)


def test_a_further_group_without_an_id_keeps_all_guardians_but_the_student_is_taken(examined: Examine) -> None:
    found = examined(
        "families", header("Guardian 1", "Guardian 2"), "1001,Amy,Lee,G1,Ann,Lee,Mother,9195550101,,Bob,Lee,Father,"
    )
    assert [one.keep_all for one in found.records] == [False, True, True]
    assert len(rows(found, "students")) == 1


def test_a_faulty_first_group_rejects_the_row_and_keeps_all_whom_it_names(examined: Examine) -> None:
    found = examined(
        "families",
        header("Guardian 1", "Guardian 2"),
        "1001,Amy,Lee,G1,Ann,Lee,Mother,0101,G2,Bob,Lee,Father,919-555-0102",
    )
    assert rejects(found) == [(2, "guardian_1_phone", "phone_digits")]
    assert records(found, "students").kept.rows() == [("1001",)]
    assert records(found, "guardians").kept.rows() == [("G1",), ("G2",)]
    assert records(found, "associations").kept.rows() == [("1001", "G1"), ("1001", "G2")]


def test_a_second_row_of_a_student_is_rejected_and_its_guardians_kept(examined: Examine) -> None:
    found = examined(
        "families",
        header("Guardian 1"),
        "1001,Amy,Lee,G1,Ann,Lee,Mother,919-555-0101",
        "1001,Amy,Lee,G2,Bob,Lee,Father,919-555-0102",
        "1001,Amy,Lee,G1,Ann,Lee,Mother,(919) 555-0101",
    )
    assert rejects(found) == [(3, "student_id", "duplicate_key")]
    assert found.collapsed == 1
    assert records(found, "guardians").kept.rows() == [("G2",)]


def test_siblings_rows_that_tell_their_guardian_differently_are_warned_about(examined: Examine) -> None:
    found = examined(
        "families",
        header("Guardian 1"),
        "1001,Amy,Lee,G1,Ann,Lee,Mother,919-555-0101",
        "1002,Ben,Lee,G1,Ann,Lee,Mother,919-555-0199",
        "1003,Cy,Lee,1001,Dan,Lee,Father,919-555-0102",
    )
    assert rows(found, "guardians", "guardian_id", "phone") == [("G1", "9195550101"), ("1001", "9195550102")]
    assert warnings(found) == [("id_shared", "guardian_1_id", (4,)), ("details_differ", "guardian_id", (3,))]


def test_a_families_file_needs_its_first_group_whole(examined: Examine) -> None:
    found = examined("families", "Student ID,Student First Name,Student Last Name,Guardian 2 ID,Guardian 1 Phone")
    assert found.missing == ("guardian_1_id", "guardian_1_first_name", "guardian_1_last_name", "guardian_1_category")
    assert CATALOGUE["families"].field("guardian_1_category").label == "Guardian 1 Category"


def test_an_accounts_own_mapping_names_columns_of_any_group(examined: Examine) -> None:
    own = {"guardian_1_phone": "Mom cell", "guardian_2_phone": "Dad cell"}
    names = header("Guardian 1", "Guardian 2").replace("Guardian 1 Phone Number", "Mom Cell")
    found = examined(
        "families",
        names.replace("Guardian 2 Phone Number", "Dad Cell"),
        "1,A,L,G1,A,L,Mother,9195550101,G2,B,L,Father,9195550102",
        kept=KeptMapping(headers=own),
    )
    assert rows(found, "guardians", "phone") == [("9195550101",), ("9195550102",)]
    assert found.columns["guardian_2_phone"] == 12


# Every feed


def test_rows_can_be_taken_batch_by_batch_and_are_then_not_kept(examined: Examine) -> None:
    taken: list[Records] = []
    found = examined("guardians", GUARDIANS, "1001,G1,Mother,Ann,Lee,9195550101,", "1,,,,,,", on_rows=taken.append)
    assert [(one.feed.name, one.rows.height) for one in taken] == [("guardians", 1), ("associations", 1)]
    assert [one.rows.height for one in found.records] == [0, 0]
    assert all(one.keep_all for one in found.records)


def test_what_a_guard_and_a_receipt_want_to_know_of_the_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_bytes(b'Student ID,Room,School ID,Section ID\r\n1,5,001,A\r\n2,5,001,"B')
    found = examine(path, name="cut.csv", feed=CATALOGUE["enrollments"])
    assert (found.ends_without_line_end, found.open_quote_at_end) == (True, True)
    assert found.columns == {"student_id": 0, "school_id": 2, "section_id": 3}
    assert found.ignored == ("Room",)


def test_a_file_of_fixed_width_without_header_is_read_by_the_kept_mapping(tmp_path: Path) -> None:
    path = tmp_path / "fixed.txt"
    path.write_bytes(b"1001  001A1\r\n1002  001B1\r\n")
    kept = KeptMapping(positions={"student_id": 0, "school_id": 1, "section_id": 2}, widths=(6, 3, 2))
    found = examine(path, name="fixed.txt", feed=CATALOGUE["enrollments"], kept=kept)
    assert rows(found, "enrollments", "student_id", "school_id", "section_id") == [
        ("1001", "001", "A1"),
        ("1002", "001", "B1"),
    ]


def test_an_operator_adds_a_field_to_a_feed_or_further_names_to_its_own(tmp_path: Path) -> None:
    extra = {
        "students": {"fields": {"bus_route": {"label": "Bus Route"}, "phone": {"headers": ["Telefon"]}}},
        "guardians": {"fields": {"employer": {}}},
    }
    catalogue = load_catalogue(extra=extra)
    assert catalogue["students"].field_names == (*CATALOGUE["students"].field_names, "bus_route")
    assert catalogue["guardians"].field_names[-1] == "employer"
    path = tmp_path / "students.csv"
    path.write_text("ID,First,Last,Telefon,School,BUS ROUTE,Alternate Phone\n1,A,L,9195550101,1,7,9195550102\n")
    found = examine(path, name="students.csv", feed=catalogue["students"])
    assert rows(found, "students", "phone", "bus_route") == [("9195550101", "7")]
    assert catalogue["families"].gives[0].feed == catalogue["students"]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"families": {"fields": {"employer": {}}}}, "neither kept nor given"),
        ({"buses": {"fields": {"bus_id": {}}}}, "lacks 'title'"),
        (
            {"students": {"title": "S", "key": ["student_id"], "fields": {"student_id": {"required": True}}}},
            "does not fit",
        ),
    ],
)
def test_a_declaration_that_cannot_be_kept_is_named(extra: dict[str, Any], told: str) -> None:
    with pytest.raises(FeedError, match=told):
        load_catalogue(extra=extra)


def test_records_have_exactly_what_the_account_keeps_whatever_the_batches(examined: Examine) -> None:
    for name, feed in CATALOGUE.items():
        labels = [field.numbered(1).label if field.repeated else field.label for field in feed.columns]
        found = examined(name, ",".join(f'"{label}"' for label in labels))
        for one in found.records:
            assert one.rows.columns == list(one.feed.field_names)
            assert one.rows.dtypes == [pl.String] * len(one.feed.field_names)
            assert one.feed == CATALOGUE[one.feed.name]


VALUES = {
    "attendance": (
        "Student ID,Reason,Date,Periods,Period 1,Period 2",
        (
            ("1001", "1002", ""),
            ("ILL", "LATE", ""),
            ("11/23/2026", "2026-11-23", "11/24/26", "", "2/30/2026"),
            ("1,2", "2", "", "1-3"),
            ("", "", "X", "1", "A"),
            ("", "", "X", "2"),
        ),
    ),
    "guardians": (
        GUARDIANS,
        (
            ("1001", "1002", ""),
            ("G1", "G2", "1001", ""),
            ("Mother", "Father", ""),
            ("Ann", "Ann", ""),
            ("Lee",),
            ("9195550101", "919-555-0102", "555"),
            ("", "a@example.org", "a@"),
        ),
    ),
    "families": (
        header("Guardian 1", "Guardian 2"),
        (
            ("1001", "1002", "1003", ""),
            ("Amy",),
            ("Lee",),
            ("G1", "G2", ""),
            ("Ann", "Ann", "Bea"),
            ("Lee",),
            ("Mother",),
            ("9195550101", "9195550102", "555"),
            ("G1", "G3", "1001", "", ""),
            ("Bob", ""),
            ("Lee",),
            ("Father",),
            ("9195550103", "", "55"),
        ),
    ),
}


@pytest.mark.parametrize("feed", VALUES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), size=st.integers(1, 25))
def test_counts_add_up_and_the_stretches_in_which_a_file_is_read_change_nothing(
    examined: Examine, feed: str, seed: int, size: int
) -> None:
    dice = Random(seed)
    names, choices = VALUES[feed]
    lines = [",".join(f'"{dice.choice(each)}"' for each in choices) for _ in range(size)]
    whole = examined(feed, names, *lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.reading.text.HEAD_BYTES", 400)
        patch.setattr("processor.reading.opening.Limits", partial(Limits, batch_bytes=1))
        pieces = examined(feed, names, *lines)
    assert told(pieces) == told(whole)
    assert whole.read == size
    assert whole.rejected == sum(whole.reject_counts.values()) == len(whole.rejects)
    for one in whole.records:
        assert one.rows.height == one.rows.select(one.feed.key).unique().height
        assert one.rows.select(pl.all().is_null().any()).row(0) == (False,) * one.rows.width
        day = [] if one.covers is None else one.rows.join(one.covers, on=one.covers.columns, how="anti").rows()
        assert day == []
    gone = whole.read - whole.rejected - whole.collapsed
    assert gone == 0 or whole.records[0].rows.height > 0


def told(found: Examined) -> tuple[Any, ...]:
    said = [
        (
            one.feed.name,
            one.rows.rows(),
            sorted(set(one.kept.rows())),
            one.keep_all,
            None if one.covers is None else sorted(one.covers.rows()),
        )
        for one in found.records
    ]
    return said, found.rejects, warnings(found), found.read, found.rejected, found.collapsed


@pytest.mark.parametrize(
    "style",
    [
        "Guardian {n} {what}", "Guardian{n} {what}", "Guardian {what} {n}", "GUARDIAN {what}{n}", "G{n} {what}",
        "Parent {n} {what}", "Parent {what} {n}", "Contact{n}{what}", "Parent/Guardian {n} {what}",
        "guardian_{n}_{what}",
    ],
)  # fmt: skip
def test_groups_of_guardians_are_known_wherever_their_number_stands(examined: Examine, style: str) -> None:
    group = ("ID", "First Name", "Last Name", "Category", "Phone", "Alt Phone", "Email")
    names = [style.format(n=number, what=what) for number in (1, 2) for what in group]
    found = examined(
        "families",
        ",".join(["Student ID", "First Name", "Last Name", *names]),
        "1001,Amy,Lee,G1,Ann,Lee,Mother,2065550101,,,G2,Bob,Lee,Father,2065550102,4255550102,b@example.org",
    )
    assert rows(found, "guardians", "guardian_id", "phone", "alt_phone", "email") == [
        ("G1", "2065550101", "", ""),
        ("G2", "2065550102", "4255550102", "b@example.org"),
    ]
    assert found.ignored == ()


def test_a_second_phone_of_nobody_in_particular_makes_no_second_guardian(examined: Examine) -> None:
    group = ",".join(f"Guardian 1 {what}" for what in ("ID", "First", "Last", "Relationship", "Cell", "Phone"))
    found = examined(
        "families",
        f"Student ID,First Name,Last Name,{group},Guardian Phone 2",
        "1001,Amy,Lee,G1,Ann,Lee,Mother,4255550101,2065550101,2065550102",
    )
    assert rows(found, "guardians", "guardian_id", "phone", "alt_phone") == [("G1", "2065550101", "4255550101")]
    assert [warning["code"] for warning in found.warnings] == ["group_left_out"]


def test_columns_of_lettered_periods_are_known_and_only_certain_marks_in_them(examined: Examine) -> None:
    found = examined(
        "attendance",
        "Student ID,Absence Date,Period A,Period B,Missed Period C",
        "1,01/30/2026,X,,",
        "2,01/30/2026,,x,C",
        "3,01/30/2026,A,A,",
        "4,01/30/2026,,T,",
        "5,01/30/2026,1,,",
        "6,01/30/2026,y,n,N",
    )
    assert rows(found, "attendance", "student_id", "period") == [("1", "A"), ("2", "B"), ("2", "C"), ("6", "A")]
    assert found.reject_counts == {"periods_unclear": 3}


def test_a_column_named_periods_is_no_period_s(examined: Examine) -> None:
    found = examined("attendance", "Student ID,Absence Date,Periods", "1,01/30/2026,2;3")
    assert rows(found, "attendance", "student_id", "period") == [("1", "2"), ("1", "3")]
