"""Two front doors and two processors of one host: one port, one zone, and what one door knows holds at the other."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

pytestmark = pytest.mark.timeout(180)

NODES = {"node-1", "node-1.2"}


@pytest.fixture
def pair(make_service: Any) -> Any:
    """Two doors and two processors."""
    service = make_service("serve --doors 2 --processors 2", status__refresh_seconds=0.2, door__settle_seconds=0.5)
    for node in NODES:
        service.wait_for("door.opened", node=node, seconds=60)
        service.wait_for("processor.started", node=node, seconds=60)
    return service


def parts(service: Any) -> dict[str, int]:
    """Process ids by kind and node."""
    listed = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    found = {}
    for pid in map(int, listed):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        kind = next((kind for kind in ("sftpd", "processor") if kind in words), "")
        found[f"{kind} {words[words.index('--node') + 1] if '--node' in words else 'node-1'}"] = pid
    return found


@contextlib.contextmanager
def sessions_at_both(service: Any, client: Any) -> Iterator[dict[str, paramiko.SSHClient]]:
    """A session at each door: the system spreads them by their ports."""
    made: dict[str, paramiko.SSHClient] = {}
    spare = []
    seen = len(service.events("session.opened"))
    try:
        for number in range(1, 60):
            session = client.paramiko()
            node = service.wait_for("session.opened", count=seen + number)["node"]
            if made.setdefault(node, session) is not session:
                spare.append(session)
            if set(made) == NODES:
                break
        assert set(made) == NODES, "all connections came to one door"
        yield made
    finally:
        for session in (*made.values(), *spare):
            session.close()


def test_a_door_that_is_killed_costs_nobody_more_than_a_second_try(pair: Any, make_client: Any) -> None:
    client = make_client(pair)
    names = [f"students_{number}.csv" for number in range(24)]
    succeeded: list[str] = []

    def send(name: str) -> None:
        for _ in range(30):
            try:
                with contextlib.closing(client.paramiko()) as session, session.open_sftp().open(name, "wb") as file:
                    file.write(b"student_id\n" * 20_000)
                succeeded.append(name)
            except (OSError, EOFError, paramiko.SSHException):
                time.sleep(0.2)
            else:
                return

    threads = [threading.Thread(target=lambda part=part: [send(name) for name in part]) for part in _dealt(names, 4)]
    for thread in threads:
        thread.start()
    pair.wait_for("session.opened", node="node-1.2", seconds=30)
    before = parts(pair)
    os.kill(before["sftpd node-1.2"], signal.SIGKILL)
    died = pair.wait_for("part.died", part="sftpd.2")
    assert died["signal"] == "SIGKILL"
    pair.wait_for("door.opened", node="node-1.2", count=2, seconds=60)
    after = parts(pair)
    assert {name for name in before if before[name] != after[name]} == {"sftpd node-1.2"}
    for thread in threads:
        thread.join(120)
    assert sorted(succeeded) == sorted(names)
    assert {event["node"] for event in pair.events("session.opened")} == NODES
    until = time.monotonic() + 60
    while {one.name for one in pair.landed()} != set(names):
        assert time.monotonic() < until, "a file for which a client saw success has no receipt"
        time.sleep(0.1)
    assert {one.bytes for one in pair.landed()} == {len(b"student_id\n") * 20_000}


def _dealt(names: list[str], hands: int) -> list[list[str]]:
    return [names[at::hands] for at in range(hands)]


def test_what_landed_at_one_door_is_seen_at_the_other(pair: Any, make_client: Any) -> None:
    client = make_client(pair)
    with sessions_at_both(pair, client) as sessions:
        first, second = (sessions[node].open_sftp() for node in sorted(NODES))
        content = b"student_id\n" * 100
        ids = []
        for number in range(10):
            one, other = (first, second) if number % 2 else (second, first)
            with one.open("students.csv", "wb") as file:
                file.write(content + b"\n" * number)
            ids.append(pair.wait_for("file.landed", count=number + 1)["landing_id"])
            assert other.stat("students.csv").st_size == len(content) + number
            other.utime("students.csv", (1_600_000_000, 1_600_000_000 + number))
            assert one.stat("students.csv").st_mtime == 1_600_000_000 + number
        pair.landed(count=10)  # the import has taken them all
        assert ids == sorted(ids)
        assert "students.csv" in first.listdir(".")
        assert second.stat("students.csv").st_size == len(content) + 9


def test_who_may_no_longer_be_inside_is_out_at_both_doors_within_two_seconds(
    pair: Any, make_client: Any, account: str
) -> None:
    client = make_client(pair)
    with sessions_at_both(pair, client) as sessions:
        began = time.monotonic()
        program = [sys.executable, "-m", "landingzone", "--root", str(pair.root), "accounts", "disable", account]
        subprocess.run(program, check=True, timeout=60, capture_output=True)
        done = time.monotonic()
        for node in NODES:
            pair.wait_for("session.ended", node=node, reason="account_disabled")
        assert time.monotonic() - done < 2 + (done - began)
        for session in sessions.values():
            with pytest.raises((OSError, EOFError, paramiko.SSHException)):
                session.open_sftp().listdir()
