"""SIGTERM lets uploads finish, for a while, and loses none; SIGHUP changes settings and host keys under sessions."""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from landingzone.command import Installation
from processor import run as processor_run
from processor.outcome import Outcome
from processor.run import Run, State
from sftpd import host_key

HEADER = "Student ID,First Name,Last Name,Phone,School ID\n"
ROWS = 50_000
KILOBYTES_PER_SECOND = 100


def students(number: int) -> bytes:
    rows = (f"{number}-{row},Lisa,Simpson,217{row:07},{number}\n" for row in range(ROWS))
    return (HEADER + "".join(rows)).encode()


def runs_of(here: Installation, account: str) -> list[Run]:
    with here.db.read() as tx:
        return processor_run.newest(tx, account=account, limit=100)


def with_retries(client: Any, kind: str) -> "subprocess.Popen[bytes]":
    """A stock client that sends students.csv slowly, and tries again until the server has taken it."""
    where, options = f"{client.account}@127.0.0.1", list(client.options)
    rate = KILOBYTES_PER_SECOND
    ssh = " ".join(["ssh", "-a", "-x", *options])
    match kind:
        case "openssh":
            sftp = ["sftp", *options, "-l", str(rate * 8), "-P", str(client.port), "-b", "-", where]
            quoted = " ".join(f"'{word}'" for word in sftp)
            loop = f"for n in $(seq 60); do echo 'put students.csv' | {quoted} && exit 0; sleep 1; done; exit 1"
            command = ["sh", "-c", loop]
        case "lftp":
            script = (
                f'set sftp:connect-program "{ssh}"; set net:limit-rate 0:{rate * 1000}; set net:max-retries 60; '
                "set net:reconnect-interval-base 1; set net:reconnect-interval-multiplier 1; set cmd:fail-exit yes; "
                f"open -u {client.account},x -p {client.port} sftp://127.0.0.1; put students.csv"
            )
            loop = f"for n in $(seq 60); do lftp -c '{script}' && exit 0; sleep 1; done; exit 1"
            command = ["sh", "-c", loop]
        case "rclone":
            to = f":sftp,host=127.0.0.1,port={client.port},user={client.account},key_file={client.key}"
            retries = ["--retries", "60", "--retries-sleep", "1s", "--low-level-retries", "3", "--bwlimit", f"{rate}k"]
            copy = ["rclone", "--config", "none.conf", "copyto", *retries, "students.csv"]
            command = [*copy, f"{to},known_hosts_file={client.known_hosts}:students.csv"]
        case _:
            tries = ["--retry", "60", "--retry-all-errors", "--retry-delay", "1", "--limit-rate", f"{rate}k"]
            key = ["--key", str(client.key), "--pubkey", f"{client.key}.pub", "--insecure"]
            url = f"sftp://{client.account}@127.0.0.1:{client.port}/students.csv"
            command = ["curl", "-sS", *tries, *key, "-T", "students.csv", url]
    return subprocess.Popen(
        command, cwd=client.folder, stdout=(client.folder / "said").open("ab"), stderr=subprocess.STDOUT
    )


@pytest.mark.timeout(300)
def test_a_stop_in_the_middle_of_20_uploads_loses_none(
    make_service: Callable[..., Any],
    make_client: Callable[..., Any],
    here: Installation,
    need: Callable[[str], str],
) -> None:
    for program in ("sftp", "lftp", "rclone", "curl"):
        need(program)
    service = make_service("serve", door__drain_seconds=1, processor__workers=2)
    kinds = ["openssh", "lftp", "rclone", "curl"] * 5
    clients, contents = [], []
    for number, kind in enumerate(kinds):
        client = make_client(service, f"district-{number}")
        contents.append(client.file("students.csv", students(number)).read_bytes())
        clients.append((client, kind))
    sending = [with_retries(client, kind) for client, kind in clients]
    until = time.monotonic() + 60
    while not all(sum(service.uploads(client.account).values()) for client, _ in clients):
        assert time.monotonic() < until, "not all uploads have begun"
        time.sleep(0.05)
    assert service.stop() == 0
    closed = service.wait_for("door.closed")
    assert closed["given_up"], "nothing was in its middle"
    service.start()
    for process in sending:
        assert process.wait(200) == 0
    for (client, kind), content in zip(clients, contents, strict=True):
        service.landed(client.account, count=1, seconds=60)
        until = time.monotonic() + 60
        while any(run.state != State.RECEIPTED for run in runs_of(here, client.account)):
            assert time.monotonic() < until
            time.sleep(0.1)
        runs = runs_of(here, client.account)
        outcomes = [run.outcome for run in runs]
        assert outcomes.count(Outcome.IMPORTED) == 1, (kind, outcomes)
        assert set(outcomes) <= {Outcome.IMPORTED, Outcome.UNCHANGED}, (kind, outcomes)
        assert {run.sha256 for run in runs} == {hashlib.sha256(content).hexdigest()}, kind


