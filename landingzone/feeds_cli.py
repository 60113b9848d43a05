"""`landingzone feeds ...`: what is expected, of everybody and of an account."""

from typing import Annotated

import typer

from landingzone.command import AsJson, installation, print_json, print_listing
from landingzone.errors import LandingZoneError
from landingzone.feed import Feed

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
        columns = {"name": "SOURCE", "pattern": "FILE", "feed": "FEED", "mode": "MODE", "priority": "PRIORITY"}
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
    found = installation(context).catalogue.get(feed)
    if found is None:
        raise LandingZoneError(f"There is no feed {feed!r}. `landingzone feeds list` names all.")
    rows = [_column(found, name) for name in found.field_names]
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
