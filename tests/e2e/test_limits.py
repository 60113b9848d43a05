"""What one client, one address, one account may take; and what those are told who ask for more. With stock clients."""

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
import pytest

from landingzone import audit, penalty
from landingzone.command import Installation

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Asked:
    """More than a limit allows: the setting, what is asked for, what the client is told, the reason in the log."""

    setting: str
    value: float
    ask: Callable[[Any, Any], str]
    told: str
    event: str
    reason: str


def put_two_mebibytes(client: Any, service: Any) -> str:
    sent = client.file("students.csv", bytes(2 * MEBIBYTE))
    assert client.sftp("put students.csv").returncode != 0
    with (
        client.paramiko() as ssh,
        pytest.raises(OSError, match=r".") as refused,  # paramiko shows the server's words, OpenSSH does not
        ssh.open_sftp().open("students.csv", "w") as file,
    ):
        file.write(sent.read_bytes())
    assert service.landed() == []
    assert service.uploads() == {}
    return str(refused.value)


def put_four_files(client: Any, service: Any) -> str:
    for number in range(4):
        client.file(f"{number}.csv", b"student_id\n")
    done = client.sftp(*(f"put {number}.csv" for number in range(4)))
    assert done.returncode != 0
    assert len(service.uploads()) + len(service.landed()) == 3
    with client.paramiko() as ssh, pytest.raises(OSError, match=r".") as refused:
        ssh.open_sftp().open("3.csv", "w")
    return str(refused.value)


def open_thousands(client: Any, service: Any) -> str:
    with client.paramiko() as ssh, contextlib.ExitStack() as opened:
        sftp = ssh.open_sftp()
        told, succeeded = "", 0
        for number in range(3000):
            try:
                opened.enter_context(sftp.open(f"{number % 40}.part", "w"))
                succeeded += 1
            except OSError as refused:
                told = str(refused)
        assert succeeded == 40
        assert sftp.listdir("/receipts") == []
    return told


def open_folders(client: Any, service: Any) -> str:
    with client.paramiko() as ssh:
        sftp = ssh.open_sftp()
        with pytest.raises(OSError, match="folders are open") as refused:
            for _ in range(3000):
                sftp._request(paramiko.sftp.CMD_OPENDIR, b"/")
        return str(refused.value)


def two_sessions(client: Any, service: Any) -> str:
    with client.paramiko():
        done = client.ssh("-s", "sftp", input="")
        assert done.returncode != 0
    service.wait_for("session.closed")
    assert client.sftp("ls").returncode == 0
    return str(done.stderr)


def fifty_keys(client: Any, service: Any) -> str:
    folder = client.folder / "keys"
    folder.mkdir()
    options = [option for option in client.options if option not in {"-i", str(client.key)}]
    for number in range(50):
        client.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / str(number))
        options += ["-i", str(folder / str(number))]
    done = client.run("ssh", *options, "-p", str(client.port), f"{client.account}@127.0.0.1")
    assert done.returncode != 0
    assert len(service.events("login.refused", reason="unknown_key")) == 10
    assert client.sftp("ls").returncode == 0
    return str(done.stderr)


def say_nothing(client: Any, service: Any) -> str:
    with socket.create_connection(("127.0.0.1", client.port), 10) as silent:
        return silent.makefile("rb").read().decode("latin-1")


def come_in_silence(client: Any, service: Any) -> str:
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection(("127.0.0.1", client.port), 10)) for _ in range(20)]
        service.wait_for("login.refused", reason="crowded_out", count=15)
        assert client.sftp("ls").returncode == 0
        return silent[0].makefile("rb").read().decode("latin-1")


TABLE = {
    "file_mebibytes": Asked(
        "file_mebibytes", 1, put_two_mebibytes, "This file is larger than 1 MiB", "upload.refused", "too_much"
    ),
    "waiting_mebibytes": Asked(
        "waiting_mebibytes", 1, put_two_mebibytes, "of this account that wait take 1 MiB", "upload.refused", "too_much"
    ),
    "waiting_files": Asked(
        "waiting_files", 3, put_four_files, "3 files of this account are waiting", "upload.refused", "too_much"
    ),
    "free_mebibytes": Asked(
        "free_mebibytes", 1 << 40, put_two_mebibytes, "The server's disk is full", "upload.refused", "disk_floor"
    ),
    "handles_per_session": Asked(
        "handles_per_session", 40, open_thousands, "Too many files are open", "session.closed", ""
    ),
    "folders_per_session": Asked(
        "handles_per_session", 40, open_folders, "Too many folders are open", "session.closed", ""
    ),
    "sessions": Asked("sessions", 1, two_sessions, "as many sessions as it can hold", "login.refused", "sessions"),
    "sessions_per_account": Asked(
        "sessions_per_account",
        1,
        two_sessions,
        "This account has as many sessions open as it may",
        "login.refused",
        "sessions_per_account",
    ),
    "keys_per_connection": Asked(
        "keys_per_connection", 10, fifty_keys, "Too many keys were offered", "login.refused", "too_many_keys"
    ),
    "unauthenticated_per_address": Asked(
        "unauthenticated_per_address", 5, come_in_silence, "log in without a pause", "login.refused", "crowded_out"
    ),
    "unauthenticated": Asked(
        "unauthenticated", 5, come_in_silence, "log in without a pause", "login.refused", "crowded_out"
    ),
    "login_seconds": Asked("login_seconds", 1, say_nothing, "SSH-2.0-landingzone", "login.refused", "login_timeout"),
}


