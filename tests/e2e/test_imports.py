"""What becomes of a district's files at the real service, from the upload by a stock client to the receipt that the
client fetches, and what an operator does about it with the real command line.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from tests.conftest import Service

SERVICE = "_service_with_a_feed_of_its_own"
District = Any

OWN_FEEDS = """
[feeds.bus_routes]
title = "Bus routes: who drives what"
key = ["route_id"]
[feeds.bus_routes.fields]
route_id = { label = "Route ID", headers = ["Route", "Route Number"], required = true }
driver_phone = { label = "Driver's Phone", kind = "phone", max_length = 10 }

[feeds.students.fields]
bus_route = { label = "Bus Route", headers = ["Bus"] }
"""


@pytest.fixture(scope="module")
def _service_with_a_feed_of_its_own(_empty_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Front door and processor together; its operator has declared a feed and a field of their own."""
    folder = tmp_path_factory.mktemp("imports")
    root = Path(copytree(_empty_root, folder / "root"))
    with (root / "landingzone.toml").open("a") as settings:
        settings.write(OWN_FEEDS)
    service = Service(root, folder / "log.json", "serve").start()
    yield service
    service.stop()


STUDENTS = "Student ID,First Name,Last Name,Phone Number,School ID,Alternate Phone,Email"


def lines(header: str, *rows: str, end: str = "\r\n") -> str:
    return end.join([header, *rows, ""])


def student(number: int, **changed: str) -> str:
    row = {
        "id": f"{number}",
        "first": "Al",
        "last": f"Lee{chr(97 + number % 26)}",
        "phone": f"{2065550000 + number}",
        "school": f"0{number % 2 + 1}",
        "alt": f"{4255550000 + number}",
        "email": f"s{number}@example.org",
    }
    return ",".join((row | changed).values())


def students(count: int, *, start: int = 0, **changed: str) -> str:
    return lines(STUDENTS, *(student(number, **changed) for number in range(start, start + count)))


def codes(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(warning["code"], warning["field"]) for warning in told["warnings"]]


def held(told: dict[str, Any]) -> str:
    assert told["outcome"] == "held", told
    assert sum(told["rows"][name] for name in ("added", "changed", "deactivated")) == 0
    return str(told["hold"]["code"])


def on_hold(district: District, content: str = "") -> tuple[dict[str, Any], str]:
    """Forty students, then ten: the second file is held."""
    district.send("students.csv", students(40))
    told = district.send("students.csv", content or students(10))
    return told, f"{told['landing_id']}:{told['attempt']}"


# The guide's samples, in names and numbers of our own


def test_files_like_the_guides_samples_import_whole_with_the_one_warning_that_is_named(district: District) -> None:
    classes = (
        '"001","ART345-1","1","Art","Ms. Ames"',
        '"314","GYMN110-3","3","Gymnastics","Mr. Bell"',
        '"423","ART301-2","2","Art","Mr. Cole"',
        '"227","BIOL739-1","1","Biology","Mrs. Dale"',
    )
    turned = '"001","LITE140-5","20038","5","English","Mr. Eads"'
    staff = ("20081", "20083", "20080", "20024")
    header = "Staff ID,School ID#,Section#,Period,Course Name,Instructor"
    rows = [f'"{who}",{what}' for who, what in zip(staff, classes, strict=True)]
    told = district.send("sections.csv", lines(header, *rows, turned))
    assert (told["outcome"], told["rows"]["added"], codes(told), told["tolerated"]) == ("imported", 5, [], [])

    header = "Student ID,School ID#,Section#,Period,Course Name,Instructor"
    pupils = ("409482094", "587598475", "83824729", "67646463")
    rows = [f'"{who}",{what}' for who, what in zip(pupils, classes, strict=True)]
    told = district.send("enrollments.csv", lines(header, *rows, turned, end="\n"))
    assert (told["outcome"], told["rows"]["added"], codes(told)) == ("imported", 5, [])
    assert [note["code"] for note in told["tolerated"]] == ["line_end_lf"]

    told = district.send(
        "teachers.csv",
        lines(
            "ID#,FirstName,LastName,UserName,Email,Description",
            '"20081","Ada","Ames","aames","aames@example.org","Elementary Teacher"',
            '"20034","Ben","Bell","bbell","bbell@example.org","Middle School Teacher"',
            '"20081","Cy","Cole","ccole","cecole@example.org","Elementary Teacher"',
            '"20034","Dot","Dale","ddale","ddale@example.org","High School Teacher"',
            '"20083","Eve","Bell","ebell","ebell@example.org","High School Teacher"',
        ),
    )
    assert (told["outcome"], told["rows"]["added"]) == ("imported", 5)
    assert codes(told) == [("shared_value", "teacher_id")]
    assert told["warnings"][0]["lines"] == [4, 5]


