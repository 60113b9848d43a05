"""Exports generated from every way to write a value, a line and a file together: read = accepted + rejected, and every
accepted value is what a careful reading by hand gives.

Each value is generated together with what it means: a value, or the code for which its row is rejected.
"""

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landingzone.feed import load_catalogue
from landingzone.kept_mapping import KeptMapping
from processor.examination import examine
from processor.validation import Validator
from tests.processor.reading.test_spreadsheets import workbook

STUDENTS = load_catalogue()["students"]
FIELDS = ("student_id", "first_name", "last_name", "phone", "school_id", "email", "alt_phone", "language", "grade")
HEADERS = (
    ("Student_id", "First", "Last", "Phone", "School", "Email", "Alt Phone", "Language", "Grade"),
    ("SIS ID", " first name ", "LAST_NAME", "Home Phone", "School ID#", "E-mail Address", "Mobile", "Lang", "Grade"),
    ("student number", "Given Name", "Surname", "Phone 1", "Campus Code", "Mail", "Phone 2", "Home Language", "Year"),
)  # fmt: skip
WIDTH = 30

Means = tuple[str, str]
"""The value as it is written, and what it means; a meaning that begins with `!` is the code of its row's reject."""


def of_id(dice: Random, number: int) -> Means:
    good = [(f"{number}", f"{number}"), (f" {number}", f"{number}"), (f"{number}.0", f"{number}"), (f"A-{number}",) * 2]
    bad = [("", "!required_empty"), ("NULL", "!required_empty"), ("Total", "!id_no_value"), ("n/a", "!id_no_value")]
    bad += [("1.2E+08", "!id_rewritten"), (f"'{number}", "!id_rewritten"), ("#REF!", "!id_no_value")]
    return dice.choice(good if dice.random() < 0.9 else bad)


def of_phone(dice: Random) -> Means:
    tail = f"{dice.randrange(10_000):04d}"
    good = [f"919555{tail}", f"(919) 555-{tail}", f"1-919-555-{tail} x676", f"+1 919.555.{tail}", f"919555{tail}.0"]
    bad = ["555-0100", f"919-555-{tail} / 919-555-0101", "919-555-CALL", f"919555{tail[:1]}.5", "N/A"]
    return (dice.choice(good), f"919555{tail}") if dice.random() < 0.9 else (dice.choice(bad), "!phone_digits")


def of_email(dice: Random) -> Means:
    good = [("a@example.org",) * 2, ("<a@example.org>;", "a@example.org"), ("", ""), ("NULL", "")]
    return dice.choice([*good, ("a@example", ""), ("a@example.org; b@example.org", "")])


def of_language(dice: Random) -> Means:
    return dice.choice([("", ""), ("en", "en"), (" es ", "es"), ("NULL", ""), ("none", ""), ("#N/A", "")])


def of_school(dice: Random) -> Means:
    return dice.choice([("014", "014"), ("0,1", "0,1"), ("7.0", "7"), ("West;2", "West;2"), ("S|3", "S|3")])


def of_name(dice: Random) -> Means:
    return dice.choice(
        [("Ann",) * 2, ("O'Neil",) * 2, ("Lee, Jr",) * 2, ('Bob "B"',) * 2, ("Null",) * 2, ("van der B",) * 2]
    )


def of_grade(dice: Random) -> Means:
    return dice.choice([("9", "9"), ("9.0", "9"), ("K", "K"), ("-", ""), ("", "")])


def record(dice: Random, number: int) -> list[Means]:
    alternative, means = of_phone(dice)
    return [
        of_id(dice, number), of_name(dice), of_name(dice), of_phone(dice), of_school(dice), of_email(dice),
        (alternative, "" if means.startswith("!") else means), of_language(dice), of_grade(dice),
    ]  # fmt: skip


