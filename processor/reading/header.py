"""Where the header of a file is, and lines further down that are a header again. Pure.

A line of names that is taken for a row would be imported as a person; rows under another order of columns would be
imported wrongly. So a header may stand below titles, and may come again as it was (files that were joined); any other
one further down costs the file.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from processor.reading.table import UnreadableFile

HasHeader = Callable[[tuple[str, ...]], bool]

_TITLES_AT_MOST: Final = 10
_NAME_OF_COLUMN: Final = re.compile(r"\w[._]\w")
_LOOKED_AT: Final = 1000
"""Lines of a batch that are looked at one by one, where they have no digit."""


def header_below(records: Sequence[Sequence[str]], has_header: HasHeader) -> int:
    """At which of the first records the header is: 0 if it is the first, or if there is none.

    What stands above it must be titles: lines that fill no more than half as many fields. Raises UnreadableFile if
    it is more than that.
    """
    for at, record in enumerate(records[: _TITLES_AT_MOST + 1]):
        names = tuple(value.strip().strip("\ufeff") for value in record)
        if len(names) > 1 and has_header(names):
            if all(2 * sum(bool(value.strip()) for value in above) <= len(names) for above in records[:at]):
                return at
            raise UnreadableFile("header_misplaced")
    return 0


def are_names(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether a record seems to be a header, though none of its names is known.

    Such a line must not be taken for data: names are all there, differ, and hold no digit, while every record after it
    holds one (ids and phones do). Taking it for a header is the safe error: the columns then count as missing.

    >>> are_names(["Schule", "Kurs"], [["014", "MATH"], ["015", "ART"]]), are_names(["Bell", "Art"], [["Lee", "PE"]])
    (True, False)
    """
    names = [name.strip() for name in first]
    if not others or not all(names) or len(set(names)) < len(names) or _holds_digit(names):
        return False
    return all(_holds_digit(record) for record in others)


def are_names_again(second: Sequence[str], others: Sequence[Sequence[str]], has_header: HasHeader) -> bool:
    """Whether the record below a header is a second line of names, or of dashes, rather than a row.

    Words alone do not make it one (a section may be named by letters): names of columns as databases have them, known
    names, or nothing but signs do.
    """
    values = [value.strip() for value in second]
    signs = sum(bool(_NAME_OF_COLUMN.search(value)) or not any(map(str.isalnum, value)) for value in values)
    return are_names(values, others) and (2 * signs >= len(values) or has_header(tuple(values)))


def _holds_digit(values: Sequence[str]) -> bool:
    return any(character.isdigit() for value in values for character in value)


class HeaderWatch:
    """Finds headers among the rows of a file.

    Args:
        header: the file's own, trimmed; None if it has none.
        has_header: whether a record is a header of the feed.
    """

    def __init__(self, header: tuple[str, ...] | None, has_header: HasHeader) -> None:
        self._header = tuple(map(_alike, header)) if header is not None else None
        self._has_header = has_header
        self.met = False

    def without(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows but for those that are the header again, letters and blanks aside.

        Raises UnreadableFile for a row that is another header.
        """
        first = pl.col("c0")
        worded = frame.filter((first < "0") | (first >= ":"))
        if not worded.height:
            return frame
        columns = [name for name in frame.columns if name != "line"]
        known = first.str.strip_chars("\ufeff ").str.to_lowercase().is_in([name for name in self._header or () if name])
        numberless = ~first.str.contains("[0-9]") & ~pl.concat_str(columns).str.contains("[0-9]")
        found = worded.filter(known | numberless).head(_LOOKED_AT)
        again = [line for line, *values in found.rows() if self._is_header(values)]
        if not again:
            return frame
        self.met = True
        return frame.filter(~pl.col("line").is_in(again))

    def _is_header(self, values: Sequence[str]) -> bool:
        names = tuple(map(_alike, values))
        if self._header is not None and names[: len(self._header)] == self._header:
            return True
        if len(names) > 1 and self._has_header(tuple(value.strip().strip("\ufeff") for value in values)):
            raise UnreadableFile("headers_differ")
        return False


def _alike(name: str) -> str:
    return name.strip().strip("\ufeff").strip().lower()
