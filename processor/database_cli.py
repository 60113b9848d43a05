"""`landingzone database ...`: the database as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from landingzone import audit
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson

database = typer.Typer(help="The database as a whole.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(database, name="database")


@database.callback()
def _only() -> None:
    """Keep `copy` a command of its own."""


@database.command()
def copy(
    context: typer.Context,
    origin: Annotated[
        Path | None, typer.Option("--from", help="The SQLite database; else that of the root.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a stopped service's SQLite database into the empty PostgreSQL database that database_url names."""
    from landingzone.db import Database
    from processor.database_copy import copy_database

    settings = installation(context).settings
    told = copy_database(origin or settings.root / "landingzone.db", Database(settings.url), actor=audit.operator())
    rows = [{"table": name, "rows": count} for name, count in told.rows.items()]
    print_listing(rows, {"table": "TABLE", "rows": "ROWS"}, as_json=as_json, empty="")
    if told.trail.broken:
        typer.echo(f"The audit trail came over as it was, broken: {told.trail.message}", err=True)
    typer.echo(f"Runs that begin again: {told.begun_again}. The audit trail's head: {told.trail.head}", err=True)
    typer.echo("Next: landingzone serve. Keep the old database until you have a backup of the new one.", err=True)
