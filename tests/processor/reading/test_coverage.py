"""What the corpus covers: every way to depart from the ideal, and every damage in every one of them."""

import gzip
import io
import itertools
import tomllib
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import zstandard

from landingzone.feed import load_catalogue
from processor import codes
from processor.mapping import looks_like_header
from processor.reading import open_file
from tests.processor.reading.test_corpus import CASES, DATA
from tests.processor.reading.test_corpus import examine as examine_case

ENROLLMENTS = load_catalogue()["enrollments"]

NOT_OF_A_FILE = {"columns_changed", "columns_unused", "columns_twice"}
"""Told by comparing a header with the feed, or with that of the last file (test_import.py, test_mapping.py)."""
BY_TESTS_OF_CONTAINERS = {
    "archive_kind", "archive_encrypted", "archive_members", "archive_nested", "archive_damaged", "too_large",
    "line_too_long", "spreadsheet_unreadable", "spreadsheet_sheets",
}  # fmt: skip
"""Need files that no text in a table can hold (test_containers.py, test_spreadsheets.py)."""


def test_every_departure_and_every_damage_has_a_file_of_its_own(tmp_path: Path) -> None:
    seen: set[str] = set()
    for case in CASES.values():
        if "unreadable" in case:
            seen.add(case["unreadable"])
            continue
        result = examine_case(tmp_path, case)
        seen |= result.tolerated | {code for _, _, code in result.rejects}
    kinds = {codes.Severity.TOLERATED, codes.Severity.REJECT, codes.Severity.UNREADABLE}
    declared = {each.code for each in codes.ALL if each.kind in kinds}
    assert declared - seen - NOT_OF_A_FILE - BY_TESTS_OF_CONTAINERS == set()


def test_the_corpus_is_what_lies_in_its_folder() -> None:
    files = {path.stem for path in DATA.glob("*.toml")}
    assert files == {name.partition(":")[0] for name in CASES}
    assert sum(len(tomllib.loads(path.read_text("utf-8"))["case"]) for path in DATA.glob("*.toml")) == len(CASES)


def plain(data: bytes) -> bytes:
    return data


def zipped(data: bytes) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("out\\enrollments.csv", data)
    return into.getvalue()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": plain, "gzip": gzip.compress, "zip": zipped, "zstd": zstandard.compress
}  # fmt: skip
ENCODINGS = ("ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
LINE_ENDS = ("\r\n", "\n", "\r")
DELIMITERS = ",;\t|"
#: each damage as the fields of its line, and the code that it gives
DAMAGES = {
    "few": (['"x"', '"y"'], "damaged_fields"),
    "many": (['"x"', '"y"', '"z"', '"z"'], "damaged_fields"),
    "stray quote in quotes": (['"x"', '"Bob "B" Jr"', '"z"'], "damaged_quote"),
    "stray quote": (["x", 'Bob "B" Jr', "z"], "damaged_quote"),
    "never closed": (['"x"', '"y"', '"z'], "damaged_unclosed"),
    "NUL": (['"x"', '"y"', '"z\0"'], "damaged_nul"),
    "no character": (['"x"', '"y"', '"z\x81"'], "damaged_encoding"),
}


def bytes_of(lines: list[str], encoding: str) -> bytes:
    text = "".join(lines)
    if encoding == "cp1252":
        return b"".join(b"\x81" if each == "\x81" else each.encode("cp1252") for each in text)
    return text.encode(encoding)


@pytest.mark.parametrize(("container", "encoding"), itertools.product(CONTAINERS, ENCODINGS))
def test_each_damage_costs_its_own_line_in_every_form_of_a_file(tmp_path: Path, container: str, encoding: str) -> None:
    wide = "A" if encoding == "ascii" else "é"
    path = tmp_path / "enrollments.csv"
    for end, delimiter, (damage, (fields, code)) in itertools.product(LINE_ENDS, DELIMITERS, DAMAGES.items()):
        if damage == "no character" and encoding != "cp1252":
            continue
        rows = [
            ["Student ID", "School ID", "Section ID"],
            ['"1"', '"001"', f'"{wide}"'],
            fields,
            ['"2"', '"001"', '"B"'],
        ]
        lines = [delimiter.join(row) + end for row in rows]
        path.write_bytes(CONTAINERS[container](bytes_of(lines, encoding)))
        with open_file(path, name=path.name, has_header=partial(looks_like_header, ENROLLMENTS)) as opened:
            batches = list(opened.batches())
        form = (container, encoding, end, delimiter, damage)
        assert [row for batch in batches for row in batch.frame.rows()] == [
            (2, "1", "001", wide),
            (4, "2", "001", "B"),
        ], form
        assert [(each.line, each.code) for batch in batches for each in batch.damaged] == [(3, code)], form
        assert opened.rows_read == 3
