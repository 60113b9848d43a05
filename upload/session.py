"""The SFTP session: version 3 over one channel, with many requests under way, and every refusal in the server's words.

paramiko's own file objects wait for all answers at once when one has come, and keep the answer to a close to
themselves; here writes and reads flow within a bound, and a close is only done when the server has said so.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import paramiko
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_FSETSTAT,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_OPEN,
    CMD_READ,
    CMD_STATUS,
    CMD_WRITE,
    SFTP_EOF,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_READ,
    SFTP_FLAG_WRITE,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_PERMISSION_DENIED,
    int64,
)

from upload.errors import ServerRefused, plain

WRITE_BYTES = 128 << 10
READ_BYTES = 128 << 10
UNDER_WAY = 16 << 20
"""Bytes of requests that may be unanswered: more than a link of 20 MiB/s with half a second of delay holds."""

NO_SPACE, QUOTA = 14, 15
"""Status codes of later versions, which OpenSSH and this project's server send, too."""

Moved = Callable[[int], None]
"""Is told how many bytes more the server has confirmed."""


class Refused(ServerRefused):
    """The server refused a request."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(plain(text) or f"The server refused a request (status {code}).")
        self.code = code
        self.final = code in {SFTP_PERMISSION_DENIED, QUOTA}

    @property
    def missing(self) -> bool:
        """There is no such file."""
        return bool(self.code == SFTP_NO_SUCH_FILE)


class _Answers:
    """The answers to requests that are under way, by their number; paramiko holds it weakly and calls it."""

    def __init__(self) -> None:
        self.by_number: dict[int, tuple[int, paramiko.Message]] = {}

    def _async_response(self, kind: int, message: paramiko.Message, number: int) -> None:
        self.by_number[number] = (kind, message)


class Session(paramiko.SFTPClient):  # type: ignore[misc] # paramiko ships no types
    """One SFTP session. Everything raises Refused for the server's no, and what paramiko raises for a broken line."""

    def reopen(self, path: str, *, create: bool) -> tuple[bytes, int] | None:
        """Open what was begun, for reading and writing: the handle and the size; None if there is none of that name.

        With `create` a new one is begun where there is none, or it cannot be gone on with.
        """
        return self._opened(path, SFTP_FLAG_READ | SFTP_FLAG_WRITE | (SFTP_FLAG_CREATE if create else 0))

    def look_into(self, path: str) -> tuple[bytes, int] | None:
        """Open a file for reading: the handle and the size; None if there is none of that name."""
        return self._opened(path, SFTP_FLAG_READ)

    def cut(self, handle: bytes, size: int) -> None:
        """Cut an open file to that many bytes."""
        attributes = paramiko.SFTPAttributes()
        attributes.st_size = size
        self._request(CMD_FSETSTAT, handle, attributes)

    def end(self, handle: bytes) -> None:
        """Close a file; done only when the server has said that it has it."""
        self._request(CMD_CLOSE, handle)

    def write(self, handle: bytes, content: BinaryIO, offset: int, moved: Moved) -> int:
        """Write what `content` still gives from an offset on; the end's offset. All of it is confirmed on return."""
        answers, waiting = _Answers(), deque[tuple[int, int]]()
        most = UNDER_WAY // WRITE_BYTES
        while data := content.read(WRITE_BYTES):
            number = self._async_request(answers, CMD_WRITE, handle, int64(offset), data)
            waiting.append((number, len(data)))
            offset += len(data)
            while len(waiting) >= most or self.sock.recv_ready():
                self._confirm(answers, waiting, moved)
                if not waiting:
                    break
        while waiting:
            self._confirm(answers, waiting, moved)
        return offset

    def read(self, handle: bytes, size: int) -> Iterator[bytes]:
        """The first `size` bytes of an open file, in pieces; fewer if the server has no more."""
        answers, waiting = _Answers(), deque[tuple[int, int, int]]()
        asked = 0
        while waiting or asked < size:
            while asked < size and len(waiting) < UNDER_WAY // READ_BYTES:
                length = min(READ_BYTES, size - asked)
                number = self._async_request(answers, CMD_READ, handle, int64(asked), length)
                waiting.append((number, asked, length))
                asked += length
            number, at, length = waiting.popleft()
            while number not in answers.by_number:
                self._read_response()
            data = self._data(*answers.by_number.pop(number))
            while data and len(data) < length:  # a server may give less than was asked for
                yield data
                at, length = at + len(data), length - len(data)
                data = self._data(*self._answer(CMD_READ, handle, int64(at), length))
            if not data:
                self._forget(answers, waiting)
                return
            yield data

    def _opened(self, path: str, flags: int) -> tuple[bytes, int] | None:
        try:
            kind, message = self._request(CMD_OPEN, path.encode(), flags, paramiko.SFTPAttributes())
        except Refused as refused:
            if refused.missing:
                return None
            raise
        if kind != CMD_HANDLE:
            raise paramiko.SFTPError("The server did not answer with a handle.")
        handle = bytes(message.get_binary())
        kind, message = self._request(CMD_FSTAT, handle)
        if kind != CMD_ATTRS:
            raise paramiko.SFTPError("The server did not answer with attributes.")
        return handle, paramiko.SFTPAttributes._from_msg(message).st_size or 0  # noqa: SLF001 - paramiko's only way

    def _confirm(self, answers: _Answers, waiting: deque[tuple[int, int]], moved: Moved) -> None:
        """Take in one answer, and tell what is confirmed by it: answers to writes may come in any order."""
        self._read_response()
        while waiting and waiting[0][0] in answers.by_number:
            number, length = waiting.popleft()
            _, message = answers.by_number.pop(number)
            self._convert_status(message)
            moved(length)

    def _answer(self, *request: Any) -> tuple[int, paramiko.Message]:  # noqa: ANN401 - as paramiko packs them
        """The raw answer to one request: an end of file is an answer, too."""
        answers = _Answers()
        number = self._async_request(answers, *request)
        while number not in answers.by_number:
            self._read_response()
        return answers.by_number[number]

    def _data(self, kind: int, message: paramiko.Message) -> bytes:
        if kind == CMD_DATA:
            return bytes(message.get_binary())
        if kind != CMD_STATUS:
            raise paramiko.SFTPError("The server did not answer with data.")
        with suppress(EOFError):
            self._convert_status(message)
        return b""

    def _forget(self, answers: _Answers, waiting: deque[tuple[int, int, int]]) -> None:
        """Take in the answers to what was asked beyond the end."""
        while any(number not in answers.by_number for number, _, _ in waiting):
            self._read_response()

    def _convert_status(self, message: paramiko.Message) -> None:
        """paramiko's, with the server's code and words kept."""
        code, text = message.get_int(), message.get_text()
        if code == SFTP_OK:
            return
        if code == SFTP_EOF:
            raise EOFError(text)
        raise Refused(code, text)
