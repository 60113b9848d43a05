"""The command line: the one place that may import every part. Exit codes: 0 done, 1 refused or failed, 2 usage."""

import sys
from pathlib import Path
from typing import Annotated

import click
import typer

import keys.cli
import processor.cli
import sftpd.cli
from landingzone import accounts_cli, installation_cli
from landingzone.command import Installation
from landingzone.errors import LandingZoneError

app = typer.Typer(
    name="landingzone",
    help="An SFTP landing zone for K-12 data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _main(
    context: typer.Context,
    root: Annotated[
        Path | None, typer.Option(help="The zone's root folder.", envvar="LANDINGZONE_ROOT", show_default=False)
    ] = None,
) -> None:
    context.obj = Installation(root)


for part in (installation_cli, accounts_cli, keys.cli, sftpd.cli, processor.cli):
    part.mount(app)


def main() -> None:
    """Run the command line; every error that is told to a person is mapped to its exit code here, once."""
    try:
        app(standalone_mode=False)
    except LandingZoneError as refused:
        typer.echo(f"landingzone: {refused}", err=True)
        sys.exit(refused.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


if __name__ == "__main__":
    main()
