"""Whatever bytes come: a file is read or refused, its lines are counted once each, and nothing else happens."""

import gzip
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.reading import Limits, UnreadableFile, open_file

PIECES = [
    b"id", b"name", b"1", b"Ann", b",", b",", b";", b"\t", b"|", b'"', b'"', b'""', b'","', b"\r\n", b"\r\n", b"\n",
    b"\r", b" ", b"\0", b"\x1a", b"\xc3\xa9", b"\xe9", b"\x81", b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xb7\x90",
    b"sep=;\n", b"id,name\r\n",
]  # fmt: skip


def mixed(seed: int, size: int) -> bytes:
    dice = Random(seed)
    return b"id,name,x\r\n" * dice.randrange(2) + b"".join(dice.choices(PIECES, k=size))


def outcome(data: bytes, limits: Limits, head: int) -> tuple[object, ...]:
    """All that a file gives, or the code of its refusal."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("processor.reading.text.HEAD_BYTES", head)
        path = Path(folder, "file")
        path.write_bytes(data)
        try:
            with open_file(path, name="file", has_header=lambda names: "id" in names, limits=limits) as opened:
                batches = list(opened.batches())
        except UnreadableFile as refused:
            return (refused.code,)
    rows = [row for batch in batches for row in batch.frame.rows()]
    damaged = [damage for batch in batches for damage in batch.damaged]
    assert opened.rows_read == len(rows) + len(damaged)
    lines = [row[0] for row in rows] + [damage.line for damage in damaged]
    assert len(set(lines)) == len(lines)
    assert all(1 <= line <= opened.line_count for line in lines)
    assert all(value is not None for row in rows for value in row)
    assert all(len(row) == 1 + opened.width for row in rows)
    values = [value for batch in batches if batch.tidy for row in batch.frame.rows() for value in row[1:]]
    assert all(value == value.strip() and value.isascii() for value in values)
    assert all(value.isprintable() for value in values)
    return (opened.header, rows, damaged, opened.line_count, opened.open_quote_at_end, opened.ends_without_line_end)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_a_file_of_any_pieces_is_read_or_refused_and_the_same_in_small_stretches(seed: int, size: int) -> None:
    data = mixed(seed, size)
    at_once = outcome(data, Limits(), 100_000)
    assert outcome(data, Limits(batch_bytes=1), 100_000) == at_once
    assert outcome(data, Limits(batch_bytes=17), 100_000) == at_once


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([*PIECES, b"\x7f", b"\x0b", b"\x1f", b' "', b'" ', b'\n"', b" x "]))
def test_what_a_file_without_white_space_at_its_edges_holds_is_seen(seed: int, piece: bytes) -> None:
    """Nothing is trimmed there; so one piece in the wrong place must be noticed."""
    dice = Random(seed)
    line = dice.choice([b'"id 1","Ann B"\r\n', b"id 1,Ann B\n", b'"id 1",Ann\n', b"id;Ann\r"])
    data = bytearray(line * 6)
    at = dice.randrange(len(data))
    data[at:at] = piece
    outcome(bytes(data), Limits(), 100_000)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
@example(b"\xff\xfe")
@example(b"\xef\xbb\xbf")
@example(b"\x1a")
@example(b"\x1f\x8b")
@example(b"PK\x03\x04")
@example(b"\x28\xb5\x2f\xfd")
@example(b'"')
@example(b"\r")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    outcome(data, Limits(), 100_000)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_packed_file_with_a_changed_byte_is_read_or_refused(seed: int) -> None:
    dice = Random(seed)
    data = bytearray(gzip.compress(b'"id","name"\r\n' + b'"1","Ann"\r\n' * 20))
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    outcome(bytes(data), Limits(), 100_000)
