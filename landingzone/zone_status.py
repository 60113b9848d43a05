"""How the zone is: room on its disk, the size and the state of its database. For landingzone.status."""

import os
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from landingzone.db import Database
from landingzone.settings import Settings
from landingzone.zone import free_bytes


def disk(root: Path) -> dict[str, float]:
    """Room on the zone's filesystem, by the names of the metrics."""
    info = os.statvfs(root)
    return {
        "disk_free_bytes": info.f_bavail * info.f_frsize,
        "disk_size_bytes": info.f_blocks * info.f_frsize,
        "disk_free_inodes": info.f_favail,
    }


def above_floor(settings: Settings) -> bool:
    """Whether there is room enough to take more in: below this the front door refuses uploads."""
    return free_bytes(settings.root) >= settings.limits.free_mebibytes << 20


def answers(db: Database) -> bool:
    """Whether the database answers; raises what it raises if not."""
    with db.read() as tx:
        return tx.execute(sa.text("SELECT 1")).scalar() == 1


def database_bytes(settings: Settings, db: Database) -> dict[str, Mapping[str, float]]:
    """The size of each database, by the name of the metric and the database."""
    if db.file is None:
        with db.read() as tx:
            size = tx.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
        return {"database_bytes": {"control": float(size)}}
    files = {"control": db.file, "workflows": settings.root / "workflows.db"}
    return {"database_bytes": {name: _with_log(path) for name, path in files.items()}}


def _with_log(path: Path) -> float:
    """A SQLite database's bytes, with its write-ahead log's."""
    parts = (path, path.with_name(f"{path.name}-wal"))
    return float(sum(part.stat().st_size for part in parts if part.exists()))
