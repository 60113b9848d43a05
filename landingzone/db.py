"""The database: one engine, explicit read and write transactions, migrations.

SQLite in WAL mode is the default. A write transaction begins IMMEDIATE, so that it waits for its turn at the start
instead of failing in the middle.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from landingzone.errors import NotInitialised

_POLARS_FULL = f"os error {errno.ENOSPC}"  # Polars gives an OSError without its number
_MIGRATIONS = Path(__file__).parent / "migrations"
Durability = Literal["full", "normal"]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the second: the write-ahead log's index could not grow


class DatabaseBusy(Exception):
    """Another writer has kept a process of ours waiting too long."""


class Database:
    """The control tables' and the account data's database.

    Args:
        url: SQLAlchemy URL.
        durability: `full`: a commit has reached the disk. `normal`: after a power cut the last commits may be gone
            (never half of one); for notes about files that are themselves on disk.
    """

    def __init__(self, url: str, *, durability: Durability = "full") -> None:
        self.url = sa.make_url(url)
        self.engine = sa.create_engine(self.url, pool_pre_ping=not self.is_sqlite, hide_parameters=True)
        if self.is_sqlite:
            prepare_sqlite(self.engine, durability=durability)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded default."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The database's file, where it is one."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads; sees one state from begin to end."""
        with self.engine.connect() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes; committed at the end, rolled back on an error."""
        with self.engine.connect() as connection, connection.execution_options(writes=True).begin():
            yield connection

    def migrate(self) -> None:
        """Bring the control tables to this version's form (Alembic); one process at a time."""
        if self.file is not None:
            self.file.touch(mode=0o600, exist_ok=True)
        if self.revision == newest_revision():
            return
        from alembic import command  # noqa: PLC0415 - half a second that a start need not spend when nothing is to do

        with _alone(self.file), self.engine.connect() as connection:
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()

    @property
    def revision(self) -> str | None:
        """The control tables' revision (Alembic's); None where there are none yet."""
        with self.read() as tx:
            if not sa.inspect(tx).has_table("alembic_version"):
                return None
            return tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def require(self) -> None:
        """Raise NotInitialised if the control tables are not there."""
        if (self.file is not None and not self.file.is_file()) or not sa.inspect(self.engine).has_table("accounts"):
            raise NotInitialised

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def prepare_sqlite(engine: sa.Engine, *, durability: Durability = "full", driver_begins: bool = False) -> None:
    """Make an SQLite engine wait for its turn, write ahead, and begin transactions as we say.

    With `driver_begins` the driver begins one by itself at the first statement that writes, as DBOS expects.
    """

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE" if driver_begins else None
        for pragma in (
            "busy_timeout=30000",
            "journal_mode=WAL",
            f"synchronous={durability}",
            "foreign_keys=ON",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    if driver_begins:
        return

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def is_busy(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, says that another writer has kept us waiting too long."""
    while error is not None:
        original: Any = getattr(error, "orig", None) or error
        if isinstance(original, DatabaseBusy):
            return True
        if isinstance(original, sqlite3.Error) and getattr(original, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, says that the disk is full."""
    while error is not None:
        original: Any = getattr(error, "orig", None) or error
        if isinstance(original, sqlite3.Error) and getattr(original, "sqlite_errorname", "") in _SQLITE_FULL:
            return True
        if isinstance(original, OSError) and (original.errno in DISK_FULL or _POLARS_FULL in str(original)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """While nobody else migrates this SQLite database; Alembic looks again what is left to do."""
    if file is None:
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(file.with_name(f".{file.name}.migrating"), flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def newest_revision() -> str:
    """The revision that the newest migration makes."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _alembic_config() -> Any:  # noqa: ANN401 - Alembic is imported late
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
