"""`landingzone door ...`: what an operator sees of the front door, and can do about it."""

from typing import Annotated

import typer

from landingzone import audit, open_session, penalty
from landingzone.clock import iso, now
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson

door = typer.Typer(help="The front door: who is inside, and who has to wait.", no_args_is_help=True)
penalties = typer.Typer(help="Addresses that failed to log in.", no_args_is_help=True)
door.add_typer(penalties, name="penalties")


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(door, name="door")


@door.command()
def sessions(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List who is inside now, some seconds old."""
    columns = {"account": "ACCOUNT", "address": "FROM", "fingerprint": "KEY", "seen_at": "SINCE", "node": "DOOR"}
    found = open_session.of(installation(context).db, account=account)
    print_listing(found, columns, as_json=as_json, empty="Nobody is inside.")


@penalties.command("list")
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those without a penalty that holds now.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the addresses that have to wait, at an account or anywhere, and until when."""
    columns = {
        "address": "ADDRESS",
        "account": "ACCOUNT",
        "until": "UNTIL",
        "times": "PENALTIES",
        "failures": "FAILURES SINCE",
        "last_at": "LAST FAILURE",
    }
    at = iso(now())
    rows = [one for one in penalty.listing(installation(context).db) if everything or (one.until or "") > at]
    print_listing(rows, columns, as_json=as_json, empty="Nobody has to wait.")


@penalties.command()
def lift(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="As the list shows it.")],
    account: Annotated[str | None, typer.Option(help="Only what is counted at this account.")] = None,
) -> None:
    """Forget what is counted against an address: within a second it may come in again."""
    penalty.lift(installation(context).db, address, account=account, actor=audit.operator())
    typer.echo(f"{address} may come in again" + (f" at {account}." if account else "."))
