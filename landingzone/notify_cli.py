"""`landingzone notify ...` and `accounts notify`: who is told what happened, and whether it reaches them."""

from typing import Annotated

import typer

from landingzone import audit
from landingzone.accounts_cli import AccountName, accounts
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson

notify = typer.Typer(help="Notices by webhook and e-mail.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(notify, name="notify")
    accounts.command("notify")(contacts)


@notify.command()
def test(context: typer.Context) -> None:
    """Send a test to every webhook and address of the settings, now, and say whether it was taken."""
    from landingzone.clock import iso, now
    from landingzone.notices.notice import Kind, Notice
    from landingzone.notices.sender import Post
    from landingzone.notices.target import NotifyError, targets
    from landingzone.notices.webhook import NotTaken

    settings = installation(context).settings.notify
    told = list(targets(settings, ()))
    if not told:
        raise NotifyError("Nobody would be told: set webhook_urls, or smtp_host, email_from and email_to, in [notify].")
    at = iso(now())
    failed = 0
    for target in told:
        try:
            Post(settings).deliver(target, [Notice(f"test:{at}", Kind.TEST, "test", "", "UTC", {}, created_at=at)])
        except NotTaken as problem:
            failed += 1
            typer.echo(f"FAILED  {target.channel.value} {target}: {problem}")
        else:
            typer.echo(f"sent    {target.channel.value} {target}")
    if failed:
        raise typer.Exit(1)


@notify.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest notices, and whether each has reached everybody."""
    from landingzone.notices import notice
    from landingzone.notices.words import sentence

    with installation(context).db.read() as tx:
        rows = [
            {
                "at": one.created_at,
                "kind": one.kind.value,
                "account": one.account,
                "reached": reached,
                "problem": problem,
                "said": sentence(one),
            }
            for one, reached, problem in notice.newest(tx, limit=limit)
        ]
    columns = {"at": "AT", "kind": "WHAT", "account": "ACCOUNT", "reached": "REACHED", "problem": "", "said": ""}
    print_listing(rows, columns, as_json=as_json, empty="Nothing was to be told yet.")


def contacts(
    context: typer.Context,
    account: AccountName,
    email: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Tell this address, too.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Tell it no more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show or change whom a district's late, held, rejected and unknown files are told to, beside the operator."""
    from landingzone.notices.contacts import Contacts

    here = installation(context)
    here.accounts.get(account)
    kept = Contacts(here.db)
    for address in remove or ():
        kept.remove(account, address, actor=audit.operator())
    for address in email or ():
        kept.add(account, address, actor=audit.operator())
    rows = [{"address": address} for address in kept.of(account)]
    print_listing(rows, {"address": "ADDRESS"}, as_json=as_json, empty="Nobody but the operator is told.")
