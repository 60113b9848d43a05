"""`landingzone-upload check`: what is extracted, how it is formatted, and what is said before anything is sent."""

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upload.cli import app
from upload.command import Setup
from upload.folder import Folder
from upload.preparation import Prepared, prepare

HEADER = "student_id,first_name,last_name,phone,school_id,alt_phone"
SERVER = f'[server]\nhost = "h"\naccount = "a"\nhost_keys = ["SHA256:{"x" * 43}"]\n'


def row(number: int, **other: str) -> str:
    """A good row of students."""
    values = {"first": "Lisa", "phone": f"217-555-{number % 10000:04}", **other}
    return f"{number:05},{values['first']},Simpson,{values['phone']},014,2175550100"


def rows(count: int, **other: str) -> str:
    """A good file."""
    return "\n".join([HEADER, *(row(number, **other) for number in range(1, count + 1))]) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with settings for one file of students; the file looks as if it had been written long ago."""
    (tmp_path / "landingzone-upload.toml").write_text(f'{SERVER}[[source]]\nfeed = "students"\nfile = "students.csv"\n')
    return tmp_path


Write = Callable[..., Path]


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes a file that looks as if it had been written long ago."""

    def put(text: str | bytes, name: str = "students.csv", *, minutes_ago: int = 60) -> Path:
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        then = time.time() - minutes_ago * 60
        os.utime(path, (then, then))
        return path

    return put