@pytest.mark.parametrize("name", TABLE)
def test_more_than_the_limit_is_refused_in_words(
    make_service: Callable[..., Any], make_client: Callable[..., Any], name: str
) -> None:
    asked = TABLE[name]
    section = "door" if name == "login_seconds" else "limits"
    service = make_service(**{f"{section}__{asked.setting}": asked.value})
    client = make_client(service)
    assert asked.told in asked.ask(client, service)
    service.wait_for(asked.event, **({"reason": asked.reason} if asked.reason else {}))


def test_room_is_there_again_once_the_import_has_taken_the_files(
    make_service: Callable[..., Any], make_client: Callable[..., Any], here: Installation
) -> None:
    service = make_service(limits__waiting_files=2)
    client = make_client(service)
    client.file("students.csv", b"student_id\n")
    assert client.sftp("put students.csv", "put students.csv").returncode == 0
    assert client.sftp("put students.csv").returncode != 0
    for landing in here.zone.waiting(client.account):
        here.zone.claim(landing)
    time.sleep(1)
    assert client.sftp("put students.csv").returncode == 0


def test_an_account_uploads_no_faster_than_it_may(
    make_service: Callable[..., Any], make_client: Callable[..., Any]
) -> None:
    service = make_service(limits__upload_mebibytes_per_second=2)
    client = make_client(service)
    client.file("students.csv", bytes(4 * MEBIBYTE))
    began = time.monotonic()
    assert client.sftp("put students.csv").returncode == 0
    assert time.monotonic() - began > 1.5
    assert len(service.landed()) == 1


# Penalties


@pytest.fixture
def strict(make_service: Callable[..., Any]) -> Any:
    """A front door that loses patience early."""
    return make_service(
        limits__login_failures_per_address=6,
        limits__login_failures_per_address_and_account=3,
        limits__penalty_seconds=60,
    )


def fail(client: Any, key: Path, *, times: int, address: str = "127.0.0.1", account: str = "") -> list[str]:
    """Try a key that does not open; what the client said each time."""
    options = [str(key) if option == str(client.key) else option for option in client.options]
    where = ("-b", address, "-p", str(client.port), f"{account or client.account}@127.0.0.1", "-s", "sftp")
    return [client.run("ssh", *options, *where, input="").stderr for _ in range(times)]


def until(holds: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def test_an_address_that_fails_at_an_account_waits_there_and_nowhere_else(
    strict: Any, make_client: Callable[..., Any], make_key: Callable[..., Path], here: Installation
) -> None:
    client, neighbour = make_client(strict, "shelbyville"), make_client(strict, "ogdenville")
    assert client.sftp("ls").returncode == 0
    stranger = make_key("stranger")
    fail(client, stranger, times=3)
    begun = strict.wait_for("penalty.begun", account=client.account)
    assert begun["peer"] == "127.0.0.1"
    until(lambda: "Too many logins from your address have failed" in fail(client, stranger, times=1)[0])
    assert "Try again in" in client.sftp("ls").stderr  # also with the right key
    assert neighbour.sftp("ls").returncode == 0
    elsewhere = client.run(
        "sftp",
        *client.options,
        "-o",
        "BindAddress=127.0.0.2",
        "-P",
        str(client.port),
        f"{client.account}@127.0.0.1",
        input="ls\n",
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert penalty.lift(here.db, "127.0.0.1", account=client.account, actor="marge") == 1
    until(lambda: bool(client.sftp("ls").returncode == 0))
    [lifted] = audit.records(here.db, action="penalty.lifted")
    assert (lifted.actor, lifted.account, lifted.detail["address"]) == ("marge", client.account, "127.0.0.1")


def test_an_address_that_fails_everywhere_waits_at_every_node(
    strict: Any, make_service: Callable[..., Any], make_client: Callable[..., Any], make_key: Callable[..., Path]
) -> None:
    client = make_client(strict)
    other = make_service(node="node-2")
    stranger = make_key("stranger")
    for number in range(6):
        fail(client, stranger, times=1, address="127.0.0.3", account=f"nobody-{number}")
    strict.wait_for("penalty.begun", peer="127.0.0.3", account=None)
    for port in (client.port, other.port):
        client.port = port
        client.known_hosts.write_text(client.known(port))
        until(lambda: "Too many logins" in fail(client, stranger, times=1, address="127.0.0.3")[0])
        assert client.sftp("ls").returncode == 0
    client.port = strict.port


def test_good_logins_wipe_out_what_an_address_has_gathered(
    strict: Any, make_client: Callable[..., Any], make_key: Callable[..., Path], here: Installation
) -> None:
    client = make_client(strict)
    stranger = make_key("stranger")
    for _ in range(4):
        fail(client, stranger, times=2)
        until(lambda: bool(penalty.listing(here.db)))
        assert client.sftp("ls").returncode == 0
        until(lambda: not penalty.listing(here.db))
    assert not strict.events("penalty.begun")


def test_an_exempt_network_has_no_penalty(
    make_service: Callable[..., Any], make_client: Callable[..., Any], make_key: Callable[..., Path]
) -> None:
    service = make_service(
        limits__login_failures_per_address_and_account=1, limits__exempt_networks='["127.0.0.0/8", "::1/128"]'
    )
    client = make_client(service)
    fail(client, make_key("stranger"), times=3)
    time.sleep(1)
    assert client.sftp("ls").returncode == 0
    assert not service.events("penalty.begun")
