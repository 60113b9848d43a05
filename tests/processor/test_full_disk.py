"""The disk is full while a file is imported (a small real filesystem): nothing is half applied, nothing is lost."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from landingzone.db import is_disk_full
from processor import requests
from processor.archive import archive_of

MEBIBYTE = 1 << 20


@pytest.fixture
def root(small_root: Path) -> Path:
    """An empty zone on a filesystem of its own, of 48 MiB."""
    return small_root


def test_an_import_on_a_full_disk_fails_and_succeeds_on_retry_once_there_is_room(
    night: Any, students: Callable[..., bytes], ballast: Any
) -> None:
    night.start()
    night.receipt(night.land("students.csv", students(30)))
    before = night.rows("students")
    big = students(40_000)
    upload, landing = night.upload("students.csv", big)
    ballast.fill()
    night.here.zone.land(upload, landing)
    assert night.outcome(landing) == "failed"
    assert night.rows("students") == before

    ballast.drop()
    told = night.receipt(landing, seconds=60)
    assert (told["outcome"], told["rows"]["added"]) == ("failed", 0)
    assert night.archived_sha256(landing) == told["sha256"]
    assert night.rows("students") == before

    requests.retry(night.here.db, archive_of(night.here.settings, night.here.zone), landing.id, actor="operator")
    told = night.receipt(landing, seconds=60, outcome="imported")
    assert told["attempt"] == 2
    assert len(night.rows("students")) == 40_000
    assert night.left_over() == []


def test_a_full_disk_is_told_from_a_fault_of_ours_whoever_writes(night: Any, ballast: Any) -> None:
    root = night.here.settings.root
    frame = pl.DataFrame({"student_id": [os.urandom(8).hex() for _ in range(1000)]})
    ballast.fill()
    for write in (frame.write_parquet, frame.write_csv, lambda path: path.write_bytes(b"0" * MEBIBYTE)):
        with pytest.raises(Exception) as told:  # noqa: PT011 - which one it is differs: that is the point
            write(root / "staged")
        assert is_disk_full(told.value), told.value
    ballast.drop()
