"""The command line `landingzone-upload`. Exit codes: `upload.outcome.Ending`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from landingzone.command_line import command_line
from landingzone.errors import LandingZoneError
from upload import check_cli, init_cli, run_cli, schedule_cli, sources_cli
from upload.command import Setup

app = command_line(
    "landingzone-upload",
    explained="Send a district's data to its landing zone: extract, check, send, and see what became of it.",
)


@app.callback()
def _main(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="The folder with landingzone-upload.toml; else LANDINGZONE_UPLOAD_FOLDER says it, else it is the "
            "current one if the file is there, else the user's own.",
            show_default=False,
        ),
    ] = None,
) -> None:
    context.obj = Setup.given(folder)


for part in (check_cli, init_cli, run_cli, schedule_cli, sources_cli):
    part.mount(app)


def main() -> None:
    """Run the command line; an error that is told to a person is mapped to its exit code here, once."""
    try:
        app()
    except LandingZoneError as refused:
        typer.echo(f"landingzone-upload: {refused}", err=True)
        sys.exit(refused.exit_code)


if __name__ == "__main__":
    main()
