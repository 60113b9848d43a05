"""Which column of a file holds which field of its feed.

Pure. In this order: the account's own kept mapping; header names that the feed knows (case, spaces and punctuation
aside); without a header row the kept positions, or else the feed's own field order.
"""

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Literal

from landingzone.feed import Feed, Field, comparable

How = Literal["kept", "header", "position"]


@dataclass(frozen=True, slots=True)
class KeptMapping:
    """An account's own mapping of one source.

    Attributes:
        headers: canonical field name to the header name that the account uses for it.
        positions: canonical field name to the column's position, from 0, for files without a header row.
    """

    headers: Table[str, str] = field(default_factory=dict)
    positions: Table[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a file's columns mean.

    Attributes:
        columns: canonical field name to column position, from 0; fields that the file lacks are absent.
        how: for each mapped field, what decided it: `kept`, `header` or `position`.
        ignored: header names that no field took, in the file's order.
        missing: required fields without a column.
        missing_expected: expected fields without a column.
        header: the header as it stands, None if there is none.
    """

    columns: dict[str, int]
    how: dict[str, How]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]
    missing_expected: tuple[str, ...]
    header: tuple[str, ...] | None


def looks_like_header(feed: Feed, record: tuple[str, ...], kept: KeptMapping | None = None) -> bool:
    """Whether the first record of a file is column names: at least half of its names (one at least) are known ones.

    A record of data seldom holds a word such as `grade` or `school`; where it does, the other values speak against it.
    """
    known = _known(feed, kept)
    names = [name for name in map(comparable, record) if name]
    hits = sum(name in known for name in names)
    return hits > 0 and 2 * hits >= min(len(names), len(feed.required) + 1)


def resolve(feed: Feed, header: tuple[str, ...] | None, width: int, kept: KeptMapping | None = None) -> Mapping:
    """Map a file of `width` columns to the feed's fields."""
    kept = kept or KeptMapping()
    columns: dict[str, int] = {}
    how: dict[str, How] = {}
    if header is None:
        _by_position(feed, width, kept, columns, how)
    else:
        _by_kept_header(feed, header, kept, columns, how)
        _by_known_header(feed, header, columns, how)
    taken = set(columns.values())
    return Mapping(
        columns={name: columns[name] for name in feed.field_names if name in columns},
        how=how,
        ignored=tuple(name for at, name in enumerate(header or ()) if at not in taken and name),
        missing=tuple(each.name for each in feed.required if each.name not in columns),
        missing_expected=tuple(each.name for each in feed.fields if each.expected and each.name not in columns),
        header=header,
    )


def _known(feed: Feed, kept: KeptMapping | None) -> frozenset[str]:
    own = frozenset(comparable(name) for name in (kept.headers.values() if kept else ()))
    return own.union(*(each.known_headers for each in feed.fields))


def _by_kept_header(
    feed: Feed, header: tuple[str, ...], kept: KeptMapping, columns: dict[str, int], how: dict[str, How]
) -> None:
    names = [comparable(name) for name in header]
    for name in feed.field_names:
        wanted = comparable(kept.headers.get(name, ""))
        if wanted and wanted in names:
            columns[name] = names.index(wanted)
            how[name] = "kept"


def _by_known_header(feed: Feed, header: tuple[str, ...], columns: dict[str, int], how: dict[str, How]) -> None:
    """A column that bears a field's own name or label comes before one with a further known name, else the first."""
    taken = set(columns.values())
    for own_name_only in (True, False):
        for each in feed.fields:
            if each.name in columns:
                continue
            known = _own_names(each) if own_name_only else each.known_headers
            at = next((at for at, name in enumerate(header) if at not in taken and comparable(name) in known), None)
            if at is not None:
                columns[each.name] = at
                how[each.name] = "header"
                taken.add(at)


def _own_names(each: Field) -> frozenset[str]:
    return frozenset((comparable(each.name), comparable(each.label)))


def _by_position(feed: Feed, width: int, kept: KeptMapping, columns: dict[str, int], how: dict[str, How]) -> None:
    if kept.positions:
        for name, at in kept.positions.items():
            if name in feed.field_names and 0 <= at < width:
                columns[name] = at
                how[name] = "kept"
        return
    if not _fits(feed, width):
        return
    for at, name in enumerate(feed.field_names[:width]):
        columns[name] = at
        how[name] = "position"


def _fits(feed: Feed, width: int) -> bool:
    """Whether a file without header may be in the feed's own order: up to the last required field, and no further."""
    last_required = max((at for at, each in enumerate(feed.fields) if each.required), default=0)
    return last_required < width <= len(feed.fields)
