"""Stock clients, each pointed at the service with an account's key and nothing of the user's own configuration."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import paramiko
import pytest

from sftpd import host_key

PATIENCE = 60.0
"""Seconds that a busy machine may need for anything that is waited for."""


def need(program: str) -> str:
    """The path of a client; without it the test is skipped, and fails in CI."""
    path = shutil.which(program)
    if path is None:
        lacking(f"{program} is not installed (apt-get install openssh-client lftp rclone curl sshpass)")
    return path


def lacking(what: str) -> NoReturn:
    """Skip the test for what this machine lacks; in CI, which must lack nothing, it fails."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@dataclass
class Client:
    """Stock clients of one account; their files lie in `folder`."""

    port: int
    key: Path
    folder: Path
    host_keys: list[str]
    account: str
    known_hosts: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.known_hosts = self.folder / "known_hosts"
        self.known_hosts.write_text(self.known(self.port))

    def known(self, port: int) -> str:
        """The server's lines for known_hosts."""
        return "".join(f"[127.0.0.1]:{port} {key}\n" for key in self.host_keys)

    @property
    def options(self) -> list[str]:
        """Options that ssh, sftp and scp share: this key only, this host key only, no user configuration."""
        return [
            *("-F", "none", "-i", str(self.key)),
            *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"),
        ]

    def file(self, name: str, content: bytes) -> Path:
        """A local file to send."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def run(self, *command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run a client in the folder; its output is text."""
        program, *arguments = map(str, command)
        given = {"cwd": self.folder, "timeout": 60, "capture_output": True, "text": True, **options}
        environment = {**os.environ, "HOME": str(self.folder), "SSH_AUTH_SOCK": "", **given.pop("env", {})}
        return subprocess.run([need(program), *arguments], env=environment, check=False, **given)

    def sftp(self, *commands: str, arguments: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """OpenSSH's sftp with these commands; it stops at the first that fails."""
        batch = "\n".join(commands) + "\n"
        where = ("-P", str(self.port), f"{self.account}@127.0.0.1")
        return self.run("sftp", *self.options, *arguments, "-b", "-", *where, input=batch)

    def ssh(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """OpenSSH's ssh."""
        return self.run("ssh", *self.options, "-p", str(self.port), f"{self.account}@127.0.0.1", *arguments, **options)

    def scp(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """OpenSSH's scp."""
        return self.run("scp", *self.options, "-P", str(self.port), *arguments)

    def paramiko(self) -> paramiko.SSHClient:
        """A connected paramiko client: this host key only."""
        client = paramiko.SSHClient()
        client.load_host_keys(str(self.known_hosts))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            "127.0.0.1",
            self.port,
            self.account,
            key_filename=str(self.key),
            allow_agent=False,
            look_for_keys=False,
            timeout=20,
        )
        client.get_transport().sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client


MakeClient = Callable[..., Client]


@pytest.fixture
def make_client(root: Path, account: str, make_account: Callable[..., Path], tmp_path: Path) -> MakeClient:
    """Makes a client for an account, which is made with it, at a service."""

    def make(service: Any, name: str = account, *, key: Path | None = None) -> Client:
        host_keys = [key.public_key for key in host_key.host_keys(root)]
        folder = tmp_path / f"client-{name}"
        return Client(service.port, key or make_account(name), folder, host_keys, name)

    return make


@pytest.fixture(name="lacking")
def _lacking() -> Callable[[str], NoReturn]:
    """Skips the test for what this machine lacks; in CI it fails."""
    return lacking


@pytest.fixture
def client(request: pytest.FixtureRequest, make_client: MakeClient) -> Client:
    """The clients of the test's account at its service."""
    name = "own_service" if "own_service" in request.fixturenames else "service"
    return make_client(request.getfixturevalue(name))


@dataclass
class District:
    """A school district at the real service: it sends with OpenSSH's sftp, and fetches what it is told; and, beside it,
    the operator with the real command line.
    """

    client: Client
    root: Path
    _session: paramiko.SFTPClient | None = None

    # What the district does

    def send(self, name: str, content: bytes | str) -> dict[str, Any]:
        """Send a file and wait for its receipt, as the district fetches it."""
        before = self._landings(name)
        self.put(name, content)
        return self.next_receipt(name, before)

    def put(self, name: str, content: bytes | str) -> None:
        """Send a file with OpenSSH's sftp."""
        data = content.encode() if isinstance(content, str) else content
        self.client.file(name, data)
        done = self.client.sftp(f'put "{name}"')
        assert done.returncode == 0, done.stderr

    def next_receipt(self, name: str, before: set[str]) -> dict[str, Any]:
        """The receipt of the one landing of that name that is not among these."""
        until = time.monotonic() + PATIENCE
        while not (new := self._landings(name) - before):
            assert time.monotonic() < until, f"no receipt for {name}"
            time.sleep(0.03)
        return self.receipt(new.pop(), name)

    def receipt(self, landing_id: str, name: str, *, outcome: str | None = None) -> dict[str, Any]:
        """The receipt of a landing, once it says `outcome`, if that is given."""
        until = time.monotonic() + PATIENCE
        while True:
            told: dict[str, Any] = json.loads(self.fetch(f"{landing_id}-{name}.receipt.json"))
            if outcome in {None, told["outcome"]}:
                return told
            assert time.monotonic() < until, told
            time.sleep(0.05)

    def fetch(self, name: str) -> bytes:
        """A file from /receipts."""
        with self.session.open(f"/receipts/{name}", "rb") as file:
            return file.read()

    @property
    def session(self) -> paramiko.SFTPClient:
        """An SFTP session that stays open."""
        if self._session is None:
            self._session = self.client.paramiko().open_sftp()
        return self._session

    def _landings(self, name: str) -> set[str]:
        ending = f"-{name}.receipt.json"
        return {
            each.removesuffix(ending)
            for each in self.session.listdir("/receipts")
            if each.endswith(ending) and not each.startswith("latest-")
        }

    # What the operator does

    def operator(self, *arguments: str, answer: str = "", exit_code: int = 0) -> str:
        """Run the command line at the zone; what it printed."""
        program = [sys.executable, "-m", "landingzone", "--root", str(self.root), *arguments]
        done = subprocess.run(program, input=answer, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def recipients(self, *arguments: str) -> list[dict[str, str]]:
        """Whom the service would contact."""
        found: list[dict[str, str]] = json.loads(self.operator("recipients", self.client.account, *arguments, "--json"))
        return found

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.get_channel().get_transport().close()


MakeDistrict = Callable[..., District]


@pytest.fixture
def make_district(service: Any, make_client: MakeClient, root: Path) -> Iterator[MakeDistrict]:
    """Makes districts, each with an account and a key of its own."""
    made: list[District] = []

    def make(name: str) -> District:
        made.append(District(make_client(service, name), root))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def district(make_district: MakeDistrict, account: str) -> District:
    """The test's district."""
    return make_district(account)