# Guards


def test_a_file_that_lists_far_fewer_is_held_until_an_operator_approves_it(district: District) -> None:
    told, run = on_hold(district)
    assert held(told) == "many_deactivated"
    assert "30 of 40" in told["hold"]["message"]
    assert "Missing are" not in told["hold"]["message"]
    assert len(district.recipients()) == 40
    assert run in district.operator("runs", "list", "--state", "held")
    assert "30 of 40" in district.operator("runs", "show", run)
    district.operator("runs", "approve", run)
    told = district.receipt(told["landing_id"], "students.csv", outcome="imported")
    assert (told["attempt"], told["rows"]["deactivated"]) == (2, 30)
    assert len(district.recipients()) == 10


def test_a_school_of_which_nobody_is_listed_any_more_is_named(district: District) -> None:
    district.send("students.csv", students(40))
    told = district.send("students.csv", lines(STUDENTS, *(student(number) for number in range(1, 40, 2))))
    assert held(told) == "many_deactivated"
    assert told["hold"]["message"].startswith("Missing are all 20 of school 01. 20 of 40 students rows (50%)")


def test_a_held_file_that_an_operator_rejects_changes_nothing_and_the_district_reads_why(district: District) -> None:
    told, run = on_hold(district)
    district.operator("runs", "reject", run, "--reason", "The export stopped half way.")
    told = district.receipt(told["landing_id"], "students.csv", outcome="rejected")
    assert "The export stopped half way." in told["message"]
    assert b"half way" in district.fetch(f"{told['landing_id']}-students.csv.receipt.txt")
    assert len(district.recipients()) == 40


def test_a_newer_file_ends_the_wait_of_a_held_one(district: District) -> None:
    told, _ = on_hold(district)
    assert district.send("students.csv", students(41))["outcome"] == "imported"
    assert district.receipt(told["landing_id"], "students.csv", outcome="superseded")


def test_a_file_of_which_many_rows_are_rejected_is_held(district: District) -> None:
    district.send("students.csv", students(40))
    bad = [student(number, phone="555") for number in range(12)]
    told = district.send("students.csv", lines(STUDENTS, *bad, *(student(number) for number in range(12, 40))))
    assert held(told) == "many_rejected"
    assert told["reject_counts"] == {"phone_digits": 12}
    rejects = district.fetch(f"{told['landing_id']}-students.csv.rejects.csv").decode("utf-8-sig").splitlines()
    assert len(rejects) == 14
    assert "send the whole file again" in rejects[1]


def test_a_reject_file_that_is_sent_back_changes_nothing(district: District) -> None:
    told = district.send("students.csv", lines(STUDENTS, *(student(n) for n in range(30)), student(99, phone="555")))
    assert (told["outcome"], told["rows"]["added"]) == ("imported_with_rejects", 30)
    rejects = district.fetch(f"{told['landing_id']}-students.csv.rejects.csv")
    told = district.send("students.csv", rejects)
    assert (told["outcome"], told["rows"]["deactivated"]) == ("rejected", 0)
    told = district.send("students.csv", rejects.replace(b'"555"', b'"2065550099"'))
    assert told["outcome"] in {"held", "imported_with_rejects"}
    assert told["rows"]["deactivated"] == 0
    assert len(district.recipients()) >= 30


def test_a_file_without_rows_is_held_unless_that_is_good_news(district: District) -> None:
    assert held(district.send("students.csv", STUDENTS + "\r\n")) == "no_rows"
    district.operator(
        "feeds", "expect", district.client.account, "attendance.csv", "--feed", "attendance", "--empty-is-good-news"
    )
    told = district.send("attendance.csv", "Student ID,Absence Date\r\n")
    assert told["outcome"] == "imported"


