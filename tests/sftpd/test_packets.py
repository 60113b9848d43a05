"""What we make shorter in asyncssh's connection changes nothing that a client sees or a file holds."""

import asyncio
import functools
import os
import random
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncssh
import asyncssh.connection
import pytest
from asyncssh.constants import FXP_CLOSE, FXP_HANDLE, FXP_OPEN, FXP_STATUS, FXP_VERSION, FXP_WRITE, MSG_IGNORE

from landingzone.command import Installation
from sftpd import handler, transport
from sftpd.algorithms import STANDARD
from sftpd.jail import Jail
from sftpd.packets import Gcm
from sftpd.transport import Transport

Talk = Callable[[asyncssh.SSHClientConnection], Awaitable[None]]
CIPHERS = STANDARD["encryption_algs"].split(",")
MACS = STANDARD["mac_algs"].split(",")
INIT = struct.pack(">IBI", 5, 1, 3)


def serve(jail: Jail | Iterator[Jail], talk: Talk, *, through: Any = None, client: Any = None, **options: Any) -> None:
    """Serve the jail on loopback and let a client talk to it, if given `through` a relay."""

    async def go() -> None:
        handler.install()
        transport.install()

        class Open(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return False

        def enter(channel: Any) -> Jail:
            assert type(channel.get_connection()) is Transport
            return jail if isinstance(jail, Jail) else next(jail)

        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Open,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=enter,
            line_editor=False,
            **options,
        )
        port = server.get_port()
        if through:
            behind = functools.partial(through, port)
            relay = await asyncio.start_server(behind, "127.0.0.1", 0)
            port = relay.sockets[0].getsockname()[1]
        given = {
            "known_hosts": None,
            "config": [],
            "client_keys": [],
            "agent_path": None,
            "encryption_algs": CIPHERS[:1],
        }
        given |= client or {}
        async with asyncssh.connect("127.0.0.1", port, username="x", **given) as connection:
            await talk(connection)
        server.close()
        await server.wait_closed()

    asyncio.run(go())


def landed(here: Installation) -> list[bytes]:
    """What has landed, in order."""
    return [path.read_bytes() for path in sorted((here.zone.root / "inbox" / "springfield").iterdir())]


def request(kind: int, number: int, *fields: bytes | int) -> bytes:
    """A request of SFTP: bytes with their length before them, numbers of 32 bits."""
    body = struct.pack(">BI", kind, number)
    for value in fields:
        body += struct.pack(">I", value) if isinstance(value, int) else struct.pack(">I", len(value)) + value
    return struct.pack(">I", len(body)) + body


def write(number: int, handle: bytes, offset: int, data: bytes) -> bytes:
    """A request to write."""
    return request(FXP_WRITE, number, handle, offset >> 32, offset & 0xFFFF_FFFF, data)


def open_(number: int, name: bytes = b"students.csv") -> bytes:
    """A request to open a new file for writing."""
    return request(FXP_OPEN, number, name, 0x1A, 0)


HANDLES = [number.to_bytes(4) for number in range(4)]
"""asyncssh numbers them from nought on."""


