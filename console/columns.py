"""The columns of a chosen file: its first rows, what each column may hold, and what is to be kept of that. Pure."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from landingzone.errors import LandingZoneError
from landingzone.feed import Catalogue, Feed, Field, comparable
from landingzone.kept_mapping import NO_COLUMN, KeptMapping
from processor.mapping import looks_like_header, resolve
from processor.reading import open_file
from processor.suggestion import SuggestedColumn, are_words, suggest

ROWS: Final = 5
"""Rows that are shown."""
MOST_COLUMNS: Final = 500
_MOST_SHOWN: Final = 60
_FURTHER_GROUPS: Final = 1
"""Numbers of repeated fields that are offered beyond those that the file has."""
_LIKELY: Final = 0.6


class ColumnsRefused(LandingZoneError):
    """These columns cannot be used so."""


@dataclass(frozen=True, slots=True)
class FirstRows:
    """What a file begins with.

    Attributes:
        header: the names of its columns; None: it has none.
        found_header: whether the reader sees that it has names, whatever somebody says.
        width: number of columns.
        rows: the first ones: their line in the file, and the values, shortened.
    """

    header: tuple[str, ...] | None
    found_header: bool
    width: int
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def name_of(self, at: int) -> str:
        """A column's name; empty if it has none."""
        return self.header[at].strip() if self.header is not None and at < len(self.header) else ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is offered to be mapped.

    Attributes:
        at: from 0.
        name: as the file names it; empty without a name.
        values: its first ones, shortened.
        field: what it is taken for; empty: for nothing.
        sure: how sure that is: `kept`, `known`, `likely`, `perhaps`; empty for nothing.
        why: a few words.
        usable: whether it can be told apart from the others: where there are names, only one with a name of its own.
    """

    at: int
    name: str
    values: tuple[str, ...]
    field: str
    sure: str
    why: str
    usable: bool


def first_rows(path: Path, feed: Feed, kept: KeptMapping | None, *, with_header: bool | None) -> FirstRows:
    """Look at a file. `with_header` is what somebody has said, where the file itself does not tell.

    Raises UnreadableFile; ColumnsRefused if it has too many columns.
    """
    has_header = partial(looks_like_header, feed, kept=kept)
    widths = kept.widths or None if kept else None
    with open_file(path, name=path.name, has_header=has_header, widths=widths) as opened:
        frame = next((batch.frame for batch in itertools.islice(opened.batches(), 1)), None)
        header, width = opened.header, opened.width
    if width > MOST_COLUMNS:
        raise ColumnsRefused(f"This file has {width:,} columns; at most {MOST_COLUMNS} can be shown here.")
    rows = [] if frame is None else [(line, values) for line, *values in frame.head(ROWS + 1).rows()]
    found = header is not None
    if header is None and rows:
        first = tuple(value.strip() for value in rows[0][1])
        positions = kept is not None and bool(kept.positions)
        if with_header if with_header is not None else (not positions and are_words(first)):
            header, rows = first, rows[1:]
    shown = tuple((line, tuple(map(_shown, values))) for line, values in rows[:ROWS])
    return FirstRows(header, found, width, shown)


def proposed(
    seen: FirstRows, feed: Feed, kept: KeptMapping | None, suggested: Sequence[SuggestedColumn]
) -> tuple[Column, ...]:
    """Each column with what it is taken for: as it is kept, else by known names, else by what it looks like."""
    mapping = resolve(feed, seen.header, seen.width, kept)
    sure = {
        at: (name, "kept", "as the last time") if mapping.how[name] == "kept" else (name, "known", "a known name")
        for name, at in mapping.columns.items()
        if mapping.how[name] != "position"
    }
    given = {name for name, _, _ in sure.values()}
    closed = {name for name, header in (kept.headers if kept else {}).items() if header == NO_COLUMN}
    for one in suggested:
        if one.position not in sure and one.field not in given | closed and one.position < seen.width:
            how = "likely" if one.confidence >= _LIKELY else "perhaps"
            sure[one.position] = (one.field, how, ", ".join(one.reasons))
            given.add(one.field)
    for name, at in mapping.columns.items():
        if mapping.how[name] == "position" and at not in sure and name not in given:
            sure[at] = (name, "perhaps", "by its place")
            given.add(name)
    return tuple(_column(seen, at, *sure.get(at, ("", "", ""))) for at in range(seen.width))


def as_kept(seen: FirstRows, feed: Feed, kept: KeptMapping | None) -> tuple[Column, ...]:
    """Each column with what it will be taken for when the file is read with a mapping."""
    mapping = resolve(feed, seen.header, seen.width, kept)
    by_place = {at: name for name, at in mapping.columns.items()}
    return tuple(
        _column(seen, at, by_place.get(at, ""), mapping.how[by_place[at]] if at in by_place else "", "")
        for at in range(seen.width)
    )


def suggested_for(path: Path, catalogue: Catalogue, feed: Feed) -> tuple[SuggestedColumn, ...]:
    """What a file's columns look like, beside a feed's fields. Raises UnreadableFile."""
    found = suggest(path, catalogue, feed=feed.name)
    return found[0].columns if found else ()


def fields_of(seen: FirstRows, feed: Feed, kept: KeptMapping | None) -> tuple[Field, ...]:
    """The fields that a column may be mapped to; of repeated ones some more than the file has."""
    fields = list(resolve(feed, seen.header, seen.width, kept).fields)
    repeated = [each for each in feed.columns if each.repeated]
    if repeated:
        most = max((each.number for each in fields), default=0)
        further = range(most + 1, most + 1 + _FURTHER_GROUPS)
        fields += [each.numbered(number) for number in further for each in repeated]
    return tuple(fields)


def missing_of(feed: Feed, chosen: Mapping[str, int]) -> tuple[str, ...]:
    """The labels of required fields that no column gives."""
    lacking = [each for each in feed.required if each.name not in chosen]
    lacking += [each for each in feed.columns if each.required_with in chosen and each.name not in chosen]
    return tuple(dict.fromkeys(each.label for each in lacking))


def to_keep(seen: FirstRows, feed: Feed, kept: KeptMapping | None, chosen: Mapping[str, int]) -> KeptMapping | None:
    """The mapping by which a file is read as it was chosen (field -> column); None: it is so already.

    What was kept for files of another form stays. Raises ColumnsRefused.
    """
    if not chosen:
        raise ColumnsRefused("Not one column is used. Choose what the columns hold.")
    _check(seen, feed, chosen)
    if _reads_as(seen, feed, kept, chosen):
        return None
    before = kept or KeptMapping()
    if seen.header is None:
        made = KeptMapping(before.headers, dict(sorted(chosen.items(), key=lambda one: one[1])), before.widths)
    else:
        names = {name: seen.name_of(at) for name, at in chosen.items()}
        made = KeptMapping(_headers(seen, feed, before, names), before.positions, before.widths)
        if not _reads_as(seen, feed, made, chosen):  # what was kept for others gets in the way
            made = KeptMapping(_headers(seen, feed, KeptMapping(), names), before.positions, before.widths)
    if not seen.found_header and seen.header is not None and not looks_like_header(feed, seen.header, made):
        raise ColumnsRefused(
            "With so few of its names in use, the first row would be taken for data. Use more columns, or put a first "
            "row with the names that we know into the file."
        )
    if not _reads_as(seen, feed, made, chosen):
        raise ColumnsRefused("These columns cannot be told apart by their names. Give each column a name of its own.")
    return made


def _headers(seen: FirstRows, feed: Feed, before: KeptMapping, names: Mapping[str, str]) -> dict[str, str]:
    """Field -> header name: what this file calls them, and what other files do of fields that this one has not."""
    here = {comparable(seen.name_of(at)) for at in range(seen.width)}
    others = {
        field: name for field, name in before.headers.items() if field not in names and comparable(name) not in here
    }
    known = resolve(feed, seen.header, seen.width, KeptMapping(others)).columns
    unused = {field: NO_COLUMN for field in known if field not in names}
    return {**{field: name for field, name in others.items() if field not in unused}, **names, **unused}


def _reads_as(seen: FirstRows, feed: Feed, kept: KeptMapping | None, chosen: Mapping[str, int]) -> bool:
    """Whether the file is read as it was chosen, its header included."""
    mapping = resolve(feed, seen.header, seen.width, kept)
    if "position" in mapping.how.values() or mapping.columns != dict(chosen):
        return False
    return seen.found_header or seen.header is None or looks_like_header(feed, seen.header, kept)


def _check(seen: FirstRows, feed: Feed, chosen: Mapping[str, int]) -> None:
    for name, at in chosen.items():
        try:
            feed.field(name)
        except KeyError:
            raise ColumnsRefused("One of the fields is not known. Load the page again.") from None
        if not 0 <= at < seen.width or not _usable(seen, at):
            raise ColumnsRefused("One of the columns cannot be used: it has no name of its own.")


def _usable(seen: FirstRows, at: int) -> bool:
    if seen.header is None:
        return True
    names = Counter(comparable(seen.name_of(place)) for place in range(seen.width))
    own = comparable(seen.name_of(at))
    return bool(own) and names[own] == 1


def _column(seen: FirstRows, at: int, field: str, sure: str, why: str) -> Column:
    usable = _usable(seen, at)
    values = tuple(values[at] if at < len(values) else "" for _, values in seen.rows)
    if not usable:
        field = sure = why = ""
    return Column(at, _shown(seen.name_of(at)), values, field, sure, why, usable)


def _shown(value: str) -> str:
    """A value on one line, and not too long."""
    plain = "".join(char if char.isprintable() else " " for char in value[: 2 * _MOST_SHOWN]).strip()
    return plain if len(plain) <= _MOST_SHOWN else plain[: _MOST_SHOWN - 1] + "…"
