"""The corpus of tests/data: each file gives exactly the rows, rejects and notes written beside it."""

import datetime as dt
import gzip
import io
import tomllib
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from landingzone.feed import load_catalogue
from processor import codes
from processor.mapping import looks_like_header, resolve
from processor.reading import Limits, UnreadableFile, open_file
from processor.validation import Checked, RowWarning, Validator
from tests.processor.reading.test_spreadsheets import workbook

DATA = Path(__file__).parents[2] / "data"
CATALOGUE = load_catalogue()
CASES = {
    f"{kind}: {case['name']}": case
    for kind in ("departures", "damages", "shapes", "wrong_imports", "workbooks", "fixed_width")
    for case in tomllib.loads((DATA / f"{kind}.toml").read_text(encoding="utf-8"))["case"]
}

each_case = pytest.mark.parametrize("name", CASES)


def packed(case: dict[str, Any]) -> bytes:
    if "cells" in case:
        return sheet(case["cells"])
    data = case["content"].encode(case.get("encoding", "ascii"))
    match case.get("packed"):
        case "gzip":
            return gzip.compress(data)
        case "zstd":
            return zstandard.compress(data)
        case "zip":
            into = io.BytesIO()
            with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("students.csv", data)
            return into.getvalue()
        case _:
            return data


def sheet(rows: list[list[Any]]) -> bytes:
    """A workbook of these rows; text, numbers and days are stored as what they are."""
    cells = {
        f"{chr(ord('A') + at)}{number}": ("date", (value - dt.date(1899, 12, 30)).days)
        if isinstance(value, dt.date)
        else value
        for number, row in enumerate(rows, start=1)
        for at, value in enumerate(row)
        if value != ""
    }
    return workbook(cells)


class Result:
    """A file's batches after the rules, put together."""

    def __init__(self, path: Path, case: dict[str, Any], limits: Limits | None) -> None:
        feed = CATALOGUE[case.get("feed", "enrollments")]
        is_header, widths = partial(looks_like_header, feed), case.get("widths")
        with open_file(path, name=path.name, has_header=is_header, limits=limits, widths=widths) as opened:
            mapping = resolve(feed, opened.header, opened.width)
            validator = Validator(feed, mapping, effective_date=case.get("landed"))
            checked = [validator.check(batch) for batch in opened.batches()]
        self.opened, self.validator = opened, validator
        self.accepted = [row for each in checked for row in each.accepted.select("line", *mapping.columns).rows()]
        self.rejects = [row for each in checked for row in each.rejects.select("line", "field", "code").rows()]
        self.read = sum(each.read for each in checked)
        self.collapsed = sum(each.collapsed for each in checked)
        self.checked: list[Checked] = checked
        self.warnings: list[RowWarning] = validator.warnings()
        self.tolerated = {note.code for note in opened.tolerated}


def examine(tmp_path: Path, case: dict[str, Any], limits: Limits | None = None) -> Result:
    path = tmp_path / "file.csv"
    path.write_bytes(packed(case))
    return Result(path, case, limits)


def agrees(result: Result, case: dict[str, Any]) -> None:
    if "accepted" in case:
        assert result.accepted == [tuple(row) for row in case["accepted"]]
    if "last_accepted" in case:
        assert result.accepted[-1] == tuple(case["last_accepted"])
    assert result.rejects == [tuple(row) for row in case.get("rejects", [])]
    if "tolerated" in case:
        assert result.tolerated == set(case["tolerated"])
    told = {(each.code, each.field, each.lines) for each in result.warnings}
    assert told == {(code, field, tuple(lines)) for code, field, lines in case.get("warnings", [])}
    assert result.opened.open_quote_at_end == case.get("open_quote_at_end", False)
    if "ends_without_line_end" in case:
        assert result.opened.ends_without_line_end == case["ends_without_line_end"]


@each_case
def test_a_file_gives_the_rows_rejects_and_notes_written_beside_it(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    if code := case.get("unreadable"):
        with pytest.raises(UnreadableFile) as refused:
            examine(tmp_path, case)
        assert refused.value.code == code
        return
    agrees(examine(tmp_path, case), case)


@each_case
@pytest.mark.parametrize("batch_bytes", [1, 40, 100])
def test_it_gives_the_same_however_small_the_stretches_are_in_which_it_is_read(
    tmp_path: Path, name: str, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.reading.text.HEAD_BYTES", 400)
    case = CASES[name]
    if not case.get("unreadable"):
        agrees(examine(tmp_path, case, Limits(batch_bytes=batch_bytes)), case)


@each_case
def test_rows_read_are_rows_accepted_and_rows_rejected(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    if case.get("unreadable"):
        return
    result = examine(tmp_path, case)
    validator = result.validator
    assert result.read == result.opened.rows_read == validator.read == validator.accepted + validator.rejected
    assert validator.accepted == len(result.accepted) + result.collapsed
    assert validator.rejected == len(result.rejects) == sum(validator.reject_counts().values())


@each_case
def test_every_code_that_a_file_gives_is_declared(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    if case.get("unreadable"):
        assert case["unreadable"] in codes.UNREADABLE
        return
    result = examine(tmp_path, case)
    assert {code for _, _, code in result.rejects} <= set(codes.REJECTS)
    assert {each.code for each in result.warnings} <= set(codes.WARNINGS)
    assert result.tolerated <= set(codes.TOLERATED)
