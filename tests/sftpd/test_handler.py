"""What we change in asyncssh's handling of SFTP packets holds, seen from a client; raw packets reach nothing either."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import asyncssh.sftp
import paramiko
import pytest
from paramiko.sftp import (
    CMD_EXTENDED,
    CMD_LSTAT,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READLINK,
    CMD_REALPATH,
    CMD_STAT,
    CMD_SYMLINK,
)

from sftpd import handler
from sftpd.arrival import Arrival
from sftpd.jail import Jail
from sftpd.receiving import Receiving

EXTENDED_OPERATIONS = (
    "hardlink@openssh.com",
    "copy-data",
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "ranges@asyncssh.com",
)

Talk = Callable[[asyncssh.SFTPClient], Awaitable[None]]


def serve(jail: Jail, talk: Talk) -> None:
    """Serve the jail on loopback and let a client talk to it."""

    async def go() -> None:
        handler.install()
        key = asyncssh.generate_private_key("ssh-ed25519")

        class Open(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return False

        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Open, server_host_keys=[key], sftp_factory=lambda _: jail, line_editor=False
        )
        options = {"known_hosts": None, "config": [], "client_keys": [], "agent_path": None}
        connect = asyncssh.connect("127.0.0.1", server.get_port(), username="x", **options)
        async with connect as connection, connection.start_sftp_client() as sftp:
            await talk(sftp)
        server.close()
        await server.wait_closed()

    asyncio.run(go())


def test_asyncssh_makes_its_handler_where_ours_stands_in() -> None:
    handler.install()
    assert "SFTPServerHandler" in asyncssh.sftp._sftp_handler.__code__.co_names
    assert asyncssh.sftp.SFTPServerHandler is handler.Handler


def test_the_text_of_an_unexpected_exception_stays_inside(
    make_jail: Callable[..., Jail], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/srv/secret/path of Lisa Simpson")

    jail = make_jail()
    monkeypatch.setattr(jail._view, "find", fail)

    async def talk(sftp: asyncssh.SFTPClient) -> None:
        with pytest.raises(asyncssh.SFTPFailure) as told:
            await sftp.stat("/students.csv")
        assert "try again later" in told.value.reason
        assert "secret" not in told.value.reason
        await sftp.stat("/")

    serve(jail, talk)


def test_a_close_is_the_clients_own_until_it_is_gone(
    make_jail: Callable[..., Jail], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[tuple[str, str]] = []

    async def finish(self: Receiving, arrival: Arrival) -> None:
        ends.append(("finished", arrival.upload.name))
        self._leave(arrival)

    def cut(self: Receiving, arrival: Arrival, **_: str) -> None:
        ends.append(("cut", arrival.upload.name))
        self._leave(arrival)

    monkeypatch.setattr(Receiving, "finish", finish)
    monkeypatch.setattr(Receiving, "cut", cut)

    async def talk(sftp: asyncssh.SFTPClient) -> None:
        await (await sftp.open("closed.csv", "wb")).close()
        await sftp.open("left-open.csv", "wb")

    serve(make_jail(), talk)
    assert ends == [("finished", "closed.csv"), ("cut", "left-open.csv")]


def test_only_what_is_answered_is_offered(make_jail: Callable[..., Jail]) -> None:
    async def talk(sftp: asyncssh.SFTPClient) -> None:
        assert sftp.version == 3
        client: Any = sftp._handler
        assert client._supports_posix_rename
        assert client._supports_fsync
        assert client._supports_limits
        assert client.limits.max_write_len == 4 << 20
        for name in ("hardlink", "copy_data", "ranges", "statvfs", "fstatvfs"):
            assert not getattr(client, f"_supports_{name}")
        for folder in range(3):
            assert await sftp.listdir("/") == [".", "..", "receipts"], folder

    serve(make_jail(), talk)


# Raw packets, as no well-behaved client sends them


@pytest.fixture
def sftp(service: Any, account: str, make_account: Callable[..., Path]) -> Iterator[paramiko.SFTPClient]:
    key = paramiko.Ed25519Key.from_private_key_file(str(make_account()))
    transport = paramiko.Transport(("127.0.0.1", service.port))
    transport.connect(username=account, pkey=key)
    client = paramiko.SFTPClient.from_transport(transport)
    assert client
    yield client
    transport.close()


@pytest.mark.parametrize("name", EXTENDED_OPERATIONS)
def test_an_extension_that_is_not_offered_is_not_answered(sftp: paramiko.SFTPClient, name: str) -> None:
    with pytest.raises(OSError, match="Unsupported request"):
        sftp._request(CMD_EXTENDED, name, "/etc/passwd", "/students.csv")


def test_the_link_requests_are_refused(sftp: paramiko.SFTPClient, service: Any) -> None:
    for target in ("/etc/passwd", "../../../../etc/passwd", "students.csv"):
        with pytest.raises(OSError, match="Links cannot be made"):
            sftp._request(CMD_SYMLINK, target, "students.csv")
    with pytest.raises(OSError, match="Unsupported request"):
        sftp._request(21, "students.csv", "/etc/passwd", 0)
    with pytest.raises(OSError, match="no links"):
        sftp._request(CMD_READLINK, "/students.csv")
    assert service.uploads() == {}


PATHS = [
    b"/etc/passwd",
    b"../../../../etc/passwd",
    b"//etc//passwd",
    b"/receipts/../../etc/passwd",
    b"/proc/self/environ",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_out_leads_nowhere(sftp: paramiko.SFTPClient, path: bytes) -> None:
    for command in (CMD_STAT, CMD_LSTAT, CMD_OPENDIR):
        with pytest.raises(OSError, match="no such file"):
            sftp._request(command, path)
    with pytest.raises(OSError, match="no such file"):
        sftp._request(CMD_OPEN, path, 1, paramiko.SFTPAttributes())
    with pytest.raises(OSError, match="no such file"):
        sftp._request(CMD_OPEN, path, 0x1A, paramiko.SFTPAttributes())
    assert sftp._request(CMD_REALPATH, path)[1].get_text() is not None


NAMES = [b"a\0b", b"\xff\xfe", b"x" * 255, b"x" * 4000, b"a\nb", b"a\x1b[2Jb", "a\u2028b".encode()]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_kept_is_refused_and_the_session_goes_on(
    sftp: paramiko.SFTPClient, service: Any, name: bytes
) -> None:
    with pytest.raises(OSError, match="file name"):
        sftp._request(CMD_OPEN, name, 0x1A, paramiko.SFTPAttributes())
    with pytest.raises(OSError, match="no such file"):
        sftp._request(CMD_STAT, name)
    assert service.uploads() == {}
    assert sftp.listdir("/") == ["receipts"]


def test_a_packet_that_is_too_short_is_refused_and_the_session_goes_on(sftp: paramiko.SFTPClient) -> None:
    for command in (CMD_OPEN, CMD_STAT, CMD_SYMLINK, CMD_EXTENDED, 99):
        with pytest.raises(OSError, match=r"Incomplete packet|Unsupported request"):
            sftp._request(command)
    assert sftp.listdir("/") == ["receipts"]
