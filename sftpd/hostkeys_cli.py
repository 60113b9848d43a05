"""`landingzone hostkeys ...`: the server's own keys, by which districts know it."""

import dataclasses
from enum import StrEnum
from typing import Annotated

import typer

from landingzone import audit
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson

hostkeys = typer.Typer(help="The server's own keys, by which districts know it.", no_args_is_help=True)


class Kind(StrEnum):
    """The kinds of host keys."""

    ED25519 = "ed25519"
    ECDSA = "ecdsa"
    RSA = "rsa"


WhichKind = Annotated[Kind, typer.Argument(metavar="KIND", help="ed25519, ecdsa or rsa.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(hostkeys, name="hostkeys")


@hostkeys.command()
def show(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The name by which districts reach the server.")] = "sftp.example.org",
    as_json: AsJson = False,
) -> None:
    """Print fingerprints, and known_hosts lines ready to send to districts."""
    from sftpd.host_key import host_keys

    here = installation(context)
    port = here.settings.door.port
    keys = host_keys(here.settings.root)
    rows = [{**dataclasses.asdict(key), "known_hosts": key.known_hosts_line(host, port)} for key in keys]
    columns = {"kind": "KIND", "bits": "BITS", "state": "STATE", "fingerprint": "FINGERPRINT"}
    print_listing(rows, columns, as_json=as_json, empty="")
    if not as_json:
        typer.echo("\nFor a client's known_hosts:")
        for row in rows:
            typer.echo(row["known_hosts"])


@hostkeys.command("add-next")
def add_next(context: typer.Context, kind: WhichKind) -> None:
    """Make a key that will take the place of the one in use, and offer it to clients from the next SIGHUP on."""
    from sftpd.host_key import add_next as make

    here = installation(context)
    made = make(here.settings.root, kind.value)
    with audit.changing(here.db) as tx:
        audit.record(tx, actor=audit.operator(), action="hostkey.added", kind=made.kind, fingerprint=made.fingerprint)
    typer.echo(f"The next {made.kind} key is {made.fingerprint}.")
    typer.echo("Send the service SIGHUP: clients are offered it. Some weeks later: landingzone hostkeys promote")


@hostkeys.command()
def promote(context: typer.Context, kind: WhichKind) -> None:
    """Put the next key to use, from the next SIGHUP on. Clients that have not stored it will refuse to connect."""
    from sftpd.host_key import promote as put_to_use

    here = installation(context)
    used = put_to_use(here.settings.root, kind.value)
    with audit.changing(here.db) as tx:
        audit.record(
            tx, actor=audit.operator(), action="hostkey.promoted", kind=used.kind, fingerprint=used.fingerprint
        )
    typer.echo(f"The {used.kind} key is now {used.fingerprint}. Send the service SIGHUP.")
