"""Workbooks: cells become the text that a person sees, rows keep the numbers that the spreadsheet program shows."""

import io
import zipfile
from pathlib import Path

import pytest

from processor.reading import Limits, OpenedFile, UnreadableFile, open_file

_BOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{}</sheets></workbook>'
)
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
_RELATIONS = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
_KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_STYLES = (
    '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'
)


def cell(name: str, value: object) -> str:
    match value:
        case str():
            return f'<c r="{name}" t="inlineStr"><is><t>{value}</t></is></c>'
        case bool():
            return f'<c r="{name}" t="b"><v>{int(value)}</v></c>'
        case ("date", serial):
            return f'<c r="{name}" s="1"><v>{serial}</v></c>'
        case _:
            return f'<c r="{name}"><v>{value}</v></c>'


def workbook(*sheets: dict[str, object]) -> bytes:
    """A workbook of sheets, each given as its cells by name."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr(
            "_rels/.rels",
            _RELATIONS.format(f'<Relationship Id="b" Type="{_KIND}/officeDocument" Target="xl/workbook.xml"/>'),
        )
        names = "".join(f'<sheet name="S{at}" sheetId="{at}" r:id="r{at}"/>' for at in range(1, len(sheets) + 1))
        archive.writestr("xl/workbook.xml", _BOOK.format(names))
        links = "".join(
            f'<Relationship Id="r{at}" Type="{_KIND}/worksheet" Target="worksheets/sheet{at}.xml"/>'
            for at in range(1, len(sheets) + 1)
        )
        styles = f'<Relationship Id="s" Type="{_KIND}/styles" Target="styles.xml"/>'
        archive.writestr("xl/_rels/workbook.xml.rels", _RELATIONS.format(links + styles))
        archive.writestr("xl/styles.xml", _STYLES)
        for at, cells in enumerate(sheets, start=1):
            rows: dict[str, str] = {}
            for name, value in cells.items():
                row = name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
                rows[row] = rows.get(row, "") + cell(name, value)
            body = "".join(f'<row r="{row}">{inner}</row>' for row, inner in rows.items())
            archive.writestr(
                f"xl/worksheets/sheet{at}.xml",
                f'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{body}</sheetData></worksheet>',
            )
    return into.getvalue()


def read(path: Path, *sheets: dict[str, object]) -> tuple[OpenedFile, list[tuple[object, ...]]]:
    path.write_bytes(workbook(*sheets))
    with open_file(path, name=path.name, has_header=lambda names: "id" in names) as opened:
        return opened, [row for batch in opened.batches() for row in batch.frame.rows()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "students.xlsx"


def test_numbers_lose_their_point_and_dates_are_written_as_the_reference_asks(file: Path) -> None:
    cells = {
        "A1": "id",
        "B1": "when",
        "C1": "x",
        "A2": 1001.0,
        "B2": ("date", 46350),
        "C2": True,
        "A3": "007",
        "C3": 1.5,
    }
    opened, rows = read(file, cells)
    assert opened.header == ("id", "when", "x")
    assert rows == [(2, "1001", "11/24/2026", "TRUE"), (3, "007", "", "1.5")]
    assert [note.code for note in opened.tolerated] == ["spreadsheet", "spreadsheet_numbers"]


def test_rows_keep_the_numbers_that_the_spreadsheet_shows(file: Path) -> None:
    opened, rows = read(file, {"B3": "id", "C3": "name", "B5": "1", "C5": "Ann", "B9": "2", "C9": "Bo"})
    assert opened.header == ("id", "name")
    assert rows == [(5, "1", "Ann"), (9, "2", "Bo")]
    assert opened.rows_read == 2
    assert opened.line_count == 9


def test_a_value_beyond_the_header_damages_its_row(file: Path) -> None:
    opened, rows = read(file, {"A1": "id", "B1": "name", "A2": "1", "B2": "Ann", "C2": "?", "A3": "2", "B3": "Bo"})
    assert rows == [(3, "2", "Bo")]
    assert [(each.line, each.code) for each in opened.damaged] == [(2, "damaged_fields")]
    assert opened.rows_read == 2


def test_the_sheet_with_the_feeds_header_is_read_and_the_others_are_told(file: Path) -> None:
    opened, rows = read(file, {"A1": "Read me first"}, {"A1": "id", "A2": "1"})
    assert rows == [(2, "1")]
    assert "spreadsheet_sheets" in {note.code for note in opened.tolerated}


def test_cells_far_apart_do_not_ask_for_all_memory(file: Path) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(file, {"A1": "id", "XFD1048576": "1"})
    assert refused.value.code == "too_large"


def test_a_workbook_that_unpacks_without_measure_is_refused(file: Path) -> None:
    file.write_bytes(workbook({"A1": "id", "A2": "1" * 1_000_000}))
    limits = Limits(max_ratio=10, ratio_grace_bytes=10_000)
    with pytest.raises(UnreadableFile) as refused:
        open_file(file, name="a", has_header=lambda names: "id" in names, limits=limits)
    assert refused.value.code == "too_large"


def test_an_empty_workbook_is_an_empty_file(file: Path) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(file, {})
    assert refused.value.code == "empty_file"


def test_a_damaged_workbook_is_refused(file: Path) -> None:
    whole = bytearray(workbook({"A1": "id", "A2": "1"}))
    at = whole.index(b"xl/worksheets/sheet1.xml") + 30
    whole[at : at + 20] = b"\xff" * 20
    file.write_bytes(whole)
    with pytest.raises(UnreadableFile) as refused:
        open_file(file, name="a", has_header=lambda names: "id" in names)
    assert refused.value.code == "spreadsheet_unreadable"


def test_an_old_workbook_that_is_none_is_refused(file: Path) -> None:
    file.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2000)
    with pytest.raises(UnreadableFile) as refused:
        open_file(file, name="a", has_header=lambda names: "id" in names)
    assert refused.value.code == "spreadsheet_unreadable"
