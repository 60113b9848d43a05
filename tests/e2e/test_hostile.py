"""What hostile and broken clients do, before the login and after it: the door stays up, and others hardly notice.

While each of these goes on a good client logs in again and again, within a second: of a machine that has nothing else
to do. Where others use it too, seconds are counted that are as much longer as a piece of plain work takes longer.
"""

import asyncio
import contextlib
import random
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

BANNER = b"SSH-2.0-hostile\r\n"
SECONDS = 1.0
"""Within which a good client is in, as a rule; of an idle machine."""
LONGEST_SECONDS = 15.0
"""Within which it is in each time, on a machine that runs other tests beside this one."""
WORK_SECONDS = 0.02
MEBIBYTE = 1 << 20


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20)


def resident(service: Any) -> int:
    """Bytes of memory that the door holds."""
    for line in Path(f"/proc/{service.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the door is gone")


def handshake() -> bytes:
    """What a client sends up to its first encrypted packet, in the clear: greeting, KEXINIT, the exchange's begin."""
    names = (
        b"curve25519-sha256",
        b"ssh-ed25519",
        *(b"aes128-ctr",) * 2,
        *(b"hmac-sha2-256",) * 2,
        *(b"none",) * 2,
        b"",
        b"",
    )
    kexinit = b"\x14" + bytes(16) + b"".join(struct.pack(">I", len(name)) + name for name in names) + bytes(5)
    public = b"\x1e" + struct.pack(">I", 32) + bytes(range(32))
    return BANNER + b"".join(map(packed, (kexinit, public)))


def packed(payload: bytes) -> bytes:
    padding = 8 - (5 + len(payload)) % 8 + 4
    padding += -(5 + len(payload) + padding) % 8
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


# What they do


def silent(client: Any, stack: contextlib.ExitStack) -> None:
    """500 connections that say nothing."""
    for _ in range(500):
        stack.enter_context(connect(client.port))


def slow(client: Any, stack: contextlib.ExitStack) -> None:
    """100 handshakes, a byte at a time."""
    opened = [stack.enter_context(connect(client.port)) for _ in range(100)]
    for at in range(60):
        for one in opened:
            with contextlib.suppress(OSError):
                one.send(handshake()[at : at + 1])
        time.sleep(0.02)


def cut(client: Any, stack: contextlib.ExitStack) -> None:
    """Handshakes that end after each byte."""
    whole = handshake()
    for end in range(1, len(whole) + 1):
        with connect(client.port) as one, contextlib.suppress(OSError):
            one.sendall(whole[:end])


def chance(client: Any, stack: contextlib.ExitStack) -> None:
    """Random bytes, with and without a greeting."""
    random.seed(4)
    for number in range(150):
        with connect(client.port) as one, contextlib.suppress(OSError):
            one.sendall((BANNER if number % 2 else b"") + random.randbytes(random.randrange(1, 5000)))
            one.settimeout(0.05)
            one.recv(1000)


def oversized(client: Any, stack: contextlib.ExitStack) -> None:
    """Packets longer than any, or shorter; greetings without an end."""
    sizes = (0, 1, 3, 0xFF, 1 << 16, (256 << 10) + 1, 0x7FFF_FFFF, 0xFFFF_FFFF)
    for size in sizes:
        for padding in (0, 4, 255):
            with connect(client.port) as one, contextlib.suppress(OSError):
                one.sendall(BANNER + struct.pack(">IB", size, padding) + bytes(4096))
    for _ in range(20):
        with connect(client.port) as one, contextlib.suppress(OSError):
            one.sendall(b"x" * MEBIBYTE)


def exchanges(client: Any, stack: contextlib.ExitStack) -> None:
    """One exchange of keys after the other, before any login."""
    for _ in range(20):
        with connect(client.port) as one, contextlib.suppress(OSError):
            one.sendall(handshake() * 20)
            one.settimeout(0.2)
            while one.recv(4096):
                pass


def many_keys(client: Any, stack: contextlib.ExitStack) -> None:
    """50 keys in one connection."""
    for _ in range(3):
        transport = paramiko.Transport(("127.0.0.1", client.port))
        try:
            transport.start_client(timeout=20)
            for _ in range(50):
                transport.auth_publickey(client.account, _key())
        except (paramiko.SSHException, EOFError, OSError):
            pass
        finally:
            transport.close()


def _key() -> paramiko.PKey:
    private = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh").decode()
    import io

    return paramiko.Ed25519Key.from_private_key(io.StringIO(private))


def open_handles(client: Any, stack: contextlib.ExitStack) -> None:
    """5,000 handles asked for, in five sessions."""
    for number in range(5):
        ssh = stack.enter_context(client.paramiko())
        sftp = ssh.open_sftp()
        for at in range(1000):
            with contextlib.suppress(OSError):
                sftp._request(paramiko.sftp.CMD_OPEN, f"{number}-{at}.part".encode(), 0x1A, paramiko.SFTPAttributes())


def sftp_cut(client: Any, stack: contextlib.ExitStack) -> None:
    """SFTP sessions whose packets end after each byte, are too long, or nothing at all."""
    init = struct.pack(">IBI", 5, 1, 3)
    name = b"cut.csv"
    opening = struct.pack(">BII", 3, 1, len(name)) + name + struct.pack(">II", 0x1A, 0)
    whole = init + struct.pack(">I", len(opening)) + opening
    ends = [whole[:end] for end in range(len(whole))]
    odd = [init + struct.pack(">I", size) + bytes(64) for size in (0, 1, 4, 0x7FFF_FFFF, 0xFFFF_FFFF, (4 << 20) + 1025)]
    odd += [init + struct.pack(">IBI", 5 + 8, kind, 7) + b"\xff" * 8 for kind in range(256)]
    ssh = client.paramiko()
    for sent in ends + odd:
        if not ssh.get_transport().is_active():
            ssh.close()
            ssh = client.paramiko()
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            channel = ssh.get_transport().open_session(timeout=10)
            channel.invoke_subsystem("sftp")
            channel.sendall(sent)
            channel.close()
    ssh.close()


