"""The disk is full while a file is imported (a small real filesystem): nothing is half applied, nothing is lost."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from landingzone.db import is_disk_full
from processor import requests
from processor.archive import archive_of

MEBIBYTE = 1 << 20


@pytest.fixture
def root(_empty_root: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty zone on a filesystem of its own, of 48 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        if os.environ.get("CI"):
            pytest.fail("CI must be able to mount a tmpfs")
        pytest.skip("only root can mount a small filesystem")
    shutil.copytree(_empty_root, path, dirs_exist_ok=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


class Ballast:
    """A file that takes all the room there is."""

    def __init__(self, root: Path) -> None:
        self._path = root / "ballast"

    def fill(self, *, leave: int = 0) -> None:
        with self._path.open("wb") as file:
            free = os.statvfs(self._path)
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - leave, 1))

    def drop(self) -> None:
        self._path.unlink()


def test_an_import_on_a_full_disk_fails_and_succeeds_on_retry_once_there_is_room(
    night: Any, students: Callable[..., bytes]
) -> None:
    ballast = Ballast(night.here.settings.root)
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


def test_a_full_disk_is_told_from_a_fault_of_ours_whoever_writes(night: Any) -> None:
    root = night.here.settings.root
    frame = pl.DataFrame({"student_id": [os.urandom(8).hex() for _ in range(1000)]})
    ballast = Ballast(root)
    ballast.fill()
    for write in (frame.write_parquet, frame.write_csv, lambda path: path.write_bytes(b"0" * MEBIBYTE)):
        with pytest.raises(Exception) as told:  # noqa: PT011 - which one it is differs: that is the point
            write(root / "staged")
        assert is_disk_full(told.value), told.value
    ballast.drop()
