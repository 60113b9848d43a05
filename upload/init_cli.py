"""`landingzone-upload init`: asks what is needed, makes the key pair, pins the host key, writes the settings."""

import getpass
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upload.command import Setup, setup
from upload.errors import SettingsError, UploadError
from upload.folder import SETTINGS_NAME, Folder
from upload.outcome import Ending

if TYPE_CHECKING:
    from upload.settings import ServerSettings


class NotPinned(UploadError):
    """The host key was not confirmed: nothing was pinned, and nothing will be sent."""

    exit_code = Ending.HOST_KEY_CHANGED


def mount(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(init)


def init(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The server's name, for SFTP.", show_default=False)] = "",
    url: Annotated[
        str, typer.Option(help="Instead, where only port 443 is open: https://host.", show_default=False)
    ] = "",
    port: Annotated[int, typer.Option(help="Its port; 22 if nothing else was told.", show_default=False)] = 0,
    account: Annotated[str, typer.Option(help="The account's name there.", show_default=False)] = "",
    feed: Annotated[
        list[str] | None,
        typer.Option(
            help="What is sent, as FEED=FILE, such as students=export/students.csv; repeat it.", metavar="F=F"
        ),
    ] = None,
    key: Annotated[
        str, typer.Option(help='An existing private key, or "agent"; else a key pair is made.', show_default=False)
    ] = "",
    fingerprint: Annotated[
        list[str] | None, typer.Option(help="Of the server's host key (SHA256:...), as the vendor told it.")
    ] = None,
    token: Annotated[
        Path | None, typer.Option(help="For --url: a file with the token; else it is asked for.", show_default=False)
    ] = None,
    ca_file: Annotated[
        str, typer.Option(help="For --url: the authority of the server's certificate (PEM).", show_default=False)
    ] = "",
    proxy: Annotated[str, typer.Option(help="socks5://host:port or http://host:port.", show_default=False)] = "",
    repin: Annotated[bool, typer.Option("--repin", help="Only pin the host key anew, after it has changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; what is not given has its default.")] = False,
) -> None:
    """Set up a folder: asks for the server and the files, makes a key pair, pins the server's host key, writes the
    settings, and shows what to send to the vendor; of an https:// address it asks for the token. With options and
    --yes it asks nothing, for scripts.
    """
    here = setup(context)
    if repin:
        _repin(here, fingerprint or [], yes=yes)
        return
    if here.folder.settings_file.exists():
        raise SettingsError(f"There are settings already: {here.folder.settings_file}. Change them there, or --repin.")
    here.folder.prepare()
    host = host or url or _ask("The server's name, or its https:// address", yes=yes, option="--host or --url")
    if host.startswith("https://"):
        sources = [_source(one) for one in feed or []] or ([] if yes else _ask_sources())
        _over_https(here, host, _token_given(token, yes=yes), ca_file, proxy, sources)
        return
    port = port or (22 if yes else typer.prompt("Its port", default=22, type=int))
    account = account or _ask("The account's name there", yes=yes, option="--account")
    sources = [_source(one) for one in feed or []] or ([] if yes else _ask_sources())
    server = _server(host, port, account, key or "key", proxy)
    lines = _pinned(server, fingerprint or [], yes=yes)
    public = _key(here.folder, account, key)
    about = [
        f"host = {_text(server.host)}",
        f"port = {server.port}",
        f"account = {_text(server.account)}",
        f"key = {_text(server.key)}",
        *([f"proxy = {_text(server.proxy)}"] if server.proxy else []),
        _host_keys(lines),
    ]
    _write(here, _settings(about, sources))
    typer.echo(_mail(account, host, public))


def _ask(question: str, *, yes: bool, option: str) -> str:
    if yes:
        raise SettingsError(f"{question} is missing: give it with {option}.")
    return str(typer.prompt(question)).strip()


def _ask_sources() -> list[tuple[str, str]]:
    from landingzone.feed import load_catalogue

    typer.echo("\nWhich files do you send? Their paths; nothing for what you do not send.")
    found = []
    for name in load_catalogue():
        path = str(typer.prompt(f"  {name}", default="", show_default=False)).strip()
        if path:
            found.append((name, path))
    return found


def _source(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise SettingsError(f"--feed {text!r}: write FEED=FILE, such as students=export/students.csv.")
    return name, path


def _token_given(file: Path | None, *, yes: bool) -> str:
    """The token, from a file or as somebody types it. Raises KeyUnusable, SettingsError."""
    from upload.token import check_token

    if file is not None:
        try:
            return check_token(file.read_text(encoding="utf-8", errors="replace"))
        except OSError as wrong:
            raise SettingsError(f"--token: {file} cannot be read: {wrong.strerror}.") from None
    if yes:
        raise SettingsError("The token is missing: give a file that holds it with --token.")
    return check_token(str(typer.prompt("The token that the vendor has sent", hide_input=True)))


def _over_https(here: Setup, url: str, token: str, ca_file: str, proxy: str, sources: list[tuple[str, str]]) -> None:
    """Show the token to the server, and write it and the settings once that has taken it."""
    import time

    from upload.https import HttpsCarrier
    from upload.patience import Patience
    from upload.private_file import create
    from upload.run import quieten
    from upload.settings import parse_settings, resolved

    quieten()
    about = [
        f"url = {_text(url)}",
        *([f"ca_file = {_text(ca_file)}"] if ca_file else []),
        *([f"proxy = {_text(proxy)}"] if proxy else []),
    ]
    text = _settings(about, sources)
    server = parse_settings(text).server
    patience = Patience(time.monotonic() + 60, silence=20)
    carrier = HttpsCarrier(
        server, patience, lambda: token, resolved(here.folder, server.ca_file) if server.ca_file else None
    )
    carrier.receipts()
    carrier.close()
    with create(resolved(here.folder, server.token), "wb") as file:
        file.write(f"{token}\n".encode())
    _write(here, text)
    typer.echo("The server takes the token.")
    typer.echo("\nThen: `landingzone-upload check`, `landingzone-upload run`, `landingzone-upload schedule install`.")


def _write(here: Setup, text: str) -> None:
    here.folder.settings_file.write_text(text, encoding="utf-8", newline="\n")
    here.folder.settings_file.chmod(0o600)
    _ = here.settings  # what was written must be readable
    typer.echo(f"\nThe settings: {here.folder.settings_file}")


def _server(host: str, port: int, account: str, key: str, proxy: str) -> "ServerSettings":
    from pydantic import ValidationError

    from upload.settings import ServerSettings

    try:
        return ServerSettings(
            host=host, port=port, account=account, key=key, proxy=proxy, host_keys=(f"SHA256:{'A' * 43}",)
        )
    except ValidationError as wrong:
        told = "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in wrong.errors(include_input=False))
        raise SettingsError(told) from None


def _pinned(server: "ServerSettings", fingerprints: list[str], *, yes: bool) -> list[str]:
    """The host key's line, once somebody has confirmed it. Raises NotPinned, ConnectionLost."""
    import time

    from upload.connection import shown_key
    from upload.host_key import Pins, known_hosts_line
    from upload.patience import Patience
    from upload.run import quieten

    quieten()
    if fingerprints:
        wanted = Pins.of(fingerprints, server.host, server.port)
        shown = []
        for algorithms in wanted.attempts():
            key = shown_key(server, Patience(time.monotonic() + 60, silence=20), algorithms)
            if key is not None and wanted.hold(key):
                return [known_hosts_line(server.host, server.port, key)]
            shown += [key] if key is not None else []
        raise wanted.changed(shown)
    key = shown_key(server, Patience(time.monotonic() + 60, silence=20))
    assert key is not None
    typer.echo(f"\nThe server shows this host key:\n  {key.fingerprint} ({key.get_name()})")
    if yes:
        raise NotPinned("Nobody has confirmed the host key: give the one that the vendor told with --fingerprint.")
    if not typer.confirm("Is this the fingerprint that the vendor told you, letter by letter?", default=False):
        raise NotPinned
    return [known_hosts_line(server.host, server.port, key)]


def _key(folder: Folder, account: str, given: str) -> str:
    """The public line of the key that is used; made if none was given."""
    from upload import identity
    from upload.connection import AGENT, load_keys
    from upload.settings import resolved

    comment = f"{account} {getpass.getuser()}@{socket.gethostname()}"
    path = resolved(folder, given or "key")
    if not given and not path.exists():
        return identity.make(path, comment)
    key = next(load_keys(None if given == AGENT else path))
    return identity.public_line(key, comment)


def _repin(here: Setup, fingerprints: list[str], *, yes: bool) -> None:
    """Replace host_keys in the settings, and nothing else."""
    import re

    server = here.settings.server
    if server.url:
        raise SettingsError("Over HTTPS no host key is pinned: the server is known by its certificate.")
    lines = _pinned(server, fingerprints, yes=yes)
    path: Path = here.folder.settings_file
    text = path.read_text(encoding="utf-8-sig")
    replaced, count = re.subn(r"(?ms)^host_keys\s*=\s*\[.*?\]\s*$", lambda _: _host_keys(lines), text)
    if count != 1:
        raise SettingsError(f"{SETTINGS_NAME}: write this in place of host_keys:\n{_host_keys(lines)}")
    path.write_text(replaced, encoding="utf-8", newline="\n")
    typer.echo("The host key is pinned.")


def _host_keys(lines: list[str]) -> str:
    return "host_keys = [\n" + "".join(f"  {_text(line)},\n" for line in lines) + "]"


def _settings(server: list[str], sources: list[tuple[str, str]]) -> str:
    told = [
        "# The settings of landingzone-upload; docs/upload.md explains them. No password may stand here.",
        "[server]",
        *server,
    ]
    for name, path in sources:
        kind = "spreadsheet" if path.lower().endswith((".xlsx", ".xlsm", ".xls")) else "file"
        told += ["", "[[source]]", f"feed = {_text(name)}", f"{kind} = {_text(path)}"]
    if not sources:
        told += ["", "# [[source]]", '# feed = "students"', '# file = "export/students.csv"']
    return "\n".join(told) + "\n"


def _text(value: str) -> str:
    """A string of TOML, whose basic form is that of JSON."""
    import json

    return json.dumps(value, ensure_ascii=False)


def _mail(account: str, host: str, public: str) -> str:
    return (
        "\nSend this to the vendor; the private key stays here.\n"
        "----------------------------------------------------------------------\n"
        f"Subject: Public key for the account {account}\n\n"
        "Hello,\n\n"
        f"please add this public key to our account {account} at {host}:\n\n"
        f"{public}\n\n"
        "Our nightly upload will use it. Please tell us when it has been added.\n"
        "----------------------------------------------------------------------\n"
        "\nThen: `landingzone-upload check`, `landingzone-upload run`, `landingzone-upload schedule install`."
    )