class Raw:
    """A session of SFTP as a client that sends what it likes."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self.process = process

    @classmethod
    async def begin(cls, connection: asyncssh.SSHClientConnection) -> "Raw":
        process = await connection.create_process(subsystem="sftp", encoding=None)
        raw = cls(process)
        process.stdin.write(INIT)
        assert (await raw.answer())[0] == FXP_VERSION
        return raw

    async def answer(self) -> tuple[int, int, int]:
        """The kind of the next answer, its number, and the first number in it (a status' code)."""
        length = int.from_bytes(await self.process.stdout.readexactly(4))
        body = await self.process.stdout.readexactly(length)
        return body[0], int.from_bytes(body[1:5]), int.from_bytes(body[5:9])

    async def send(self, stream: bytes, sizes: Iterator[int]) -> None:
        """Send bytes in pieces of these sizes, each in a packet of its own."""
        at = 0
        while at < len(stream):
            size = next(sizes)
            self.process.stdin.write(stream[at : at + size])
            at += size
            await asyncio.sleep(0)


def test_asyncssh_makes_its_connections_and_ciphers_where_ours_stand_in() -> None:
    assert asyncssh.__version__ == "2.24.1", "read sftpd/packets.py and sftpd/intake.py against the new version"
    transport.install()
    assert isinstance(asyncssh.encryption.get_encryption(b"aes128-gcm@openssh.com", bytes(16), bytes(12)), Gcm)


@pytest.mark.parametrize(
    ("cipher", "mac"),
    [*((cipher, MACS[0]) for cipher in CIPHERS), *(("aes256-ctr", mac) for mac in MACS[1:])],
)
def test_a_file_arrives_as_it_was_whatever_the_cipher_and_the_sizes(
    make_jail: Callable[..., Jail], here: Installation, cipher: str, mac: str
) -> None:
    chance = random.Random(cipher + mac)
    content = chance.randbytes(6_000_000)  # three times the channel's window

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        assert connection.get_extra_info("send_cipher") == cipher
        async with connection.start_sftp_client() as sftp:
            file = await sftp.open("students.csv", "wb")
            at = 0
            while at < len(content):
                size = chance.choice([1, 13, 100, 4096, 32768, 261120, 1_500_000])
                await file.write(content[at : at + size], at)
                at += size
            await file.close()

    client = {"encryption_algs": [cipher], "mac_algs": [mac]}
    serve(make_jail(), talk, client=client, encryption_algs=CIPHERS, mac_algs=MACS)
    assert landed(here) == [content]


def test_a_file_arrives_as_it_was_while_keys_are_exchanged_anew(
    make_jail: Callable[..., Jail], here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3_000_000)
    exchanged: list[int] = []
    plain = Transport.send_newkeys

    def counted(self: Transport, k: bytes, h: bytes) -> None:
        exchanged.append(1)
        plain(self, k, h)

    monkeypatch.setattr(Transport, "send_newkeys", counted)

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        async with connection.start_sftp_client() as sftp:
            file = await sftp.open("students.csv", "wb")
            for at in range(0, len(content), 10_000):
                await file.write(content[at : at + 10_000], at)
            await file.close()

    serve(make_jail(), talk, client={"rekey_bytes": 600_000}, rekey_bytes=8_000)
    assert landed(here) == [content]
    assert len(exchanged) > 4


@pytest.mark.parametrize("seed", range(12))
def test_writes_arrive_as_they_were_however_the_stream_is_cut(
    make_jail: Callable[..., Jail], here: Installation, seed: int
) -> None:
    chance = random.Random(seed)
    files: list[bytes] = [b"", b""]
    stream = open_(1) + open_(2, b"staff.csv")
    expected = [(FXP_HANDLE, 1), (FXP_HANDLE, 2)]
    for number in range(3, 60):
        which = chance.randrange(2)
        data = chance.randbytes(chance.choice([0, 1, 2, 30, 300, 3000]))
        stream += write(number, HANDLES[which], len(files[which]), data)
        files[which] += data
        expected.append((FXP_STATUS, number))
        if not chance.randrange(6):  # what is no write goes another way, and must stay in its place
            stream += request(17, 1000 + number, b"/students.csv")
            expected.append((105, 1000 + number))
    stream += request(FXP_CLOSE, 98, HANDLES[0]) + request(FXP_CLOSE, 99, HANDLES[1])
    expected += [(FXP_STATUS, 98), (FXP_STATUS, 99)]
    most = 1 + seed * seed * 7
    sizes = iter(lambda: chance.randint(1, most), -1)

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        raw = await Raw.begin(connection)
        sending = asyncio.create_task(raw.send(stream, sizes))
        for kind, number in expected:
            answer = await raw.answer()
            assert answer[:2] == (kind, number)
            assert kind != FXP_STATUS or answer[2] == 0
        await sending

    serve(make_jail(), talk)
    assert landed(here) == files


@pytest.mark.parametrize("seed", range(6))
def test_two_sessions_of_one_connection_do_not_mix(
    make_jail: Callable[..., Jail], here: Installation, seed: int
) -> None:
    chance = random.Random(seed)
    files = [chance.randbytes(300_000), chance.randbytes(300_000)]
    jails = iter([make_jail("one"), make_jail("two")])

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        sessions = [await Raw.begin(connection), await Raw.begin(connection)]
        streams = []
        for content in files:
            stream = open_(1)
            for number, at in enumerate(range(0, len(content), 30_000), 2):
                stream += write(number, HANDLES[0], at, content[at : at + 30_000])
            streams.append(stream + request(FXP_CLOSE, 12, HANDLES[0]))
        while any(streams):
            which = chance.randrange(2)
            size = chance.choice([1, 20, 5_000, 40_000])
            sessions[which].process.stdin.write(streams[which][:size])
            streams[which] = streams[which][size:]
            if not chance.randrange(4):
                await asyncio.sleep(0)
        for raw in sessions:
            assert [(await raw.answer())[1] for _ in range(12)] == list(range(1, 13))

    serve(jails, talk)
    for account, content in zip(("one", "two"), files, strict=True):
        [path] = (here.zone.root / "inbox" / account).iterdir()
        assert path.read_bytes() == content


def test_a_refused_write_is_answered_once_and_the_session_goes_on(
    make_jail: Callable[..., Jail], here: Installation
) -> None:
    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        raw = await Raw.begin(connection)
        stream = open_(1) + write(2, HANDLES[0], 1 << 40, bytes(70_000)) + write(3, b"none", 0, bytes(50_000))
        stream += write(4, HANDLES[0], 0, b"x") + request(FXP_CLOSE, 5, HANDLES[0]) + open_(6, b"staff.csv")
        stream += write(7, HANDLES[1], 0, b"all") + request(FXP_CLOSE, 8, HANDLES[1])
        await raw.send(stream, iter(lambda: 20_000, -1))
        answers = [await raw.answer() for _ in range(8)]
        assert [number for _, number, _ in answers] == list(range(1, 9))
        assert [code for kind, _, code in answers if kind == FXP_STATUS] == [4, 4, 0, 4, 0, 0]

    serve(make_jail(), talk)
    assert landed(here) == [b"all"]


@pytest.mark.parametrize("end", ["signal", "close", "abort", "eof"])
def test_what_ends_in_the_middle_of_a_write_is_kept_up_to_there_and_does_not_land(
    make_jail: Callable[..., Jail], here: Installation, end: str
) -> None:
    jail = make_jail()

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        raw = await Raw.begin(connection)
        raw.process.stdin.write(open_(1))
        assert (await raw.answer())[0] == FXP_HANDLE
        raw.process.stdin.write(write(2, HANDLES[0], 0, bytes(100_000))[:60_029])
        await asyncio.sleep(0.2)
        match end:
            case "signal":
                raw.process.send_signal("TERM")
                raw.process.stdin.write(bytes(30_000))
            case "close":
                raw.process.close()
            case "abort":
                connection.abort()
            case "eof":
                raw.process.stdin.write_eof()
        await asyncio.sleep(0.3)

    serve(jail, talk)
    assert landed(here) == []
    [kept] = (here.zone.root / "uploads" / "springfield").iterdir()
    assert kept.read_bytes() in ([bytes(60_000), bytes(90_000)] if end == "signal" else [bytes(60_000)])
    assert not jail._receiving.busy


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr"])
def test_a_bit_that_is_turned_on_the_way_ends_the_connection_and_nothing_of_its_packet_is_kept(
    make_jail: Callable[..., Jail], here: Installation, cipher: str
) -> None:
    async def relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)

        async def forth() -> None:
            sent = 0
            while data := bytearray(await reader.read(1 << 16)):
                if sent <= 200_000 < sent + len(data):
                    data[200_000 - sent] ^= 4
                sent += len(data)
                to_server.write(data)

        async def back() -> None:
            while data := await from_server.read(1 << 16):
                writer.write(data)
            writer.close()

        await asyncio.gather(forth(), back(), return_exceptions=True)

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        async with connection.start_sftp_client() as sftp:
            file = await sftp.open("students.csv", "wb")
            with pytest.raises((asyncssh.SFTPError, asyncssh.Error, OSError)):
                for at in range(0, 1_000_000, 10_000):
                    await file.write(b"\x07" * 10_000, at)

    serve(make_jail(), talk, through=relay, client={"encryption_algs": [cipher], "mac_algs": MACS[:1]})
    assert landed(here) == []
    [kept] = (here.zone.root / "uploads" / "springfield").iterdir()
    assert kept.read_bytes() == b"\x07" * kept.stat().st_size
    assert 100_000 < kept.stat().st_size < 200_000


