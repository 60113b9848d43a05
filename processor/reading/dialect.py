"""How the lines of a file are written: separator, line end, header, number of columns. Decided from the first lines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from processor.reading.header import HasHeader, are_names, are_names_again, header_below
from processor.reading.record import Damaged, Form, Record, Undecided, is_blank, read_record
from processor.reading.table import Limits, UnreadableFile

_DELIMITERS = {b",": "", b";": "delimiter_semicolon", b"\t": "delimiter_tab", b"|": "delimiter_pipe"}
_SAMPLE_LINES = 20
_TITLES_AT_MOST = 10
_ROWS_TO_TELL = 2
"""Rows below a second line of names that it takes to tell that it is one."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the first lines say about all.

    Attributes:
        form: separator, line end and number of fields, which the reading of each record needs.
        header: the trimmed names, if there is a header.
        names_again: number and bytes of the line after the header, where that seems to be names again, not a row.
        start: offset of the first data line.
        lines_before: physical lines before it.
        notes: codes of what was tolerated so far.
    """

    form: Form
    header: tuple[str, ...] | None
    names_again: tuple[int, bytes] | None
    start: int
    lines_before: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    delimiter: bytes
    records: list[tuple[str, ...]]
    first: Record | None
    """The first record, if it could be read; None if it is damaged."""


def decide(head: bytes, *, line_end: bytes, whole: bool, has_header: HasHeader, limits: Limits) -> Dialect:
    """Decide from the first bytes of a file (as UTF-8), `whole` if these are all.

    Raises UnreadableFile if there is nothing but blank lines, or if the header line itself is damaged.
    """
    notes: list[str] = []
    start, lines_before = _skip_blank(head, 0, line_end)
    if lines_before:
        notes.append("blank_lines")
    named = _named_delimiter(head, start, line_end)
    if named:
        notes.append("delimiter_named")
        end = head.find(line_end, start) + 1
        start, lines_before = end, lines_before + 1
    if whole and not head[start:].strip():
        raise UnreadableFile("empty_file")
    forms = [Form(each, line_end, 0, limits) for each in ([named] if named else _DELIMITERS)]
    best = _best(head, start, forms, has_header, whole=whole)
    if best.first is None or not has_header(_trimmed(best.first.fields)):
        titles, below, lower = _below_titles(head, start, forms, has_header, whole=whole)
        if below is not None:
            notes.append("lines_before_header")
            start, lines_before, best = lower, lines_before + titles, below
    notes.extend(filter(None, [_DELIMITERS.get(best.delimiter, "")]))
    form = next(form for form in forms if form.delimiter == best.delimiter)
    first = best.first
    known = first is not None and has_header(_trimmed(first.fields))
    if first is None or not (known or are_names(first.fields, best.records[1:])):
        if first is None:
            _refuse_damaged_header(head, start, form, has_header)
        widths = Counter(map(len, best.records))
        width = widths.most_common(1)[0][0] if widths else 1
        return Dialect(replace(form, width=width), None, None, start, lines_before, (*notes, "no_header"))
    header, data = first.fields, best.records[1:]
    end, lines_before = first.end, lines_before + first.lines
    again: tuple[int, bytes] | None = None
    if len(data) > _ROWS_TO_TELL and are_names_again(data[0], data[1:], has_header):
        line_end_at = head.find(line_end, end)
        again = lines_before + 1, head[end:line_end_at]
        end, lines_before, data = line_end_at + 1, lines_before + 1, data[1:]
    width, trailing = _width(header, data)
    if trailing:
        notes.append("trailing_delimiter")
    names = (*_trimmed(header), "")[:width] if len(header) < width else _trimmed(header)[:width]
    return Dialect(
        form=replace(form, width=width, trailing=width > len(header)),
        header=names,
        names_again=again,
        start=end,
        lines_before=lines_before,
        notes=tuple(notes),
    )


def _width(header: tuple[str, ...], data: list[tuple[str, ...]]) -> tuple[int, bool]:
    """Number of fields of every data line, and whether a separator ends the lines.

    A separator more on every line than in the header (or the other way round) is no damage; on some lines only, it is.
    """
    width, widths = len(header), {len(fields) for fields in data}
    if widths == {width + 1} and not any(fields[-1].strip() for fields in data):
        return width + 1, True
    if width > 1 and not header[-1].strip():
        return (width - 1, True) if widths == {width - 1} else (width, True)
    return width, False


def _score(sample: _Sample, has_header: HasHeader) -> tuple[bool, float, int]:
    """How well a separator fits: it gives a known header; the records agree in their width; they have many fields."""
    widths = Counter(len(fields) for fields in sample.records)
    widths.pop(1, None)
    if not widths:
        return (False, 0.0, 0)
    width, count = widths.most_common(1)[0]
    known = sample.first is not None and len(sample.first.fields) > 1 and has_header(_trimmed(sample.first.fields))
    return (known, count / len(sample.records), width)


def _best(head: bytes, start: int, forms: Sequence[Form], has_header: HasHeader, *, whole: bool) -> _Sample:
    """The first lines by the separator that fits them best."""
    first_line = head[start : head.find(forms[0].line_end, start)]
    samples = [_sample(head, start, form, whole=whole) for form in forms if form.delimiter in first_line]
    samples = samples or [_sample(head, start, forms[0], whole=whole)]
    return max(samples, key=lambda sample: _score(sample, has_header)) if len(samples) > 1 else samples[0]


def _below_titles(
    head: bytes, start: int, forms: Sequence[Form], has_header: HasHeader, *, whole: bool
) -> tuple[int, _Sample | None, int]:
    """The header below lines of titles: how many lines are above it, what begins with it, and where; None if it is not
    there.
    """
    line_end, above, at, lines = forms[0].line_end, list[bytes](), start, 0
    while len(above) <= _TITLES_AT_MOST and (end := head.find(line_end, at)) >= 0:
        line = head[at:end]
        if line.strip():
            below = _best(head, at, forms, has_header, whole=whole)
            if above and below.first is not None and has_header(_trimmed(below.first.fields)):
                delimiter = below.delimiter.decode()
                titles = [title.decode("utf-8", "replace").replace('"', "").split(delimiter) for title in above]
                header_below([*titles, below.first.fields], has_header)
                return lines, below, at
            above.append(line)
        at, lines = end + 1, lines + 1
    return 0, None, start


def _sample(head: bytes, start: int, form: Form, *, whole: bool) -> _Sample:
    records: list[tuple[str, ...]] = []
    first: Record | None = None
    at, lines = start, 0
    while at < len(head) and lines < _SAMPLE_LINES:
        lines += 1
        line_end = head.find(form.line_end, at)
        if line_end < 0:
            break
        if is_blank(head[at:line_end], form):
            at = line_end + 1
            continue
        found = read_record(head, at, line_end, form, at_end=whole)
        if isinstance(found, Undecided):
            break
        if isinstance(found, Damaged):
            if not records and at == start:
                first = None
            at = line_end + 1
            continue
        if at == start:
            first = found
        records.append(found.fields)
        at = found.end
    return _Sample(form.delimiter, records, first)


def _skip_blank(head: bytes, start: int, line_end: bytes) -> tuple[int, int]:
    lines = 0
    while (end := head.find(line_end, start)) >= 0 and not head[start:end].strip():
        start, lines = end + 1, lines + 1
    return start, lines


def _named_delimiter(head: bytes, start: int, line_end: bytes) -> bytes:
    """The separator that a first line `sep=;` names, as spreadsheets write it."""
    end = head.find(line_end, start)
    line = head[start : max(end, start)].rstrip(b"\r").strip(b'"')
    if len(line) == len(b"sep=;") and line.lower().startswith(b"sep=") and line[-1:] in _DELIMITERS:
        return line[-1:]
    return b""


def _refuse_damaged_header(head: bytes, start: int, form: Form, has_header: HasHeader) -> None:
    """A damaged first line that seems to be a header costs the file: its columns cannot be told apart by guessing."""
    end = head.find(form.line_end, start)
    line = head[start : end if end >= 0 else len(head)].decode("utf-8", "replace")
    names = line.replace('"', "").replace("\0", "").split(form.delimiter.decode())
    if has_header(tuple(name.strip() for name in names)):
        raise UnreadableFile("header_damaged")


def _trimmed(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field.strip().strip("\ufeff") for field in fields)
