"""The archive: what is kept of each landing, and the staging that it is filled from. Every call can be repeated.

<archive>/<account>/YYYY/MM/DD/<landing-id>/<name>.zst              the file as it arrived
<archive>/.../<attempt>.receipt.json, <attempt>.receipt.txt         what the customer was told
<archive>/.../<attempt>.rejects.csv, <attempt>.changes.<feed>.parquet   what each attempt rejected and changed
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

from landingzone.landing import Landing
from landingzone.zone import FILE_MODE, FOLDER_MODE, Zone, create_file, fsync_folder
from processor.run import Run

_PIECE = 1 << 20


class DamagedCopy(Exception):
    """What was read back is not what arrived."""


def staging_folder(zone: Zone, run: Run) -> Path:
    """Where an attempt writes its files before its outcome is committed."""
    return zone.work_folder(run.landing) / f".attempt-{run.attempt}"


def spool_folder(zone: Zone, run: Run) -> Path:
    """Where an attempt puts rows that are more than memory should hold."""
    return zone.work_folder(run.landing) / f".spool-{run.attempt}"


def drop_staging(zone: Zone, run: Run) -> None:
    """Remove what an attempt has staged, and free its room."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(staging_folder(zone, run))


def fresh_staging(zone: Zone, run: Run) -> Path:
    """The attempt's staging folder, empty: what a crashed try of it left is gone."""
    drop_staging(zone, run)
    folder = staging_folder(zone, run)
    folder.mkdir(mode=FOLDER_MODE, parents=True)
    return folder


def fsync_staging(folder: Path) -> None:
    """Put everything staged on the disk, before the commit that refers to it."""
    for path in folder.iterdir():
        path.chmod(FILE_MODE)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    fsync_folder(folder)


def archived_file(zone: Zone, landing: Landing) -> Path:
    """Where the file as it arrived is kept, compressed."""
    return zone.archive_folder(landing) / f"{landing.name}.zst"


def keep(zone: Zone, run: Run, *, sha256: str | None) -> Path:
    """Move a landing's file and what the attempt staged into the archive; returns the landing's folder there.

    The original is removed from the work folder only when its compressed copy is on the disk and proven the same.
    `sha256` is None where the run failed before it could hash the file. Raises DamagedCopy if what lies in the work
    folder is not what was hashed before; OSError on a full disk.
    """
    landing = run.landing
    folder = zone.archive_folder(landing)
    _make_folders(folder)
    claimed = zone.claimed_path(landing)
    if claimed.is_file():
        kept, ahead = archived_file(zone, landing), _packed_ahead(zone, landing, sha256)
        if not kept.is_file() and ahead.is_file():
            ahead.rename(kept)
        elif not kept.is_file():
            _compress(claimed, kept, sha256=sha256)
    staging = staging_folder(zone, run)
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(staging.iterdir()):
            path.rename(folder / f"{run.attempt}.{path.name}")
    fsync_folder(folder)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(zone.work_folder(landing))
    return folder


@contextlib.contextmanager
def packing_ahead(zone: Zone, landing: Landing, *, sha256: str) -> Iterator[None]:
    """While something else is done with a claimed file, compress it beside, for `keep`; what fails here, that does."""

    def pack() -> None:
        with contextlib.suppress(OSError, DamagedCopy):
            _compress(zone.claimed_path(landing), _packed_ahead(zone, landing, sha256), sha256=sha256, level=1)

    with ThreadPoolExecutor(1, thread_name_prefix="pack") as thread:
        thread.submit(pack)
        yield


def restore(zone: Zone, landing: Landing) -> bool:
    """Bring an archived file back into its work folder, for another attempt; False if the archive has none."""
    kept, claimed = archived_file(zone, landing), zone.claimed_path(landing)
    if claimed.is_file():
        return True
    if not kept.is_file():
        return False
    claimed.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    part = claimed.with_name(f".{landing.id}.part")
    with kept.open("rb") as packed, create_file(part) as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain)
        plain.flush()
        os.fsync(plain.fileno())
    part.rename(claimed)
    return True


def sha256_of(path: Path) -> tuple[str, int]:
    """The SHA-256 (hexadecimal) and the size in bytes of a plain file; never through a symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _packed_ahead(zone: Zone, landing: Landing, sha256: str | None) -> Path:
    return zone.work_folder(landing) / f".{sha256}.zst"


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing, each on the disk before what lies in it."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        fsync_folder(folder.parent)


def _compress(source: Path, target: Path, *, sha256: str | None, level: int = 3) -> None:
    part = target.with_name(f".{target.name}.part")
    read = hashlib.sha256()
    try:
        with source.open("rb") as plain, create_file(part) as packed:
            with zstandard.ZstdCompressor(level=level, write_checksum=True).stream_writer(
                packed, closefd=False
            ) as writer:
                while piece := plain.read(_PIECE):
                    read.update(piece)
                    writer.write(piece)
            packed.flush()
            os.fsync(packed.fileno())
        _require_same(read.hexdigest(), sha256)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _require_same(read: str, arrived: str | None) -> None:
    if arrived is not None and read != arrived:
        raise DamagedCopy