def test_a_header_that_no_longer_gives_a_required_column_is_held_and_says_which(district: District) -> None:
    district.send("students.csv", students(5))
    told = district.send("students.csv", students(5).replace("Student ID", "Pupil#"))
    assert held(told) == "column_missing"
    assert "Student ID" in told["hold"]["message"]
    assert "Student ID of the last file is gone, Pupil# is new." in told["hold"]["message"]
    district.operator("feeds", "map", district.client.account, "students", "student_id=Pupil#")
    run = f"{told['landing_id']}:1"
    district.operator("runs", "approve", run)
    assert district.receipt(told["landing_id"], "students.csv", outcome="unchanged")["attempt"] == 2


def test_columns_without_names_wait_once_for_somebody_to_look(district: District) -> None:
    rows = '"T1","001","ART345-1","1","Art"', '"T2","001","ART345-2","2","Art"'
    told = district.send("sections.csv", lines(*rows))
    assert held(told) == "columns_by_position"
    assert "Staff / Teacher ID, School ID, Section ID, Period Number, Course Name" in told["hold"]["message"]
    district.operator("runs", "approve", f"{told['landing_id']}:1")
    assert district.receipt(told["landing_id"], "sections.csv", outcome="imported")["rows"]["added"] == 2
    assert district.send("sections.csv", lines(*rows, '"T3","001","ART345-3","3","Art"'))["outcome"] == "imported"
    told = district.send("sections.csv", lines(*(f'{row},"Ms. Ames"' for row in rows)))
    assert held(told) == "columns_by_position"


# Truncation


def test_a_file_that_ends_inside_a_quoted_value_is_held_as_truncated(district: District) -> None:
    district.send("students.csv", students(5))
    told = district.send("students.csv", students(4) + '9,"Al","Le')
    assert held(told) == "truncated"
    assert "never closed" in told["hold"]["message"]


def test_a_resumed_upload_is_held_only_together_with_another_sign(district: District, service: Any) -> None:
    def send_in_two_parts(name: str, whole: bytes, cut: int) -> dict[str, Any]:
        before = district._landings(name)
        ssh = district.client.paramiko()
        file = ssh.open_sftp().open(name, "wb")
        file.write(whole[:cut])
        file.flush()
        ssh.get_transport().sock.close()
        service.wait_for("upload.cut", bytes=cut)
        district.client.file(name, whole)
        done = district.client.sftp(f"reput {name}")
        assert done.returncode == 0, done.stderr
        return dict(district.next_receipt(name, before))

    told = send_in_two_parts("students.csv", students(30).encode(), 700)
    assert (told["outcome"], told["resumed"]) == ("imported", True)
    told = send_in_two_parts("students.csv", students(30, start=1).encode()[:-2], 702)
    assert held(told) == "truncated"
    assert "continued after a cut" in told["hold"]["message"]
    assert "the last line has no end" in told["hold"]["message"]


# Contacts


def test_a_file_that_would_change_many_numbers_at_once_is_held(district: District) -> None:
    district.send("students.csv", students(40))
    exchanged = students(40).replace("Phone Number", "X").replace("Alternate Phone", "Phone Number")
    told = district.send("students.csv", exchanged.replace("X", "Alternate Phone"))
    assert held(told) == "contacts_changed"
    assert "40 of 40" in told["hold"]["message"]
    assert {one["phone"][:3] for one in district.recipients()} == {"206"}


def test_one_number_that_would_suddenly_serve_many_is_held(district: District) -> None:
    district.send("students.csv", students(200))
    rows = [*(student(number) for number in range(200)), *(student(n, phone="2065559999") for n in range(200, 260))]
    district.operator("accounts", "set", district.client.account, "shared_phone=20")
    told = district.send("students.csv", lines(STUDENTS, *rows))
    assert held(told) == "phone_shared"


def test_one_column_name_that_stands_twice_gives_no_number_at_all(district: District) -> None:
    told = district.send("students.csv", students(5).replace("Alternate Phone", "Phone Number"))
    assert told["outcome"] == "rejected"
    assert "name each column once" in told["message"]
    assert district.recipients() == []


# Unchanged, and undone


def test_the_same_file_again_and_the_same_rows_in_another_form_are_unchanged(district: District) -> None:
    district.send("students.csv", students(5))
    for again in (students(5), students(5).replace("\r\n", "\n"), students(5).replace(",", ";")):
        told = district.send("students.csv", again)
        assert (told["outcome"], told["rows"]["unchanged"]) == ("unchanged", 5)


