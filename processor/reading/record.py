r"""The careful way: one record at a time, deciding what a line that is not beyond doubt really says.

A record is fields between separators. A field is quoted (it starts with `"`, holds `""` for each quote, ends with
`"`) or is not, and then holds no quote at all. Blanks between a separator and a quote are set aside, with a note. A
quoted value may span lines only if its record then closes with the right number of fields, within bounds, and if no
line inside it is a whole record by itself; otherwise its first line is damaged, and reading goes on with the next
physical line.
"""

import codecs
from dataclasses import dataclass, replace
from typing import Final

from processor.reading.encoding import MARK_BYTES
from processor.reading.table import Limits

QUOTE: Final = b'"'
_Q: Final = QUOTE[0]
_FORMULA: Final = b'="'
_BOM: Final = codecs.BOM_UTF8
"""In the middle of a file where files were joined."""
_CR: Final = b"\r"
_DISTINCT_WIDTH: Final = 3
"""From so many fields on, a line inside a quoted value that splits into just as many is a record, not text."""


@dataclass(frozen=True, slots=True)
class Form:
    """How records are written.

    Attributes:
        delimiter: one byte.
        line_end: the byte that ends a line: LF (a CR before it belongs to it), or CR where the file has no LF.
        width: fields of every record; 0 while it is not known yet.
        limits: bounds of a record that spans lines.
        trailing: the last field is what follows a separator at the line's end, and must be empty.
    """

    delimiter: bytes
    line_end: bytes
    width: int
    limits: Limits
    trailing: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is in order.

    Attributes:
        fields: values without their quotes.
        end: offset after the record and its line end.
        lines: physical lines that it takes.
        spaced: blanks around quotes were set aside.
        quoted: every field stands in quotes.
        formulas: some field stands in quotes after an equals sign, as a spreadsheet is told that it is text: `="014"`.
    """

    fields: tuple[str, ...]
    end: int
    lines: int
    spaced: bool
    quoted: bool
    formulas: bool = False


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that is no record. `open_to_end`: its quote opens and no further quote follows in the file."""

    code: str
    open_to_end: bool = False


@dataclass(frozen=True, slots=True)
class Undecided:
    """More bytes are needed to decide."""


def is_blank(line: bytes, form: Form) -> bool:
    """Whether a line holds nothing but blanks (and the end-of-file mark of DOS), or nothing but separators.

    Blanks between separators are values, if empty ones: such a line is a row.
    """
    bare = line.rstrip(_CR)
    return not bare.strip(form.delimiter) or not bare.strip(_blanks(form) + b"\x1a")


def read_record(data: bytes, start: int, line_end: int, form: Form, *, at_end: bool) -> Record | Damaged | Undecided:
    """Read the record whose first physical line is `data[start:line_end]`.

    `data` ends with a line end; `at_end` says that the file ends with it.
    """
    limit = min(len(data), start + form.limits.max_record_bytes)
    found = _split(data, start, max(line_end, 0), max(limit, line_end), form)
    if found is None:
        if limit == len(data) and not at_end:
            return Undecided()
        return _by_content(data[start:line_end]) or Damaged("damaged_unclosed", open_to_end=limit == len(data))
    if isinstance(found, Damaged):
        return _by_content(data[start:line_end]) or found
    content = data[start : found.end]
    if found.lines > 1:
        if (
            found.lines > form.limits.max_record_lines
            or _by_content(content)
            or not _may_span(data, start, found, form)
        ):
            return _by_content(data[start:line_end]) or Damaged("damaged_unclosed")
        return found
    if damaged := _by_content(content):
        return damaged
    if form.width and len(found.fields) != form.width:
        return Damaged("damaged_fields")
    if form.trailing and found.fields[-1]:
        return Damaged("damaged_fields")
    return found


def read_parts(data: bytes, start: int, line_end: int, form: Form) -> list[Record] | None:
    """The records of a line that bare CRs divide, if every part is one by itself; else None."""
    inner = replace(form, line_end=_CR)
    text = data[start:line_end].rstrip(_CR) + _CR
    records: list[Record] = []
    at = 0
    while at < len(text):
        found = read_record(text, at, text.find(_CR, at), inner, at_end=True)
        if not isinstance(found, Record):
            return None
        records.append(found)
        at = found.end
    return records


def _blanks(form: Form) -> bytes:
    return b" " if form.delimiter == b"\t" else b" \t"


def _by_content(raw: bytes) -> Damaged | None:
    if b"\0" in raw:
        return Damaged("damaged_nul")
    if MARK_BYTES in raw:
        return Damaged("damaged_encoding")
    return None


def _may_span(data: bytes, start: int, found: Record, form: Form) -> bool:
    """Whether a record over several lines is one, rather than an open quote that swallowed its neighbours."""
    if form.width and len(found.fields) != form.width:
        return False
    if form.trailing and found.fields[-1]:
        return False
    if form.width < _DISTINCT_WIDTH:
        return True
    at = data.find(form.line_end, start) + 1
    while (line_end := data.find(form.line_end, at)) + 1 < found.end:
        alone = _split(data, at, line_end, line_end, form)
        if isinstance(alone, Record) and len(alone.fields) == form.width:
            return False
        at = line_end + 1
    return True


def _split(data: bytes, start: int, line_end: int, limit: int, form: Form) -> Record | Damaged | None:
    """Split into fields; None if a quoted value does not end before `limit`."""
    delimiter, end_byte = form.delimiter[0], form.line_end[0]
    blanks = _blanks(form)
    fields: list[str] = []
    spaced, quoted, formulas, own_end = False, True, False, line_end
    at = start + len(_BOM) if data.startswith(_BOM + QUOTE, start) else start
    while True:
        first = _past(data, at, blanks)
        if data.startswith(_FORMULA, first):
            first, formulas = first + 1, True
            at = first
        if data[first] == _Q:
            close = _closing(data, first + 1, limit)
            if close < 0:
                return None
            fields.append(data[first + 1 : close].replace(b'""', b'"').decode())
            if close > line_end:
                line_end = data.find(form.line_end, close)
            after = close + 1
            after = _past(data, after, blanks)
            spaced = spaced or first > at or after > close + 1
        else:
            quoted = False
            after = data.find(form.delimiter, at, line_end)
            after = after if after >= 0 else _before_end(data, at, line_end)
            raw = data[at:after]
            if QUOTE in raw or _CR in raw:
                return Damaged("damaged_quote" if QUOTE in raw else "damaged_line_end")
            fields.append(raw.decode())
        if data[after] == delimiter:
            at = after + 1
            continue
        if data[after] == end_byte or _before_end(data, after, line_end) == after:
            end = line_end + 1
            return Record(tuple(fields), end, data.count(form.line_end, start, end), spaced, quoted, formulas)
        if line_end != own_end:
            return Damaged("damaged_unclosed")
        return Damaged("damaged_line_end" if data[after] == _CR[0] else "damaged_quote")


def _past(data: bytes, at: int, blanks: bytes) -> int:
    """Offset of the first byte from `at` on that is no blank."""
    while data[at] in blanks:
        at += 1
    return at


def _before_end(data: bytes, at: int, line_end: int) -> int:
    """Where the line's content ends: before the CRs that stand directly before its LF."""
    while line_end > at and data[line_end - 1] == _CR[0]:
        line_end -= 1
    return line_end


def _closing(data: bytes, at: int, limit: int) -> int:
    """Offset of the quote that ends a quoted value, -1 if there is none before `limit`."""
    while (quote := data.find(QUOTE, at, limit)) >= 0:
        if data[quote + 1] != _Q:
            return quote
        at = quote + 2
    return -1
