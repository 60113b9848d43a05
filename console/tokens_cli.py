"""`landingzone tokens ...`: what programs show instead of a key or a password."""

from typing import Annotated

import typer

from landingzone import audit
from landingzone.clock import now
from landingzone.command import end_of, installation, print_listing
from landingzone.command_line import AsJson
from landingzone.errors import UsageError

tokens = typer.Typer(help="Tokens of programs that send over HTTPS, or use the HTTP API.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(tokens, name="tokens")


@tokens.command()
def add(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="[ACCOUNT]", help="The account that it sends files for.")
    ] = None,
    user: Annotated[
        str, typer.Option(metavar="NAME", help="Instead: the user of the console that it speaks for.")
    ] = "",
    label: Annotated[str, typer.Option(help="What a person calls it, such as where it is used.")] = "",
    expires: Annotated[
        str, typer.Option(metavar="DATE", help="The last day on which it opens (UTC), like 2026-12-31.")
    ] = "",
) -> None:
    """Make a token and print it, alone, on standard output: it is shown this once, and kept nowhere."""
    from console.tokens import Tokens

    if bool(account) == bool(user):
        raise UsageError("Name an account, whose files it sends, or with --user a user, for whom it speaks.")
    store, ends = Tokens(installation(context).db), end_of(expires) if expires else None
    if user:
        made = store.add_for_user(user, label=label, expires_at=ends, actor=audit.operator())
        typer.echo(f"Token {made.token.id} speaks for {user}. It is not shown again:", err=True)
    else:
        made = store.add_for_account(account or "", label=label, expires_at=ends, actor=audit.operator())
        typer.echo(f"Token {made.token.id} sends files for {account}. It is not shown again:", err=True)
    typer.echo(made.secret)


@tokens.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List tokens, revoked and expired ones too."""
    import dataclasses

    from console.tokens import Tokens

    columns = {
        "id": "TOKEN",
        "kind": "KIND",
        "account": "ACCOUNT",
        "user": "USER",
        "state": "STATE",
        "label": "LABEL",
        "expires_at": "EXPIRES",
        "last_used_at": "LAST USED",
        "last_used_from": "FROM",
    }
    at = now()
    rows = [{**dataclasses.asdict(one), "state": one.state(at)} for one in Tokens(installation(context).db).of(account)]
    print_listing(rows, columns, as_json=as_json, empty="No tokens yet. Make one: landingzone tokens add ACCOUNT")


@tokens.command()
def revoke(
    context: typer.Context,
    token: Annotated[int, typer.Argument(metavar="TOKEN", help="The token's number.")],
    reason: Annotated[str, typer.Option(help="Why; stands with the token and in the audit trail.")] = "",
) -> None:
    """Let a token open nothing any more, at once and for good; an upload that is under way with it ends, too."""
    from console.tokens import Tokens

    gone = Tokens(installation(context).db).revoke(token, reason=reason, actor=audit.operator())
    whose = gone.user or gone.account
    typer.echo(f"Token {gone.id} of {whose} opens nothing any more.")
