"""The command line: the one place that may import every part. Exit codes: 0 done, 1 refused or failed, 2 usage."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

import console.cli
import console.tokens_cli
import keys.cli
import processor.archive_cli
import processor.cli
import processor.database_cli
import processor.due_cli
import processor.erasure_cli
import processor.recipients_cli
import processor.retention_cli
import sftpd.cli
import sftpd.door_cli
import sftpd.hostkeys_cli
from landingzone import (
    accounts_cli,
    audit_cli,
    backup_cli,
    broadcasts_cli,
    calendar_cli,
    doctor_cli,
    feeds_cli,
    installation_cli,
    jobs_cli,
    notify_cli,
)
from landingzone.command import Installation, installation
from landingzone.command_line import command_line
from landingzone.db import Database
from landingzone.errors import DatabaseAway, LandingZoneError

app = command_line("landingzone", explained="An SFTP landing zone for K-12 data.")


@app.callback()
def _main(
    context: typer.Context,
    root: Annotated[
        Path | None, typer.Option(help="The zone's root folder; else LANDINGZONE_ROOT says it.", show_default=False)
    ] = None,
) -> None:
    context.obj = Installation(root)


@app.command()
def init(context: typer.Context) -> None:
    """Make the folders, the database, host keys and a settings file. What is there already stays as it is."""
    from landingzone.sample_settings import write_sample_settings
    from processor.account_data import ensure_tables
    from sftpd.host_key import ensure_host_keys

    here = installation(context)
    here.zone.prepare()
    write_sample_settings(here.settings.root)
    database = Database(here.settings.url)
    database.migrate()
    ensure_tables(database, here.catalogue)
    ensure_host_keys(here.settings.root)
    typer.echo(f"The landing zone is ready in {here.settings.root}.")
    typer.echo("Next: landingzone accounts add ACCOUNT; landingzone keys add ACCOUNT FILE; landingzone serve")


@app.command()
def serve(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="TCP port of the front door.")] = None,
    doors: Annotated[int, typer.Option(min=1, max=64, help="Front doors, which share the port.")] = 1,
    processors: Annotated[int, typer.Option(min=1, max=64, help="Processors, which share the work.")] = 1,
    with_console: Annotated[
        bool, typer.Option("--console", help="The web console, too; see [console] in the settings.")
    ] = False,
) -> None:
    """Run front doors and processors together, one of each unless told otherwise, until SIGTERM."""
    from landingzone import log, parts
    from landingzone import serve as service

    here = installation(context).with_given(door={"port": port})
    here.db.migrate()
    log.configure(here.settings.log, service="serve")
    with parts.held_port(here.settings.door, doors) as held:
        commands = parts.commands(
            here.settings, doors=doors, processors=processors, port=held or port, console=with_console
        )
        drain = here.settings.door.drain_seconds

        def check() -> None:
            _ = Installation(**here.given).settings

        by_restart = tuple(name for name in commands if not name.startswith("sftpd"))
        code = service.serve(commands, drain_seconds=drain, renewed_by_restart=by_restart, check=check)
    raise typer.Exit(code)


@app.command()
def demo(
    keep: Annotated[Path | None, typer.Option(help="Make the demo's zone here and leave it, to look around.")] = None,
) -> None:
    """Show the main job on sample data, from a key pair to the receipts, then stop."""
    from landingzone.demo import run_demo

    raise typer.Exit(run_demo(_in_this_process, keep))


def _in_this_process(arguments: list[str]) -> str:
    """Run a command as if it had been typed, and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        app(arguments, standalone_mode=False)
    return printed.getvalue()


for part in (
    installation_cli,
    accounts_cli,
    keys.cli,
    console.tokens_cli,
    audit_cli,
    backup_cli,
    doctor_cli,
    jobs_cli,
    feeds_cli,
    calendar_cli,
    broadcasts_cli,
    notify_cli,
    sftpd.cli,
    sftpd.door_cli,
    sftpd.hostkeys_cli,
    processor.cli,
    processor.database_cli,
    processor.archive_cli,
    processor.recipients_cli,
    processor.retention_cli,
    processor.erasure_cli,
    processor.due_cli,
    console.cli,
):
    part.mount(app)


def main() -> None:
    """Run the command line; an error that is told to a person is mapped to its exit code here, once."""
    try:
        app()
    except LandingZoneError as refused:
        typer.echo(f"landingzone: {refused}", err=True)
        sys.exit(refused.exit_code)
    except Exception as error:
        from landingzone.db import is_busy

        if not is_busy(error):
            raise
        typer.echo(f"landingzone: {DatabaseAway()}", err=True)
        sys.exit(DatabaseAway.exit_code)


if __name__ == "__main__":
    main()
