"""Whom the messaging service would reach: contacts chosen as it would choose them, from files that were imported."""

import csv
import io
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from typer.testing import CliRunner

from landingzone.cli import app
from processor.recipients import Audience, Recipient, UnknownUser, counts, phone_numbers, recipients

pytestmark = pytest.mark.both_databases

# Ada and Ben are siblings at 001, Cem and Dia go to 002; Dia has no guardian.
FILES = {
    "students": [
        ["student_id", "first_name", "last_name", "phone", "school_id", "language", "grade", "email"],
        ["s1", "Ada", "Diaz", "206-555-0001", "001", "es", "3", ""],
        ["s2", "Ben", "Diaz", "206-555-0001", "001", "es", "5", ""],
        ["s3", "Cem", "Kaya", "206-555-0003", "002", "en", "3", ""],
        ["s4", "Dia", "Rao", "206-555-0004", "002", "fr", "5", "rao@example.com"],
    ],
    "guardians": [
        ["guardian_id", "student_id", "category", "first_name", "last_name", "phone", "language"],
        ["g1", "s1", "Mother", "Eva", "Diaz", "206-555-0101", "es"],
        ["g1", "s2", "Mother", "Eva", "Diaz", "206-555-0101", "es"],
        ["g2", "s2", "Father", "Leo", "Diaz", "206-555-0101", "en"],
        ["g3", "s3", "Father", "=Oz", "Kaya", "206-555-0103", "tr"],
    ],
    "sections": [
        ["staff_id", "school_id", "section_id", "period", "course_name"],
        ["t1", "001", "A", "1", "Art"],
        ["t1", "002", "A", "2", "Biology"],
        ["t2", "001", "M", "3", "Maths"],
    ],
    "enrollments": [
        ["student_id", "school_id", "section_id", "period", "course_name"],
        ["s1", "001", "A", "", ""],
        ["s1", "001", "M", "", ""],
        ["s2", "001", "M", "", ""],
        ["s3", "002", "A", "", ""],
        ["s4", "002", "Z", "1", "Chess"],
    ],
    "teachers": [
        ["teacher_id", "first_name", "last_name", "user_name", "email"],
        ["t1", "Tia", "Ames", "tames", "tames@example.com"],
        ["t2", "Tom", "Bell", "tbell", "tbell@example.com"],
        ["t9", "Una", "Cole", "ucole", "ucole@example.com"],
    ],
    "attendance": [
        ["student_id", "absence_date", "period"],
        ["s1", "01/30/2026", "1"],
        ["s3", "01/30/2026", ""],
        ["s4", "01/31/2026", ""],
    ],
}