Check = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def check(folder: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs `check --json`; gives its exit code and what it told."""

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        code = app(["--folder", str(folder), "check", "--json", *arguments], standalone_mode=False)
        return int(code or 0), json.loads(capsys.readouterr().out)

    return run


def prepared(folder: Path) -> list[Prepared]:
    """What the folder's first source gives."""
    setup = Setup(Folder(folder))
    return list(prepare(setup, setup.settings.source[0]))


def sent_text(folder: Path) -> bytes:
    """The bytes that would be sent."""
    (one,) = prepared(folder)
    try:
        return one.outgoing.path.read_bytes()
    finally:
        one.discard()


def test_a_file_becomes_the_ideal_one_in_the_feeds_own_order(folder: Path, write: Write) -> None:
    write(
        'Phone;Last Name;Bus;First Name;Student ID;School ID\r\n217-555-0101;Simpson;12;"Zoë ""Z""";00017;014\r\n'
        '"217-555-0102";"Simp\nson, Jr";;Bart;00018;014\r\n'.encode("cp1252")
    )
    assert sent_text(folder).decode() == (
        '"student_id","first_name","last_name","phone","school_id","Bus"\r\n'
        '"00017","Zoë ""Z""","Simpson","217-555-0101","014","12"\r\n'
        '"00018","Bart","Simp\nson, Jr","217-555-0102","014",""\r\n'
    )


def test_what_would_be_rejected_is_told_by_line_without_its_value(check: Check, folder: Path, write: Write) -> None:
    write(rows(30) + row(31, phone="12") + "\n")
    code, (told,) = check("--rejects", str(folder / "rejects"))
    assert code == 0
    assert told["rows"] == {"read": 31, "accepted": 30, "rejected": 1}
    (reject,) = told["rejects"]
    assert (reject["line"], reject["field"], reject["code"]) == (32, "phone", "phone_digits")
    assert "value" not in reject
    file = Path(told["reject_file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "00031" in file.read_text()
    assert list((folder / "work").iterdir()) == []


def test_a_damaged_line_is_never_mended_on_the_way(check: Check, folder: Path, write: Write) -> None:
    text = rows(3) + '00004,Lisa,"Simp"son,2175550104,014,2175550100\n00005,short\n'
    write(text)
    assert sent_text(folder) == text.encode()
    _, (told,) = check()
    assert told["as_it_is"]
    assert set(told["reject_counts"]) == {"damaged_quote", "damaged_fields"}
    assert any("not mended" in remark for remark in told["remarks"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (HEADER + "\n", "no rows"),
        (rows(30)[:-20], "cut off"),
        (rows(30) + '00031,"Lisa', "cut off"),
        (rows(30).replace("phone", "fax"), "No column gives Phone"),
        (rows(30, phone="x"), "Not one of its rows"),
    ],
)
def test_a_file_that_is_clearly_broken_should_not_be_sent(check: Check, write: Write, text: str, said: str) -> None:
    write(text)
    code, (told,) = check()
    assert code == 22
    assert said in told["refusal"]
    assert check("--send-anyway")[0] == 0


def test_less_than_half_the_usual_rows_should_not_be_sent_and_changes_are_told(
    check: Check, folder: Path, write: Write
) -> None:
    write(rows(100))
    assert check()[1][0]["changes"] == {}
    (one,) = prepared(folder)
    one.remember(folder / "state")
    one.discard()
    (kept,) = (folder / "state").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert b"Simpson" not in kept.read_bytes()
    write(rows(98).replace("00007,Lisa", "00007,Maggie") + row(200) + "\n")
    code, (told,) = check()
    assert code == 0
    assert told["changes"]["students"] == {"added": 1, "changed": 1, "gone": 2, "unchanged": 97}
    write(rows(49))
    code, (told,) = check()
    assert code == 22
    assert "49 rows, where it usually has 100" in told["refusal"]
    kept.write_bytes(b"rubbish")
    assert check()[0] == 0


def test_a_last_line_without_an_end_stays_so(folder: Path, write: Write) -> None:
    write(rows(3).rstrip("\n"))
    assert sent_text(folder).endswith(b'"2175550100"')


def test_without_a_header_none_is_made_up(check: Check, folder: Path, write: Write) -> None:
    write(rows(3).partition("\n")[2])
    assert sent_text(folder).startswith(b'"00001","Lisa"')
    assert "no header line" in " ".join(check()[1][0]["remarks"])


def test_own_names_are_mapped_and_a_wrong_mapping_is_told(folder: Path, write: Write) -> None:
    settings = folder / "landingzone-upload.toml"
    settings.write_text(settings.read_text() + 'mapping = { "KIDNO" = "student_id" }\n')
    write(rows(2).replace("student_id", "KidNo"))
    assert sent_text(folder).startswith(b'"student_id","first_name"')
    settings.write_text(settings.read_text().replace('"student_id" }', '"pupil" }'))
    with pytest.raises(Exception, match="'pupil', which is no field of students"):
        prepared(folder)


def test_of_a_pattern_the_newest_is_taken_and_one_file_of_each_school(folder: Path, write: Write) -> None:
    settings = folder / "landingzone-upload.toml"
    settings.write_text(settings.read_text().replace("students.csv", "students_{school}_{date}.csv"))
    write(rows(1), "students_EAST_2026-01-30.csv", minutes_ago=90)
    write(rows(2), "Students_east_2026-01-31.csv")
    write(rows(3), "students_west_20260131.csv")
    write(rows(4), "students_west_20260131.csv.tmp")
    found = prepared(folder)
    assert [(one.outgoing.name, one.outgoing.rows) for one in found] == [
        ("students_east.csv", 2),
        ("students_west.csv", 3),
    ]
    assert {one.key for one in found} == {"students.east", "students.west"}
    settings.write_text(settings.read_text().replace("students_{school}_{date}.csv", "stud*.csv"))
    (one,) = prepared(folder)
    assert (one.outgoing.name, one.outgoing.rows) == ("students.csv", 3)


def test_a_file_that_is_still_being_written_is_waited_for(check: Check, folder: Path) -> None:
    text = rows(40)
    pieces = [text[at : at + 400] for at in range(0, len(text), 400)]
    path = folder / "students.csv"
    path.write_text(pieces[0])

    def finish() -> None:
        for piece in pieces[1:]:
            time.sleep(0.3)
            with path.open("a") as file:
                file.write(piece)

    writer = threading.Thread(target=finish)
    writer.start()
    code, (told,) = check()
    writer.join()
    assert (code, told["rows"]["read"]) == (0, 40)


def test_what_cannot_be_extracted_is_told_and_the_others_are_looked_at(
    check: Check, folder: Path, write: Write
) -> None:
    settings = folder / "landingzone-upload.toml"
    settings.write_text(settings.read_text() + '[[source]]\nfeed = "staff"\nfile = "staff.csv"\n')
    write(rows(2))
    code, (students, staff) = check()
    assert (code, students["rows"]["read"]) == (20, 2)
    assert "There is no file" in staff["error"]
    assert check("students")[0] == 0
