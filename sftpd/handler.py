"""asyncssh's handler of SFTP packets, with some things changed that it offers no option for.

- It calls `SFTPServer.close()` both for a client's own close and, in `_cleanup`, for every handle still open when
  the client is gone. Only the first may land a file, so `_cleanup` tells the server object beforehand.
  (`channel.is_closing()` does not tell: it is false when the client ends the channel with handles open.)
- It puts the text of an unexpected exception into its answer. Here that goes to the log, as type and place only.
- It refuses a write packet that is longer than it says, as rclone 1.60 sends them.
- It ends a session without an exit status, which scp takes for a failure.
- It offers extensions that make no sense for a landing zone (hard links, copying on the server, statvfs).

It is installed in place of asyncssh's own, which is made in one place; tests/sftpd/test_handler.py holds the behaviour.
"""

import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from typing import cast

import asyncssh
import asyncssh.sftp
from asyncssh.constants import FXP_LINK, FXP_SYMLINK
from asyncssh.misc import BreakReceived, SignalReceived, SoftEOFReceived, TerminalSizeChanged
from asyncssh.packet import PacketDecodeError, SSHPacket
from asyncssh.sftp import MAX_SFTP_PACKET_LEN, MAX_SFTP_READ_LEN, MAX_SFTP_WRITE_LEN, SFTPLimits, SFTPServerHandler

from landingzone.errors import LandingZoneError
from landingzone.landing import NameRefused
from sftpd.jail import MAX_OPEN, Jail
from sftpd.refusal import Denied, Missing, NoRoom, Refused

OFFERED = (b"posix-rename@openssh.com", b"fsync@openssh.com", b"lsetstat@openssh.com", b"limits@openssh.com")
"""The extensions that are offered and answered."""

_Process = Callable[[SFTPServerHandler, SSHPacket], Awaitable[object]]


class Handler(SFTPServerHandler):
    """Handles the packets of one SFTP session, one after the other."""

    _extensions = [(name, b"1") for name in OFFERED]  # noqa: RUF012 - as asyncssh declares it

    async def run(self) -> None:
        """Serve until the client is gone. A signal or break that it sends ends the session, too, and cleanly."""
        try:
            await super().run()
        except (BreakReceived, SignalReceived, SoftEOFReceived, TerminalSizeChanged):
            await self._cleanup(None)

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        """Answer one request, and wait until the client reads its answers: they must not pile up in memory."""
        jail, writer = self._server, self._writer
        assert isinstance(jail, Jail)
        if jail.expelled or writer is None:
            return
        jail.active = time.monotonic()
        await super()._process_packet(pkttype, pktid, packet)
        transport = jail.transport
        if transport is not None and transport.choked:
            await transport.until_read()
        with contextlib.suppress(OSError, asyncssh.Error):  # it is gone: what it had sent before still counts
            await writer.drain()

    async def _cleanup(self, exc: Exception | None) -> None:
        if isinstance(self._server, Jail):
            self._server.client_gone()
        channel = cast(asyncssh.SSHServerChannel[bytes], self._writer.channel) if self._writer else None
        if exc is None and channel and not channel.is_closing():
            channel.exit(0)
        await super()._cleanup(exc)

    async def _process_write(self, packet: SSHPacket) -> int:
        handle, offset, data = packet.get_string(), packet.get_uint64(), packet.get_string()
        # rclone 1.60 (Debian 12) sends more bytes after the data than it says: OpenSSH ignores them, asyncssh refuses
        opened = self._file_handles.get(handle)
        if opened is None:
            raise asyncssh.SFTPInvalidHandle("This file is not open.")
        assert isinstance(self._server, Jail)
        return self._server.write(opened, offset, data)

    async def _process_limits(self, packet: SSHPacket) -> SFTPLimits:
        packet.check_end()
        return SFTPLimits(MAX_SFTP_PACKET_LEN, MAX_SFTP_READ_LEN, MAX_SFTP_WRITE_LEN, MAX_OPEN)

    async def _process_opendir(self, packet: SSHPacket) -> bytes:
        if len(self._dir_handles) >= MAX_OPEN:
            raise asyncssh.SFTPFailure("Too many folders are open in this session: close some.")
        return await super()._process_opendir(packet)


def _guarded(process: _Process) -> _Process:
    """The same, but no text of an unexpected exception reaches the client."""

    @functools.wraps(process)
    async def guarded(self: SFTPServerHandler, packet: SSHPacket) -> object:
        try:
            return await process(self, packet)
        except (asyncssh.SFTPError, PacketDecodeError, NotImplementedError):
            raise
        except (Refused, NameRefused) as refused:
            raise _told(refused) from None
        except Exception as error:
            server = self._server
            assert isinstance(server, Jail)
            server.visitor.log.exception("door.error", request=process.__name__.removeprefix("_process_"))
            if isinstance(error, FileNotFoundError):
                raise asyncssh.SFTPNoSuchFile("There is no such file.") from None
            raise asyncssh.SFTPFailure("The server failed at this request. Please try again later.") from None

    return guarded


def _told(refused: LandingZoneError) -> asyncssh.SFTPError:
    """A refusal in the protocol's words; version 3 has few codes, the text says the rest."""
    match refused:
        case Missing():
            return asyncssh.SFTPNoSuchFile(str(refused))
        case Denied():
            return asyncssh.SFTPPermissionDenied(str(refused))
        case NoRoom():
            return asyncssh.SFTPNoSpaceOnFilesystem(str(refused))
        case _:
            return asyncssh.SFTPFailure(str(refused))


def _handlers() -> dict[int | bytes, _Process | None]:
    """What is answered: version 3 of the protocol and the offered extensions, each guarded."""
    ours = {
        name: value
        for name, value in vars(Handler).items()
        if name.startswith("_process_") and name != "_process_packet"
    }
    known = SFTPServerHandler._packet_handlers  # noqa: SLF001 - what we stand in for
    return {
        kind: _guarded(ours.get(process.__name__, process))
        for kind, process in known.items()
        if process and (kind in OFFERED or (isinstance(kind, int) and (kind < FXP_LINK or kind == FXP_SYMLINK)))
    }


Handler._packet_handlers = _handlers()  # noqa: SLF001 - the class above


def install() -> None:
    """Let asyncssh handle every SFTP session of this process with Handler."""
    asyncssh.sftp.SFTPServerHandler = Handler  # type: ignore[misc]
