"""Which column of a file holds which field of its feed.

Pure. In this order: the account's own kept mapping; header names that the feed knows (case, spaces and punctuation
aside); without a header row the kept positions, or else the feed's own field order.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from landingzone.feed import Feed, Field, Mode, comparable
from landingzone.kept_mapping import NO_COLUMN, KeptMapping

How = Literal["kept", "header", "position"]

_LEADING_ZEROS: Final = re.compile(r"(?<![0-9])0+(?=[1-9])")
_NAMES_AT_LEAST: Final = 2
"""Known names that make a header, where a file has so many columns and more."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a file's columns mean.

    Attributes:
        fields: every field that a row of this file may have, each repeated one once for each number that the file
            has, in the feed's order, group by group.
        columns: canonical field name to column position, from 0; fields that the file lacks are absent.
        how: for each mapped field, what decided it: `kept`, `header` or `position`.
        ignored: header names that no field took, in the file's order.
        twice: header names that stand more than once and mean a field: none of these columns is taken.
        missing: required fields without a column.
        missing_expected: expected fields without a column.
        header: the header as it stands, None if there is none.
    """

    fields: tuple[Field, ...]
    columns: dict[str, int]
    how: dict[str, How]
    ignored: tuple[str, ...]
    twice: tuple[str, ...]
    missing: tuple[str, ...]
    missing_expected: tuple[str, ...]
    header: tuple[str, ...] | None


def looks_like_header(feed: Feed, record: tuple[str, ...], kept: KeptMapping | None = None) -> bool:
    """Whether the first record of a file is column names: at least half of its names (one at least) are known ones.

    A record of data seldom holds a word such as `grade` or `school`; where it does, the other values speak against it.
    A name with a number (`P1`) may well be a value, so that one without must stand beside it.
    """
    own = frozenset(comparable(name) for name in (kept.headers.values() if kept else ()))
    known = own.union(*(each.known_headers for each in feed.columns if not each.repeated))
    repeated = [each for each in feed.columns if each.repeated]
    names = [name for name in map(comparable, record) if name]
    hits = sum(name in known for name in names)
    further = sum(name not in known and any(each.number_in(name) for each in repeated) for name in names)
    wanted = min(len(names), max(len(feed.required) + 1, _NAMES_AT_LEAST + 1))
    return hits > 0 and 2 * (hits + further) >= wanted


def resolve(feed: Feed, header: tuple[str, ...] | None, width: int, kept: KeptMapping | None = None) -> Mapping:
    """Map a file of `width` columns to the feed's fields."""
    kept = kept or KeptMapping()
    fields = _fields(feed, [*(header or ()), *(kept.positions if header is None else kept.headers)])
    columns: dict[str, int] = {}
    how: dict[str, How] = {}
    if header is None:
        _by_position(feed, fields, width, kept, columns, how)
    else:
        _by_kept_header(fields, header, kept, columns, how)
        _by_known_header(fields, header, kept, columns, how)
    twice = _twice(fields, header or (), kept, columns)
    taken = set(columns.values())
    return Mapping(
        fields=fields,
        columns={each.name: columns[each.name] for each in fields if each.name in columns},
        how=how,
        ignored=tuple(name for at, name in enumerate(header or ()) if at not in taken and name and name not in twice),
        twice=twice,
        missing=tuple(
            each.name
            for each in fields
            if each.name not in columns and (_is_required(each) or each.required_with in columns)
        ),
        missing_expected=tuple(each.name for each in fields if each.expected and each.name not in columns),
        header=header,
    )


def _is_required(each: Field) -> bool:
    return each.required and each.number <= 1


def _fields(feed: Feed, names: Iterable[str]) -> tuple[Field, ...]:
    """The feed's fields, a repeated one for each number that is among the names, and for 1 if it is required."""
    repeated = [each for each in feed.columns if each.repeated]
    plain = frozenset[str]().union(*(each.known_headers for each in feed.columns if not each.repeated))
    further = [name for name in names if comparable(name) not in plain]
    found = {number for name in further for each in repeated if (number := each.number_in(name))}
    numbers = sorted(found | {1 for each in repeated if each.required})
    return (
        *(each for each in feed.columns if not each.repeated),
        *(each.numbered(number) for number in numbers for each in repeated),
    )


def _twice(
    fields: Iterable[Field], header: tuple[str, ...], kept: KeptMapping, columns: dict[str, int]
) -> tuple[str, ...]:
    """The names that stand more than once and mean a field that no other column gives."""
    names = _names(header)
    meant = {name for each in fields if each.name not in columns for name in each.known_headers}
    meant |= {comparable(name) for field, name in kept.headers.items() if field not in columns}
    meant -= {name for each in fields if kept.headers.get(each.name) == NO_COLUMN for name in ("", *each.known_headers)}
    return tuple(
        dict.fromkeys(
            shown for shown, name in zip(header, names, strict=True) if name in meant and names.count(name) > 1
        )
    )


def _names(header: tuple[str, ...]) -> list[str]:
    return [_LEADING_ZEROS.sub("", comparable(name)) for name in header]


def _by_kept_header(
    fields: Iterable[Field], header: tuple[str, ...], kept: KeptMapping, columns: dict[str, int], how: dict[str, How]
) -> None:
    names = [comparable(name) for name in header]
    for each in fields:
        wanted = comparable(kept.headers.get(each.name, ""))
        if wanted and names.count(wanted) == 1:
            columns[each.name] = names.index(wanted)
            how[each.name] = "kept"


def _by_known_header(
    fields: Iterable[Field], header: tuple[str, ...], kept: KeptMapping, columns: dict[str, int], how: dict[str, How]
) -> None:
    """A column that bears a field's own name or label comes before one with a further known name, else the first.

    Of two columns with one name (a student's and a guardian's phone, perhaps) nobody can tell which is meant.
    """
    taken = set(columns.values())
    names = _names(header)
    for own_name_only in (True, False):
        for each in fields:
            if each.name in columns or kept.headers.get(each.name) == NO_COLUMN:
                continue
            known = each.own_names if own_name_only else each.known_headers
            at = next(
                (at for at, name in enumerate(names) if at not in taken and name in known and names.count(name) == 1),
                None,
            )
            if at is not None:
                columns[each.name] = at
                how[each.name] = "header"
                taken.add(at)


def _by_position(
    feed: Feed,
    fields: tuple[Field, ...],
    width: int,
    kept: KeptMapping,
    columns: dict[str, int],
    how: dict[str, How],
) -> None:
    if kept.positions:
        names = {each.name for each in fields}
        for name, at in kept.positions.items():
            if name in names and 0 <= at < width:
                columns[name] = at
                how[name] = "kept"
        return
    ordered = [each for each in feed.columns if not each.repeated]
    if not _fits(feed, ordered, width):
        return
    for at, each in enumerate(ordered[:width]):
        columns[each.name] = at
        how[each.name] = "position"


def _fits(feed: Feed, ordered: list[Field], width: int) -> bool:
    """Whether a file without header may be in the feed's own order: up to the last required field, and no further.

    Of events nearly every column may be left out, so that the order says something only if all are there.
    """
    if any(each.repeated and each.required for each in feed.columns):
        return False
    if feed.mode is Mode.EVENTS:
        return width == len(ordered)
    last_required = max((at for at, each in enumerate(ordered) if each.required), default=0)
    return last_required < width <= len(ordered)