def test_an_applied_file_is_undone_and_then_the_same_bytes_are_not_unchanged(district: District) -> None:
    district.send("students.csv", students(30))
    wrong = students(30).replace("2065550", "9195550")[: -len(student(29)) - 2] + student(99) + "\r\n"
    district.operator("accounts", "set", district.client.account, "contacts_share=1")
    told = district.send("students.csv", wrong)
    assert (told["outcome"], told["rows"]["changed"], told["rows"]["deactivated"]) == ("imported", 29, 1)
    district.operator("runs", "revert", told["landing_id"])
    told = district.receipt(told["landing_id"], "students.csv", outcome="reverted")
    assert "back to what it was" in told["message"]
    found = district.recipients()
    assert {one["phone"][:3] for one in found} == {"206"}
    assert {one["student_id"] for one in found} == {str(number) for number in range(30)}
    told = district.send("students.csv", wrong)
    assert (told["outcome"], told["rows"]["changed"]) == ("imported", 29)


def test_an_older_file_is_undone_only_together_with_those_after_it(district: District) -> None:
    told = [district.send("students.csv", students(count)) for count in (10, 11, 12)]
    assert "--through" in district.operator("runs", "revert", told[1]["landing_id"], exit_code=1)
    district.operator("runs", "revert", told[1]["landing_id"], "--through")
    district.receipt(told[1]["landing_id"], "students.csv", outcome="reverted")
    assert len(district.recipients()) == 10


# A day's files, in any order

DAY = {
    "students_01.csv": lines(f"{STUDENTS},Home Language", "1,Al,Lee,2065550001,01,,,en", "2,Bo,Ray,2065550002,01,,,"),
    "students_02.csv": lines(f"{STUDENTS},Home Language", "2,Bo,Ray,2065550003,02,4255550003,bo@example.org,es"),
    "families.csv": lines(
        "Student ID,Student First Name,Student Last Name,Guardian ID 1,Guardian First Name 1,Guardian Last Name 1,"
        "Guardian Category 1,Guardian Phone 1,Guardian ID 2,Guardian First Name 2,Guardian Last Name 2,"
        "Guardian Category 2,Guardian Phone 2",
        "1,Al,Lee,G1,Ann,Lee,Mother,2065550101,G2,Bob,Lee,Father,2065550102",
    ),
    "enrollments.csv": lines("Student ID,School ID,Section ID", "1,01,M1", "2,01,M1"),
    "sections.csv": lines("Staff ID,School ID,Section ID,Period,Course Name", "T1,01,M1,1,Math"),
    "attendance.csv": lines("Student ID,Absence Date,Period A,Period B", "1,01/30/2026,X,", "2,01/30/2026,,X"),
}


def test_the_same_files_in_another_order_come_to_the_same(make_district: Callable[[str], District]) -> None:
    names = list(DAY)
    seen = []
    for account, order in (("shelby-1", names), ("shelby-2", names[::-1]), ("shelby-3", names[3:] + names[:3])):
        district = make_district(account)
        district.operator("feeds", "expect", account, "students_{school}.csv", "--feed", "students", "--priority", "10")
        for name in order:
            assert district.send(name, DAY[name])["outcome"] == "imported"
        state = [
            district.recipients(*asked)
            for asked in ((), ("--section", "M1", "--language", "es"), ("--absent-on", "01/30/2026", "--period", "A"))
        ]
        assert "reference_missing" not in district.operator("accounts", "integrity", account, "--json")
        seen.append(state)
    assert seen[0] == seen[1] == seen[2]
    everybody, spanish, absent = seen[0]
    assert [(one["contact"], one["phone"], one["language"]) for one in everybody] == [
        ("guardian", "2065550101", "en"),
        ("guardian", "2065550102", "en"),
        ("student", "2065550002", "es"),
    ]
    assert [one["student_id"] for one in spanish] == ["2"]
    assert {one["student_id"] for one in absent} == {"1"}


