"""Backup and restore of a whole installation, while it serves.

A file moves one way: uploads, inbox, work, archive. So does a backup, and it takes the database after the inbox: a file
that has left the inbox before it was looked at has its run in the database already, and is found further on. What the
database does not know yet lies in the inbox, whole. The inbox is looked at again after the database: that may know a
file which has landed between the two. The durable runs' steps come first: what they lack is done again.
`listings/` are a cache, and left out. A restored zone goes on with whatever waited.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from landingzone import __version__
from landingzone.clock import iso, now
from landingzone.errors import LandingZoneError
from landingzone.landing import Landing
from landingzone.settings import FILE_NAME, Settings
from landingzone.tables import runs
from landingzone.zone import FILE_MODE, FOLDER_MODE, RESERVE, create_file, fsync_folder, write_file

MANIFEST = "manifest.json"
_FIRST = ("uploads", "inbox")
_THEN = ("inbox", "work", "archive", "receipts")
_ALSO = ("hostkeys", "certificates", "console")
_PIECE = 1 << 20
_DUMP = "landingzone.pgdump"
_APPLIED = ("applied", "archived", "receipted")
"""States of a run whose outcome is committed (processor.run, which this part may not know)."""


class BackupError(LandingZoneError):
    """The backup cannot be made or restored as asked."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a backup holds, or a restore has brought back: how many files, and their bytes."""

    files: int
    bytes: int


def back_up(settings: Settings, to: Path, *, archive: bool = True) -> Told:
    """Copy the whole installation into a folder that is not there yet; it is there whole, or not at all.

    Raises BackupError if it is there, or PostgreSQL's own tool is missing; OSError on a full disk.
    """
    part = _begin(settings, to)
    taken: dict[str, dict[str, Any]] = {}
    begun = iso(now())
    if not settings.database_url:
        _copy_sqlite(settings.root / "workflows.db", part / "workflows.db")
    for kind in _FIRST:
        _copy_tree(settings.root, kind, part, taken)
    _copy_database(settings, part)
    _drop_what_is_applied(part, taken, settings)
    for kind in (*_THEN, *_ALSO):
        if kind != "archive" or (archive and not settings.archive.url):
            _copy_tree(settings.root, kind, part, taken)
    _copy_file(settings.root / FILE_NAME, part / FILE_NAME, FILE_NAME, taken)
    for name in ("landingzone.db", "workflows.db", _DUMP):
        if (part / name).is_file():
            taken[name] = _described(part / name)
    told = {"version": __version__, "begun_at": begun, "ended_at": iso(now()), "files": taken}
    write_file(part / MANIFEST, json.dumps(told, indent=1).encode())
    _finish(part, to)
    return Told(len(taken), sum(one["bytes"] for one in taken.values()))


def _begin(settings: Settings, to: Path) -> Path:
    if to.exists():
        raise BackupError(f"{to} is there already; a backup never overwrites one. Name another folder.")
    if to.absolute().is_relative_to(settings.root):
        raise BackupError(f"{to} lies in the zone itself; name a folder elsewhere, best on another disk.")
    part = to.with_name(f".{to.name}.part")
    if part.exists():
        shutil.rmtree(part)  # what a backup that was killed has left
    part.mkdir(mode=FOLDER_MODE, parents=True)
    return part


def _finish(part: Path, whole: Path) -> None:
    """Put every folder on the disk, then give the whole its name."""
    for folder in [part, *(path for path in part.rglob("*") if path.is_dir())]:
        fsync_folder(folder)
    part.rename(whole)
    fsync_folder(whole.parent)


def restore(origin: Path, root: Path) -> Told:
    """Bring a backup back into a folder that is empty or not there; every file is proven by its SHA-256 on its way.

    Raises BackupError if something of it is missing or changed, or there is something at `root`: then nothing is there.
    """
    try:
        manifest = json.loads((origin / MANIFEST).read_bytes())
        files: dict[str, dict[str, Any]] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise BackupError(f"{origin} is no backup, or not a whole one: its {MANIFEST} cannot be read.") from None
    if root.exists() and any(root.iterdir()):
        raise BackupError(f"{root} is not empty; a restore never overwrites anything. Name another folder.")
    part = root.with_name(f".{root.name}.part")
    if part.exists():
        shutil.rmtree(part)  # what a restore that was killed has left
    part.mkdir(mode=FOLDER_MODE, parents=True)
    try:
        for name, described in files.items():
            _bring_back(origin, part, name, described)
    except BaseException:
        shutil.rmtree(part)
        raise
    if root.exists():
        root.rmdir()
    _finish(part, root)
    return Told(len(files), sum(one["bytes"] for one in files.values()))


