"""`landingzone-upload run` and `status`."""

import sys
from typing import Annotated

import typer

from landingzone.command_line import AsJson, print_json
from landingzone.errors import LandingZoneError
from upload.check_cli import SendAnyway
from upload.command import setup
from upload.outcome import worst


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(run)
    app.command()(status)


def run(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Only these sources.")] = None,
    send_anyway: SendAnyway = False,
    as_json: AsJson = False,
) -> None:
    """Extract, check and send each source, wait for the receipts, and say what became of each. What a schedule calls.

    Exit code: the worst of the sources. 0 imported, 10 with rejects, 11 held, 12 rejected, 13 rows counted otherwise,
    20 not delivered, 21 no receipt yet, 22 refused by the check, 23 another run is under way, 24 the host key changed.
    """
    from upload.display import display
    from upload.run import Run

    here = setup(context)
    with display(quiet=as_json) as shown:
        going = Run(here, shown, with_values=sys.stdout.isatty())
        ended = going.go(here.settings.named(tuple(names or ())), send_anyway=send_anyway)
    if as_json:
        print_json([one.as_dict() for one in ended])
    raise typer.Exit(worst(one.ending for one in ended))


def status(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, max=20, help="How many attempts of each source.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show the last attempts of each source, newest first; receipts that had not come are looked for first.

    Exit code: the worst of the newest ones.
    """
    from upload import attempts
    from upload.run import look_again

    here = setup(context)
    try:
        look_again(here)
    except LandingZoneError as wrong:
        typer.echo(f"The server was not asked: {wrong}", err=True)
    known = attempts.load(here.folder.state)
    if as_json:
        print_json({key: [one.as_dict() for one in found[:count]] for key, found in known.items()})
    elif not known:
        typer.echo("Nothing has been sent from this folder yet.")
    else:
        for key, found in known.items():
            typer.echo(key)
            for one in found[:count]:
                rows = f", {one.rows:,} rows" if one.file else ""
                rejected = f", {one.rejected:,} rejected" if one.rejected else ""
                when = one.began[:16].replace("T", " ")
                typer.echo(f"  {when} UTC  {one.ending.said}{rows}{rejected}")
                if one.why:
                    typer.echo(f"      {one.why}")
                if one.log:
                    typer.echo(f"      log: {here.folder.logs / one.log}")
    raise typer.Exit(worst(found[0].ending for found in known.values() if found))
