"""Files generated from departures and damages together: what was put in must come out, line by line.

Every part of a file is generated together with what a careful reading by hand gives for it: values, damage, nothing.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.reading import Limits, open_file

NAMES = ("alpha", "beta", "gamma", "delta")
WIDTH = len(NAMES)


@dataclass(frozen=True)
class Writing:
    """How a file is written."""

    delimiter: str
    line_end: str
    encoding: str
    trailing: bool
    spaced: bool
    final_end: bool
    pack: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Part:
    """Some text without its line end, and what it means: values, or a damage, or nothing."""

    text: str
    values: tuple[str, ...] | None = None
    damaged: bool = False


def plain(data: bytes) -> bytes:
    return data


writings = st.builds(
    Writing,
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\r\n", "\n", "\r"]),
    encoding=st.sampled_from(["ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    trailing=st.booleans(),
    spaced=st.booleans(),
    final_end=st.booleans(),
    pack=st.sampled_from([plain, gzip.compress, zstandard.compress]),
)

LETTERS = {"ascii": "abz059", "cp1252": "az09é€ß", "utf-8": "az09é€ßλ漢😀"}


def letters(writing: Writing) -> str:
    return LETTERS.get(writing.encoding, LETTERS["utf-8"])


def value(dice: Random, writing: Writing) -> str:
    """A value that begins and ends with a letter or digit, or is empty; anything may stand between."""
    if dice.random() < 0.2:
        return ""
    alphabet = letters(writing)
    between = dice.choices(alphabet + " '.#-,;|\t\"" + writing.line_end[-1], k=dice.randrange(8))
    text = "".join([dice.choice(alphabet), *between, dice.choice(alphabet)])
    if writing.line_end[-1] in text:
        # Two line breaks with separators between them would look like a record of their own.
        text = text.replace(writing.delimiter, "").replace(writing.line_end[-1], writing.line_end, 1)
    return text


def written(dice: Random, text: str, writing: Writing) -> str:
    """A value as it may stand in the file."""
    if not any(each in text for each in (writing.delimiter, '"', "\r", "\n")) and dice.random() < 0.5:
        return text
    before, after = dice.choices(["", " ", "  "] if writing.spaced else [""], k=2)
    return before + '"' + text.replace('"', '""') + '"' + after


def record(dice: Random, writing: Writing) -> Part:
    fields = (dice.choice(letters(writing)), *(value(dice, writing) for _ in range(WIDTH - 1)))
    return Part(joined([written(dice, field, writing) for field in fields], writing), values=fields)


def damage(dice: Random, writing: Writing) -> Part:
    """A line that no careful reader takes for a record."""
    fields = dice.choices(letters(writing), k=WIDTH)
    at = dice.randrange(WIDTH)
    a, b = dice.choices(letters(writing), k=2)
    kinds = ["few", "many", "in_quoted", "in_unquoted", "open", "nul"] + ["undefined"] * (writing.encoding == "cp1252")
    match dice.choice(kinds):
        case "few":
            del fields[at]
        case "many":
            fields.insert(at, a)
        case "in_quoted":
            fields[at] = f'"{a}"{b}"'
        case "in_unquoted":
            fields[at] = f'{a}"{b}'
        case "open":
            fields[at] = f'"{a}'
        case "nul":
            fields[at] = f"{a}\0"
        case _:
            fields[at] = f"{a}\x81"
    return Part(joined(fields, writing), damaged=True)


def blank(dice: Random, writing: Writing) -> Part:
    return Part(dice.choice(["", "  ", writing.delimiter * (WIDTH - 1 + writing.trailing)]))


def joined(fields: list[str], writing: Writing) -> str:
    return writing.delimiter.join(fields) + writing.delimiter * writing.trailing


Middle = list[tuple[Callable[[Random, Writing], Part], int]]

middles = st.lists(st.tuples(st.sampled_from([record, record, damage, blank]), st.integers(0, 2**20)), max_size=12)


def parts_of(writing: Writing, middle: Middle) -> list[Part]:
    first, last = record(Random(1), writing), record(Random(2), writing)
    return [Part(joined(list(NAMES), writing)), first, *(make(Random(seed), writing) for make, seed in middle), last]


def encoded(writing: Writing, parts: list[Part]) -> bytes:
    text = writing.line_end.join(part.text for part in parts) + writing.line_end * writing.final_end
    if writing.encoding == "cp1252":
        return b"".join(b"\x81" if each == "\x81" else each.encode("cp1252") for each in text)
    return text.encode(writing.encoding)


def lines_of(writing: Writing, parts: list[Part]) -> list[tuple[int, Part]]:
    """Each part with the physical line on which it starts."""
    numbered, line = [], 1
    for part in parts:
        numbered.append((line, part))
        line += 1 + part.text.count(writing.line_end[-1])
    return numbered


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(writings, middles, st.sampled_from([20, 150, 10_000]))
def test_what_was_written_is_what_is_read(writing: Writing, middle: Middle, batch_bytes: int) -> None:
    parts = parts_of(writing, middle)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("processor.reading.text.HEAD_BYTES", max(batch_bytes, 300))
        path = Path(folder, "file")
        path.write_bytes(writing.pack(encoded(writing, parts)))
        limits = Limits(batch_bytes=batch_bytes)
        with open_file(path, name="file.csv", has_header=lambda names: names[:WIDTH] == NAMES, limits=limits) as opened:
            batches = list(opened.batches())
    numbered = lines_of(writing, parts)
    got = [(row[0], row[1 : WIDTH + 1]) for batch in batches for row in batch.frame.rows()]
    assert opened.header is not None
    assert opened.header[:WIDTH] == NAMES
    assert [(line, tuple(each.strip(" \t") for each in row)) for line, row in got] == [
        (line, part.values) for line, part in numbered[1:] if part.values
    ]
    assert [damage.line for batch in batches for damage in batch.damaged] == [
        line for line, part in numbered if part.damaged
    ]
    assert opened.rows_read == sum(1 for _, part in numbered[1:] if part.values or part.damaged)
    assert opened.damaged_count == sum(part.damaged for _, part in numbered)
    assert opened.line_count == numbered[-1][0] + parts[-1].text.count(writing.line_end[-1])
    assert opened.ends_without_line_end is not writing.final_end
    assert not opened.open_quote_at_end


@settings(max_examples=60, deadline=None)
@given(writings, middles, st.integers(1, 40))
def test_a_file_cut_anywhere_loses_no_whole_line_but_its_last(writing: Writing, middle: Middle, cut: int) -> None:
    parts = parts_of(writing, middle)
    if writing.encoding.startswith("utf-16"):
        return
    data = encoded(writing, parts)[:-cut]
    head = encoded(writing, parts[:2])
    if len(data) <= len(head) + len(writing.line_end):
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        with open_file(path, name="file.csv", has_header=lambda names: names[:WIDTH] == NAMES) as opened:
            batches = list(opened.batches())
    got = {
        row[0]: tuple(each.strip(" \t") for each in row[1 : WIDTH + 1])
        for batch in batches
        for row in batch.frame.rows()
    }
    numbered = lines_of(writing, parts)
    whole = [
        (line, part)
        for at, (line, part) in enumerate(numbered)
        if part.values and len(encoded(writing, parts[: at + 1])) + len(writing.line_end) <= len(data)
    ]
    for line, part in whole[:-1]:
        assert got[line] == part.values