def test_no_empty_packets_are_sent(make_jail: Callable[..., Jail], monkeypatch: pytest.MonkeyPatch) -> None:
    came = []
    known = dict(asyncssh.connection.SSHConnection._packet_handlers)
    monkeypatch.setitem(known, MSG_IGNORE, lambda *_: came.append(1) or True)
    monkeypatch.setattr(asyncssh.connection.SSHClientConnection, "_packet_handlers", known, raising=False)

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        async with connection.start_sftp_client() as sftp:
            assert await sftp.listdir("/") == [".", "..", "receipts"]

    for cipher in CIPHERS:
        serve(make_jail(cipher.partition("@")[0]), talk, client={"encryption_algs": [cipher]}, encryption_algs=CIPHERS)
    assert came == []


def test_a_slow_request_holds_back_the_writes_behind_it(
    make_jail: Callable[..., Jail], here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    jail = make_jail()
    order: list[str] = []
    sync, put = Jail.fsync, Jail.write

    async def slow(self: Jail, file_obj: object) -> None:
        await asyncio.sleep(0.1)
        await sync(self, file_obj)
        order.append("synced")

    def noted(self: Jail, file_obj: object, offset: int, data: Any) -> int:
        order.append(f"wrote {len(data)}")
        return put(self, file_obj, offset, data)

    monkeypatch.setattr(Jail, "fsync", slow)
    monkeypatch.setattr(Jail, "write", noted)

    async def talk(connection: asyncssh.SSHClientConnection) -> None:
        raw = await Raw.begin(connection)
        stream = open_(1) + write(2, HANDLES[0], 0, b"one")
        stream += request(200, 3, b"fsync@openssh.com", HANDLES[0]) + write(4, HANDLES[0], 3, b"four")
        raw.process.stdin.write(stream)
        for number in range(1, 5):
            assert (await raw.answer())[1] == number

    serve(jail, talk)
    assert order == ["wrote 3", "synced", "wrote 4"]
