"""`landingzone audit ...`: who changed what, whether that trail is whole, and who was refused at the door."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from landingzone import audit
from landingzone.clock import iso
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson, print_json
from landingzone.errors import UsageError
from landingzone.refused_logins import RefusedLogins

trail = typer.Typer(help="Who changed what, and whether that trail is whole.", no_args_is_help=True)

OfAccount = Annotated[str | None, typer.Option(help="Only of this account.")]
Since = Annotated[
    str, typer.Option(metavar="DATE", help="From this day or moment on (UTC): 2026-01-31, 2026-01-31T06:00.")
]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(trail, name="audit")


@trail.command()
def show(
    context: typer.Context,
    account: OfAccount = None,
    since: Since = "",
    action: Annotated[
        str | None, typer.Option(help="Only this action, such as key.revoked, or a group of them, such as key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, the oldest first."""
    found = audit.records(installation(context).db, account=account, since=_moment(since), action=action)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    rows = [{**dataclasses.asdict(one), "told": _told(one.detail)} for one in found]
    columns = {"id": "RECORD", "at": "AT", "actor": "WHO", "action": "DID", "account": "ACCOUNT", "told": "DETAIL"}
    print_listing(rows, columns, as_json=False, empty="No such records.")


@trail.command()
def verify(
    context: typer.Context,
    head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="A head that an earlier call has printed: what it ended is proven."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no record was changed, removed or moved; else name the first broken link, and exit 1."""
    kept = audit.Head.parse(head) if head is not None else None
    verdict = audit.verify(installation(context).db, kept=kept)
    if as_json:
        print_json({**dataclasses.asdict(verdict), "head": str(verdict.head), "whole": verdict.broken is None})
    elif verdict.broken is None:
        typer.echo(f"The audit trail is whole: {verdict.records:,} records.")
        typer.echo(f"Its head, to keep elsewhere: {verdict.head}")
    else:
        typer.echo(f"The audit trail is broken ({verdict.broken}). {verdict.message}", err=True)
        typer.echo(f"Up to record {verdict.head.last_id} it is whole: {verdict.records:,} records.", err=True)
    raise typer.Exit(0 if verdict.broken is None else 1)


@trail.command()
def refused(
    context: typer.Context,
    account: OfAccount = None,
    address: Annotated[str | None, typer.Option(help="Only from this address.")] = None,
    since: Since = "",
    as_json: AsJson = False,
) -> None:
    """Show who was refused at the door, summed per minute, the oldest first."""
    found = RefusedLogins(installation(context).db).of(account=account, address=address, since=_moment(since))
    columns = {"minute": "MINUTE", "address": "ADDRESS", "account": "ACCOUNT", "reason": "REASON", "count": "COUNT"}
    print_listing(found, columns, as_json=as_json, empty="Nobody was refused.")


def _told(detail: dict[str, object]) -> str:
    """The detail on one line; what an operator has typed cannot break it."""
    words = (f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in detail.items())
    return "".join(char if char.isprintable() else "?" for char in " ".join(words))


def _moment(text: str) -> str | None:
    """A day or a moment in UTC as the records have it."""
    if not text:
        return None
    wrong = f"Not a moment: {text!r}. Write it like 2026-01-31 or 2026-01-31T06:00."
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z?)?", text, re.ASCII):
        raise UsageError(wrong)
    try:
        return iso(datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC))
    except ValueError:
        raise UsageError(wrong) from None
