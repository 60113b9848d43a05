"""`landingzone demo`: the main job on sample data, with the real commands and a real client, then stop.

A zone in a temporary folder, a key pair, an account, the service on a free loopback port, five files pushed over SFTP
(one with bad rows), a password refused, the receipts fetched the way a customer fetches them.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.rule import Rule

from landingzone.errors import LandingZoneError

ACCOUNT = "riverdale"
#: feed -> (outcome, rows accepted, rows rejected) that the sample must come to.
EXPECTED = {
    "students": ("imported_with_rejects", 22, 2),
    "staff": ("imported", 5, 0),
    "sections": ("imported", 6, 0),
    "enrollments": ("imported", 48, 0),
    "teachers": ("imported", 4, 0),
}
_PATIENCE = 60.0

Found = TypeVar("Found")
Command = Callable[[list[str]], str]

console = Console(soft_wrap=True, highlight=False)


class DemoError(Exception):
    """The demo did not come out as it should."""


def run_demo(command: Command, keep: Path | None = None) -> int:
    """Run the demo; returns 0 only if everything came out as it should. Takes a few seconds.

    `command` runs a command of the command line in this process and returns what it printed.
    """
    home = keep or Path(tempfile.mkdtemp(prefix="landingzone-demo-"))
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _demonstrate(_Place(home, command))
    except DemoError as wrong:
        console.print(f"\n[bold red]The demo failed:[/] {wrong}")
        return 1
    finally:
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)
    if keep is None:
        console.print("The demo's folder is removed again; `landingzone demo --keep DIR` leaves it to look around.")
    return 0


@dataclass(frozen=True)
class _Place:
    """Where the demo happens."""

    home: Path
    command: Command

    @property
    def root(self) -> Path:
        return self.home / "zone"

    @property
    def key(self) -> Path:
        return self.home / "customer_key"

    @property
    def service_log(self) -> Path:
        return self.home / "service.log"


def _demonstrate(place: _Place) -> None:
    _say("1. The operator makes a landing zone")
    _landingzone(place, "init")
    _say("2. The customer makes a key pair; only its public half leaves the house")
    _make_key_pair(place.key)
    console.print(f"   {place.key.with_suffix('.pub').read_text().strip()}")
    _say("3. The operator makes an account and adds the key")
    _landingzone(place, "accounts", "add", ACCOUNT, "--title", "Riverdale School District")
    _landingzone(place, "keys", "add", ACCOUNT, str(place.key.with_suffix(".pub")), "--label", "nightly export")
    _say("4. The service starts")
    with _service(place) as port:
        console.print(f"   listening on 127.0.0.1:{port}")
        client = (
            _OpenSSH(place, port) if shutil.which("sftp") and shutil.which("ssh-keygen") else _Paramiko(place, port)
        )
        _say(f"5. A password is tried, and refused ({client.name})")
        console.print(f"   {client.password_refusal()}")
        _say(f"6. The customer pushes five files ({client.name})")
        files = _sample_files(place.home / "export")
        client.put(files)
        for path in files:
            console.print(f"   {path.name:<18}{path.stat().st_size:>7,} bytes")
        _say("7. The customer fetches the receipts, the same way")
        receipts = _wait_for_receipts(client, files, place.home / "receipts")
    for source in EXPECTED:
        console.print(Rule(f"latest-{source}.receipt.txt", style="dim"))
        console.print((place.home / "receipts" / f"latest-{source}.receipt.txt").read_text().strip(), markup=False)
    console.print(Rule(style="dim"))
    _say("8. What the account holds now")
    counts = json.loads(_landingzone(place, "accounts", "show", ACCOUNT, "--json", quiet=True))["rows"]
    for source, rows in counts.items():
        console.print(f"   {source:<14}{rows:>6} active rows")
    _check(receipts, counts)
    _say("9. Where everything lies")
    for name, what in (
        ("inbox", "landed, waiting for the import (empty now)"),
        ("archive", "each file as it arrived, with its receipt"),
        ("receipts", "what the customer can fetch"),
        ("landingzone.db", "accounts, keys, runs and the accounts' data"),
        ("landingzone.toml", "the settings"),
    ):
        console.print(f"   {place.root / name}   {what}")
    console.print("\n[bold green]All came out as it should.[/]")


def _check(receipts: dict[str, dict[str, Any]], counts: dict[str, int]) -> None:
    for source, (outcome, accepted, rejected) in EXPECTED.items():
        receipt = receipts[source]
        found = receipt["outcome"], receipt["rows"]["accepted"], receipt["rows"]["rejected"]
        if found != (outcome, accepted, rejected):
            raise DemoError(f"{source}: expected {outcome}, {accepted} accepted, {rejected} rejected; got {found}.")
        if counts[source] != accepted:
            raise DemoError(f"{source}: {counts[source]} rows are active, not {accepted}.")


def _say(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _landingzone(place: _Place, *arguments: str, quiet: bool = False) -> str:
    if not quiet:
        console.print(f"   $ landingzone {' '.join(arguments)}", style="cyan", markup=False)
    try:
        printed = place.command(["--root", str(place.root), *arguments])
    except LandingZoneError as refused:
        raise DemoError(f"landingzone {arguments[0]}: {refused}") from None
    if not quiet:
        for line in printed.strip().splitlines():
            console.print(f"   {line}", markup=False)
    return printed


def _make_key_pair(path: Path) -> None:
    if program := shutil.which("ssh-keygen"):
        arguments = [program, "-q", "-t", "ed25519", "-N", "", "-C", "nightly export", "-f", str(path)]
        subprocess.run(arguments, check=True)  # noqa: S603 - OpenSSH's own
        return
    import asyncssh  # noqa: PLC0415 - only where OpenSSH is missing

    key = asyncssh.generate_private_key("ssh-ed25519", comment="nightly export")
    path.touch(mode=0o600)
    key.write_private_key(path)
    key.write_public_key(path.with_suffix(".pub"))


@contextmanager
def _service(place: _Place) -> Iterator[int]:
    """The real service on a free loopback port, for the time of the block."""
    environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json", "LANDINGZONE_DOOR__HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "landingzone", "--root", str(place.root), "serve", "--port", "0"]
    with place.service_log.open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)  # noqa: S603 - our own command
    try:
        port = _wait(lambda: _port_in(place.service_log), "the service did not open its door")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def _port_in(log: Path) -> int | None:
    for line in log.read_text().splitlines():
        if '"door.opened"' in line:
            return int(json.loads(line)["port"])
    return None


def _wait(look: Callable[[], Found | None], otherwise: str) -> Found:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise DemoError(otherwise)


def _sample_files(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for source in EXPECTED:
        sample = resources.files("landingzone") / "sample" / f"{source}.csv"
        (folder / f"{source}.csv").write_bytes(sample.read_bytes())
    return [folder / f"{source}.csv" for source in EXPECTED]


def _wait_for_receipts(client: "_OpenSSH | _Paramiko", files: list[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Each source's latest receipt, once it speaks of the bytes that were sent."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def look() -> dict[str, dict[str, Any]] | None:
        client.get([f"latest-{source}.receipt.{ending}" for source in hashes for ending in ("json", "txt")], folder)
        found = {}
        for source in hashes:
            path = folder / f"latest-{source}.receipt.json"
            if not path.is_file():
                return None
            found[source] = json.loads(path.read_bytes())
        return found if all(found[source]["sha256"] == hashes[source] for source in hashes) else None

    return _wait(look, "not every receipt came")


class _OpenSSH:
    """OpenSSH's sftp, as most districts' scripts use it."""

    name = "OpenSSH sftp"

    def __init__(self, place: _Place, port: int) -> None:
        self._port = port
        self._key = place.key
        self._known_hosts = place.home / "known_hosts"
        self._known_hosts.write_text(f"[127.0.0.1]:{port} {_host_key(place)}\n")

    def put(self, files: list[Path]) -> None:
        done = self._sftp("\n".join(f'put "{path}"' for path in files))
        if done.returncode:
            raise DemoError(f"sftp put: {done.stderr.strip()}")

    def get(self, names: list[str], folder: Path) -> None:
        self._sftp("\n".join(f'-get "/receipts/{name}" "{folder / name}"' for name in names))

    def password_refusal(self) -> str:
        done = self._sftp(
            "ls", "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive"
        )
        if done.returncode == 0 or "Permission denied (publickey)" not in done.stderr:
            raise DemoError("A login without a key was not refused.")
        return next(line for line in done.stderr.splitlines() if "Permission denied" in line)

    def _sftp(self, batch: str, *options: str) -> "subprocess.CompletedProcess[str]":
        settings = {
            "UserKnownHostsFile": str(self._known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
        }
        flags = [flag for name, value in settings.items() for flag in ("-o", f"{name}={value}")]
        command = [
            "sftp",
            "-F",
            "/dev/null",
            "-P",
            str(self._port),
            "-i",
            str(self._key),
            *options,
            *flags,
            "-b",
            "-",
            f"{ACCOUNT}@127.0.0.1",
        ]
        return subprocess.run(command, input=batch, capture_output=True, text=True, check=False)  # noqa: S603 - found on the PATH before


class _Paramiko:
    """paramiko, where OpenSSH is missing."""

    name = "paramiko"

    def __init__(self, place: _Place, port: int) -> None:
        self._place, self._port = place, port

    def put(self, files: list[Path]) -> None:
        with self._session() as sftp:
            for path in files:
                sftp.put(str(path), path.name, confirm=True)

    def get(self, names: list[str], folder: Path) -> None:
        with self._session() as sftp:
            there = set(sftp.listdir("/receipts"))
            for name in there.intersection(names):
                sftp.get(f"/receipts/{name}", str(folder / name))

    def password_refusal(self) -> str:
        import paramiko  # noqa: PLC0415 - see the class

        with socket.create_connection(("127.0.0.1", self._port)) as raw:
            transport = paramiko.Transport(raw)
            try:
                transport.start_client(timeout=_PATIENCE)
                transport.auth_password(ACCOUNT, "correct horse battery staple")
            except paramiko.AuthenticationException as refused:
                return str(refused)
            finally:
                transport.close()
        raise DemoError("A login with a password was not refused.")

    @contextmanager
    def _session(self) -> Iterator[Any]:
        import paramiko  # noqa: PLC0415 - see the class

        algorithm, blob = _host_key(self._place).split()[:2]
        client = paramiko.SSHClient()
        line = paramiko.hostkeys.HostKeyEntry.from_line(f"[127.0.0.1]:{self._port} {algorithm} {blob}")
        assert line is not None
        assert line.key is not None
        client.get_host_keys().add(f"[127.0.0.1]:{self._port}", algorithm, line.key)
        options = {"key_filename": str(self._place.key), "allow_agent": False, "look_for_keys": False}
        client.connect("127.0.0.1", self._port, ACCOUNT, timeout=_PATIENCE, **options)
        with client, client.open_sftp() as sftp:
            yield sftp


def _host_key(place: _Place) -> str:
    return (place.root / "hostkeys" / "ssh_host_ed25519_key.pub").read_text().strip()
