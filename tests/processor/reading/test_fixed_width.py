"""Columns of fixed width: by declared widths, in characters."""

from pathlib import Path

import pytest

from processor.reading import Limits, OpenedFile, UnreadableFile, open_file

WIDTHS = (4, 6, 3)


def read(
    path: Path, text: str, encoding: str = "ascii", limits: Limits | None = None
) -> tuple[OpenedFile, list[object]]:
    path.write_bytes(text.encode(encoding))
    with open_file(path, name="a", has_header=lambda names: "id" in names, widths=WIDTHS, limits=limits) as opened:
        return opened, [row for batch in opened.batches() for row in batch.frame.rows()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "students.txt"


def test_columns_are_taken_by_their_widths_without_their_filling(file: Path) -> None:
    opened, rows = read(file, 'id  name  grd\r\n1   Ann   003\r\n22  Bo Lee\r\n\r\n3   "B,o" 4\r\n')
    assert opened.header == ("id", "name", "grd")
    assert rows == [(2, "1", "Ann", "003"), (5, "3", '"B,o"', "4")]
    assert [(each.line, each.code) for each in opened.damaged] == [(3, "damaged_fields")]
    assert {note.code for note in opened.tolerated} == {"fixed_width", "blank_lines"}
    assert opened.rows_read == 3


def test_widths_count_characters_in_every_encoding_and_line_end(file: Path) -> None:
    text = "1   José  003\r2   Ann   004\r"
    for encoding in ("utf-8", "cp1252", "utf-16"):
        opened, rows = read(file, text, encoding)
        assert rows == [(1, "1", "José", "003"), (2, "2", "Ann", "004")]
        assert {"no_header", "line_end_cr", "fixed_width"} < {note.code for note in opened.tolerated}


def test_a_line_that_is_too_long_or_holds_nul_costs_itself_only(file: Path) -> None:
    opened, rows = read(
        file, "id  name  grd\n1   Ann   0033\n2   Bo\0   003\n3   Cy    003", limits=Limits(batch_bytes=20)
    )
    assert rows == [(4, "3", "Cy", "003")]
    assert [(each.line, each.code) for each in opened.damaged] == [(2, "damaged_fields"), (3, "damaged_nul")]
    assert opened.ends_without_line_end


def test_nothing_but_blank_lines_is_an_empty_file(file: Path) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(file, "\n   \n")
    assert refused.value.code == "empty_file"
