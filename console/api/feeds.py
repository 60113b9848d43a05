"""What is expected: the feeds, of everybody; the sources, of an account."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from console.api.access import Absent, Anybody, Operator, TheDesk
from console.api.accounts import found_account
from console.api.model import AccountPath, Asked, FeedName, FeedPath, Line, Model, Page, SourcePath
from console.api.routes import add, group
from console.desk import Desk
from landingzone import audit
from landingzone.errors import UsageError
from landingzone.feed import Feed, Mode
from landingzone.kept_mapping import KeptMapping
from landingzone.source import Source
from processor import account_data


class FieldAnswer(Model):
    """A column of a feed's files."""

    name: str
    label: str
    required: bool
    expected: bool
    max_length: int | None
    kind: str
    headers: list[str]
    note: str


class FeedAnswer(Model):
    """One kind of file."""

    name: str
    title: str
    mode: Mode
    key: list[str]
    note: str


class FeedWithFields(FeedAnswer):
    """One kind of file, with its columns."""

    fields: list[FieldAnswer]


class Mapping(Model):
    """An account's own mapping of a source's columns; positions begin at 1."""

    headers: dict[str, str]
    positions: dict[str, int]
    widths: list[int]


class SourceAnswer(Model):
    """One file that an account sends."""

    name: str
    pattern: str
    feed: str
    mode: Mode
    priority: int
    due: str
    empty_means: str
    part_of: str | None
    mapping: Mapping | None


class Expected(Asked):
    """A file to be expected of an account."""

    pattern: Annotated[Line, Field(min_length=1, description="The file's name; {date} and {school} may stand in it.")]
    feed: FeedName
    mode: Annotated[Mode, Field(strict=False)] | None = None
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    due: Annotated[
        Line, Field(description="By when it is to come: 06:30, 'Mon-Thu 06:00, Fri 07:00', learned, none.")
    ] = ""
    empty_means: Annotated[Literal["held", "nothing"], Field(description="What a file without rows says.")] = "held"


_Column = Annotated[int, Field(ge=1, le=10_000)]
_FieldName = Annotated[Line, Field(min_length=1)]
_Header = Annotated[Line, Field(min_length=1)]


class NewMapping(Asked):
    """A mapping to be kept in place of the one that is; positions begin at 1."""

    headers: dict[_FieldName, _Header] = Field(default_factory=dict, max_length=500)
    positions: dict[_FieldName, _Column] = Field(default_factory=dict, max_length=500)
    widths: list[_Column] = Field(default_factory=list, max_length=500)


class Retire(Asked):
    """What becomes of a retired source's rows."""

    rows: Literal["keep", "deactivate"]


class Retired(Model):
    """What became of them."""

    deactivated: int
    kept: int


def calls() -> APIRouter:
    """The calls."""
    router = group("feeds and sources")
    add(router, "GET", "/feeds", feeds)
    add(router, "GET", "/feeds/{feed}", feed_)
    add(router, "GET", "/accounts/{account}/sources", sources)
    add(router, "PUT", "/accounts/{account}/sources/{source}", expect)
    add(router, "POST", "/accounts/{account}/sources/{source}/retire", retire)
    add(router, "PUT", "/accounts/{account}/sources/{source}/mapping", keep_mapping)
    add(router, "DELETE", "/accounts/{account}/sources/{source}/mapping", forget_mapping)
    return router


def feeds(desk: TheDesk, who: Anybody) -> Page[FeedAnswer]:
    """List the feeds."""
    return Page(items=[_feed(one) for one in desk.here.catalogue.values()], next=None)


def feed_(desk: TheDesk, who: Anybody, feed: FeedPath) -> FeedWithFields:
    """Show a feed's columns: what is required, how long values may be, the header names that they are known by."""
    found = desk.here.catalogue.get(feed)
    if found is None:
        raise Absent
    fields = [
        FieldAnswer(
            name=one.name,
            label=one.label,
            required=one.required,
            expected=one.expected,
            max_length=one.max_length,
            kind=one.kind.value,
            headers=[one.label, *one.headers],
            note=one.note,
        )
        for one in found.columns
    ]
    return FeedWithFields(**_feed(found).model_dump(), fields=fields)


