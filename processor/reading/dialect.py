"""How the lines of a file are written: separator, line end, header, number of columns. Decided from the first lines."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from processor.reading.record import Damaged, Form, Record, Undecided, is_blank, read_record
from processor.reading.table import Limits, UnreadableFile

_DELIMITERS = {b",": "", b";": "delimiter_semicolon", b"\t": "delimiter_tab", b"|": "delimiter_pipe"}
_SAMPLE_LINES = 20

HasHeader = Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the first lines say about all.

    Attributes:
        form: separator, line end and number of fields, which the reading of each record needs.
        header: the trimmed names, if there is a header.
        header_fields: the first record as it stands, to know it again further down.
        start: offset of the first data line.
        lines_before: physical lines before it.
        notes: codes of what was tolerated so far.
    """

    form: Form
    header: tuple[str, ...] | None
    header_fields: tuple[str, ...] | None
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
    first_line = head[start : head.find(line_end, start)]
    forms = [Form(each, line_end, 0, limits) for each in ([named] if named else _DELIMITERS)]
    samples = [_sample(head, start, form, whole=whole) for form in forms if form.delimiter in first_line]
    samples = samples or [_sample(head, start, forms[0], whole=whole)]
    best = max(samples, key=lambda sample: _score(sample, has_header)) if len(samples) > 1 else samples[0]
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
    width, trailing = _width(header, data)
    if trailing:
        notes.append("trailing_delimiter")
    names = (*_trimmed(header), "")[:width] if len(header) < width else _trimmed(header)[:width]
    return Dialect(
        form=replace(form, width=width, trailing=width > len(header)),
        header=names,
        header_fields=header,
        start=first.end,
        lines_before=lines_before + first.lines,
        notes=tuple(notes),
    )


def are_names(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether the first record seems to be a header, though none of its names is known.

    Such a line must not be taken for data: names are all there, differ, and hold no digit, while every record after it
    holds one (ids and phones do). Taking it for a header is the safe error: the columns then count as missing.

    >>> are_names(["Schule", "Kurs"], [["014", "MATH"], ["015", "ART"]]), are_names(["Bell", "Art"], [["Lee", "PE"]])
    (True, False)
    """
    names = [name.strip() for name in first]
    if not others or not all(names) or len(set(names)) < len(names) or _holds_digit(names):
        return False
    return all(_holds_digit(record) for record in others)


def _holds_digit(values: Sequence[str]) -> bool:
    return any(character.isdigit() for value in values for character in value)


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
