"""`landingzone accounts erase`: a district leaves."""

from typing import Annotated

import typer

from landingzone import audit
from landingzone.accounts_cli import AccountName, accounts
from landingzone.command import installation
from landingzone.errors import UsageError


def mount(_app: typer.Typer) -> None:
    """Add the command to `landingzone accounts`."""
    accounts.command()(erase)


def erase(
    context: typer.Context,
    account: AccountName,
    confirm: Annotated[str, typer.Option(help="The account's name once more: nothing of this can be undone.")],
) -> None:
    """Erase a disabled account with everything that is its, and write a certificate. After a crash, call it again."""
    from processor import account_data
    from processor.archive import archive_of
    from processor.durable import forget
    from processor.erasure import Erasing, erase

    if confirm != account:
        raise UsageError("--confirm is not the account's name: nothing was erased.")
    here = installation(context)
    account_data.ensure_tables(here.db, here.catalogue)

    def forget_runs(ids: list[str]) -> None:
        forget(here.settings.workflows_url, ids)

    archive = archive_of(here.settings, here.zone)
    erasing = Erasing(here.settings, here.db, here.zone, archive, here.catalogue, forget_runs)
    certificate = erase(erasing, account, actor=audit.operator())
    typer.echo(f"Account {account} is erased. The certificate: {certificate}, and a text beside it.")