def as_csv(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue().encode()


@pytest.fixture
def bring(desk: Any) -> Callable[..., None]:
    """Brings every file of FILES, or with a name and rows that one."""

    def brought(**files: list[list[str]]) -> None:
        for name, rows in (files or FILES).items():
            told = desk.bring(f"{name}.csv", as_csv(rows))
            assert told["outcome"] == "imported", told

    return brought


Reach = Callable[..., list[Recipient]]


@pytest.fixture
def reach(desk: Any) -> Reach:
    """The recipients of an audience."""

    def reached(**audience: Any) -> list[Recipient]:
        here = desk.night.here
        with here.db.read() as tx:
            account_id = here.accounts.get("springfield").id
            return list(recipients(tx, here.catalogue, account_id, Audience(**audience)))

    return reached


def pairs(rows: list[Recipient]) -> list[str]:
    return [f"{row.student_id} {row.contact_id}" for row in rows]


def students(rows: list[Recipient]) -> list[str]:
    return list(dict.fromkeys(row.student_id for row in rows))


def test_the_guardians_are_reached_and_the_student_where_there_are_none(
    bring: Callable[..., None], reach: Reach
) -> None:
    bring()
    rows = reach()
    assert pairs(rows) == ["s1 g1", "s2 g1", "s2 g2", "s3 g3", "s4 s4"]
    eva, dia = rows[1], rows[-1]
    assert eva == Recipient(
        "s2", "Ben Diaz", "001", "5", "guardian", "g1", "Mother", "Eva", "Diaz", "2065550101", "", "", "", "es"
    )
    assert (dia.contact, dia.category, dia.first_name, dia.phone, dia.email) == (
        "student",
        "",
        "Dia",
        "2065550004",
        "rao@example.com",
    )


def test_a_student_whose_guardian_is_gone_is_reached_at_the_own_contact(
    bring: Callable[..., None], reach: Reach
) -> None:
    bring()
    bring(guardians=FILES["guardians"][:-1])
    assert pairs(reach(schools=("002",))) == ["s3 s3", "s4 s4"]


def test_an_association_alone_makes_no_guardian(bring: Callable[..., None], reach: Reach) -> None:
    bring(students=FILES["students"], associations=[["student_id", "guardian_id", "category"], ["s1", "g7", "Aunt"]])
    assert pairs(reach(grades=("3",))) == ["s1 s1", "s3 s3"]


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"schools": ("001",)}, ["s1", "s2"]),
    ({"schools": ("001", "002")}, ["s1", "s2", "s3", "s4"]),
    ({"grades": ("3",)}, ["s1", "s3"]),
    ({"grades": ("3",), "schools": ("002",)}, ["s3"]),
    ({"sections": ("A",)}, ["s1", "s3"]),
    ({"sections": ("A",), "schools": ("002",)}, ["s3"]),
    ({"sections": ("M", "Z")}, ["s1", "s2", "s4"]),
    ({"courses": ("Maths",)}, ["s1", "s2"]),
    ({"courses": ("Chess",)}, ["s4"]),
    ({"courses": ("Art", "Biology"), "grades": ("3",)}, ["s1", "s3"]),
    ({"periods": ("1",)}, ["s1", "s4"]),
    ({"courses": ("Maths",), "periods": ("1",)}, []),
    ({"absent_on": date(2026, 1, 30)}, ["s1", "s3"]),
    ({"absent_on": date(2026, 1, 30), "periods": ("2",)}, ["s3"]),
    ({"absent_on": date(2026, 1, 30), "periods": ("1",)}, ["s1", "s3"]),
    ({"absent_on": date(2026, 1, 30), "courses": ("Maths",)}, ["s1"]),
    ({"absent_on": date(2026, 1, 29)}, []),
    ({"languages": ("ES",)}, ["s1", "s2"]),
    ({"languages": ("en",)}, ["s2"]),
    ({"languages": ("fr",)}, ["s4"]),
    ({"as_user": "tames"}, ["s1", "s3"]),
    ({"as_user": "tames", "schools": ("001",)}, ["s1"]),
    ({"as_user": "tames", "courses": ("Maths",)}, []),
    ({"as_user": "tbell", "absent_on": date(2026, 1, 30)}, ["s1"]),
    ({"as_user": "ucole"}, []),
]


def test_conditions_of_one_kind_unite_and_of_different_kinds_intersect(
    bring: Callable[..., None], reach: Reach
) -> None:
    bring()
    assert [(audience, students(reach(**audience))) for audience, _ in CASES] == CASES


def test_a_user_whom_nobody_knows_is_refused(bring: Callable[..., None], reach: Reach) -> None:
    bring()
    with pytest.raises(UnknownUser, match="nobody"):
        reach(as_user="nobody")


def test_a_teacher_who_left_is_unknown(bring: Callable[..., None], reach: Reach) -> None:
    bring()
    bring(teachers=FILES["teachers"][:-1])
    with pytest.raises(UnknownUser):
        reach(as_user="ucole")


def test_a_student_who_left_is_not_reached(bring: Callable[..., None], reach: Reach) -> None:
    bring()
    bring(students=FILES["students"][:-1])
    assert students(reach()) == ["s1", "s2", "s3"]


def test_sources_of_each_school_are_read_as_one(desk: Any, bring: Callable[..., None], reach: Reach) -> None:
    bring()
    here = desk.night.here
    for name in ("students", "enrollments"):
        feed = here.catalogue[name]
        here.sources.expect("springfield", f"{name}_{{school}}.csv", feed=feed, actor="test", name=name)
        for school in ("001", "003"):
            rows = [FILES[name][0], FILES[name][1]]
            desk.bring(f"{name}_{school}.csv", as_csv(rows))
    assert pairs(reach(sections=("A",))) == ["s1 g1", "s3 g3"]
    assert pairs(reach(as_user="tbell", absent_on=date(2026, 1, 30))) == ["s1 g1"]
    assert students(reach(periods=("1",), schools=("001",))) == ["s1"]


