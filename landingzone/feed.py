"""What a feed is: one kind of file, declared once, as data.

Pure: no database, no server, nothing beyond the standard library, so that the district's own program shares it.
Validation, mapping, receipts, `feeds show` and docs/reference come from these declarations.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from importlib import resources
from typing import Any

from landingzone.errors import LandingZoneError


class FeedError(LandingZoneError):
    """A feed's declaration is not usable."""


class Kind(StrEnum):
    """What a field's value is, which decides the rules that it must pass and how it is normalised."""

    TEXT = "text"
    PHONE = "phone"
    EMAIL = "email"
    DATE = "date"
    """A day, kept as yyyy-mm-dd."""
    PERIODS = "periods"
    """Names of periods: a row gives one record for each of them."""


LANDING_DAY = "landing day"
"""The default of a date that means the day on which the file landed, in the account's time zone."""


class Mode(StrEnum):
    """What a file says about the rows that it does not list."""

    FULL = "full"
    """The file is the whole truth of its source: what it no longer lists is deactivated."""
    DELTA = "delta"
    """Rows add and change; nothing is deactivated."""
    EVENTS = "events"
    """The file is the whole truth of its source for each date that it names; nothing for other dates."""


@dataclass(frozen=True)
class Field:
    """One column of a feed's files.

    A `#` in the name stands for a number: the file may have any number of such columns (`guardian_#_phone`), and `#`
    in its label and header names stands for the same number. Number 1 is required if the field is; of a further
    number all required fields stand together, or none.

    Attributes:
        name: the canonical name, as in the receipt and in the account's data.
        label: what a person calls it.
        headers: further header names it is known by (case, spaces and punctuation aside).
        required: an empty or faulty value rejects the row.
        required_with: the field beside which this one is required, where that one has a value.
        expected: not required, but an empty value is worth a warning (the reference is of two minds about it).
        max_length: characters, None for no limit.
        kind: decides rules and normalisation.
        default: what an empty value means; of a date also `LANDING_DAY`.
        into: the stored field that the value goes into, if not the one of its own name.
        note: one sentence for the documentation.
        lettered: letters may stand for the `#`, too (`Period B`), where the rest of the name is a whole word.
        number: what stands for the `#`; 0 for a field without one, and from 101 on letters (see `sign`).
    """

    name: str
    label: str
    headers: tuple[str, ...] = ()
    required: bool = False
    required_with: str = ""
    expected: bool = False
    max_length: int | None = 255
    kind: Kind = Kind.TEXT
    default: str = ""
    into: str = ""
    note: str = ""
    lettered: bool = False
    number: int = 0

    @property
    def sign(self) -> str:
        """What stands for the `#`: a number, or a letter.

        >>> Field("period_#", "Period #").numbered(102).sign
        'B'
        """
        return _sign(self.number)

    @property
    def repeated(self) -> bool:
        """Whether the file may have several such columns, told apart by a number."""
        return "#" in self.name

    @cached_property
    def known_headers(self) -> frozenset[str]:
        """Every header name that means this field, in its comparable form."""
        return frozenset(comparable(header) for header in (self.name, self.label, *self.headers))

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The field's own name and label, in their comparable form."""
        return frozenset((comparable(self.name), comparable(self.label)))

    def numbered(self, number: int) -> "Field":
        """The column of that number of a repeated field.

        >>> Field("guardian_#_phone", "Guardian # Phone").numbered(2).name
        'guardian_2_phone'
        """
        name, label, *headers = (_numbered(text, number) for text in (self.name, self.label, *self.headers))
        return replace(self, name=name.lower(), label=label, headers=tuple(headers), number=number)

    def number_in(self, header: str) -> int | None:
        """The number that a header name holds, if it is one of this repeated field's.

        >>> Field("period_#", "Period #").number_in(" PERIOD 03")
        3
        >>> Field("period_#", "Period #", lettered=True).number_in("Period B")
        102
        """
        found = next((match for each in self._patterns if (match := each.fullmatch(comparable(header)))), None)
        if found is None:
            return None
        return int(found[1]) if found[1].isdecimal() else _LETTERS + ord(found[1]) - ord("a") + 1

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        names = {tuple(map(comparable, text.split(_NUMBER, 1))) for text in (self.name, self.label, *self.headers)}
        return tuple(
            re.compile(f"{before}(?:0*([1-9][0-9]?)){after}")
            if not self.lettered or len(before) < _WORD
            else re.compile(f"{before}0*([1-9][0-9]?|[a-z]){after}")
            for before, after in sorted(names)
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """A field (or several) that names a row of another feed. A missing partner is a warning, never a rejection."""

    fields: tuple[str, ...]
    feed: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """Records of another feed that each row of a file gives: one, or one for each number (`#`) of its columns.

    A row gives none where a field that the other feed requires in its key is empty.

    Attributes:
        feed: whose records these are.
        fields: pairs of a field of that feed and the column that it comes from; all others are empty.
    """

    feed: "Feed"
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """One kind of file.

    Attributes:
        name: also the stem of the default file name (`students` -> students.csv).
        title: what a person calls it.
        columns: of the file, in the order of the documentation.
        fields: what the account keeps of a row, in the same order: the columns that go nowhere else.
        key: names of the fields that identify a row within a source.
        mode: what a file says about rows that it does not list.
        gives: records of other feeds that a row gives, too.
        references: to other feeds.
        shared_is_warned: a field in which the same value in several rows is worth a warning.
        distinct: columns with the ids of different people: a value of one in another is worth a warning.
        note: one sentence for the documentation.
    """

    name: str
    title: str
    columns: tuple[Field, ...]
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    mode: Mode
    gives: tuple[Given, ...] = ()
    references: tuple[Reference, ...] = ()
    shared_is_warned: tuple[str, ...] = ()
    distinct: tuple[str, ...] = ()
    note: str = ""

    def field(self, name: str) -> Field:
        """The column of that canonical name, also of one with a number (`guardian_2_phone`); KeyError if none."""
        for field in self.columns:
            if field.name == name:
                return field
            if field.repeated and (number := field.number_in(name)) and field.numbered(number).name == name:
                return field.numbered(number)
        raise KeyError(name)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Canonical names of the file's columns, in order."""
        return tuple(field.name for field in self.columns)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Canonical names of what the account keeps, in order; none if all goes to other feeds."""
        return tuple(field.name for field in self.fields)

    @property
    def has_table(self) -> bool:
        """Whether the account keeps records of this feed, rather than of the feeds that its rows give."""
        return bool(self.fields)

    @property
    def records_of(self) -> tuple["Feed", ...]:
        """The feeds of which a file's rows may give records, its own first."""
        given = {one.feed.name: one.feed for one in self.gives}
        return (self, *given.values()) if self.has_table else tuple(given.values())

    @property
    def required(self) -> tuple[Field, ...]:
        """The columns without which a row is rejected."""
        return tuple(field.numbered(1) if field.repeated else field for field in self.columns if field.required)

    @property
    def days(self) -> tuple[str, ...]:
        """The dates in the key: an events file is the whole truth for each day that it names."""
        return tuple(name for name in self.key if self.field(name).kind is Kind.DATE)

    @property
    def depends_on_landing_day(self) -> bool:
        """Whether the same bytes may mean other rows on another day."""
        return any(field.default == LANDING_DAY for field in self.columns)


def comparable(header: str) -> str:
    """A header name with case, spaces and punctuation set aside: `School ID#` and `school_id` compare equal."""
    return re.sub(r"[^0-9a-z]+", "", header.casefold())


Catalogue = Mapping[str, Feed]

_FEED_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}(#[a-z0-9_]{0,31})?")
_NUMBER = "#"
_LETTERS = 100
"""Numbers from here on stand for letters."""
_WORD = 6
"""Letters of a name beside which one more is a sign of its own: `Period B`, but not `Per M`."""
_SPECIFIED = frozenset(Field.__dataclass_fields__) - {"name", "number"}


def load_catalogue(*, extra: Mapping[str, Any] | None = None) -> Catalogue:
    """The feeds that the product knows, and an operator's own (`[feeds.*]` tables of the settings).

    A table that has `fields` alone adds these to the feed that the product knows by that name, or changes what they
    say; any other table declares a feed.

    Raises FeedError, naming the feed and what is wrong with its declaration.
    """
    text = resources.files("landingzone").joinpath("feeds.toml").read_text(encoding="utf-8")
    declared: dict[str, Any] = tomllib.loads(text)
    for name, table in (extra or {}).items():
        declared[name] = _with_fields(declared[name], table) if _adds(declared.get(name), table) else table
    feeds = {name: _feed(name, table) for name, table in declared.items()}
    for name in sorted(feeds, key=lambda name: not feeds[name].has_table):  # those that only give come last
        feeds[name] = replace(feeds[name], gives=_gives(feeds[name], declared[name], feeds))
    for feed in feeds.values():
        _check(feed)
    return feeds


def _adds(known: Mapping[str, Any] | None, table: Mapping[str, Any]) -> bool:
    return known is not None and set(table) == {"fields"}


def _with_fields(known: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    own, further = known["fields"], table["fields"]
    merged = {**own, **{name: _with_headers(own.get(name, {}), spec) for name, spec in further.items()}}
    stores = known.get("stores")
    if not stores:
        return {**known, "fields": merged}
    return {**known, "fields": merged, "stores": [*stores, *(name for name in further if name not in own)]}


def _with_headers(own: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    headers = [*own.get("headers", ()), *spec.get("headers", ())]
    return {**own, **spec, **({"headers": headers} if headers else {})}


def _feed(name: str, table: Mapping[str, Any]) -> Feed:
    if not _FEED_NAME.fullmatch(name):
        raise FeedError(f"Feed name {name!r}: use lower case letters, digits and _, starting with a letter.")
    try:
        also = table.get("also_called", {})
        columns = tuple(_field(name, column, spec, also) for column, spec in table["fields"].items())
        stores = table.get("stores", [column.name for column in columns])
        return Feed(
            name=name,
            title=table["title"],
            columns=columns,
            fields=tuple(column for column in columns if column.name in stores),
            key=tuple(table["key"]),
            mode=Mode(table.get("mode", "full")),
            references=tuple(
                Reference(tuple(ref["fields"]), ref["feed"], tuple(ref["to"])) for ref in table.get("references", ())
            ),
            shared_is_warned=tuple(table.get("shared_is_warned", ())),
            distinct=tuple(table.get("distinct", ())),
            note=table.get("note", ""),
        )
    except KeyError as missing:
        raise FeedError(f"Feed {name}: its declaration lacks {missing}.") from None
    except (TypeError, ValueError) as wrong:
        raise FeedError(f"Feed {name}: {wrong}.") from None


def _field(feed: str, name: str, spec: Mapping[str, Any], also: Mapping[str, Iterable[str]]) -> Field:
    unknown = set(spec) - _SPECIFIED
    if unknown or not _FIELD_NAME.fullmatch(name):
        raise FeedError(f"Feed {feed}, field {name}: {', '.join(sorted(unknown)) or 'this name'} is not known.")
    max_length = spec.get("max_length", 255)
    label = spec.get("label", name)
    headers = [*spec.get("headers", ())]
    for said, others in also.items():
        headers += [text.replace(said, other) for text in (label, *headers) if said in text for other in others]
    return Field(
        name=name,
        label=label,
        headers=tuple(headers),
        required=spec.get("required", False),
        required_with=spec.get("required_with", ""),
        expected=spec.get("expected", False),
        max_length=max_length or None,
        kind=Kind(spec.get("kind", "text")),
        default=spec.get("default", ""),
        into=spec.get("into", ""),
        note=spec.get("note", ""),
        lettered=spec.get("lettered", False),
    )


def _gives(feed: Feed, table: Mapping[str, Any], feeds: Mapping[str, Feed]) -> tuple[Given, ...]:
    given = []
    for spec in table.get("gives", ()):
        other = feeds.get(spec.get("feed", ""))
        if other is None:
            raise FeedError(f"Feed {feed.name}: it gives records of a feed that is not declared.")
        fields = spec.get("fields", {})
        unknown = [name for name in fields if name not in other.field_names]
        unknown += [name for name in fields.values() if name not in feed.column_names]
        unknown += [name for name in other.key if name not in fields]
        if unknown:
            raise FeedError(f"Feed {feed.name}, what it gives to {other.name}: {unknown[0]} does not fit.")
        given.append(Given(other, tuple(fields.items())))
    return tuple(given)


def _check(feed: Feed) -> None:
    names, stored = set(feed.column_names), set(feed.field_names)
    absent = [field for field in (*feed.key, *feed.shared_is_warned, *feed.distinct) if field not in names]
    absent += [field for ref in feed.references for field in ref.fields if field not in stored]
    absent += [each.required_with for each in feed.columns if each.required_with and each.required_with not in names]
    absent += [each.into for each in feed.columns if each.into and each.into not in stored]
    absent += [name for name in feed.key if feed.has_table and name not in stored]
    if absent:
        raise FeedError(f"Feed {feed.name}: {absent[0]} is not one of its fields.")
    if not feed.has_table and not feed.gives:
        raise FeedError(f"Feed {feed.name}: it keeps nothing, and gives nothing.")
    used = {*stored, *feed.key, *(column for given in feed.gives for _, column in given.fields)}
    idle = [each.name for each in feed.columns if each.name not in used and not each.into]
    if idle:
        raise FeedError(f"Feed {feed.name}: {idle[0]} is neither kept nor given to another feed.")
    optional_key = [name for name in feed.key if not feed.field(name).required]
    if optional_key and feed.mode is not Mode.EVENTS:
        raise FeedError(f"Feed {feed.name}: the key field {optional_key[0]} must be required.")
    seen: dict[str, str] = {}
    for field in feed.columns:
        for header in (field.numbered(1) if field.repeated else field).known_headers:
            if (other := seen.setdefault(header, field.name)) != field.name:
                raise FeedError(f"Feed {feed.name}: {other} and {field.name} share a header name.")


def _numbered(text: str, number: int) -> str:
    return text.replace(_NUMBER, _sign(number), 1)


def _sign(number: int) -> str:
    return str(number) if number <= _LETTERS else chr(ord("A") + number - _LETTERS - 1)