@dataclass(frozen=True)
class Export:
    """How a file is written; `write` gives its bytes from its rows of text, the header first."""

    name: str
    write: Callable[[list[list[str]]], bytes]
    widths: tuple[int, ...] = ()


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def text(delimiter: str, line_end: str, encoding: str, *, trailing: bool, pack: Callable[[bytes], bytes]) -> Export:
    def write(rows: list[list[str]]) -> bytes:
        lines = [delimiter.join(map(quoted, row)) + delimiter * trailing for row in rows]
        return pack(line_end.join([*lines, ""]).encode(encoding))

    return Export(f"{delimiter!r} {line_end!r} {encoding} {trailing} {pack}", write)


def zipped(data: bytes) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("students.csv", data)
    return into.getvalue()


def as_workbook(rows: list[list[str]]) -> bytes:
    escaped = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    return workbook(
        {
            f"{chr(ord('A') + at)}{number}": "".join(escaped.get(letter, letter) for letter in value)
            for number, row in enumerate(rows, start=1)
            for at, value in enumerate(row)
            if value
        }
    )


def fixed_width(rows: list[list[str]]) -> bytes:
    return "".join("".join(value.ljust(WIDTH) for value in row) + "\r\n" for row in rows).encode()


exports = st.one_of(
    st.builds(
        text,
        delimiter=st.sampled_from(",;\t|"),
        line_end=st.sampled_from(["\r\n", "\n", "\r"]),
        encoding=st.sampled_from(["ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]),
        trailing=st.booleans(),
        pack=st.sampled_from([bytes, gzip.compress, zstandard.compress, zipped]),
    ),
    st.just(Export("workbook", as_workbook)),
    st.just(Export("fixed width", fixed_width, (WIDTH,) * len(FIELDS))),
)


def by_hand(records: list[list[Means]], first_line: int) -> tuple[dict[int, tuple[str, ...]], dict[int, str]]:
    """What is accepted, and what is rejected and why; each id comes once, so that no row repeats another."""
    accepted, rejected = {}, {}
    for line, row in enumerate(records, start=first_line):
        faults = [means[1:] for _, means in row if means.startswith("!")]
        if faults:
            rejected[line] = faults[0]
        else:
            accepted[line] = tuple(means for _, means in row)
    return accepted, rejected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    export=exports,
    header=st.sampled_from(HEADERS),
    seed=st.integers(0, 2**32),
    count=st.integers(1, 25),
    order=st.permutations(range(len(FIELDS))),
    title=st.booleans(),
    again=st.booleans(),
)
def test_what_is_accepted_is_what_a_careful_reader_takes(
    export: Export, header: tuple[str, ...], seed: int, count: int, order: list[int], title: bool, again: bool
) -> None:
    dice = Random(seed)
    records = [record(dice, number) for number in range(1000, 1000 + count)]
    rows = [[row[at][0] for at in order] for row in records]
    names = [header[at] for at in order]
    title = title and not export.widths
    lines = [["Students of 2026", *[""] * (len(FIELDS) - 1)]] * title + [names, *rows] + [names] * again
    accepted, rejected = by_hand(records, first_line=2 + title)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        taken: dict[int, tuple[str, ...]] = {}
        check = Validator.check

        def watched(validator: Validator, batch: object) -> object:
            checked = check(validator, batch)  # type: ignore[arg-type]
            taken.update({row[0]: row[1:] for row in checked.accepted.select("line", *FIELDS).rows()})
            return checked

        patched.setattr(Validator, "check", watched)
        path = Path(folder, "students")
        path.write_bytes(export.write(lines))
        found = examine(path, name="students", feed=STUDENTS, kept=KeptMapping(widths=export.widths))
    assert found.missing == ()
    assert taken == accepted
    assert {reject["line"]: reject["code"] for reject in found.rejects} == rejected
    assert found.read == count == len(taken) + found.rejected
    assert sum(found.reject_counts.values()) == found.rejected
    tolerated = {note["code"] for note in found.tolerated}
    assert ("lines_before_header" in tolerated) is title
    assert ("header_repeated" in tolerated) is again
