"""asyncssh's handler of SFTP packets, with some things changed that it offers no option for.

- It calls `SFTPServer.close()` both for a client's own close and, in `_cleanup`, for every handle still open when
  the client is gone. Only the first may land a file, so `_cleanup` tells the server object beforehand.
  (`channel.is_closing()` does not tell: it is false when the client ends the channel with handles open.)
- It puts the text of an unexpected exception into its answer. Here that goes to the log, as type and place only.
- It refuses a write packet that is longer than it says, as rclone 1.60 sends them.
- It ends a session without an exit status, which scp takes for a failure.
- It reads each request in full before it looks at it. Here sftpd.intake carries out writes while they come in.
- It offers extensions that make no sense for a landing zone (hard links, copying on the server, statvfs).

It is installed in place of asyncssh's own, which is made in one place; tests/sftpd/test_handler.py holds the behaviour.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import asyncssh
import asyncssh.sftp
from asyncssh.constants import FXP_LINK, FXP_READ, FXP_STATUS, FXP_SYMLINK
from asyncssh.misc import BreakReceived, SignalReceived, SoftEOFReceived, TerminalSizeChanged
from asyncssh.packet import PacketDecodeError, SSHPacket
from asyncssh.sftp import MAX_SFTP_PACKET_LEN, MAX_SFTP_READ_LEN, MAX_SFTP_WRITE_LEN, SFTPLimits, SFTPServerHandler

from landingzone.errors import LandingZoneError
from landingzone.landing import NameRefused
from landingzone.refusal import NoRoom, Refused, TooMuch
from sftpd.arrival import Arrival
from sftpd.intake import WriteIntake
from sftpd.jail import Jail
from sftpd.packets import Packets
from sftpd.refusal import Denied, Missing

OFFERED = (b"posix-rename@openssh.com", b"fsync@openssh.com", b"lsetstat@openssh.com", b"limits@openssh.com")
"""The extensions that are offered and answered."""

TURN_SECONDS = 0.005
"""How long the requests of one client may be answered at a stretch: thousands may have come at once."""

_OK = bytes(12)
"""A status: code 0, and no text in no language."""

_Process = Callable[[SFTPServerHandler, SSHPacket], Awaitable[object]]


class Handler(SFTPServerHandler):
    """Handles the packets of one SFTP session, one after the other."""

    _extensions = [(name, b"1") for name in OFFERED]  # noqa: RUF012 - as asyncssh declares it

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - asyncssh's
        super().__init__(*arguments)
        self._waits = False
        self._turned = 0.0

    async def run(self) -> None:
        """Serve until the client is gone. A signal, a break or an end before its greeting ends the session cleanly."""
        try:
            await super().run()
        except (BreakReceived, EOFError, SignalReceived, SoftEOFReceived, TerminalSizeChanged):
            await self._cleanup(None)

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        """Answer one request, and wait until the client reads its answers: they must not pile up in memory."""
        jail, writer = self._server, self._writer
        assert isinstance(jail, Jail)
        if jail.expelled or writer is None:
            return
        jail.active = time.monotonic()
        await super()._process_packet(pkttype, pktid, packet)
        if pkttype == FXP_READ or jail.active - self._turned > TURN_SECONDS:
            await asyncio.sleep(0)  # others get their turn, and what is to be sent is: only then it shows what waits
            self._turned = time.monotonic()
        if (seconds := jail.pause_seconds()) > 0:
            await asyncio.sleep(seconds)
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

    async def recv_packets(self) -> None:
        """Handle one request after the other; while none is there, the intake carries out writes."""
        assert self._writer is not None
        channel = cast(asyncssh.SSHServerChannel[bytes], self._writer.channel)
        connection, number = channel._conn, channel._recv_chan  # noqa: SLF001 - None once it is gone
        if isinstance(connection, Packets) and number is not None:
            connection.intakes[number] = WriteIntake(self, channel)
        error: Exception | None = None
        try:
            while self._reader:
                await self._handle_next()
        except EOFError:
            pass
        except PacketDecodeError as wrong:
            error = asyncssh.SFTPBadMessage(str(wrong))
        except (OSError, asyncssh.Error) as lost:
            error = lost
        finally:
            self._waits = False
            if isinstance(connection, Packets) and number is not None:
                del connection.intakes[number]
        await self._cleanup(error)

    async def _handle_next(self) -> None:
        """Wait for a request and handle it. Raises EOFError when there are no more."""
        assert self._reader is not None
        self._waits = True
        head = await self._reader.read(4)
        self._waits = False
        if len(head) < 4:  # noqa: PLR2004 - bytes of a length
            head += await self._reader.readexactly(4 - len(head))
        length = int.from_bytes(head)
        if length > MAX_SFTP_PACKET_LEN:
            raise asyncssh.SFTPBadMessage("Max packet size exceeded")
        packet = SSHPacket(await self._reader.readexactly(length))
        await self._process_packet(packet.get_byte(), packet.get_uint32(), packet)

    # What the intake asks

    def between_requests(self) -> bool:
        """Whether every request that has come is done, and nothing of the next one has come."""
        assert isinstance(self._server, Jail)
        if not self._waits or self._reader is None or self._server.expelled or self._server.pause_seconds() > 0:
            return False
        stream = self._reader._session  # noqa: SLF001 - no other way to see whether something waits in either direction
        return not stream._recv_buf[None] and not stream._write_paused  # noqa: SLF001

    def opened(self, handle: bytes) -> Arrival | None:
        """The upload that the client calls so, if it is one."""
        assert isinstance(self._server, Jail)
        self._server.active = time.monotonic()
        found = self._file_handles.get(handle)
        return found if isinstance(found, Arrival) else None

    def write(self, arrival: Arrival, offset: int, data: memoryview) -> asyncssh.SFTPError | None:
        """Write all of the data; what the client is to be told if that fails."""
        assert isinstance(self._server, Jail)
        try:
            self._server.write(arrival, offset, data)
        except Exception as error:  # noqa: BLE001 - told to the client and, if it is not a refusal, to the log
            return self._told(error, "write")
        return None

    def answer(self, number: int, error: asyncssh.SFTPError | None) -> None:
        """Answer a request that gives no more than success or an error."""
        assert isinstance(self._server, Jail)
        if not self._server.expelled:
            told = error.encode(self._version) if error else _OK
            self.send_packet(FXP_STATUS, number, number.to_bytes(4), told)

    def _told(self, error: Exception, request: str) -> asyncssh.SFTPError:
        """What the client is told of an error; no text of an unexpected one reaches it."""
        if isinstance(error, asyncssh.SFTPError):
            return error
        if isinstance(error, Refused | NameRefused):
            return _refusal(error)
        assert isinstance(self._server, Jail)
        self._server.visitor.log.error("door.error", request=request, exc_info=error)
        if isinstance(error, FileNotFoundError):
            return asyncssh.SFTPNoSuchFile("There is no such file.")
        return asyncssh.SFTPFailure("The server failed at this request. Please try again later.")

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
        assert isinstance(self._server, Jail)
        most = self._server.limits.handles_per_session
        return SFTPLimits(MAX_SFTP_PACKET_LEN, MAX_SFTP_READ_LEN, MAX_SFTP_WRITE_LEN, most)

    async def _process_opendir(self, packet: SSHPacket) -> bytes:
        assert isinstance(self._server, Jail)
        if len(self._dir_handles) >= self._server.limits.handles_per_session:
            raise asyncssh.SFTPFailure("Too many folders are open in this session: close some.")
        return await super()._process_opendir(packet)


def _guarded(process: _Process) -> _Process:
    """The same, but no text of an unexpected exception reaches the client."""

    @functools.wraps(process)
    async def guarded(self: "Handler", packet: SSHPacket) -> object:
        try:
            return await process(self, packet)
        except (PacketDecodeError, NotImplementedError):
            raise
        except Exception as error:  # noqa: BLE001 - told to the client and, if it is not a refusal, to the log
            raise self._told(error, process.__name__.removeprefix("_process_")) from None

    return cast(_Process, guarded)


def _refusal(refused: LandingZoneError) -> asyncssh.SFTPError:
    """A refusal in the protocol's words; version 3 has few codes, the text says the rest."""
    match refused:
        case Missing():
            return asyncssh.SFTPNoSuchFile(str(refused))
        case Denied():
            return asyncssh.SFTPPermissionDenied(str(refused))
        case TooMuch():
            return asyncssh.SFTPQuotaExceeded(str(refused))
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
    asyncssh.sftp.SFTPServerHandler = Handler  # type: ignore[assignment, misc]
