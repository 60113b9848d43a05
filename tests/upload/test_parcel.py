"""How a file travels: compressed where it is worth it, and never what the server would not take."""

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from upload.outgoing import Outgoing
from upload.parcel import pack

TEXT = b'"Student ID","First Name"\r\n' + b"".join(b'"%d","Ann"\r\n' % number for number in range(5000))


def outgoing(folder: Path, content: bytes, name: str = "students.csv") -> Outgoing:
    path = folder / "data.csv"
    path.write_bytes(content)
    return Outgoing("students", "students", path, name, 1, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("name", "sent"), [("students.csv", "students.csv.zst"), ("Pupils.TXT", "Pupils.TXT")])
def test_text_is_compressed_and_comes_back_the_same(tmp_path: Path, name: str, sent: str) -> None:
    parcel = pack(outgoing(tmp_path, TEXT, name), "auto")
    data = parcel.path.read_bytes()
    assert (parcel.name, parcel.bytes, parcel.sha256) == (sent, len(data), hashlib.sha256(data).hexdigest())
    assert parcel.bytes < len(TEXT) / 5
    assert zstandard.ZstdDecompressor().decompress(data) == TEXT
    assert parcel.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "compress"),
    [
        (TEXT, "never"),
        (TEXT[:1000], "auto"),
        (os.urandom(100_000), "auto"),
        (gzip.compress(TEXT), "always"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100_000), "always"),
        (b"a" * 10_000_000, "always"),  # more than the server's bound for what unpacks without end
    ],
)
def test_what_is_not_worth_it_or_would_not_be_taken_goes_as_it_is(
    tmp_path: Path, content: bytes, compress: Any
) -> None:
    parcel = pack(outgoing(tmp_path, content), compress)
    assert (parcel.name, parcel.path.read_bytes()) == ("students.csv", content)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
