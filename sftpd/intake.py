"""The intake: writes to an upload are carried out as their bytes come in, without a packet ever being put together.

A client's write may be 255 KiB long and comes in several packets of SSH. asyncssh collects them, wakes a task, takes
the packet apart and answers; each byte is copied five times. Here the head of a write is read where it lies, and each
piece goes to the file at once. Everything else, and every write that is not as it should be, goes asyncssh's way: its
task tells when it waits for the next request (Session.between_requests), and only then a write is begun here.
"""

import struct
from typing import Any, Protocol

import asyncssh
from asyncssh.constants import FXP_WRITE, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.sftp import MAX_SFTP_PACKET_LEN

from sftpd.arrival import Arrival

_HEAD = struct.Struct(">IBII4sQI")
"""A write: length, kind, number, the length of the handle and the handle, offset, length of the data."""
_HANDLE_BYTES = 4
_BESIDE_DATA = _HEAD.size - 4
"""What a write's length counts beside its data."""


class Session(Protocol):
    """What the intake asks of an SFTP session."""

    def between_requests(self) -> bool:
        """Whether every request that has come is done, and nothing of the next one has come."""

    def opened(self, handle: bytes) -> Arrival | None:
        """The upload that the client calls so, if it is one."""

    def write(self, arrival: Arrival, offset: int, data: memoryview) -> asyncssh.SFTPError | None:
        """Write all of the data; what the client is to be told if that fails."""

    def answer(self, number: int, error: asyncssh.SFTPError | None) -> None:
        """Answer a request that gives no more than success or an error."""


class WriteIntake:
    """Takes the data of one channel, which carries an SFTP session."""

    def __init__(self, session: Session, channel: Any) -> None:  # noqa: ANN401 - asyncssh's channel, and its inner state
        self._session = session
        self._channel = channel
        self._arrival: Arrival | None = None
        self._number = 0
        self._offset = 0
        self._left = 0
        self._error: asyncssh.SFTPError | None = None

    def __call__(self, data: memoryview) -> bool:
        """Take data of the channel; False: asyncssh shall handle it."""
        channel = self._channel
        size = len(data)
        if channel._recv_state != "open" or size > channel._recv_window:  # noqa: SLF001 - as SSHChannel._process_data
            return False
        if self._arrival is None and not self._session.between_requests():
            return False
        if channel.is_closing():
            return True
        taken = self._take(data)
        if not taken:
            return False
        channel._recv_window -= size  # noqa: SLF001 - as SSHChannel._accept_data and _deliver_data
        if channel._recv_window < channel._init_recv_window / 2:  # noqa: SLF001
            room = channel._init_recv_window - channel._recv_window  # noqa: SLF001
            channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, room.to_bytes(4))
            channel._recv_window = channel._init_recv_window  # noqa: SLF001
        if taken < size and channel._session:  # noqa: SLF001
            channel._session.data_received(bytes(data[taken:]), None)  # noqa: SLF001
        return True

    def _take(self, data: memoryview) -> int:
        """Carry out the writes that the data begins with; how much of it they were."""
        at, end = 0, len(data)
        while at < end:
            if self._arrival is None:
                if not self._begin(data[at : at + _HEAD.size]):
                    break
                at += _HEAD.size
            piece = data[at : at + self._left]
            self._write(piece)
            at += len(piece)
        return at

    def _begin(self, head: memoryview) -> bool:
        """Whether these bytes begin a write as it should be to an upload that is open."""
        if len(head) < _HEAD.size:
            return False
        length, kind, number, handle_length, handle, offset, size = _HEAD.unpack(head)
        if kind != FXP_WRITE or handle_length != _HANDLE_BYTES or length != _BESIDE_DATA + size:
            return False
        arrival = self._session.opened(handle) if length <= MAX_SFTP_PACKET_LEN else None
        if arrival is None:
            return False
        self._arrival, self._number, self._offset, self._left, self._error = arrival, number, offset, size, None
        return True

    def _write(self, piece: memoryview) -> None:
        assert self._arrival is not None
        if self._error is None:
            self._error = self._session.write(self._arrival, self._offset, piece)
        self._offset += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._arrival = None
            self._session.answer(self._number, self._error)
