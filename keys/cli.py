"""`landingzone keys ...`: the public keys that open an account."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from keys.authority_cli import ca
from keys.key_file import read_key_file
from landingzone import audit
from landingzone.clock import now
from landingzone.command import Installation, end_of, installation, print_listing
from landingzone.command_line import AsJson, print_json
from landingzone.errors import UsageError

keys = typer.Typer(help="The public keys that open an account.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name.")]
Which = Annotated[str, typer.Argument(metavar="KEY", help="The key's number or SHA256 fingerprint.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    keys.add_typer(ca, name="ca")
    app.add_typer(keys, name="keys")


@keys.command()
def add(
    context: typer.Context,
    account: AccountName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .pub file, or - for standard input.")],
    label: Annotated[str, typer.Option(help="What a person calls it; the key's own comment by default.")] = "",
    expires: Annotated[
        str, typer.Option(metavar="DATE", help="The last day on which it opens (UTC), like 2026-12-31.")
    ] = "",
    networks: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="CIDR", help="Where it may come from, like 192.0.2.0/24; repeatable."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also a key that was revoked here by mistake.")] = False,
) -> None:
    """Let a public key open an account: OpenSSH, RFC 4716, PuTTY or PEM; ed25519, ECDSA, or RSA from 3072 bits."""
    from keys.public_key import PublicKey
    from keys.store import Keys

    store = Keys(installation(context).db)
    key = store.add(
        account,
        PublicKey.parse(read_key_file(file)),
        label=label,
        expires_at=end_of(expires) if expires else None,
        networks=tuple(part for text in networks or () for part in text.split(",")),
        again=again,
        actor=audit.operator(),
    )
    typer.echo(f"Key {key.id} opens {account}: {key.fingerprint} ({key.algorithm}, {key.bits} bits).")
    if others := store.others_with(key):
        typer.echo(f"Note: the same key opens {', '.join(others)} too: whoever loses it loses all of them.", err=True)


@keys.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, revoked and expired ones too."""
    columns = {
        "account": "ACCOUNT",
        "id": "KEY",
        "state": "STATE",
        "algorithm": "ALGORITHM",
        "fingerprint": "FINGERPRINT",
        "label": "LABEL",
        "networks": "FROM",
        "expires_at": "EXPIRES",
        "last_used_at": "LAST USED",
    }
    rows = _rows(installation(context), account)
    print_listing(rows, columns, as_json=as_json, empty="No keys yet. Add one: landingzone keys add ACCOUNT FILE")


@keys.command()
def show(context: typer.Context, account: AccountName, key: Which, as_json: AsJson = False) -> None:
    """Show everything about one key of an account."""
    from keys.store import Keys

    found = Keys(installation(context).db).get(account, key)
    row = next(row for row in _rows(installation(context), account) if row["id"] == found.id)
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        shown = ", ".join(value) if isinstance(value, tuple) else value
        typer.echo(f"{name.replace('_', ' '):18}{'' if shown is None else shown}".rstrip())


@keys.command()
def revoke(
    context: typer.Context,
    account: AccountName,
    key: Which,
    reason: Annotated[str, typer.Option(help="Why; stands with the key and in the audit trail.")] = "",
) -> None:
    """Close the door for a key of an account, at once and for good; its open sessions end, too."""
    from keys.store import Keys

    gone = Keys(installation(context).db).revoke(account, key, reason=reason, actor=audit.operator())
    typer.echo(f"Key {gone.id} no longer opens {account}: {gone.fingerprint}.")


