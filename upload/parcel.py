"""The parcel: an outgoing file as it travels, compressed where that is worth it."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import zstandard

from upload.outgoing import Outgoing
from upload.private_file import create

LEVEL = 3
SMALL = 4096
"""Bytes below which compressing gains no packet."""
WORTH = 0.9
"""What a sample must come down to."""
MOST = 150
"""The server takes what unpacks to more than some hundred times its size for a trap."""
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK", b"\xd0\xcf\x11\xe0")
"""How gzip, zstd, zip with workbooks, and old workbooks begin: packed twice the server would not take them."""
_SAMPLE = 1 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent of an outgoing file.

    Attributes:
        outgoing: the file.
        path: what is sent: the file itself, or its compressed form beside it.
        name: its name at the server.
        bytes: its size.
        sha256: of its bytes as they are sent: what the receipt must name.
    """

    outgoing: Outgoing
    path: Path
    name: str
    bytes: int
    sha256: str


def pack(outgoing: Outgoing, compress: Literal["auto", "always", "never"]) -> Parcel:
    """Make the parcel; blocks for as long as compressing takes."""
    if compress != "never" and _can_be(outgoing) and (compress == "always" or _is_worth_it(outgoing)):
        packed = _compressed(outgoing)
        if packed.bytes * MOST >= outgoing.bytes:
            return packed
        packed.path.unlink()
    return Parcel(outgoing, outgoing.path, outgoing.name, outgoing.bytes, outgoing.sha256)


def packed_name(name: str) -> str:
    """The name of the compressed form: sources that end in .csv expect .csv.zst, too; of others the bytes say it.

    >>> packed_name("students.csv"), packed_name("STUDENTS.TXT")
    ('students.csv.zst', 'STUDENTS.TXT')
    """
    return f"{name}.zst" if name.lower().endswith(".csv") else name


def _can_be(outgoing: Outgoing) -> bool:
    with outgoing.path.open("rb") as file:
        return not file.read(8).startswith(_PACKED)


def _is_worth_it(outgoing: Outgoing) -> bool:
    if outgoing.bytes < SMALL:
        return False
    with outgoing.path.open("rb") as file:
        sample = file.read(_SAMPLE)
    return len(zstandard.ZstdCompressor(level=1).compress(sample)) < WORTH * len(sample)


def _compressed(outgoing: Outgoing) -> Parcel:
    path = outgoing.path.with_name(f"{outgoing.path.name}.zst")
    compressor = zstandard.ZstdCompressor(level=LEVEL, threads=min(2, os.cpu_count() or 1), write_checksum=True)
    digest, size = hashlib.sha256(), 0
    with create(path, "wb") as out, outgoing.path.open("rb") as plain:
        for block in _blocks(compressor, plain, outgoing.bytes):
            digest.update(block)
            size += len(block)
            out.write(block)
    return Parcel(outgoing, path, packed_name(outgoing.name), size, digest.hexdigest())


def _blocks(compressor: zstandard.ZstdCompressor, plain: BinaryIO, size: int) -> Iterator[bytes]:
    frame = compressor.compressobj(size=size)
    while block := plain.read(_BLOCK):
        yield frame.compress(block)
    yield frame.flush()
