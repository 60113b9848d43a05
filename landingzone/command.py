"""What every command shares: the settings, the database, the zone, and how a listing is printed."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from landingzone.account import Accounts
from landingzone.command_line import print_json
from landingzone.db import Database
from landingzone.errors import UsageError
from landingzone.feed import Catalogue, load_catalogue
from landingzone.settings import Settings, load_settings
from landingzone.source import Sources
from landingzone.zone import Zone


class Installation:
    """One landing zone, as its settings describe it. Everything is opened when it is first asked for."""

    def __init__(self, root: Path | None = None, **given: Any) -> None:  # noqa: ANN401 - settings, checked there
        self.given = {**given, **({"root": root} if root is not None else {})}

    def with_given(self, **given: Any) -> "Installation":  # noqa: ANN401 - settings, checked there
        """The same with settings of the command line; None, also within a section, says nothing."""
        sections = {n: {k: v for k, v in s.items() if v is not None} for n, s in given.items() if isinstance(s, dict)}
        return Installation(**{**self.given, **{n: v for n, v in {**given, **sections}.items() if v not in (None, {})}})

    @cached_property
    def settings(self) -> Settings:
        """The settings of this process."""
        return load_settings(**self.given)

    @cached_property
    def db(self) -> Database:
        """The database; raises NotInitialised if its tables are not there."""
        database = Database(self.settings.url)
        database.require()
        return database

    @cached_property
    def zone(self) -> Zone:
        """The folders."""
        return Zone(self.settings.root)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The feeds, the operator's own included."""
        return load_catalogue(extra=self.settings.feeds)

    @cached_property
    def accounts(self) -> Accounts:
        """The accounts."""
        return Accounts(self.db)

    @cached_property
    def sources(self) -> Sources:
        """The sources of every account."""
        return Sources(self.db, self.catalogue)


def installation(context: typer.Context) -> Installation:
    """The installation that the command line speaks of."""
    found = context.find_object(Installation)
    assert found is not None
    return found


def end_of(day: str) -> datetime:
    """The first moment after a day like 2026-12-31, in UTC. Raises UsageError."""
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise UsageError(f"Not a date: {day!r}. Write it like 2026-12-31.") from None


def print_listing(rows: Iterable[Any], columns: Mapping[str, str], *, as_json: bool, empty: str) -> None:
    """Print rows (frozen dataclasses or mappings): as JSON whole, as a table only `columns` (name -> heading)."""
    records = [_as_dict(row) for row in rows]
    if as_json:
        print_json(records)
        return
    if not records:
        typer.echo(empty)
        return
    table = Table(*columns.values(), box=None, pad_edge=False, header_style="bold")
    for record in records:
        table.add_row(*(_cell(record.get(name)) for name in columns))
    console = Console()
    if not console.is_terminal:
        console.width = 400  # a pipe has no width: a line must not be folded for it
    console.print(table)


def _as_dict(row: Any) -> dict[str, Any]:  # noqa: ANN401 - dataclass or mapping
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return dataclasses.asdict(row)
    return dict(row)


def _cell(value: Any) -> str:  # noqa: ANN401 - any JSON value
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case Sequence():
            return ", ".join(str(item) for item in value)
        case _:
            return str(value)
