"""A form with a file, read as it comes: small fields first, then the file's bytes piece by piece, in constant memory.

Nothing is kept in a temporary file: what children's data is in it goes straight to where the caller puts it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from landingzone.refusal import Refused

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_FIELD_BYTES = 4096
_MOST_FIELDS = 20
_SILENT_SECONDS = 60.0
_DRAINED_BYTES, _DRAIN_SECONDS = 64 << 20, 10.0


class FormBroken(Refused):
    """The file did not come whole: the connection broke off. Nothing was kept; choose the file again."""


@dataclass
class _Part:
    name: str = ""
    file_name: str | None = None
    disposition: bytes = b""
    _header: bytes = b""

    def header_field(self, data: bytes) -> None:
        self._header += data

    def header_value(self, data: bytes) -> None:
        if self._header.lower() == b"content-disposition":
            self.disposition += data

    def header_end(self) -> None:
        self._header = b""

    def begin(self) -> None:
        """All headers of it are there. Raises FormBroken."""
        _, options = parse_options_header(self.disposition)
        if b"name" not in options:
            raise FormBroken
        self.name = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options:
            self.file_name = options[b"filename"].decode("utf-8", "replace")


@dataclass
class UploadForm:
    """The form of one request. First `fields_before_file`, then `file`, once each.

    Attributes:
        request: whose body it is.
        file_name: what the browser calls the file, without folders.
    """

    request: Request
    file_name: str = ""
    _fields: dict[str, bytearray] = field(default_factory=dict)
    _part: _Part = field(default_factory=_Part)
    _ready: list[bytes] = field(default_factory=list)
    _in_file: bool = False
    _file_ended: bool = False
    _ended: bool = False

    async def fields_before_file(self) -> dict[str, str]:
        """The fields that stand before the file, by name; nothing more is read. Raises FormBroken."""
        kind, options = parse_options_header(self.request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise FormBroken
        try:
            self._parser = MultipartParser(options[b"boundary"], self._callbacks())
        except FormParserError:
            raise FormBroken from None
        self._stream = self.request.stream()
        while not (self._in_file or self._file_ended or self._ended):
            if not await self._feed():
                raise FormBroken
        return {name: value.decode("utf-8", "replace") for name, value in self._fields.items()}

    async def file(self) -> AsyncIterator[bytes]:
        """The file's bytes, and the form's end. Raises FormBroken: then the file is not whole."""
        while True:
            for piece in self._ready:
                yield piece
            self._ready.clear()
            if self._ended:
                return
            if not await self._feed():
                raise FormBroken

    async def drain(self) -> None:
        """Read what is left, within bounds: a browser shows no answer before it has sent all."""
        await drain(self.request)

    async def _feed(self) -> bool:
        """Read a piece of the body; False if there is none."""
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                piece = await anext(self._stream, None)
            if piece is None:
                return False
            self._parser.write(piece)
        except (TimeoutError, ClientDisconnect, FormParserError):
            raise FormBroken from None
        return True

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": lambda data, start, end: self._part.header_field(data[start:end]),
            "on_header_value": lambda data, start, end: self._part.header_value(data[start:end]),
            "on_header_end": lambda: self._part.header_end(),  # noqa: PLW0108 - of the part that is under way then
            "on_headers_finished": self._headers_end,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._part_ends,
            "on_end": self._form_ends,
        }

    def _part_begins(self) -> None:
        self._part = _Part()

    def _headers_end(self) -> None:
        self._part.begin()
        if self._part.file_name is None:
            if len(self._fields) >= _MOST_FIELDS:
                raise FormBroken
            self._fields.setdefault(self._part.name, bytearray())
        elif not self._file_ended and self._part.name == "file":
            self.file_name = self._part.file_name.replace("\\", "/").rpartition("/")[2]
            self._in_file = True

    def _data(self, data: bytes) -> None:
        if self._in_file:
            self._ready.append(data)
        elif self._part.file_name is None and not self._file_ended:
            known = self._fields[self._part.name]
            if len(known) + len(data) > _MOST_FIELD_BYTES:
                raise FormBroken
            known += data

    def _part_ends(self) -> None:
        if self._in_file:
            self._in_file, self._file_ended = False, True

    def _form_ends(self) -> None:
        self._ended = True


async def drain(request: Request) -> None:
    """Read what is left of a request's body, within bounds, and forget it."""
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in request.stream():
                left -= len(piece)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):  # the last: it has been read to its end
        return