def sources(desk: TheDesk, who: Anybody, account: AccountPath) -> Page[SourceAnswer]:
    """List the files that are expected of an account.

    After a pattern with {school} stand the sources that it has made so far.
    """
    found_account(desk, who, account)
    known = desk.here.sources
    each = (one for declared in known.of(account) for one in (declared, *known.schools_of(account, declared.name)))
    return Page(items=[_source(one) for one in each], next=None)


def expect(desk: TheDesk, who: Operator, account: AccountPath, source: SourcePath, asked: Expected) -> SourceAnswer:
    """Declare a file that an account sends, or change what is declared of it.

    It replaces the feed's default name.
    """
    found_account(desk, who, account)
    feed = desk.here.catalogue.get(asked.feed)
    if feed is None:
        raise Absent(f"There is no feed {asked.feed!r}.")
    made = desk.here.sources.expect(
        account,
        asked.pattern,
        feed=feed,
        actor=who.actor,
        name=source,
        mode=asked.mode,
        priority=asked.priority,
        due=asked.due,
        empty_means=asked.empty_means,
    )
    return _source(made)


def retire(desk: TheDesk, who: Operator, account: AccountPath, source: SourcePath, asked: Retire) -> Retired:
    """Expect a source no longer."""
    here, found = desk.here, found_account(desk, who, account)
    _require_source(desk, account, source)
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        active = account_data.active_of_source(tx, here.catalogue, found.id, source)
    with audit.changing(here.db) as tx:
        ids = here.sources.retire(tx, account, source, actor=who.actor)
        ended = account_data.end_all(tx, here.catalogue, ids) if asked.rows == "deactivate" else 0
    return Retired(deactivated=ended, kept=max(0, active - ended))


def keep_mapping(
    desk: TheDesk, who: Operator, account: AccountPath, source: SourcePath, asked: NewMapping
) -> SourceAnswer:
    """Keep an account's own mapping of a source, in place of the one that is kept."""
    found_account(desk, who, account)
    feed = desk.here.catalogue[_require_source(desk, account, source).feed]
    for name in (*asked.headers, *asked.positions):
        _require_column(feed, name)
    positions = {name: at - 1 for name, at in asked.positions.items()}
    kept = KeptMapping(headers=asked.headers, positions=positions, widths=tuple(asked.widths))
    desk.here.sources.keep_mapping(account, source, kept, actor=who.actor)
    return _source(desk.here.sources.get(account, source))


def forget_mapping(desk: TheDesk, who: Operator, account: AccountPath, source: SourcePath) -> SourceAnswer:
    """Go back to the header names that are known to all."""
    found_account(desk, who, account)
    _require_source(desk, account, source)
    desk.here.sources.keep_mapping(account, source, None, actor=who.actor)
    return _source(desk.here.sources.get(account, source))


def _require_source(desk: Desk, account: str, name: str) -> Source:
    found = next((one for one in desk.here.sources.of(account) if one.name == name), None)
    if found is None:
        raise Absent
    return found


def _require_column(feed: Feed, name: str) -> None:
    try:
        feed.field(name)
    except KeyError:
        raise UsageError(f"{name[:50]!r} is no field of {feed.name}: {', '.join(feed.column_names)}.") from None


def _feed(one: Feed) -> FeedAnswer:
    return FeedAnswer(name=one.name, title=one.title, mode=one.mode, key=list(one.key), note=one.note)


def _source(one: Source) -> SourceAnswer:
    mapping = one.mapping
    return SourceAnswer(
        name=one.name,
        pattern=one.pattern,
        feed=one.feed,
        mode=Mode(one.mode),
        priority=one.priority,
        due=one.due,
        empty_means=one.empty_means,
        part_of=one.part_of,
        mapping=mapping
        and Mapping(
            headers=mapping.headers,
            positions={name: at + 1 for name, at in mapping.positions.items()},
            widths=list(mapping.widths),
        ),
    )
