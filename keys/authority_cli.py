"""`landingzone keys ca ...`: who may sign certificates that open accounts, and which of them open no more."""

from pathlib import Path
from typing import Annotated

import typer

from landingzone import audit
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson
from landingzone.errors import UsageError

ca = typer.Typer(help="Who may sign certificates that open accounts.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="CA", help="The authority's number or SHA256 fingerprint.")]
Reason = Annotated[str, typer.Option(help="Why; stands in the audit trail.")]


@ca.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The authority's .pub file, or - for standard input.")],
    account: Annotated[
        str | None, typer.Option(help="Its certificates open this account only; else each that they name.")
    ] = None,
    label: Annotated[str, typer.Option(help="What a person calls it; the key's own comment by default.")] = "",
) -> None:
    """Trust an authority: the user certificates that it signs open the accounts that they name as principals."""
    from keys.authority import Authorities
    from keys.key_file import read_key_file
    from keys.public_key import PublicKey

    key = PublicKey.parse(read_key_file(file))
    made = Authorities(installation(context).db).add(key, account=account, label=label, actor=audit.operator())
    opens = f"open {account}" if account else "open every account that they name"
    typer.echo(f"Certificates of authority {made.id} {opens}: {made.fingerprint} ({made.algorithm}).")


@ca.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List authorities, removed ones too."""
    from keys.authority import Authorities

    columns = {
        "id": "CA",
        "account": "ONLY FOR",
        "algorithm": "ALGORITHM",
        "fingerprint": "FINGERPRINT",
        "label": "LABEL",
        "last_used_at": "LAST USED",
        "removed_at": "REMOVED",
    }
    rows = Authorities(installation(context).db).all()
    print_listing(rows, columns, as_json=as_json, empty="No authorities. Trust one: landingzone keys ca add FILE")


@ca.command()
def remove(context: typer.Context, authority: Which, reason: Reason = "") -> None:
    """Trust an authority no longer: all its certificates open no more, and their open sessions end."""
    from keys.authority import Authorities

    gone = Authorities(installation(context).db).remove(authority, reason=reason, actor=audit.operator())
    typer.echo(f"Certificates of authority {gone.id} open nothing any more: {gone.fingerprint}.")


@ca.command()
def revoke(
    context: typer.Context,
    authority: Which,
    serial: Annotated[str | None, typer.Option(metavar="N", help="The certificate's serial number.")] = None,
    key_id: Annotated[str | None, typer.Option(metavar="ID", help="The certificates' key id.")] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="A key's fingerprint: no certificate of it opens, of any CA."),
    ] = None,
    reason: Reason = "",
) -> None:
    """Revoke certificates by serial, key id or key; their open sessions end."""
    from keys.authority import Authorities, Revoked

    given = {Revoked.SERIAL: serial, Revoked.KEY_ID: key_id, Revoked.FINGERPRINT: key}
    named = [(kind, value) for kind, value in given.items() if value is not None]
    if len(named) != 1:
        raise UsageError("Say one of --serial, --key-id and --key.")
    ((kind, value),) = named
    store = Authorities(installation(context).db)
    done = store.revoke(authority, kind, value, reason=reason, actor=audit.operator())
    typer.echo(f"Revocation {done.id}: certificates with {kind.value.replace('_', ' ')} {done.value} open no more.")


@ca.command()
def revocations(context: typer.Context, as_json: AsJson = False) -> None:
    """List revocations, lifted ones too."""
    from keys.authority import Authorities

    columns = {
        "id": "REVOCATION",
        "ca_fingerprint": "CA",
        "kind": "BY",
        "value": "VALUE",
        "reason": "REASON",
        "added_at": "SINCE",
        "added_by": "WHO",
        "lifted_at": "LIFTED",
    }
    rows = Authorities(installation(context).db).revocations()
    print_listing(rows, columns, as_json=as_json, empty="No certificates are revoked.")


@ca.command()
def lift(
    context: typer.Context,
    revocation: Annotated[int, typer.Argument(metavar="REVOCATION", min=1, max=2**31 - 1, help="Its number.")],
) -> None:
    """Take a revocation back."""
    from keys.authority import Authorities

    done = Authorities(installation(context).db).lift(revocation, actor=audit.operator())
    typer.echo(f"Revocation {done.id} is lifted: {done.kind.value.replace('_', ' ')} {done.value}.")
