"""The fast pass over the bytes: which physical lines are records beyond doubt, and which need the careful way.

A line is beyond doubt if, taken by itself, every quote in it opens or closes a field or is one of a pair inside a
quoted one, and it has the right number of separators outside quotes. Each line is judged from its own first byte, so
that a stray quote never changes how its neighbours are judged. numpy over blocks that fit the processor's cache: 0.1
to 0.3 seconds per gigabyte-sized million lines on one core.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from processor.reading.encoding import MARK_BYTES
from processor.reading.record import Form

_BLOCK: Final = 256 * 1024
_QUOTE: Final = ord('"')
_CR: Final = ord("\r")
_LF: Final = ord("\n")
_SPACE: Final = ord(" ")
_DELETE: Final = b"\x7f"

Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scan:
    """What the pass found in a stretch of whole lines.

    Attributes:
        starts: offset of each physical line, and after the last one the length of the stretch; n + 1 numbers.
        doubtful: for each of the n lines, whether it needs the careful way.
        with_cr: lines beyond doubt that end with CR LF.
        unquoted: some line beyond doubt has a field without quotes.
        tidy: no value of a line beyond doubt begins or ends with white space of ASCII, and the stretch holds no control
            characters but the line ends.
    """

    starts: Offsets
    doubtful: Mask
    with_cr: int
    unquoted: bool
    tidy: bool


def scan(data: bytes, form: Form, *, marked: bool) -> Scan:
    """Judge every line of `data`, which ends with a line end. `marked`: bytes that are no characters may be in it."""
    content = np.frombuffer(data, dtype=np.uint8)
    end = form.line_end[0]
    starts: list[Offsets] = [np.zeros(1, dtype=np.int64)]
    doubtful: list[Mask] = []
    with_cr, unquoted, tidy, at = 0, False, _DELETE not in data, 0
    edges = _edges(form)
    while at < len(data):
        stop = data.rfind(form.line_end, at, at + _BLOCK) + 1 or data.index(form.line_end, at) + 1
        block = content[at:stop]
        ends = np.flatnonzero(block == end)
        lines = np.concatenate((_ZERO, ends[:-1] + 1))
        bad, bare = _judge(block, lines, ends, form)
        crs = block[ends - 1] == _CR if end == _LF else np.zeros(len(ends), dtype=np.bool_)
        crs[:1] &= bool(ends[0])
        bad |= _empty(ends - lines - crs, form.width)
        crs_before_ends = int(np.count_nonzero(crs))
        others = int(np.count_nonzero(block < _SPACE)) - len(ends) - crs_before_ends
        tidy = tidy and not others and not _padded(block, edges)
        if others and end == _LF and int(np.count_nonzero(block == _CR)) != crs_before_ends:
            lone = np.flatnonzero(block == _CR)
            lone = lone[block[lone + 1] != _LF]
            bad[np.searchsorted(ends, lone)] = True
        for strange in _strange(data, at, stop, marked=marked):
            bad[np.searchsorted(ends, strange - at)] = True
        with_cr += int(np.count_nonzero(crs & ~bad))
        unquoted = unquoted or bool((bare & ~bad).any())
        starts.append(ends + (at + 1))
        doubtful.append(bad)
        at = stop
    judged = np.concatenate(doubtful) if doubtful else _NO_LINES
    return Scan(np.concatenate(starts), judged, with_cr, unquoted, tidy)


def _edges(form: Form) -> Mask:
    """For each byte whether a value may begin or end beside it."""
    edges = np.zeros(256, dtype=np.bool_)
    edges[[_QUOTE, form.delimiter[0], _CR, _LF]] = True
    return edges


def _padded(block: _Bytes, edges: Mask) -> bool:
    """Whether a space stands beside what may be the edge of a value."""
    spaces = np.flatnonzero(block == _SPACE)
    # Before the first byte of a block stands a line end, as at the block's own end.
    return bool(edges[block[spaces + 1]].any() or edges[block[spaces - 1]].any())


_ZERO: Final = np.zeros(1, dtype=np.int64)
_NO_LINES: Final = np.zeros(0, dtype=np.bool_)


def _judge(block: _Bytes, starts: Offsets, ends: Offsets, form: Form) -> tuple[Mask, Mask]:
    """For each line whether its quotes and separators leave a doubt; and whether it has fields without quotes."""
    count, width, delimiter = len(ends), form.width, form.delimiter[0]
    quotes = np.flatnonzero(block == _QUOTE)
    if len(quotes) == 2 * width * count and _all_quoted(
        block, quotes.reshape(count, 2 * width), starts, ends, delimiter
    ):
        return np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    delimiters = np.flatnonzero(block == delimiter)
    if not len(quotes):
        return _per_line(delimiters, ends) != width - 1, np.ones(count, dtype=np.bool_)
    return _judge_quotes(block, quotes, delimiters, ends, form)


def _all_quoted(block: _Bytes, quotes: Offsets, starts: Offsets, ends: Offsets, delimiter: int) -> bool:
    """Whether every line is `"...","..."` and nothing else; `quotes` holds the offsets of its quotes, a line a row."""
    last = quotes[:, -1] + 1
    between = quotes[:, 1:-1:2] + 1
    return bool(
        (quotes[:, 0] == starts).all()
        and (between + 1 == quotes[:, 2::2]).all()
        and (block[between] == delimiter).all()
        and ((last == ends) | ((last + 1 == ends) & (block[last] == _CR))).all()
    )


def _judge_quotes(block: _Bytes, quotes: Offsets, delimiters: Offsets, ends: Offsets, form: Form) -> tuple[Mask, Mask]:
    delimiter, end = form.delimiter[0], form.line_end[0]
    quotes_before_end = np.searchsorted(quotes, ends)
    quotes_before_start = np.concatenate((_ZERO, quotes_before_end[:-1]))
    quote_count = quotes_before_end - quotes_before_start
    delimiter_count = _per_line(delimiters, ends)

    inside = (np.searchsorted(quotes, delimiters) - np.repeat(quotes_before_start, delimiter_count)) & 1
    outside = np.concatenate((_ZERO, np.cumsum(inside == 0)))
    line_of_last = np.cumsum(delimiter_count)
    outside_count = outside[line_of_last] - outside[line_of_last - delimiter_count]
    bad: Mask = (outside_count != form.width - 1) | ((quote_count & 1) == 1)

    opening = ((np.arange(len(quotes)) - np.repeat(quotes_before_start, quote_count)) & 1) == 0
    # A block ends with a line end, so that the byte "before" its first one reads as a line end, as it should.
    before, after = block[quotes - 1], block[quotes + 1]
    opens = (before == delimiter) | (before == end) | (before == _QUOTE)
    closes = (after == delimiter) | (after == end) | (after == _QUOTE) | (after == _CR)
    bad[np.searchsorted(ends, quotes[~np.where(opening, opens, closes)])] = True
    return bad, quote_count < 2 * form.width


def _per_line(offsets: Offsets, ends: Offsets) -> Offsets:
    """How many of the rising offsets lie in each line."""
    before = np.searchsorted(offsets, ends)
    return np.diff(before, prepend=0)


def _empty(lengths: Offsets, width: int) -> Mask:
    """Lines that hold nothing, or nothing but separators."""
    empty: Mask = lengths == width - 1
    return empty


def _strange(data: bytes, start: int, stop: int, *, marked: bool) -> list[int]:
    """Offsets of NUL bytes and marks, one a line at least."""
    found: list[int] = []
    for sought in (b"\0", MARK_BYTES) if marked else (b"\0",):
        at = data.find(sought, start, stop)
        while at >= 0:
            found.append(at)
            at = data.find(sought, at + 1, stop)
    return found