def test_one_phone_number_is_called_once_for_all_whom_it_serves(desk: Any, bring: Callable[..., None]) -> None:
    bring()
    here = desk.night.here
    with here.db.read() as tx:
        account_id = here.accounts.get("springfield").id
        found = list(phone_numbers(tx, here.catalogue, account_id, Audience()))
    assert [(one.phone, pairs(list(one.recipients))) for one in found] == [
        ("2065550004", ["s4 s4"]),
        ("2065550101", ["s1 g1", "s2 g1", "s2 g2"]),
        ("2065550103", ["s3 g3"]),
    ]


def test_students_without_a_number_are_told_apart(desk: Any, bring: Callable[..., None]) -> None:
    families = [
        ["Student ID", "Student First Name", "Student Last Name", "Guardian 1 ID", "Guardian 1 First Name",
         "Guardian 1 Last Name", "Guardian 1 Category", "Guardian 1 Phone"],
        ["s1", "Ada", "Diaz", "g1", "Eva", "Diaz", "Mother", "2065550101"],
        ["s2", "Ben", "Diaz", "g1", "Eva", "Diaz", "Mother", "2065550101"],
    ]  # fmt: skip
    bring(families=families)
    bring(associations=[["student_id", "guardian_id", "category"], ["s1", "g1", "Mother"]])
    here = desk.night.here
    with here.db.write() as tx:
        for feed in ("data_guardians",):
            tx.exec_driver_sql(f"UPDATE {feed} SET ended_run = 1")
    with here.db.read() as tx:
        asked = (tx, here.catalogue, here.accounts.get("springfield").id, Audience())
        assert [len(one.recipients) for one in phone_numbers(*asked)] == [1, 1]
        assert counts(*asked)["without_phone"] == 2
        assert {row.language for row in recipients(*asked)} == {"en"}


# The command line


@pytest.fixture
def command(desk: Any) -> Callable[..., Any]:
    """Types `landingzone recipients springfield ...`."""

    def typed(*words: str) -> Any:
        root = str(desk.night.here.settings.root)
        return CliRunner().invoke(app, ["--root", root, "recipients", "springfield", *words])

    return typed


def test_the_command_prints_csv_that_a_spreadsheet_opens_safely(
    bring: Callable[..., None], command: Callable[..., Any]
) -> None:
    bring()
    told = command("--school", "002", "--school", "001", "--grade", "3")
    rows = list(csv.DictReader(io.StringIO(told.stdout)))
    assert told.exit_code == 0
    assert tuple(rows[0]) == Recipient._fields
    assert [row["contact_id"] for row in rows] == ["g1", "g3"]
    assert rows[1]["first_name"] == "'=Oz"


def test_the_command_prints_json(bring: Callable[..., None], command: Callable[..., Any]) -> None:
    bring()
    rows = json.loads(command("--absent-on", "01/30/2026", "--json").stdout)
    assert [(row["student_id"], row["first_name"]) for row in rows] == [("s1", "Eva"), ("s3", "=Oz")]
    assert json.loads(command("--section", "none", "--json").stdout) == []


def test_the_command_names_the_students_of_a_number_together(
    bring: Callable[..., None], command: Callable[..., Any]
) -> None:
    bring()
    (row,) = csv.DictReader(io.StringIO(command("--school", "001", "--merge-duplicates").stdout))
    assert (row["phone"], row["student_id"], row["student_name"]) == ("2065550101", "s1; s2", "Ada Diaz; Ben Diaz")
    assert (row["contact_id"], row["first_name"], row["school_id"]) == ("g1; g2", "Eva; Leo", "001")
    (number,) = json.loads(command("--school", "001", "--merge-duplicates", "--json").stdout)
    assert [one["student_id"] for one in number["students"]] == ["s1", "s2"]
    assert [(one["contact_id"], one["category"]) for one in number["contacts"]] == [("g1", "Mother"), ("g2", "Father")]


def test_the_command_counts(bring: Callable[..., None], command: Callable[..., Any]) -> None:
    bring()
    told = json.loads(command("--count", "--json").stdout)
    assert told == {"students": 4, "guardians": 3, "own_contacts": 1, "phones": 3, "without_phone": 0}
    assert "own contacts" in command("--count").stdout


def test_the_command_refuses_an_unknown_user_and_a_day_that_is_none(
    bring: Callable[..., None], command: Callable[..., Any]
) -> None:
    bring()
    assert isinstance(command("--as-user", "nobody").exception, UnknownUser)
    assert "2026-01-31" in str(command("--absent-on", "tomorrow").exception)
