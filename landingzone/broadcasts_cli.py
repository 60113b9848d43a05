"""`landingzone broadcasts ...`: when messages go out, and which feeds they depend on."""

from typing import Annotated

import typer

from landingzone import audit
from landingzone.accounts_cli import AccountName
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson

broadcasts = typer.Typer(help="When messages go out, and which feeds must be in by then.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called, such as absences.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(broadcasts, name="broadcasts")


@broadcasts.command("set")
def set_(
    context: typer.Context,
    account: AccountName,
    name: Name,
    times: Annotated[
        str, typer.Argument(metavar="TIMES", help="10:00 (Monday to Friday), or as in `feeds expect --due`.")
    ],
    needs: Annotated[
        list[str], typer.Option(metavar="FEED", help="What must be in by then; several times for several.")
    ],
) -> None:
    """Say when messages go out and what they need; `landingzone due` then warns of what is missing."""
    from landingzone.broadcast import Broadcasts

    here = installation(context)
    made = Broadcasts(here.db, here.catalogue).put(account, name, times, needs, actor=audit.operator())
    typer.echo(f"{account}: {made.name} goes out {made.table}, and needs {', '.join(made.feeds)}.")


@broadcasts.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only this account's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the broadcasts."""
    from landingzone.broadcast import Broadcasts

    here = installation(context)
    if account is not None:
        here.accounts.get(account)
    columns = {"account": "ACCOUNT", "name": "BROADCAST", "times": "GOES OUT", "feeds": "NEEDS"}
    print_listing(Broadcasts(here.db, here.catalogue).all(account), columns, as_json=as_json, empty="No broadcasts.")


@broadcasts.command()
def remove(context: typer.Context, account: AccountName, name: Name) -> None:
    """Forget a broadcast."""
    from landingzone.broadcast import Broadcasts

    here = installation(context)
    Broadcasts(here.db, here.catalogue).remove(account, name, actor=audit.operator())
    typer.echo(f"{account}: {name} is forgotten.")
