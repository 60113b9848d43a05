"""What a file is packed in, told from its first bytes (never from its name), and its unpacked bytes within bounds."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from processor.reading.table import Limits, UnreadableFile

_ZSTD_STEP = 2048
"""Bytes of a zstd frame unpacked at a time: four bytes can stand for 128 KiB, so that one step gives at most 64 MiB."""

_ZSTD_WINDOW = 128 * 1024 * 1024
_ENCRYPTED = 0x1


class Kind(StrEnum):
    """What the file is, before it is unpacked."""

    PLAIN = "plain"
    GZIP = "gzip"
    ZIP = "zip"
    ZSTD = "zstd"
    WORKBOOK = "workbook"
    """A spreadsheet (.xlsx, .xlsm, .xls), which is opened whole."""


_OTHER_ARCHIVES = (b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x1f\x9d", b"\x04\x22\x4d\x18")
_NO_TEXT = (
    b"%PDF-",
    b"\x89PNG",
    b"GIF8",
    b"\xff\xd8\xff",
    b"\x7fELF",
    b"MZ\x90\x00",
    b"SQLite format 3",
    b"PAR1",
    b"{\\rtf",
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_LOOKED_AT = 512


class Stream(Protocol):
    """Unpacked bytes, read forward once."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty only at the end."""


@dataclass(frozen=True, slots=True)
class Container:
    """A file with what it is packed in. `open()` starts again from its first byte, as often as needed."""

    path: Path
    kind: Kind
    limits: Limits

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """The unpacked bytes. Reading raises UnreadableFile when they end too early or grow beyond the limits."""
        if self.kind is Kind.PLAIN:
            with self.path.open("rb", buffering=0) as raw:
                yield raw
            return
        packed_size = self.path.stat().st_size
        with self.path.open("rb") as packed, _unpacked(self.kind, packed) as unpacked:
            yield _Bounded(unpacked, packed_size, self.limits)


def look_at(path: Path, limits: Limits) -> Container:
    """What the file is. Raises UnreadableFile for kinds that are not read here."""
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if not start:
        raise UnreadableFile("empty_file")
    if start.startswith(_GZIP):
        return Container(path, Kind.GZIP, limits)
    if start.startswith(_ZSTD):
        return Container(path, Kind.ZSTD, limits)
    if start.startswith(_OLE):
        return Container(path, Kind.WORKBOOK, limits)
    if start.startswith(_ZIP):
        return Container(path, Kind.WORKBOOK if _is_workbook(path) else Kind.ZIP, limits)
    refuse_strange(start)
    return Container(path, Kind.PLAIN, limits)


def refuse_strange(start: bytes, *, unpacked: bool = False) -> None:
    """Raise UnreadableFile when the first bytes are known to be no table of text."""
    if unpacked and (start.startswith((_GZIP, _ZSTD, _OLE)) or start.startswith(_ZIP)):
        raise UnreadableFile("archive_nested")
    if start.startswith(_OTHER_ARCHIVES) or start[257:262] == b"ustar":
        raise UnreadableFile("archive_nested" if unpacked else "archive_kind")
    if start.startswith(_NO_TEXT):
        raise UnreadableFile("not_text")


def _is_workbook(path: Path) -> bool:
    with _zip(path.open("rb")) as archive:
        names = set(archive.namelist())
        if "xl/workbook.bin" in names or {"mimetype", "content.xml"} <= names:
            raise UnreadableFile("spreadsheet_unreadable")
        return "xl/workbook.xml" in names


class _Bounded:
    """A stream that stops a file from unpacking without end, and tells its errors in our own words."""

    def __init__(self, unpacked: Stream, packed_size: int, limits: Limits) -> None:
        self._unpacked = unpacked
        self._limit = min(limits.max_unpacked_bytes, max(limits.ratio_grace_bytes, packed_size * limits.max_ratio))
        self._count = 0

    def read(self, size: int) -> bytes:
        try:
            data = self._unpacked.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, zstandard.ZstdError) as error:
            raise UnreadableFile("archive_damaged") from error
        self._count += len(data)
        if self._count > self._limit:
            raise UnreadableFile("too_large")
        return data


@contextmanager
def _zip_member(raw: BinaryIO) -> Iterator[Stream]:
    with _zip(raw) as archive:
        members = [each for each in archive.infolist() if not each.is_dir() and not _is_litter(each.filename)]
        if len(members) != 1:
            raise UnreadableFile("archive_members")
        (member,) = members
        if member.flag_bits & _ENCRYPTED:
            raise UnreadableFile("archive_encrypted")
        try:
            unpacked = archive.open(member)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise UnreadableFile("archive_damaged") from error
        with unpacked:
            yield unpacked


@contextmanager
def _zip(raw: BinaryIO) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(raw)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise UnreadableFile("archive_damaged") from error
    with raw, archive:
        yield archive


def _is_litter(name: str) -> bool:
    """Whether a member of an archive is what a desktop left there, not what the customer sends."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1] in {".DS_Store", "Thumbs.db", "desktop.ini"}


class _ZstdStream:
    """Frames of zstd, one after another; unlike zstandard's own reader it notices a missing end."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._rest = b""
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._ready) < size and (packed := self._rest or self._raw.read(_ZSTD_STEP)):
            self._rest = b""
            if self._frame is None:
                self._frame = self._context.decompressobj()
            self._ready += self._frame.decompress(packed)
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        if self._frame is not None and len(self._ready) < size:
            raise EOFError
        given = bytes(self._ready[:size])
        del self._ready[:size]
        return given


def _unpacked(kind: Kind, raw: BinaryIO) -> AbstractContextManager[Stream]:
    match kind:
        case Kind.GZIP:
            return gzip.GzipFile(fileobj=raw, mode="rb")
        case Kind.ZIP:
            return _zip_member(raw)
        case Kind.ZSTD:
            return nullcontext(_ZstdStream(raw))
        case _:
            raise ValueError(f"{kind} is not a stream of bytes")