def test_members_of_staff_are_reached_by_school_and_position(district: District) -> None:
    header = "Staff ID,Last Name,First Name,Phone,School,Title,Language"
    rows = "T1,Orr,Pat,2065550201,01,Teacher,", "T2,Poe,Kim,2065550202,02,Teacher,es", "T3,Roe,Sam,2065550202,01,Nurse,"
    assert district.send("staff.csv", lines(header, *rows))["outcome"] == "imported"
    everybody = district.recipients("--staff")
    assert [(one["contact"], one["contact_id"], one["category"], one["language"]) for one in everybody] == [
        ("staff", "T1", "Teacher", "en"),
        ("staff", "T2", "Teacher", "es"),
        ("staff", "T3", "Nurse", "en"),
    ]
    of_school = district.recipients("--staff", "--school", "01", "--position", "Nurse", "--position", "Cook")
    assert [one["contact_id"] for one in of_school] == ["T3"]
    assert len(district.recipients("--staff", "--merge-duplicates")) == 2
    assert district.recipients() == []
    refused = district.operator("recipients", district.client.account, "--staff", "--grade", "9", exit_code=2)
    assert "about students" in refused


# What an operator declares, and decides for many at once


def test_a_feed_and_a_field_of_the_operators_own_are_imported_like_any_other(district: District) -> None:
    told = district.send(
        "bus_routes.csv", lines("Route Number,Driver's Phone", "7,(206) 555-0107", "7,2065550108", ",")
    )
    assert (told["outcome"], told["rows"]["accepted"], told["reject_counts"]) == (
        "imported_with_rejects",
        1,
        {"duplicate_key": 1},
    )
    content = lines(f"{STUDENTS},Bus", student(1) + ",7", student(2) + ",")
    told = district.send("students.csv", content)
    assert (told["outcome"], told["rows"]["added"]) == ("imported", 2)
    assert "columns_unused" not in {note["code"] for note in told["tolerated"]}
    assert district.send("students.csv", content.replace(",7\r\n", ",8\r\n"))["rows"]["changed"] == 1
    shown = json.loads(district.operator("feeds", "show", "students", "--json"))
    assert "Bus Route" in {header for field in shown["fields"] for header in field["headers"]}


def test_all_that_wait_for_one_reason_are_answered_at_once(make_district: Callable[[str], District]) -> None:
    districts = [make_district(name) for name in ("capital-1", "capital-2")]
    waiting = [(district, on_hold(district)[0]["landing_id"]) for district in districts]
    left = districts[0].send("staff.csv", "Staff ID,Last Name,First Name,Phone,School\r\n")
    for district in districts:
        district.operator(
            "runs", "approve", "--all-held", "--account", district.client.account, "--code", "many_deactivated"
        )
    for district, landing_id in waiting:
        assert district.receipt(landing_id, "students.csv", outcome="imported")["rows"]["deactivated"] == 30
    assert held(districts[0].receipt(left["landing_id"], "staff.csv")) == "no_rows"
    asked = ("--all-held", "--account", "capital-1", "--reason", "We know of it.")
    districts[0].operator("runs", "reject", *asked)
    told = districts[0].receipt(left["landing_id"], "staff.csv", outcome="rejected")
    assert "We know of it." in told["message"]


def test_a_retired_source_says_what_becomes_of_its_rows_and_asks(district: District) -> None:
    account = district.client.account
    district.send("students.csv", students(5))
    asked = district.operator("feeds", "retire", account, "students", answer="what?\n", exit_code=2)
    assert "5 active rows" in asked
    assert "nothing was changed" in asked
    assert len(district.recipients()) == 5
    assert "5 rows were deactivated" in district.operator("feeds", "retire", account, "students", answer="deactivate\n")
    assert district.recipients() == []
    assert district.send("students.csv", students(5))["outcome"] == "unrecognised"


def test_a_mapping_is_suggested_for_a_strange_file_kept_and_then_imports_it(district: District) -> None:
    content = lines("Perm;Vorname;Nachname;Call this;Bldg", *(student(n).rsplit(",", 2)[0] for n in range(30)))
    content = content.replace(",", ";")
    assert district.send("students.csv", content)["outcome"] == "rejected"
    file = district.client.file("odd.csv", content.encode())
    suggested = district.operator("feeds", "suggest", str(file), "--feed", "students")
    assert "% sure" in suggested
    (line,) = (line for line in suggested.splitlines() if line.startswith("To keep it: landingzone "))
    kept = shlex.split(line.removeprefix("To keep it: landingzone ").replace("ACCOUNT", district.client.account))
    district.operator(*kept)
    told = district.send("students.csv", content)
    assert (told["outcome"], told["rows"]["added"]) == ("imported", 30)