def _bring_back(origin: Path, part: Path, name: str, described: dict[str, Any]) -> None:
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise BackupError(f"{origin} is no backup of ours: it names a file outside of itself.")
    target = part / name
    _make_folder(target.parent, part)
    taken: dict[str, dict[str, Any]] = {}
    _copy_file(origin / name, target, name, taken)
    if taken.get(name) != described:
        raise BackupError(f"{origin} is damaged: {name} is missing or not what was taken. Nothing was restored.")


def _copy_database(settings: Settings, part: Path) -> None:
    if not settings.database_url:
        _copy_sqlite(settings.root / "landingzone.db", part / "landingzone.db")
        return
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        raise BackupError("This database lies elsewhere (database_url); back it up with SQLite's own `.backup`.")
    program = shutil.which("pg_dump")
    if program is None:
        raise BackupError(
            "pg_dump is not here. Install PostgreSQL's client, or back the database up by its own means "
            "after the inbox was copied; docs/operator.md says in which order."
        )
    plain = url.set(drivername="postgresql", password=None).render_as_string()
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    with create_file(part / _DUMP) as to:
        command = [program, "--format=custom", f"--dbname={plain}"]
        done = subprocess.run(command, stdout=to, stderr=subprocess.PIPE, env=environment, check=False)  # noqa: S603
    if done.returncode:
        raise BackupError(f"pg_dump has failed (exit code {done.returncode}); run it by hand to see why.")


def _copy_sqlite(source: Path, target: Path) -> None:
    """One moment of a database that is in use, by SQLite's own online backup, and proven to be whole."""
    if not source.is_file():
        return
    with create_file(target):
        pass
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)  # all pages at once: a step at a time it would begin anew with each write
        copy.execute("PRAGMA journal_mode=DELETE").close()
        if copy.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise BackupError(f"{source} is damaged: SQLite's check of the copy fails. `landingzone doctor` helps.")
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _copy_tree(root: Path, kind: str, part: Path, taken: dict[str, dict[str, Any]]) -> None:
    """Copy what lies below a folder; what has moved on meanwhile is found where it went."""
    _make_folder(part / kind, part)
    for path in _files(root / kind):
        name = str(path.relative_to(root))
        _make_folder((part / name).parent, part)
        _copy_file(path, part / name, name, taken)


def _files(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(path) / name for name in sorted(names) if name != RESERVE)


def _copy_file(source: Path, target: Path, name: str, taken: dict[str, dict[str, Any]]) -> None:
    """Copy one plain file and note it; nothing if it is gone by now, or no plain file."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        if source.is_symlink():
            return
        raise
    read, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "rb") as plain, create_file(target) as copy:
        while piece := plain.read(_PIECE):
            read.update(piece)
            size += copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
        info = os.fstat(plain.fileno())
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    target.chmod(FILE_MODE)
    taken[name] = {"bytes": size, "sha256": read.hexdigest()}


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _make_folder(folder: Path, top: Path) -> None:
    if folder != top and not folder.is_dir():
        _make_folder(folder.parent, top)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def _drop_what_is_applied(part: Path, taken: dict[str, dict[str, Any]], settings: Settings) -> None:
    """Of a landing whose outcome is committed the inbox's copy goes: it has been in the work folder before that.

    One that is only claimed may lie in both: a claim bears it.
    """
    waiting = [name for name in taken if name.startswith("inbox/")]
    if not waiting:
        return
    copy = part / "landingzone.db"
    url = settings.database_url or f"sqlite:///{copy.absolute()}"
    engine = sa.create_engine(url, hide_parameters=True)
    applied = sa.select(runs.c.landing_id).where(runs.c.attempt == 1, runs.c.state.in_(_APPLIED))
    try:
        with engine.connect() as connection:
            done = set(connection.execute(applied).scalars())
    finally:
        engine.dispose()
    for name in waiting:
        _, account, stored = Path(name).parts
        landing = Landing.parse(account, stored)
        if landing is not None and landing.id in done:
            (part / name).unlink()
            del taken[name]
