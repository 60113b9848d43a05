"""What a file is packed in, and that nothing packed can ask for more than its limits."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
import zstandard

from processor.reading import Limits, UnreadableFile, open_file

TEXT = b'"id","name"\r\n"1","Ann"\r\n'
SMALL = Limits(max_unpacked_bytes=1_000_000, max_ratio=10, ratio_grace_bytes=10_000)


def rows(path: Path, limits: Limits | None = None) -> list[tuple[object, ...]]:
    with open_file(path, name=path.name, has_header=lambda names: "id" in names, limits=limits) as opened:
        return [row for batch in opened.batches() for row in batch.frame.rows()]


def zipped(members: dict[str, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return into.getvalue()


def refusal(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableFile) as refused:
        rows(path, limits)
    assert str(path) not in str(refused.value)
    return refused.value.code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "students.csv"


def test_the_bytes_say_what_a_file_is_whatever_its_name(file: Path) -> None:
    for packed in (TEXT, gzip.compress(TEXT), zstandard.compress(TEXT), zipped({"a.txt": TEXT})):
        file.write_bytes(packed)
        assert rows(file) == [(2, "1", "Ann")]


def test_parts_packed_one_after_another_are_one_file(file: Path) -> None:
    for pack in (gzip.compress, zstandard.compress):
        file.write_bytes(pack(TEXT) + pack(b'"2","Bo"\r\n'))
        assert rows(file) == [(2, "1", "Ann"), (3, "2", "Bo")]


def test_what_a_desktop_leaves_in_a_zip_is_not_a_second_file(file: Path) -> None:
    file.write_bytes(zipped({"out/": b"", "out/a.csv": TEXT, "__MACOSX/out/._a.csv": b"\0", "out/.DS_Store": b"\0"}))
    assert rows(file) == [(2, "1", "Ann")]


def test_a_zip_must_hold_exactly_one_file(file: Path) -> None:
    file.write_bytes(zipped({"a.csv": TEXT, "b.csv": TEXT}))
    assert refusal(file) == "archive_members"
    file.write_bytes(zipped({}))
    assert refusal(file) == "archive_members"


def test_a_zip_with_a_password_is_refused_by_that_name(file: Path) -> None:
    data = bytearray(zipped({"a.csv": TEXT}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)
    assert refusal(file) == "archive_encrypted"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_was_cut_off_gives_no_row_at_all(file: Path, pack: object) -> None:
    assert callable(pack)
    whole = pack(TEXT * 1000)
    for length in (len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:length])
        assert refusal(file) == "archive_damaged"


def test_a_zip_that_was_cut_off_or_changed_is_damaged(file: Path) -> None:
    whole = bytearray(zipped({"a.csv": TEXT * 100}))
    file.write_bytes(whole[:-10])
    assert refusal(file) == "archive_damaged"
    whole[60] ^= 0xFF
    file.write_bytes(whole)
    assert refusal(file) == "archive_damaged"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lambda data: zipped({"a.csv": data})])
def test_a_file_that_unpacks_without_measure_is_refused(file: Path, pack: object) -> None:
    assert callable(pack)
    file.write_bytes(pack(b"0" * 5_000_000))
    assert refusal(file, SMALL) == "too_large"


def test_packed_twice_is_refused_by_that_name(file: Path) -> None:
    file.write_bytes(zipped({"a.csv.gz": gzip.compress(TEXT)}))
    assert refusal(file) == "archive_nested"
    file.write_bytes(gzip.compress(zipped({"a.csv": TEXT})))
    assert refusal(file) == "archive_nested"


@pytest.mark.parametrize("start", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x00", b"BZh91AY", b"\xfd7zXZ\x00"])
def test_other_archives_are_refused_with_what_to_use(file: Path, start: bytes) -> None:
    file.write_bytes(start + b"\0" * 100)
    assert refusal(file) == "archive_kind"


def test_binary_content_is_no_table(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 20)
    assert refusal(file) == "not_text"


def test_a_line_without_an_end_is_not_read_into_memory_forever(file: Path) -> None:
    file.write_bytes(TEXT + b"x" * 3_000_000 + b"\r\n")
    assert refusal(file, Limits(batch_bytes=100_000, max_line_bytes=1_000_000)) == "line_too_long"


def test_an_open_quote_in_a_long_file_costs_its_line_only(file: Path) -> None:
    lines = [b"id,name", *(f"{number},Ann".encode() for number in range(2, 50_000))]
    lines[100] = b'101,"Ann'
    file.write_bytes(b"\r\n".join(lines) + b"\r\n")
    with open_file(file, name="a", has_header=lambda names: "id" in names, limits=Limits(batch_bytes=50_000)) as opened:
        got = [row[0] for batch in opened.batches() for row in batch.frame.rows()]
    assert got == [line for line in range(2, 50_000) if line != 101]
    assert [(each.line, each.code, each.value) for each in opened.damaged] == [(101, "damaged_unclosed", '101,"Ann')]
    assert not opened.open_quote_at_end


def test_damages_beyond_the_limit_are_counted_and_named_by_their_batch(file: Path) -> None:
    file.write_bytes(TEXT + b"1\r\n" * 50)
    with open_file(file, name="a", has_header=lambda names: "id" in names, limits=Limits(damages_kept=10)) as opened:
        named = [damage for batch in opened.batches() for damage in batch.damaged]
    assert len(opened.damaged) == 10
    assert opened.damaged_count == len(named) == 50


def test_a_file_can_be_left_in_the_middle(file: Path) -> None:
    file.write_bytes(TEXT + b'"2","Bo"\r\n' * 100_000)
    with open_file(file, name="a", has_header=lambda names: "id" in names, limits=Limits(batch_bytes=10_000)) as opened:
        assert next(opened.batches()).frame.height
    file.unlink()