def test_an_upload_under_way_is_finished_within_the_bound(
    make_service: Callable[..., Any], make_client: Callable[..., Any]
) -> None:
    service = make_service(door__drain_seconds=60)
    client = make_client(service)
    client.file("students.csv", students(1))
    sending = with_retries(client, "openssh")
    until = time.monotonic() + 30
    while not sum(service.uploads().values()):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert service.stop() == 0
    assert service.events("door.closed")[0]["given_up"] == []
    assert sending.wait(30) == 0
    assert len(service.landed()) == 1


def test_sighup_reads_settings_and_host_keys_anew_and_sessions_go_on(own_service: Any, client: Any, root: Path) -> None:
    with client.paramiko() as ssh:
        sftp = ssh.open_sftp()
        upload = sftp.open("students.csv", "w")
        upload.write(b"student_id\n")
        host_key.add_next(root, "ed25519")
        host_key.promote(root, "ed25519")
        (root / "landingzone.toml").write_text("[limits]\nsessions_per_account = 1\n[door]\nport = 1\n")
        own_service.process.send_signal(signal.SIGHUP)
        reloaded = own_service.wait_for("door.reloaded")
        assert reloaded["needs_restart"] == []  # the variable, not the file, says the port
        assert "HOST IDENTIFICATION HAS CHANGED" in client.ssh("-s", "sftp", input="").stderr
        client.host_keys = [key.public_key for key in host_key.host_keys(root)]
        client.known_hosts.write_text(client.known(client.port))
        assert "as many sessions open as it may" in client.ssh("-s", "sftp", input="").stderr
        upload.write(b"1\n")
        upload.close()
        (root / "landingzone.toml").write_text("[limits]\nsessions_per_account = 'many'\n")
        own_service.process.send_signal(signal.SIGHUP)
        assert "sessions_per_account" in own_service.wait_for("door.reload_refused")["problem"]
        assert sftp.listdir("/receipts") == []
    assert len(own_service.landed()) == 1


def test_a_client_that_updates_its_host_keys_follows_a_rotation(own_service: Any, client: Any, root: Path) -> None:
    known = client.folder / "known_hosts"
    used = host_key.host_keys(root)[0]
    known.write_text(used.known_hosts_line("127.0.0.1", own_service.port) + "\n")
    coming = host_key.add_next(root, "ed25519")
    own_service.process.send_signal(signal.SIGHUP)
    own_service.wait_for("door.reloaded")
    others = "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512"
    for first in ("ssh-ed25519", "rsa-sha2-256", "rsa-sha2-512"):
        updated = ("-o", "UpdateHostKeys=yes", "-o", f"HostKeyAlgorithms={first},{others}")
        assert client.sftp("ls", arguments=updated).returncode == 0
        for key in host_key.host_keys(root):
            if key.kind == "ecdsa":  # offered to old systems only
                continue
            assert key.public_key in known.read_text()
    assert host_key.promote(root, "ed25519").fingerprint == coming.fingerprint
    own_service.process.send_signal(signal.SIGHUP)
    own_service.wait_for("door.reloaded", count=2)
    done = client.sftp("ls", arguments=("-o", "HostKeyAlgorithms=ssh-ed25519"))
    assert done.returncode == 0, done.stderr


def test_an_rsa_host_key_serves_clients_that_want_different_signatures_at_once(own_service: Any, client: Any) -> None:
    asks = [("-o", f"HostKeyAlgorithms={name}") for name in ("rsa-sha2-256", "rsa-sha2-512")] * 8
    where = ["-p", str(client.port), f"{client.account}@127.0.0.1", "-s", "sftp"]
    started = [
        subprocess.Popen(["ssh", *client.options, *ask, *where], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for ask in asks
    ]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said


def test_hostkeys_show_prints_lines_for_known_hosts(own_service: Any, client: Any, root: Path) -> None:
    command = (sys.executable, "-m", "landingzone", "--root", root, "hostkeys", "show", "--host", "h.example")
    done = client.run(*command)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[h.example]:")]
    assert len(lines) == 3
    for line in lines:
        asyncssh.import_public_key(line.partition(" ")[2])
    for key in host_key.host_keys(root):
        assert key.fingerprint in done.stdout
