"""What every command line of the project shares, the district's own program's too: its form, and JSON for scripts."""

import json
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def command_line(name: str, *, explained: str) -> typer.Typer:
    """A command line without commands yet; without words it shows what it can do."""
    return typer.Typer(
        name=name,
        help=explained,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def print_json(value: Any) -> None:  # noqa: ANN401 - anything that JSON holds
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))
