"""`landingzone backup` and `landingzone restore`: the whole installation."""

from pathlib import Path
from typing import Annotated

import typer

from landingzone.command import installation


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(backup)
    app.command()(restore)


def backup(
    context: typer.Context,
    to: Annotated[Path, typer.Argument(metavar="TO", help="A folder that is not there yet, best on another disk.")],
    archive: Annotated[bool, typer.Option(help="With the archive; object storage is never part of it.")] = True,
) -> None:
    """Back the whole installation up while it serves: database, keys, settings, and all that waits or is kept."""
    from landingzone.backup import back_up

    here = installation(context)
    here.db.require()
    told = back_up(here.settings, to.absolute(), archive=archive)
    typer.echo(f"{to}: {told.files:,} files, {told.bytes:,} bytes. It holds keys and personal data: guard it so.")


def restore(
    context: typer.Context,
    origin: Annotated[Path, typer.Argument(metavar="FROM", help="What `landingzone backup` has made.")],
) -> None:
    """Bring a backup back, into the root that --root names: an empty folder. Every file is proven on its way."""
    from landingzone.backup import restore

    settings = installation(context).settings
    told = restore(origin.absolute(), settings.root)
    typer.echo(f"{settings.root}: {told.files:,} files, {told.bytes:,} bytes, each as it was taken.")
    if (settings.root / "landingzone.pgdump").is_file():
        typer.echo("The database: pg_restore --no-owner -d URL landingzone.pgdump, into an empty one; then serve.")
    else:
        typer.echo("Next: landingzone serve")
