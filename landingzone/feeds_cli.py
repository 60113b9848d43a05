"""`landingzone feeds ...`: what is expected, of everybody and of an account."""

from typing import Annotated

import typer

from landingzone import audit
from landingzone.accounts_cli import AccountName
from landingzone.command import Installation, installation, print_listing
from landingzone.command_line import AsJson, print_json
from landingzone.errors import LandingZoneError, UsageError
from landingzone.feed import Feed, Mode
from landingzone.kept_mapping import KeptMapping

feeds = typer.Typer(help="The kinds of files, and what is expected of an account.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(feeds, name="feeds")


@feeds.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Show what is expected of this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the feeds; with an account, the files that are expected of it."""
    here = installation(context)
    if account is not None:
        here.accounts.get(account)
        columns = {
            "name": "SOURCE",
            "pattern": "FILE",
            "feed": "FEED",
            "mode": "MODE",
            "priority": "PRIORITY",
            "due": "DUE",
        }
        print_listing(here.sources.of(account), columns, as_json=as_json, empty="Nothing is expected.")
        return
    rows = [
        {
            "name": feed.name,
            "title": feed.title,
            "file": f"{feed.name}.csv",
            "mode": feed.mode.value,
            "key": list(feed.key),
        }
        for feed in here.catalogue.values()
    ]
    columns = {"name": "FEED", "file": "FILE", "mode": "MODE", "key": "KEY", "title": "HOLDS"}
    print_listing(rows, columns, as_json=as_json, empty="No feeds.")


@feeds.command()
def show(
    context: typer.Context,
    feed: Annotated[str, typer.Argument(metavar="FEED", help="A feed's name.")],
    as_json: AsJson = False,
) -> None:
    """Show a feed's columns: names they are known by, what is required, limits."""
    found = _feed(installation(context), feed)
    rows = [_column(found, name) for name in found.column_names]
    if as_json:
        print_json(
            {"name": found.name, "title": found.title, "mode": found.mode.value, "key": found.key, "fields": rows}
        )
        return
    typer.echo(
        f"{found.name}.csv: {found.title}\nKey: {', '.join(found.key)}. Mode: {found.mode.value}. {found.note}\n"
    )
    columns = {
        "name": "FIELD",
        "required": "REQUIRED",
        "max_length": "AT MOST",
        "kind": "KIND",
        "headers": "ALSO KNOWN AS",
        "note": "NOTE",
    }
    print_listing(rows, columns, as_json=False, empty="")


@feeds.command()
def expect(
    context: typer.Context,
    account: AccountName,
    pattern: Annotated[
        str, typer.Argument(metavar="NAME-OR-PATTERN", help="The file's name; {date} and {school} may stand in it.")
    ],
    feed: Annotated[str, typer.Option(metavar="FEED", help="What the file holds.")],
    name: Annotated[str, typer.Option(help="What the source is called; by default after the pattern.")] = "",
    mode: Annotated[Mode | None, typer.Option(help="What the file says about rows that it does not list.")] = None,
    priority: Annotated[int, typer.Option(help="Of several sources of one record the lowest is asked first.")] = 100,
    due: Annotated[
        str,
        typer.Option(
            metavar="TIMES",
            help="By when it is to come, in the account's time zone: 06:30 (Monday to Friday), 'Mon-Thu 06:00, Fri "
            "07:00', 'daily 06:30', learned (from the last weeks), none.",
        ),
    ] = "",
    empty_is_good_news: Annotated[
        bool, typer.Option("--empty-is-good-news", help="A file without rows means that there are none.")
    ] = False,
) -> None:
    """Declare a file that an account sends. It replaces the feed's default name."""
    here = installation(context)
    here.accounts.get(account)
    source = here.sources.expect(
        account,
        pattern,
        feed=_feed(here, feed),
        actor=audit.operator(),
        name=name,
        mode=mode,
        priority=priority,
        due=due,
        empty_means="nothing" if empty_is_good_news else "held",
    )
    typer.echo(
        f"Expected of {account} from now on: {source.pattern} as {source.feed} (source {source.name}, {source.mode})."
    )


@feeds.command("map")
def map_(
    context: typer.Context,
    account: AccountName,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A source of the account; `feeds list ACCOUNT` names them.")
    ],
    columns: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=HEADER...", help="The header that means a field.")
    ] = None,
    position: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=N", help="The column of a field, from 1, for files without a header."),
    ] = None,
    widths: Annotated[
        str, typer.Option(metavar="N,N,...", help="Widths of the columns, for files without separators.")
    ] = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Go back to the header names that are known to all.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show, set or forget an account's own mapping of a source. What is given replaces what was kept."""
    here = installation(context)
    found = here.sources.get(account, source)
    feed = here.catalogue[found.feed]
    if forget or columns or position or widths:
        kept = (
            None
            if forget
            else KeptMapping(
                headers=dict(_pair(feed, text) for text in columns or ()),
                positions={name: _number(at) - 1 for name, at in (_pair(feed, text) for text in position or ())},
                widths=tuple(_number(width) for width in widths.split(",") if width),
            )
        )
        here.sources.keep_mapping(account, source, kept, actor=audit.operator())
        found = here.sources.get(account, source)
    kept = found.mapping
    if as_json:
        print_json(kept.as_dict() if kept else None)
    elif kept is None:
        typer.echo(
            f"No mapping is kept for {source}; its header is matched by the names that `feeds show {feed.name}` lists."
        )
    else:
        rows = [
            {"field": name, "by": f"header {header}" if header else "no column"}
            for name, header in kept.headers.items()
        ]
        rows += [{"field": name, "by": f"column {at + 1}"} for name, at in kept.positions.items()]
        print_listing(rows, {"field": "FIELD", "by": "TAKEN FROM"}, as_json=False, empty="Widths only.")
        if kept.widths:
            typer.echo(f"Widths: {', '.join(map(str, kept.widths))}")


def _feed(here: Installation, name: str) -> Feed:
    found = here.catalogue.get(name)
    if found is None:
        raise LandingZoneError(f"There is no feed {name!r}. `landingzone feeds list` names all.")
    return found


def _pair(feed: Feed, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value.strip() or not _has_column(feed, name):
        raise UsageError(f"{text!r}: write FIELD=VALUE with a field of {feed.name}: {', '.join(feed.column_names)}.")
    return name, value.strip()


def _has_column(feed: Feed, name: str) -> bool:
    try:
        feed.field(name)
    except KeyError:
        return False
    return True


def _number(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise UsageError(f"{text!r} is not a whole number from 1 on.")
    return int(text)


def _column(feed: Feed, name: str) -> dict[str, object]:
    field = feed.field(name)
    return {
        "name": name,
        "required": "yes" if field.required else ("expected" if field.expected else "no"),
        "max_length": field.max_length,
        "kind": field.kind.value,
        "headers": [field.label, *field.headers],
        "note": field.note,
    }
