"""The commands of this part."""

import typer


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
