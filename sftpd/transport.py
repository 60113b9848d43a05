"""asyncssh's connection, with bounds that it has no option for. All of them are for hostile or broken clients.

- It ignores the system's word that the client reads nothing (`pause_writing`), and would hold all answers in memory.
  Here nothing more is read from such a client, and its SFTP requests wait (`until_read`).
- It takes in bytes without end while it waits for the answer to a login.
- It lets a client exchange keys, ask for a login and open channels without end.

It is installed in place of asyncssh's own, which is made in one place; tests/sftpd/test_transport.py holds that.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol, cast

import asyncssh
import asyncssh.connection
from asyncssh import SSHServerConnection
from asyncssh.constants import MSG_KEXINIT, MSG_USERAUTH_REQUEST, OPEN_RESOURCE_SHORTAGE
from asyncssh.packet import SSHPacket

from keys.certificate import is_certificate
from sftpd import packets
from sftpd.packets import Packets

MAX_UNREAD = 1 << 20
"""Bytes that may wait for a packet that is being worked on; more are left to the system's buffer."""
MAX_CHANNELS = 10
"""SFTP sessions within one connection, as in OpenSSH."""
MAX_EARLY_EXCHANGES = 1
"""Key exchanges before the login; each costs the server some milliseconds."""
SPARE_EXCHANGES = 10
"""Key exchanges after the login that may come at once; beyond, one each second."""
LOOK_AGAIN_SECONDS = 0.02
REFUSE_SECONDS = 0.5
"""How long a client that is told to go may take to read it."""


class TooManyRequests(asyncssh.DisconnectError):
    """The client asks for a login again and again."""


class Certifying(Protocol):
    """What the connection's owner is asked beside what asyncssh asks."""

    async def validate_certificate(self, username: str, blob: bytes) -> bool:
        """Whether a certificate, in its wire form, opens an account."""


class Transport(Packets):
    """One connection's SSH. `auth_limit` is how many times a client may ask for a login; 0: without end."""

    auth_limit = 0

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.exchanges = 0
        self.old_signature = False
        """Whether the client has proven its key with an algorithm that is not taken here."""
        self.agreed: dict[str, str] = {}
        self._began = time.monotonic()
        self._auth_requests = 0
        self._refused = False
        self._unread = False
        self._choked = False
        self._freed: asyncio.Event | None = None

    @property
    def progress(self) -> int:
        """How far the client has come: 0 silent, 1 has greeted, 2 has exchanged keys, 3 is logged in."""
        if self._auth_complete:
            return 3
        return 2 if self._session_id else 1 if self._client_version else 0

    def refuse(self, code: int, text: str) -> None:
        """Tell the client why it has to go, and end the connection a moment later: the text must reach it."""
        if self._transport is None or self._refused:
            return
        self._refused = True  # what it sends from now on is not looked at
        if self._server_version:
            self._send_disconnect(code, text, "en")
        else:
            self._loop.call_soon(self._send_disconnect, code, text, "en")  # after the greeting
        self._loop.call_later(REFUSE_SECONDS, self._force_close, None)

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Whether a key or certificate opens an account; asyncssh would show the door only who signed a certificate."""
        if msg and SSHPacket(signature).get_string() not in self._sig_algs:  # asyncssh would take SHA-1 always
            self.old_signature = True
            return False
        if is_certificate(key_data):
            owner = cast("Certifying", self._owner)
            if not await owner.validate_certificate(username, key_data):
                return False
        return await super().validate_public_key(username, key_data, msg, signature)

    def never_begun(self) -> None:
        """It was made for a connection that is gone before its first byte."""
        self._cancel_login_timer()

    # What the client does not read

    def pause_writing(self) -> None:
        """The client does not read what it asked for: nothing more is read from it."""
        self._choked = True
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._choked = False
        self._resume()
        if self._freed is not None:
            self._freed.set()
            self._freed = None

    @property
    def choked(self) -> bool:
        """Whether answers wait for the client to read them."""
        return self._choked

    async def until_read(self) -> None:
        """Wait until the client reads again, or is gone."""
        while self._choked and self._transport is not None:
            if self._freed is None:
                self._freed = asyncio.Event()
            await self._freed.wait()

    def _cleanup(self, exc: Exception | None) -> None:
        if self._freed is not None:
            self._freed.set()
        super()._cleanup(exc)

    # What it sends while something is worked on

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Take in bytes, as long as they are not too many."""
        if self._refused:
            return
        super().data_received(data, datatype)
        if len(self._inpbuf) > MAX_UNREAD and not self._unread:
            self._unread = True
            self._pause()
            self._loop.call_later(LOOK_AGAIN_SECONDS, self._look_again)

    def _recv_data(self) -> None:
        if self._refused:
            self._inpbuf = b""
            return
        super()._recv_data()

    def _look_again(self) -> None:
        if len(self._inpbuf) > MAX_UNREAD:
            self._loop.call_later(LOOK_AGAIN_SECONDS, self._look_again)
            return
        self._unread = False
        self._resume()

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and not self._choked and not self._unread:
            self._transport.resume_reading()

    # What it asks for without end

    async def _process_kexinit_bounded(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        self.exchanges += 1
        allowed = MAX_EARLY_EXCHANGES
        if self._auth_complete:
            allowed += SPARE_EXCHANGES + int(time.monotonic() - self._began)
        if self.exchanges > allowed:
            raise asyncssh.ProtocolError("Too many key exchanges.")
        await super()._process_kexinit(pkttype, pktid, packet)
        if self._kex is not None:
            self.agreed = {
                "kex": self._kex.algorithm.decode("ascii", "replace"),
                "host_key": self._server_host_key.algorithm.decode("ascii", "replace") if self._server_host_key else "",
                "cipher": self._enc_alg_cs.decode("ascii", "replace"),
                "mac": self._mac_alg_cs.decode("ascii", "replace"),
            }

    def _process_userauth_request_bounded(self, pkttype: int, pktid: int, packet: SSHPacket) -> Awaitable[None] | None:
        self._auth_requests += 1
        if self.auth_limit and self._auth_requests > self.auth_limit and not self._auth_complete:
            raise TooManyRequests(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many attempts: only keys open.")
        return super()._process_userauth_request(pkttype, pktid, packet)

    def _process_hostkeys_prove_00_at_openssh_dot_com_global_request(self, packet: SSHPacket) -> None:
        used = self._server_host_key
        if used is not None and used.public_data in self._all_server_host_keys:
            keys = OrderedDict(self._all_server_host_keys)  # asyncssh's is shared by all connections
            keys[used.public_data] = used  # of an RSA key the one that signs as was agreed on
            self._all_server_host_keys = keys
        super()._process_hostkeys_prove_00_at_openssh_dot_com_global_request(packet)

    def _process_session_open(
        self, packet: SSHPacket
    ) -> tuple["asyncssh.SSHServerChannel[bytes]", "asyncssh.SSHServerSession[bytes]"]:
        if len(self._channels) >= MAX_CHANNELS:
            raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "Too many sessions in this connection.")
        return super()._process_session_open(packet)

    _packet_handlers = {  # noqa: RUF012 - as asyncssh declares it
        **SSHServerConnection._packet_handlers,  # noqa: SLF001 - what we stand in for
        MSG_KEXINIT: _process_kexinit_bounded,
        MSG_USERAUTH_REQUEST: _process_userauth_request_bounded,
    }


def install() -> None:
    """Let asyncssh make every server's connection of this process a Transport."""
    packets.install()
    asyncssh.connection.SSHServerConnection = Transport  # type: ignore[misc]
