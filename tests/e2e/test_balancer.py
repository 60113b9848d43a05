"""Behind a real TCP balancer: whose connection it is stays true, in the log, for keys, for penalties."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from landingzone.command import Installation

CLIENT = "127.0.0.9"
"""Where clients come from; the balancer comes from BALANCER."""
BALANCER = "127.0.0.2"
V2_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@dataclass
class Balancer:
    """haproxy, from any port of ours to the doors."""

    program: str
    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, doors: list[int], *, check: str = "") -> "Balancer":
        self.ports = {sends: free_port() for sends in ("send-proxy", "send-proxy-v2", "none")}
        lines = ["defaults", " mode tcp", " timeout connect 5s", " timeout client 60s", " timeout server 60s"]
        for sends, port in self.ports.items():
            how = "" if sends == "none" else sends
            lines += [f"listen {sends}", f" bind 127.0.0.1:{port}", f" source {BALANCER}"]
            lines += [f" server door{at} 127.0.0.1:{door} {how} {check}" for at, door in enumerate(doors)]
        config = self.folder / "haproxy.cfg"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([self.program, "-db", "-q", "-f", str(config)])
        until = time.monotonic() + 20
        for port in self.ports.values():
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < until, "haproxy does not listen"
                    time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def balancer(need: Callable[[str], str], tmp_path: Path) -> Iterator[Balancer]:
    made = Balancer(need("haproxy"), tmp_path)
    yield made
    made.stop()


def from_client(client: Any, port: int, *commands: str) -> "subprocess.CompletedProcess[str]":
    """OpenSSH's sftp from the clients' address, through the balancer."""
    client.port = port
    client.known_hosts.write_text(client.known(port))
    return client.sftp(*commands, arguments=("-o", f"BindAddress={CLIENT}"))


def proxied(make_service: Any, **settings: Any) -> Any:
    return make_service(door__proxy_networks=f'["{BALANCER}/32"]', **settings)


@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2"])
def test_the_clients_address_is_the_true_one(
    make_service: Any, make_client: Any, balancer: Balancer, sends: str, here: Installation, account: str, make_key: Any
) -> None:
    service = proxied(make_service, limits__login_failures_per_address_and_account=2)
    client = make_client(service)
    balancer.start([service.port], check="check inter 200ms" if sends == "send-proxy-v2" else "")
    done = from_client(client, balancer.ports[sends], f'put "{client.file("students.csv", b"student_id")}"')
    assert done.returncode == 0, done.stderr
    assert service.wait_for("session.opened")["peer"] == CLIENT
    assert service.wait_for("file.landed")["peer"] == CLIENT
    with here.db.read() as tx:
        (peer,) = tx.exec_driver_sql("SELECT peer FROM landings").one()
    assert peer == CLIENT
    # a penalty falls on the client, not on the balancer behind which all the others are
    client.key = make_key("other")
    for _ in range(2):
        assert from_client(client, balancer.ports[sends], "ls").returncode != 0
    service.wait_for("penalty.begun", peer=CLIENT, account=account)
    assert not service.events("login.refused", peer=BALANCER)
    assert not service.events("proxy.refused")


def test_a_key_opens_from_its_network_only_also_behind_a_balancer(
    make_service: Any, make_client: Any, balancer: Balancer, make_account: Any, account: str
) -> None:
    service = proxied(make_service)
    elsewhere = make_account(account, networks=(f"{BALANCER}/32",))
    there = make_account(f"{account}-b", networks=(f"{CLIENT}/32",))
    balancer.start([service.port])
    refused = from_client(make_client(service, key=elsewhere), balancer.ports["send-proxy-v2"], "ls")
    assert refused.returncode != 0
    assert service.wait_for("login.refused", account=account)["reason"] == "wrong_network"
    opened = from_client(make_client(service, f"{account}-b", key=there), balancer.ports["send-proxy-v2"], "ls")
    assert opened.returncode == 0, opened.stderr


def test_a_balancer_that_does_not_say_who_comes_is_told_so_and_others_may_not_say_it(
    make_service: Any, make_client: Any, balancer: Balancer
) -> None:
    service = proxied(make_service, door__login_seconds=2)
    client = make_client(service)
    balancer.start([service.port])
    assert from_client(client, balancer.ports["none"], "ls").returncode != 0
    assert service.wait_for("proxy.refused", peer=BALANCER)["reason"] == "missing"
    client.port = service.port
    client.known_hosts.write_text(client.known(service.port))
    assert client.sftp("ls").returncode == 0  # straight to the door, as ever
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as stranger:
        stranger.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 22\r\nSSH-2.0-x\r\n")
        answer = stranger.makefile("rb").read()
    assert answer.startswith(b"SSH-2.0-landingzone")
    service.wait_for("session.closed", peer="127.0.0.1")
    assert not [event for event in service.events() if event.get("peer") == "192.0.2.7"]


def connect(service: Any) -> socket.socket:
    """A connection from the balancer's address."""
    return socket.create_connection(("127.0.0.1", service.port), timeout=20, source_address=(BALANCER, 0))


def test_headers_that_are_wrong_late_or_cut_end_their_connection_with_one_line(make_service: Any) -> None:
    service = proxied(make_service, door__login_seconds=1, limits__unauthenticated=3)
    for sent, reason in (
        (b"PROXY TCP4 nobody knows 1 2\r\n", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "malformed"),
        (b"\x00" * 5000, "malformed"),
        (b"PROXY TCP4 192.0.2.7", "late"),
        (b"", "late"),
    ):
        seen = len(service.events("proxy.refused", reason=reason))
        with connect(service) as wrong:
            wrong.sendall(sent)
            assert not _read(wrong)
        service.wait_for("proxy.refused", reason=reason, count=seen + 1)
    with connect(service) as cut:
        cut.sendall(b"PROXY TCP4 192")
    service.wait_for("proxy.refused", reason="cut")
    connect(service).close()  # a health check: nothing to tell
    many = [connect(service) for _ in range(4)]
    service.wait_for("proxy.refused", reason="crowded_out")
    for one in many:
        one.close()
    with connect(service) as check:
        check.sendall(V2_LOCAL)
        assert check.recv(100).startswith(b"SSH-2.0-landingzone")
    with connect(service) as client:  # in the smallest pieces, and the client's first words with the last
        for byte in b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 22\r":
            client.sendall(bytes([byte]))
        client.sendall(b"\nSSH-2.0-nobody\r\n")
        assert client.recv(100).startswith(b"SSH-2.0-landingzone")
        time.sleep(0.1)
    assert service.wait_for("login.refused", peer="2001:db8::7", seconds=20)
    assert not service.events("login.refused", peer=BALANCER)
    assert len(service.events("proxy.refused")) == 7
    assert not [line for line in service.log_lines() if "Traceback" in line]
    assert not service.events("door.error")


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""
