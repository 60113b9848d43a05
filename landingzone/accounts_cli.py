"""`landingzone accounts ...`: one account for each school district."""

from typing import Annotated

import typer

from landingzone import audit
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson

accounts = typer.Typer(help="The districts' accounts.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name, which is its SSH user name.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(accounts, name="accounts")


@accounts.command()
def add(
    context: typer.Context,
    account: AccountName,
    title: Annotated[str, typer.Option(help="The district's name, for people.")] = "",
    time_zone: Annotated[str, typer.Option(help="IANA time zone: decides which day 'today' is.")] = "UTC",
) -> None:
    """Make an account and its folders."""
    here = installation(context)
    made = here.accounts.add(account, title=title, time_zone=time_zone, actor=audit.operator())
    here.zone.prepare_account(made.name)
    typer.echo(f"Account {made.name} is made. Next: landingzone keys add {made.name} FILE")


@accounts.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List all accounts."""
    columns = {
        "name": "ACCOUNT",
        "title": "TITLE",
        "time_zone": "TIME ZONE",
        "created_at": "SINCE",
        "disabled_at": "DISABLED",
    }
    empty = "No accounts yet. Make one: landingzone accounts add ACCOUNT"
    print_listing(installation(context).accounts.all(), columns, as_json=as_json, empty=empty)


@accounts.command("set")
def set_(
    context: typer.Context,
    account: AccountName,
    options: Annotated[
        list[str], typer.Argument(metavar="OPTION=VALUE...", help="An empty value goes back to the setting's.")
    ],
) -> None:
    """Set what holds for this account only: strict_alt_phone, or a guard by its name in `landingzone settings`."""
    pairs = {name: value or None for name, _, value in (option.partition("=") for option in options)}
    here = installation(context)
    kept = here.accounts.set_options(account, pairs, actor=audit.operator()).options
    typer.echo(f"{account}: " + (", ".join(f"{name}={value}" for name, value in kept.items()) or "as the settings say"))


@accounts.command()
def disable(context: typer.Context, account: AccountName) -> None:
    """Close the door for all keys of an account. Its files and data stay."""
    installation(context).accounts.set_enabled(account, enabled=False, actor=audit.operator())
    typer.echo(f"Account {account} is disabled.")


@accounts.command()
def enable(context: typer.Context, account: AccountName) -> None:
    """Open the door again."""
    installation(context).accounts.set_enabled(account, enabled=True, actor=audit.operator())
    typer.echo(f"Account {account} is enabled.")