@keys.command()
def check(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account's.")] = None,
    days: Annotated[int, typer.Option(min=0, max=3660, help="How many days ahead an end is told.")] = 30,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Leave out what was found under this code; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find keys that are weak, expired, expiring, never used, shared, or not rotated in time; exits 1 if there are."""
    from keys.checkup import Code, findings
    from keys.store import Keys

    if unknown := set(ignore or ()) - set(Code):
        raise UsageError(f"There is no code {unknown.pop()!r}. There are: {', '.join(Code)}.")
    here = installation(context)
    if account is not None:
        here.accounts.get(account)
    store = Keys(here.db)
    found = findings(store.of(), store.rotations(), at=now(), soon=timedelta(days=days))
    told = [one for one in found if account in {None, one.account} and one.code not in (ignore or ())]
    columns = {"account": "ACCOUNT", "key": "KEY", "label": "LABEL", "code": "FOUND", "message": "MEANING"}
    print_listing(told, columns, as_json=as_json, empty="Nothing was found.")
    raise typer.Exit(1 if told else 0)


@keys.command("import")
def import_(
    context: typer.Context,
    account: AccountName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An authorized_keys file, or - for standard input.")],
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Add the others if some lines are refused; still exits 1.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add the keys of an authorized_keys file. An option that cannot be honoured refuses its line, and so the file."""
    from dataclasses import asdict
    from zoneinfo import ZoneInfo

    from keys.authorized_keys import MAX_FILE_BYTES, AuthorizedKey, RefusedLine, read_file
    from keys.store import Imported, Keys

    here = installation(context)
    zone = ZoneInfo(here.accounts.get(account).time_zone)
    lines = list(read_file(read_key_file(file, limit=MAX_FILE_BYTES), zone=zone))
    refused = tuple(line for line in lines if isinstance(line, RefusedLine))
    done = Imported((), (), ())
    if skip_refused or not refused:
        good = [line for line in lines if isinstance(line, AuthorizedKey)]
        done = Keys(here.db).add_all(account, good, all_or_none=not skip_refused, actor=audit.operator())
    told = sorted([*refused, *done.refused], key=lambda line: line.line)
    if as_json:
        print_json({**asdict(done), "refused": [asdict(line) for line in told]})
    else:
        for line in told:
            typer.echo(f"Line {line.line}: {line.reason}", err=True)
        if told and not skip_refused:
            typer.echo("Nothing was added. --skip-refused adds the other lines.", err=True)
        else:
            typer.echo(f"{len(done.added)} keys were added, {len(done.there)} were there already.")
    raise typer.Exit(1 if told else 0)


@keys.command()
def export(context: typer.Context, account: AccountName) -> None:
    """Print the keys that open an account now as an authorized_keys file, with what limits each."""
    from keys.authorized_keys import write_line
    from keys.store import Keys

    at = now()
    for key in Keys(installation(context).db).of(account):
        if key.closed(at) is None:
            typer.echo(write_line(key))


@keys.command()
def rotate(
    context: typer.Context,
    account: AccountName,
    file: Annotated[Path, typer.Argument(metavar="NEW", help="The new .pub file, or - for standard input.")],
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old key opens at most: days or hours, like 14d or 36h.")
    ] = "14d",
    uses: Annotated[int, typer.Option(min=1, max=1000, help="Logins with the new key that end it earlier.")] = 3,
    replaces: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="The key that goes, if there are several; repeatable.")
    ] = None,
    label: Annotated[str, typer.Option(help="What a person calls it; the key's own comment by default.")] = "",
    expires: Annotated[str, typer.Option(metavar="DATE", help="The new key's last day (UTC).")] = "",
    networks: Annotated[
        list[str] | None, typer.Option("--from", metavar="CIDR", help="Where the new key may come from; repeatable.")
    ] = None,
) -> None:
    """Let a new key take the place of an old one, which opens until the new one was used, or the overlap ends."""
    from keys.public_key import PublicKey
    from keys.store import Keys

    begun = Keys(installation(context).db).rotate(
        account,
        PublicKey.parse(read_key_file(file)),
        overlap=_span(overlap),
        uses=uses,
        replaces=tuple(replaces or ()),
        label=label,
        expires_at=end_of(expires) if expires else None,
        networks=tuple(part for text in networks or () for part in text.split(",")),
        actor=audit.operator(),
    )
    old = ", ".join(map(str, begun.old_keys))
    typer.echo(f"Key {begun.new_key} opens {account}: {begun.new_fingerprint}.")
    typer.echo(
        f"Key {old} opens it until that one was used {uses} times, at most until {begun.overlap_ends_at}. "
        f"`landingzone keys rotations {account}` says where this stands."
    )


@keys.command()
def rotations(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say where each rotation stands, the newest first."""
    import dataclasses

    from keys.store import Keys

    columns = {
        "account": "ACCOUNT",
        "state": "STATE",
        "old_keys": "OLD KEYS",
        "new_key": "NEW KEY",
        "used": "USED",
        "overlap_ends_at": "OVERLAP ENDS",
        "new_last_used_at": "NEW LAST USED",
        "old_last_used_at": "OLD LAST USED",
        "ended_at": "ENDED",
    }
    found = Keys(installation(context).db).rotations(account)
    rows = [
        {**dataclasses.asdict(one), "state": one.state, "used": f"{one.uses} of {one.uses_wanted}"} for one in found
    ]
    print_listing(rows, columns, as_json=as_json, empty="No rotations.")


def _rows(here: Installation, account: str | None) -> list[dict[str, object]]:
    import dataclasses

    from keys.store import Keys

    store, at = Keys(here.db), now()
    store.settle()
    return [{**dataclasses.asdict(key), "state": key.state(at)} for key in store.of(account)]


def _span(text: str) -> timedelta:
    """A length of time: `14d`, `36h`, at most a year."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and unit in {"d", "h"}):
        raise UsageError(f"Not a length of time: {text!r}. Write it like 14d or 36h.")
    span = timedelta(days=1) if unit == "d" else timedelta(hours=1)
    if not timedelta(0) < int(number[:6]) * span <= timedelta(days=366):
        raise UsageError("The overlap may be from 1h to 366d.")
    return int(number) * span
