"""The ideal file: ASCII where the values are, else UTF-8; CRLF; every field quoted. Streamed, and hashed on its way."""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from upload.private_file import create

_LINE_END: Final = b"\r\n"


class IdealFile:
    """Writes one, batch by batch; it can be read by its owner only.

    Attributes:
        rows: data rows so far.
        bytes: written so far.
    """

    def __init__(self, path: Path, header: Sequence[str] | None) -> None:
        self.rows = self.bytes = 0
        self._hash = hashlib.sha256()
        self._file = create(path)
        self._held = b""
        if header is not None:
            self._write(",".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in header).encode() + _LINE_END)

    def add(self, rows: pl.DataFrame) -> None:
        """Append rows: String columns in the order of the header; null is an empty value."""
        if not rows.height:
            return
        self.rows += rows.height
        filled = rows.with_columns(pl.all().fill_null(""))
        text = io.BytesIO()
        filled.write_csv(text, include_header=False, quote_style="always", line_terminator="\r\n")
        self._write(text.getvalue())

    def finish(self, *, ends: bool = True) -> str:
        """Close it and give its SHA-256; `ends` false leaves off the last line's end.

        A last line without an end is a sign of a file that was cut, which must not be mended away.
        """
        if ends:
            self._out(self._held)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._file.close()

    def _write(self, text: bytes) -> None:
        """Write whole lines, and hold the last one's end back."""
        if text:
            self._out(self._held)
            self._out(text[: -len(_LINE_END)])
            self._held = _LINE_END

    def _out(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.bytes += len(piece)


def copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file as it is, for its owner only; returns its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, create(target) as write:
        while block := read.read(1024 * 1024):
            write.write(block)
            digest.update(block)
            size += len(block)
        write.flush()
        os.fsync(write.fileno())
    return size, digest.hexdigest()
