"""`landingzone archive ...`: what is kept of each landing."""

import os
from pathlib import Path
from typing import Annotated

import typer

from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson
from landingzone.errors import LandingZoneError

archive = typer.Typer(help="The files that came, as they came.", no_args_is_help=True)

LandingId = Annotated[str, typer.Argument(metavar="LANDING", help="The landing's id, or the beginning of it.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(archive, name="archive")


@archive.command("list")
def list_(
    context: typer.Context, account: Annotated[str, typer.Argument(metavar="ACCOUNT")], as_json: AsJson = False
) -> None:
    """List what the archive keeps of an account: every file with its size there."""
    from processor.archive import archive_of

    here = installation(context)
    here.accounts.get(account)
    kept = archive_of(here.settings, here.zone).store.everything(account)
    rows = [
        {"landing": key[-2], "day": "-".join(key[1:-2]), "file": key[-1], "bytes": one.bytes}
        for one, key in ((one, one.key.split("/")) for one in kept)
    ]
    rows.sort(key=lambda row: (row["landing"], row["file"]))
    columns = {"landing": "LANDING", "day": "DAY", "file": "FILE", "bytes": "BYTES"}
    print_listing(rows, columns, as_json=as_json, empty="Nothing is kept of this account.")


@archive.command()
def restore(
    context: typer.Context,
    landing: LandingId,
    to: Annotated[Path, typer.Option(help="Folder to write the file into.")] = Path(),
    identity: Annotated[Path | None, typer.Option(help="File of the age identity, where it is encrypted.")] = None,
) -> None:
    """Give a file back as it came, proven by its SHA-256. What is there already is never overwritten."""
    from processor import run as runs
    from processor.archive import archive_of

    here = installation(context)
    with here.db.read() as tx:
        run = runs.get(tx, landing)
        first = runs.hash_of(tx, run.landing_id)
    target = to / run.file
    part = to / f".{run.landing_id}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            found, size = archive_of(here.settings, here.zone, identity=identity).copy_out(run.landing, file)
            file.flush()
            os.fsync(file.fileno())
        if first is not None and found != first:
            raise LandingZoneError("The archive's copy is damaged: it is not what arrived. Nothing was written.")
        target.hardlink_to(part)
    except FileNotFoundError as error:
        if not to.is_dir():
            raise LandingZoneError(f"{to} is no folder.") from None
        raise LandingZoneError(f"The archive keeps no file of landing {run.landing_id}.") from error
    except FileExistsError:
        raise LandingZoneError(f"{target} is there already; name another folder with --to.") from None
    finally:
        part.unlink(missing_ok=True)
    proven = "its SHA-256 is that of what arrived" if first else "it was never hashed: its run failed before that"
    typer.echo(f"{target}: {size:,} bytes; {proven}.")