def pipelined(client: Any, stack: contextlib.ExitStack) -> None:
    """Thousands of requests for a mebibyte each, whose answers nobody reads: neither the channel nor the connection."""
    (client.folder / "big.part").write_bytes(bytes(2 * MEBIBYTE))
    assert client.sftp("put big.part").returncode == 0
    asyncio.run(_never_read(client, windows=(1 << 31, 2 * MEBIBYTE)))


async def _never_read(client: Any, *, windows: tuple[int, ...]) -> None:
    for window in windows:
        async with asyncssh.connect(
            "127.0.0.1", client.port, username=client.account, client_keys=[str(client.key)], known_hosts=None
        ) as conn:
            writer, reader, _ = await conn.open_session(subsystem="sftp", encoding=None, window=window)
            name = b"big.part"
            writer.write(struct.pack(">IBI", 5, 1, 3))
            opening = struct.pack(">BII", 3, 1, len(name)) + name + struct.pack(">II", 1, 0)
            writer.write(struct.pack(">I", len(opening)) + opening)
            await reader.readexactly(4 + 9)
            conn._transport.pause_reading()
            handle = bytes(4)
            request = struct.pack(">BII", 5, 2, len(handle)) + handle + struct.pack(">QI", 0, MEBIBYTE)
            writer.write((struct.pack(">I", len(request)) + request) * 20_000)
            await asyncio.sleep(3)
            conn.abort()


HOSTILE = (
    silent,
    slow,
    cut,
    chance,
    oversized,
    exchanges,
    many_keys,
    open_handles,
    sftp_cut,
    pipelined,
)


# And what others notice of it


@pytest.fixture(scope="module")
def generous() -> dict[str, Any]:
    """Limits that let the hostile ones in: the door must bear them all; no penalty ends them before."""
    return {
        "limits__unauthenticated": 600,
        "limits__unauthenticated_per_address": 550,
        "limits__login_failures_per_address": 1_000_000,
        "limits__login_failures_per_address_and_account": 1_000_000,
        "door__login_seconds": 20,
        "status__refresh_seconds": 5,
    }


def stretch() -> float:
    """How much longer than on an idle machine a piece of work takes here and now; from 1 to 10."""
    began, worked = time.monotonic(), time.thread_time()
    while time.thread_time() - worked < WORK_SECONDS:
        pass
    return min(10.0, max(1.0, (time.monotonic() - began) / WORK_SECONDS))


def login(client: Any) -> float:
    """Log in, look, leave; the seconds that it took."""
    began = time.monotonic()
    with client.paramiko() as ssh:
        assert ssh.open_sftp().listdir("/receipts") == []
    return time.monotonic() - began


@contextmanager
def somebody_logs_in(client: Any) -> Iterator[list[float]]:
    """All the while a good client logs in; what each time took, in seconds of an idle machine."""
    took: list[float] = []
    over = threading.Event()
    failed: list[BaseException] = []

    def again_and_again() -> None:
        while not over.is_set():
            try:
                before = stretch()
                seconds = login(client)
                took.append(seconds / max(before, stretch()))
            except BaseException as error:  # noqa: BLE001 - told below, by the test's own thread
                failed.append(error)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join(60)
    assert failed == []


@pytest.mark.timeout(400)
def test_the_door_bears_it_and_others_hardly_notice(
    make_service: Callable[..., Any], make_client: Callable[..., Any], generous: dict[str, Any]
) -> None:
    service = make_service(**generous)
    good, bad = make_client(service, "good"), make_client(service, "bad")
    for _ in range(10):
        login(good)
    with contextlib.ExitStack() as warm:
        silent(bad, warm)
    time.sleep(1)
    before = resident(service)
    highest, waited = before, {}
    for hostile in HOSTILE:
        with somebody_logs_in(good) as took, contextlib.ExitStack() as stack:
            hostile(bad, stack)
            highest = max(highest, resident(service))
            count = len(took)
            until = time.monotonic() + 30
            while len(took) < count + 2 and time.monotonic() < until:
                time.sleep(0.05)
        assert service.process.poll() is None, hostile.__name__
        waited[hostile.__name__] = max(took)
        assert statistics.median(took) < SECONDS, (hostile.__name__, took)
        assert max(took) < LONGEST_SECONDS, (hostile.__name__, took)
    good.file("students.csv", b"student_id\n1\n")
    assert good.sftp("put students.csv").returncode == 0
    assert len(service.landed("good")) == 1
    assert service.landed("bad") == []
    until = time.monotonic() + 30
    while resident(service) > before + 32 * MEBIBYTE and time.monotonic() < until:
        time.sleep(0.5)
    after = resident(service)
    told = {name: round(value, 2) for name, value in waited.items()}
    figures = {"waited": told, "MiB": [size // MEBIBYTE for size in (before, highest, after)]}
    assert highest < before + 200 * MEBIBYTE, figures
    assert after < before + 64 * MEBIBYTE, figures
    assert not service.events("door.error")
    assert len(list(Path(f"/proc/{service.process.pid}/fd").iterdir())) < 100
