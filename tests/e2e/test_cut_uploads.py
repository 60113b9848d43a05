"""A cut upload lands nothing, whatever cut it; the later resume lands the whole file."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import paramiko
import pytest

SIZE = 3_000_000
FIRST = 1_000_000
"""What is sent before the cut; no multiple of a block."""


@pytest.fixture
def whole(client: Any) -> bytes:
    return client.file("students.csv", os.urandom(SIZE)).read_bytes()


def assert_nothing_landed(service: Any, *, kept: int) -> None:
    assert service.landed() == []
    assert list(service.uploads().values()) == ([kept] if kept else [])


def assert_landed_whole(service: Any, whole: bytes, *, resumed: bool = True) -> None:
    (landed,) = service.landed(count=1)
    assert (landed.name, landed.sha256) == ("students.csv", hashlib.sha256(whole).hexdigest())
    assert service.wait_for("file.landed")["resumed"] is resumed
    assert service.uploads() == {}


def begin(client: Any, content: bytes, name: str = "students.csv") -> tuple[paramiko.SSHClient, paramiko.SFTPFile]:
    """An upload that has begun and is still open."""
    ssh = client.paramiko()
    file = ssh.open_sftp().open(name, "wb")
    file.write(content)
    file.flush()
    assert file.stat().st_size == len(content)
    return ssh, file


def close(file: paramiko.SFTPFile) -> None:
    """Close a file and see the server's answer, which paramiko's own close() keeps to itself."""
    file.sftp._request(paramiko.sftp.CMD_CLOSE, file.handle)


# What cuts an upload


def test_the_tcp_connection_breaks(service: Any, client: Any, whole: bytes) -> None:
    ssh, _ = begin(client, whole[:FIRST])
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(service, whole)


def test_the_client_is_killed(service: Any, client: Any, whole: bytes, need: Callable[[str], str]) -> None:
    command = (need("sftp"), *client.options, "-q", "-l", "4000", "-b", "-", "-P", str(service.port))
    killed = subprocess.Popen(
        [*command, f"{client.account}@127.0.0.1"],
        cwd=client.folder,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert killed.stdin
    killed.stdin.write(b"put students.csv\n")
    killed.stdin.flush()
    until = time.monotonic() + 20
    while not any(service.uploads().values()) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdin.close()
    cut = service.wait_for("upload.cut")
    assert 0 < cut["bytes"] < SIZE
    assert_nothing_landed(service, kept=cut["bytes"])
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(service, whole)


def test_the_channel_is_closed_with_the_file_open(service: Any, client: Any, whole: bytes) -> None:
    ssh, file = begin(client, whole[:FIRST])
    file.sftp.sock.close()
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)
    with ssh.open_sftp().open("students.csv", "ab") as rest:
        rest.set_pipelined(True)
        rest.write(whole[FIRST:])
    assert_landed_whole(service, whole)
    ssh.close()


def test_the_channel_ends_its_input_with_the_file_open(service: Any, client: Any, whole: bytes) -> None:
    ssh, file = begin(client, whole[:FIRST])
    file.sftp.sock.shutdown_write()
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)
    ssh.close()
    with client.paramiko() as again, again.open_sftp().open("students.csv", "r+b") as rest:
        assert rest.stat().st_size == FIRST
        assert rest.read(1000) == whole[:1000]
        rest.seek(FIRST)
        rest.write(whole[FIRST:])
    assert_landed_whole(service, whole)


def test_a_broken_packet_ends_the_session(service: Any, client: Any, whole: bytes) -> None:
    ssh, file = begin(client, whole[:FIRST])
    file.sftp.sock.sendall(b"\xff\xff\xff\xff")
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)
    ssh.close()


def test_a_signal_in_the_session_ends_it(service: Any, client: Any, whole: bytes) -> None:
    async def send_signal() -> None:
        options = {"client_keys": [str(client.key)], "known_hosts": str(client.known_hosts), "config": []}
        async with asyncssh.connect("127.0.0.1", service.port, username=client.account, **options) as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open("students.csv", "wb")
            await file.write(whole[:FIRST])
            channel = sftp._handler._writer.channel
            channel.send_signal("INT")
            await channel.wait_closed()

    import asyncio

    asyncio.run(send_signal())
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)


class Proxy:
    """A TCP proxy that can fall silent, as a firewall that drops everything."""

    def __init__(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.silent = threading.Event()
        self._target = port
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if not self.silent.is_set():
                    other.sendall(data)

    def close(self) -> None:
        for one in (self.listening, *self._open):
            one.close()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[int], Proxy]]:
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def test_a_client_that_falls_silent_is_given_up(
    make_service: Callable[..., Any], make_client: Callable[..., Any], make_proxy: Callable[[int], Proxy]
) -> None:
    service = make_service(door__keepalive_seconds=0.3)
    client = make_client(service)
    whole = client.file("students.csv", os.urandom(SIZE)).read_bytes()
    proxy = make_proxy(service.port)
    client.known_hosts.write_text(client.known(proxy.port) + client.known_hosts.read_text())
    client.port = proxy.port
    ssh, _ = begin(client, whole[:FIRST])
    proxy.silent.set()
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)
    client.port = service.port
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(service, whole)
    ssh.close()


def test_the_server_is_killed_in_the_middle(own_service: Any, client: Any, whole: bytes) -> None:
    ssh, _ = begin(client, whole[:FIRST])
    own_service.kill()
    ssh.close()
    assert_nothing_landed(own_service, kept=FIRST)
    own_service.start()
    assert_nothing_landed(own_service, kept=FIRST)
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(own_service, whole)


def test_the_server_stops_in_the_middle_and_lets_the_upload_finish(
    make_service: Callable[..., Any], make_client: Callable[..., Any]
) -> None:
    service = make_service(door__drain_seconds=20)
    client = make_client(service)
    whole = client.file("students.csv", os.urandom(SIZE)).read_bytes()
    ssh, file = begin(client, whole[:FIRST])
    service.process.terminate()
    service.wait_for("door.closing")
    with pytest.raises(OSError, match="being restarted"):
        ssh.open_sftp().open("staff.csv", "wb")
    file.write(whole[FIRST:])
    file.close()
    assert_landed_whole(service, whole, resumed=False)
    assert service.process.wait(10) == 0
    assert service.wait_for("door.closed")["given_up"] == []
    ssh.close()


def test_the_server_stops_and_says_which_uploads_it_gave_up(
    make_service: Callable[..., Any], make_client: Callable[..., Any]
) -> None:
    service = make_service(door__drain_seconds=0.5)
    client = make_client(service)
    whole = client.file("students.csv", os.urandom(SIZE)).read_bytes()
    ssh, _ = begin(client, whole[:FIRST])
    assert service.stop() == 0
    (upload_id,) = service.wait_for("door.closed")["given_up"]
    assert service.wait_for("upload.cut", reason="server_stopped")["upload_id"] == upload_id
    ssh.close()
    service.start()
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(service, whole)


# What a cut upload may become


def test_an_upload_whose_blocks_came_out_of_order_lands_when_all_are_there(
    service: Any, client: Any, whole: bytes
) -> None:
    ssh, file = begin(client, b"")
    for start, end in ((2 * FIRST, SIZE), (0, FIRST), (FIRST, 2 * FIRST)):
        file.seek(start)
        file.write(whole[start:end])
    file.close()
    ssh.close()
    assert_landed_whole(service, whole, resumed=False)


def test_an_upload_with_a_hole_fails_and_can_be_resumed_before_it(service: Any, client: Any, whole: bytes) -> None:
    ssh, file = begin(client, whole[:FIRST])
    file.seek(2 * FIRST)
    file.write(whole[2 * FIRST :])
    with pytest.raises(OSError, match=f"bytes from {FIRST} on are missing"):
        close(file)
    ssh.close()
    assert_nothing_landed(service, kept=FIRST)
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(service, whole)


def test_an_upload_cut_with_a_hole_keeps_what_came_before_it(service: Any, client: Any, whole: bytes) -> None:
    ssh, file = begin(client, whole[:FIRST])
    file.seek(2 * FIRST)
    file.write(whole[2 * FIRST :])
    assert any(".students.csv" in name and "h" in name for name in service.uploads())
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut", bytes=FIRST)
    assert_nothing_landed(service, kept=FIRST)
    assert client.sftp("reput students.csv").returncode == 0
    assert_landed_whole(service, whole)


def test_an_upload_with_a_hole_at_a_crash_is_never_resumed(own_service: Any, client: Any, whole: bytes) -> None:
    ssh, file = begin(client, whole[:FIRST])
    file.seek(2 * FIRST)
    file.write(whole[2 * FIRST :])
    own_service.kill()
    ssh.close()
    own_service.start()
    assert client.sftp("reput students.csv").returncode != 0
    assert own_service.landed() == []
    assert client.sftp("put students.csv").returncode == 0
    assert_landed_whole(own_service, whole, resumed=False)


def test_a_tail_never_lands_as_a_file(service: Any, client: Any, whole: bytes) -> None:
    assert client.sftp("put students.csv").returncode == 0
    client.file("students.csv", whole + b"more\n")
    assert client.sftp("reput students.csv").returncode != 0
    with client.paramiko() as ssh:
        sftp = ssh.open_sftp()
        with pytest.raises(OSError, match="already landed"):
            sftp.open("students.csv", "ab")
        with pytest.raises(OSError, match="already landed"):
            sftp.open("students.csv", "r+b")
        file = sftp.open("new.csv", "wb")
        file.seek(FIRST)
        file.write(b"tail")
        with pytest.raises(OSError, match="missing"):
            close(file)
    assert_landed_whole(service, whole, resumed=False)


def test_sending_the_whole_file_again_replaces_a_cut_upload(service: Any, client: Any, whole: bytes) -> None:
    ssh, _ = begin(client, os.urandom(FIRST))
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut")
    assert client.sftp("put students.csv").returncode == 0
    assert_landed_whole(service, whole, resumed=False)


def test_scp_after_a_cut_sends_the_file_anew_and_never_joins_it_to_an_old_tail(
    service: Any, client: Any, whole: bytes
) -> None:
    ssh, _ = begin(client, os.urandom(2 * SIZE))
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut")
    assert client.scp("students.csv", f"{client.account}@127.0.0.1:").returncode == 0
    assert_landed_whole(service, whole, resumed=False)


def test_a_cut_upload_cannot_be_renamed_into_a_landing(service: Any, client: Any, whole: bytes) -> None:
    ssh, _ = begin(client, whole[:FIRST], "students.csv.part")
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut")
    with client.paramiko() as again, pytest.raises(OSError, match="cut before its end"):
        again.open_sftp().rename("students.csv.part", "students.csv")
    assert_nothing_landed(service, kept=FIRST)


def test_yesterdays_head_is_never_joined_to_todays_tail(
    make_service: Callable[..., Any], make_client: Callable[..., Any]
) -> None:
    service = make_service(door__resume_hours=1)
    client = make_client(service)
    client.file("students.csv", os.urandom(SIZE))
    ssh, _ = begin(client, os.urandom(FIRST))
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut")
    (cut,) = (service.root / "uploads" / client.account).iterdir()
    os.utime(cut, (time.time() - 3700, time.time() - 3700))
    assert client.sftp("reput students.csv").returncode != 0
    assert service.landed() == []
    service.stop()
    service.start()
    assert client.sftp("ls").returncode == 0
    assert service.uploads() == {}


def test_a_second_session_cannot_resume_what_the_first_still_sends(service: Any, client: Any, whole: bytes) -> None:
    first, file = begin(client, whole[:FIRST])
    with client.paramiko() as second, pytest.raises(OSError, match="still being uploaded"):
        second.open_sftp().open("students.csv", "ab")
    file.write(whole[FIRST:])
    file.close()
    first.close()
    assert_landed_whole(service, whole, resumed=False)


# Names that nobody expects


def test_an_unexpected_name_lands_once_it_has_settled(service: Any, client: Any) -> None:
    client.file("pupils.csv", b"student_id\n1\n")
    began = time.monotonic()
    assert client.sftp("put pupils.csv").returncode == 0
    (landed,) = service.landed(count=1)
    assert landed.name == "pupils.csv"
    assert time.monotonic() - began >= 1
    assert service.wait_for("file.landed")["source"] is None


def test_settling_goes_on_after_a_crash(make_service: Callable[..., Any], make_client: Callable[..., Any]) -> None:
    service = make_service(door__settle_seconds=4)
    client = make_client(service)
    client.file("pupils.csv", b"student_id\n1\n")
    assert client.sftp("put pupils.csv").returncode == 0
    service.kill()
    assert service.landed() == []
    service.start()
    (landed,) = service.landed(count=1)
    assert landed.name == "pupils.csv"


def test_a_temporary_name_never_settles(make_service: Callable[..., Any], make_client: Callable[..., Any]) -> None:
    service = make_service(door__settle_seconds=0.2)
    client = make_client(service)
    client.file("students.csv", b"student_id\n1\n")
    assert client.sftp("put students.csv students.csv.filepart", "put students.csv .in.staff.csv.").returncode == 0
    service.kill()
    service.start()
    time.sleep(1)
    assert service.landed() == []
    assert client.sftp("rename students.csv.filepart students.csv").returncode == 0
    (landed,) = service.landed(count=1)
    assert landed.name == "students.csv"
