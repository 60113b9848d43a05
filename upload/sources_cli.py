"""`landingzone-upload sources`: what the settings say is sent."""

from typing import Annotated

import typer

from upload.command import setup


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(sources)


def sources(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Only these sources.")] = None,
) -> None:
    """List what the settings say is sent."""
    settings = setup(context).settings
    for source in settings.named(tuple(names or ())):
        typer.echo(f"{source.called}: {source.feed}, sent as {source.sent_as}")
