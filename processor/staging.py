"""What an attempt writes in its work folder before its outcome is committed. Every call can be repeated."""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from landingzone.zone import FILE_MODE, FOLDER_MODE, Zone, fsync_folder
from processor.run import Run


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


def drop_work(zone: Zone, run: Run) -> None:
    """Remove the work folder of a landing that is done."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(zone.work_folder(run.landing))


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


def sha256_of(path: Path) -> tuple[str, int]:
    """The SHA-256 (hexadecimal) and the size in bytes of a plain file; never through a symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
