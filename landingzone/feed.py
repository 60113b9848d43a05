"""What a feed is: one kind of file, declared once, as data.

Pure: no database, no server, nothing beyond the standard library, so that the district's own program shares it.
Validation, mapping, receipts, `feeds show` and docs/reference come from these declarations.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
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
    """One column of a feed.

    Attributes:
        name: the canonical name, as in the receipt and in the account's data.
        label: what a person calls it.
        headers: further header names it is known by (case, spaces and punctuation aside).
        required: an empty or faulty value rejects the row.
        expected: not required, but an empty value is worth a warning (the reference is of two minds about it).
        max_length: characters, None for no limit.
        kind: decides rules and normalisation.
        default: what an empty value means.
        note: one sentence for the documentation.
    """

    name: str
    label: str
    headers: tuple[str, ...] = ()
    required: bool = False
    expected: bool = False
    max_length: int | None = 255
    kind: Kind = Kind.TEXT
    default: str = ""
    note: str = ""

    @cached_property
    def known_headers(self) -> frozenset[str]:
        """Every header name that means this field, in its comparable form."""
        return frozenset(comparable(header) for header in (self.name, self.label, *self.headers))


@dataclass(frozen=True, slots=True)
class Reference:
    """A field (or several) that names a row of another feed. A missing partner is a warning, never a rejection."""

    fields: tuple[str, ...]
    feed: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """One kind of file.

    Attributes:
        name: also the stem of the default file name (`students` -> students.csv).
        title: what a person calls it.
        fields: in the order of the documentation.
        key: names of the fields that identify a row within a source.
        mode: what a file says about rows that it does not list.
        references: to other feeds.
        shared_is_warned: a field in which the same value in several rows is worth a warning.
        note: one sentence for the documentation.
    """

    name: str
    title: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    mode: Mode
    references: tuple[Reference, ...] = ()
    shared_is_warned: tuple[str, ...] = ()
    note: str = ""

    def field(self, name: str) -> Field:
        """The field of that canonical name; KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Canonical names, in order."""
        return tuple(field.name for field in self.fields)

    @property
    def required(self) -> tuple[Field, ...]:
        """The fields without which a row is rejected."""
        return tuple(field for field in self.fields if field.required)


def comparable(header: str) -> str:
    """A header name with case, spaces and punctuation set aside: `School ID#` and `school_id` compare equal."""
    return re.sub(r"[^0-9a-z]+", "", header.casefold())


Catalogue = Mapping[str, Feed]

_FEED_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def load_catalogue(*, extra: Mapping[str, Any] | None = None) -> Catalogue:
    """The feeds that the product knows, and an operator's own (`[feeds.*]` tables of the settings).

    Raises FeedError, naming the feed and what is wrong with its declaration.
    """
    text = resources.files("landingzone").joinpath("feeds.toml").read_text(encoding="utf-8")
    declared = {**tomllib.loads(text), **(extra or {})}
    return {name: _feed(name, table) for name, table in declared.items()}


def _feed(name: str, table: Mapping[str, Any]) -> Feed:
    if not _FEED_NAME.fullmatch(name):
        raise FeedError(f"Feed name {name!r}: use lower case letters, digits and _, starting with a letter.")
    try:
        feed = Feed(
            name=name,
            title=table["title"],
            fields=tuple(_field(name, column, spec) for column, spec in table["fields"].items()),
            key=tuple(table["key"]),
            mode=Mode(table.get("mode", "full")),
            references=tuple(
                Reference(tuple(ref["fields"]), ref["feed"], tuple(ref["to"])) for ref in table.get("references", ())
            ),
            shared_is_warned=tuple(table.get("shared_is_warned", ())),
            note=table.get("note", ""),
        )
    except KeyError as missing:
        raise FeedError(f"Feed {name}: its declaration lacks {missing}.") from None
    except (TypeError, ValueError) as wrong:
        raise FeedError(f"Feed {name}: {wrong}.") from None
    _check(feed)
    return feed


def _field(feed: str, name: str, spec: Mapping[str, Any]) -> Field:
    unknown = set(spec) - set(Field.__dataclass_fields__)
    if unknown or not _FEED_NAME.fullmatch(name):
        raise FeedError(f"Feed {feed}, field {name}: {', '.join(sorted(unknown)) or 'this name'} is not known.")
    max_length = spec.get("max_length", 255)
    return Field(
        name=name,
        label=spec.get("label", name),
        headers=tuple(spec.get("headers", ())),
        required=spec.get("required", False),
        expected=spec.get("expected", False),
        max_length=max_length or None,
        kind=Kind(spec.get("kind", "text")),
        default=spec.get("default", ""),
        note=spec.get("note", ""),
    )


def _check(feed: Feed) -> None:
    names = set(feed.field_names)
    absent = [field for field in (*feed.key, *feed.shared_is_warned) if field not in names]
    absent += [field for ref in feed.references for field in ref.fields if field not in names]
    if absent:
        raise FeedError(f"Feed {feed.name}: {absent[0]} is not one of its fields.")
    optional_key = [field for field in feed.key if not feed.field(field).required]
    if optional_key and feed.mode is not Mode.EVENTS:
        raise FeedError(f"Feed {feed.name}: the key field {optional_key[0]} must be required.")
    seen: dict[str, str] = {}
    for field in feed.fields:
        for header in field.known_headers:
            if (other := seen.setdefault(header, field.name)) != field.name:
                raise FeedError(f"Feed {feed.name}: {other} and {field.name} share a header name.")
