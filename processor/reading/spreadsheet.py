"""Workbooks: one sheet of cells, each turned into the text that a person sees in it, as far as that can be told.

A workbook is opened whole, and its sheet becomes a block of all cells between its corners: size and corners are checked
before, so that a small file cannot ask for all memory.
"""

import datetime as dt
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Final

import polars as pl
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, SheetVisibleEnum

from processor.reading.container import Container
from processor.reading.header import HasHeader, HeaderWatch, are_names, header_below
from processor.reading.table import Batch, Damage, Limits, OpenedFile, UnreadableFile, column_names, shorten

Cell = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta

_SAMPLE_ROWS: Final = 20
_ROWS_AT_ONCE: Final = 20_000
_EXACT: Final = 1e15
"""Whole numbers below it are exact in the way that workbooks store numbers."""
_CELL_NAME: Final = re.compile(rb"""\br\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_LONGEST_NAME: Final = 64
_BLOCK: Final = 1024 * 1024


class SpreadsheetFile(OpenedFile):
    """A sheet of a workbook. See `OpenedFile`; a line is a row of the sheet, as its program numbers them."""

    def __init__(
        self, workbook: CalamineWorkbook, sheet: CalamineSheet, *, has_header: HasHeader, limits: Limits
    ) -> None:
        filled = ((at, [_text(cell).strip() for cell in cells]) for at, cells in _rows(sheet))
        sample = list(islice(((at, texts) for at, texts in filled if any(texts)), _SAMPLE_ROWS))
        if not sample:
            raise UnreadableFile("empty_file")
        below = header_below([texts for _, texts in sample], has_header)
        at, names = sample[below][0], tuple(sample[below][1])
        with_header = has_header(names) or are_names(names, [texts for _, texts in sample[1:]])
        width = max(place + 1 for place, name in enumerate(names) if name) if with_header else sheet.width
        header = names[:width] if with_header else None
        watch = HeaderWatch(header, has_header)
        super().__init__(header=header, width=width, limits=limits, without_headers=watch.without)
        self._workbook = workbook
        self._sheet = sheet
        self._last_skipped = at if with_header else at - 1
        self._note("spreadsheet")
        if below:
            self._note("lines_before_header")
        if not with_header:
            self._note("no_header")

    def close(self) -> None:
        """Close the workbook."""
        self._workbook.close()

    def batches(self) -> Iterator[Batch]:
        """The rows of the sheet, in order."""
        kept: list[tuple[int, list[str]]] = []
        damaged: list[Damage] = []
        for at, cells in _rows(self._sheet):
            self.line_count = at
            if at <= self._last_skipped:
                continue
            texts = [_text(cell) for cell in cells]
            if not any(text.strip() for text in texts):
                self._note("blank_lines")
                continue
            if not all(isinstance(cell, str) for cell in cells):
                self._note("spreadsheet_numbers")
            texts.extend([""] * (self.width - len(texts)))
            if any(texts[self.width :]):
                damaged.append(Damage(at, "damaged_fields", shorten(",".join(texts))))
            else:
                kept.append((at, texts[: self.width]))
            if len(kept) + len(damaged) >= _ROWS_AT_ONCE:
                yield self._batch(kept, damaged)
                kept, damaged = [], []
        if kept or damaged:
            yield self._batch(kept, damaged)

    def _batch(self, kept: list[tuple[int, list[str]]], damaged: list[Damage]) -> Batch:
        schema = {"line": pl.Int64, **dict.fromkeys(column_names(self.width), pl.String)}
        frame = pl.DataFrame([[at, *texts] for at, texts in kept], schema=schema, orient="row")
        return self._count(Batch(frame, tuple(damaged)))


def open_spreadsheet(
    container: Container, *, has_header: HasHeader, limits: Limits, sheet: str = ""
) -> SpreadsheetFile:
    """Open a workbook: the sheet of that name, else the first visible one whose first row is a header of the feed, else
    the first with content.

    Raises UnreadableFile.
    """
    if zipfile.is_zipfile(container.path):
        _refuse_too_large(container, limits)
    elif container.path.stat().st_size > limits.max_spreadsheet_bytes:
        raise UnreadableFile("too_large")
    try:
        workbook = CalamineWorkbook.from_path(container.path)
        sheets = [
            workbook.get_sheet_by_name(each.name)
            for each in workbook.sheets_metadata
            if (each.name == sheet if sheet else each.visible is SheetVisibleEnum.Visible)
        ]
    except PasswordError as error:
        raise UnreadableFile("archive_encrypted") from error
    except (CalamineError, OSError, ValueError) as error:
        raise UnreadableFile("spreadsheet_unreadable") from error
    filled = [each for each in sheets if each.start is not None]
    if not filled:
        raise UnreadableFile("empty_file")
    fitting = [each for each in filled if _has_header_in(each, has_header)]
    opened = SpreadsheetFile(workbook, (fitting or filled)[0], has_header=has_header, limits=limits)
    if len(filled) > 1:
        opened._note("spreadsheet_sheets")  # noqa: SLF001 - within the package
    return opened


def _has_header_in(sheet: CalamineSheet, has_header: HasHeader) -> bool:
    first = islice(([_text(cell).strip() for cell in cells] for _, cells in _rows(sheet) if any(cells)), _SAMPLE_ROWS)
    records = list(first)
    return has_header(tuple(records[header_below(records, has_header)])) if records else False


def _rows(sheet: CalamineSheet) -> Iterator[tuple[int, list[Cell]]]:
    """Rows with their number in the sheet, from 1; cells from the first column on that has any (calamine 0.9)."""
    yield from enumerate(sheet.iter_rows(), start=1)


def _text(cell: Cell) -> str:
    """What a cell says: whole numbers without `.0`, dates as mm/dd/yyyy (reference, appendix A, "Absence Date")."""
    match cell:
        case str():
            return cell
        case bool():
            return "TRUE" if cell else "FALSE"
        case float() if cell.is_integer() and abs(cell) < _EXACT:
            return str(int(cell))
        case dt.datetime() if cell.time() != dt.time():
            return cell.strftime("%m/%d/%Y %H:%M:%S")
        case dt.date():
            return cell.strftime("%m/%d/%Y")
        case dt.time():
            return cell.strftime("%H:%M:%S")
        case _:
            return str(cell)


def _refuse_too_large(container: Container, limits: Limits) -> None:
    """Unpack the workbook's parts once, within bounds, and look how far apart the cells of each sheet lie."""
    allowed = min(
        limits.max_spreadsheet_bytes,
        max(limits.ratio_grace_bytes, container.path.stat().st_size * limits.max_ratio),
    )
    total = 0
    try:
        with zipfile.ZipFile(container.path) as archive:
            for member in archive.infolist():
                is_sheet = member.filename.startswith("xl/worksheets/")
                last_row = last_column = 0
                rest = b""
                with archive.open(member) as part:
                    while block := part.read(_BLOCK):
                        total += len(block)
                        if total > allowed:
                            raise UnreadableFile("too_large")
                        if is_sheet:
                            for column, row in _CELL_NAME.findall(rest + block):
                                last_row, last_column = max(last_row, int(row)), max(last_column, _column(column))
                            rest = block[-_LONGEST_NAME:]
                if last_row * last_column > limits.max_spreadsheet_cells:
                    raise UnreadableFile("too_large")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableFile("spreadsheet_unreadable") from error


def _column(letters: bytes) -> int:
    """The number of a column by its letters.

    >>> _column(b"A"), _column(b"AB")
    (1, 28)
    """
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number
