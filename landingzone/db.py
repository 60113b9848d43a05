"""The database: one engine, explicit read and write transactions, migrations.

SQLite in WAL mode is the default. A write transaction begins IMMEDIATE, so that it waits for its turn at the start
instead of failing in the middle: all writers go one at a time. PostgreSQL has many at once, which see what others have
committed. What is looked up there and then written says who else must wait, by `take_turn`, by a row that it locks
(`with_for_update`), or by `insert_into` with what is to be done where there is such a row already.
"""

import errno
import fcntl
import hashlib
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from landingzone.errors import DatabaseMoved, NotInitialised
from landingzone.write_turn import WriteTurn

_POLARS_FULL = f"os error {errno.ENOSPC}"
"""Polars gives an OSError without its number; where it writes Parquet, an error of its own."""
_MIGRATIONS = Path(__file__).parent / "migrations"
Durability = Literal["full", "normal"]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the second: the write-ahead log's index could not grow
_POSTGRESQL_FULL = "53100"
_POSTGRESQL_BUSY = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available: lock_timeout
        "57014",  # query_canceled: statement_timeout
        "25P03",  # idle_in_transaction_session_timeout: this process had stood still
        "25006",  # read_only_sql_transaction: a standby answers, after a failover
        "53300",  # too_many_connections
        "53400",  # configuration_limit_exceeded
    }
)
_POSTGRESQL_AWAY = ("08", "57P")
"""Classes of SQLSTATE: the connection broke, or the server is being shut down or started."""
_WAITS_SECONDS = 30
_STATEMENT_SECONDS = 900
_IDLE_SECONDS = 20
_MIGRATION_SECONDS = 600
_CONNECTION_AGE_SECONDS = 1800


class DatabaseBusy(Exception):
    """Another writer has kept a process of ours waiting too long, or the database is away."""


class Database:
    """The control tables' and the account data's database.

    Args:
        url: SQLAlchemy URL.
        durability: `full`: a commit has reached the disk. `normal`: after a power cut the last commits may be gone
            (never half of one); for notes about files that are themselves on disk.
        name: what its connections are called on a PostgreSQL server, see `end_connections`.
        waits_seconds: how long a write waits for another one, before it fails (`is_busy`).
        alone: of SQLite, by one connection that keeps every other out, readers too, from its first use on until this
            is closed. That first use fails (`is_busy`) if anybody has the file open.
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        durability: Durability = "full",
        name: str = "",
        waits_seconds: int = _WAITS_SECONDS,
        alone: bool = False,
    ) -> None:
        self.url = database_url(url)
        self._turn = WriteTurn(self.file) if self.file is not None and not alone else None
        if self.is_sqlite:
            pool = sa.StaticPool if alone else None
            self.engine = sa.create_engine(self.url, hide_parameters=True, poolclass=pool)
            prepare_sqlite(self.engine, durability=durability, waits_seconds=waits_seconds, alone=alone)
        else:
            timeouts = _timeouts(waits_seconds) | ({"synchronous_commit": "off"} if durability == "normal" else {})
            self.engine = sa.create_engine(
                self.url, **postgresql_engine(name=name, settings=timeouts, waits_seconds=waits_seconds)
            )

    def with_durability(
        self, durability: Durability, *, name: str = "", waits_seconds: int = _WAITS_SECONDS
    ) -> "Database":
        """The same database with commits of another durability, by connections of its own; its writers are one row."""
        other = Database(self.url, durability=durability, name=name, waits_seconds=waits_seconds)
        other._turn = self._turn
        return other

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
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection
            connection.rollback()

    @contextmanager
    def write(self, *, checkpoint: bool = True) -> Iterator[sa.Connection]:
        """A transaction that writes; committed at the end, rolled back on an error.

        SQLite moves what it has written ahead into its file with the commit, if that is much. Whoever writes very much
        may want to do that beside something else: without `checkpoint`, and then by `move_on`.
        """
        with (
            self._turn.taken() if self._turn is not None else nullcontext(),
            self.engine.connect() as connection,
            nullcontext() if checkpoint or not self.is_sqlite else _without_checkpoint(connection),
            connection.execution_options(writes=True).begin(),
        ):
            yield connection

    def move_on(self) -> None:
        """Have SQLite move what it has written ahead into its file, as far as readers let it; others may write."""
        if self.is_sqlite:
            with self.engine.connect() as connection:
                _driver(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def migrate(self) -> None:
        """Bring the control tables to this version's form (Alembic); one process at a time.

        Raises DatabaseMoved for one that was copied elsewhere.
        """
        self._refuse_moved()
        if self.file is not None:
            self.file.touch(mode=0o600, exist_ok=True)
        if self.is_up_to_date:
            return
        from alembic import command  # noqa: PLC0415 - half a second that a start need not spend when nothing is to do

        with _alone(self.file), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_MIGRATION_SECONDS}s'")
            take_turn(connection, "migrations")
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_WAITS_SECONDS}s'")
            if not _is_up_to_date(_revision(connection)):
                config = _alembic_config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            connection.commit()

    @property
    def revision(self) -> str | None:
        """The control tables' revision (Alembic's); None where there are none yet."""
        with self.read() as tx:
            return _revision(tx)

    @property
    def is_up_to_date(self) -> bool:
        """Whether the control tables have at least this version's form.

        A newer form serves, too: migrations only add, so that the old version can run on while the new one starts.
        """
        return _is_up_to_date(self.revision)

    def end_connections(self, name: str) -> int:
        """End every connection of that name (PostgreSQL), and with it what it locks; how many there were.

        For connections of a process that has been given up: one that was stopped keeps its locks as long as it sleeps.
        """
        if self.is_sqlite:
            return 0
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name"
        with self.read() as tx:
            return int(tx.execute(sa.text(query), {"name": _application_name(name)}).scalar_one())

    def require(self) -> None:
        """Raise NotInitialised if the control tables are not there, DatabaseMoved if they were copied elsewhere."""
        self._refuse_moved()
        if (self.file is not None and not self.file.is_file()) or not sa.inspect(self.engine).has_table("accounts"):
            raise NotInitialised

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        if self._turn is not None:
            self._turn.close()

    @property
    def moved_mark(self) -> Path | None:
        """The file that says of a SQLite database that it was copied elsewhere; it lies beside it."""
        return self.file.with_name(f"{self.file.name}.moved") if self.file is not None else None

    def _refuse_moved(self) -> None:
        mark = self.moved_mark
        if mark is not None and mark.exists():
            raise DatabaseMoved(
                f"{self.file} was copied to PostgreSQL, and what it takes in now is missing there. Set database_url. "
                f"To go back to this one, without what the other has taken in since, remove {mark.name}."
            )


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    """The driver's own connection: what is executed there begins no transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


@contextmanager
def _without_checkpoint(connection: sa.Connection) -> Iterator[None]:
    driver = _driver(connection)
    (pages,) = driver.execute("PRAGMA wal_autocheckpoint").fetchone()
    driver.execute("PRAGMA wal_autocheckpoint=0").close()
    try:
        yield
    finally:
        driver.execute(f"PRAGMA wal_autocheckpoint={pages:d}").close()


def database_url(url: str | sa.URL) -> sa.URL:
    """A URL as SQLAlchemy takes it; `postgresql://` means psycopg 3, the driver that is installed."""
    made = sa.make_url(url)
    return made.set(drivername="postgresql+psycopg") if made.drivername in {"postgresql", "postgres"} else made


def postgresql_engine(
    *, name: str = "", settings: Mapping[str, str] | None = None, waits_seconds: int = _WAITS_SECONDS
) -> dict[str, Any]:
    """Arguments of `create_engine` for a PostgreSQL server that may restart, fail over, or be cut off at any time.

    A connection is tried before it is used, and not used for ever. One whose server says nothing any more is given up
    after `waits_seconds`. `settings` are the server's, for each session.
    """
    own = {"application_name": _application_name(name), **(settings or {})}
    return {
        "hide_parameters": True,
        "pool_pre_ping": True,
        "pool_recycle": _CONNECTION_AGE_SECONDS,
        "pool_size": 5,
        "max_overflow": 15,
        "pool_timeout": waits_seconds,
        "connect_args": {
            "connect_timeout": 5,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": waits_seconds * 1000,
            "options": " ".join(f"-c {setting}={value}" for setting, value in own.items()),
        },
    }


def _timeouts(waits_seconds: int) -> dict[str, str]:
    """The bounds of one of our transactions, as settings of a PostgreSQL session."""
    return {
        "lock_timeout": f"{waits_seconds}s",
        "statement_timeout": f"{_STATEMENT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
    }


def _application_name(name: str) -> str:
    """What PostgreSQL keeps of a name, which has 63 bytes there, of letters that `options` take as they are."""
    return f"landingzone/{hashlib.sha256(name.encode()).hexdigest()[:24]}" if name else "landingzone"


def take_turn(tx: sa.Connection, name: str) -> None:
    """Wait until no other transaction that has taken this turn is under way; this one has it until its end.

    For what is looked up and then written where there is no row to lock yet. SQLite's writers take turns anyway.
    """
    if tx.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"landingzone {name}".encode()).digest()[:8], "big", signed=True)
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def insert_into(tx: sa.Connection, table: sa.Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that can say what is to be done where there is such a row already (`on_conflict_do_...`)."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def prepare_sqlite(
    engine: sa.Engine,
    *,
    durability: Durability = "full",
    driver_begins: bool = False,
    waits_seconds: int = _WAITS_SECONDS,
    alone: bool = False,
) -> None:
    """Make an SQLite engine wait for its turn, write ahead, and begin transactions as we say.

    With `driver_begins` the driver begins one by itself at the first statement that writes, as DBOS expects. `alone`:
    see `Database`; whoever has the file open in WAL mode holds a lock that this one waits for.
    """

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE" if driver_begins else None
        for pragma in (
            f"busy_timeout={waits_seconds * 1000}",
            *(("locking_mode=EXCLUSIVE",) if alone else ()),
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
    """Whether the error, or one that it came from, says that it is worth trying again later.

    Another writer has kept us waiting too long, or two have waited for each other; or the database is away: restarted,
    shut down, failed over, cut off. Whatever the transaction did is undone, or (its end was not heard of) was done.
    """
    while error is not None:
        original: Any = getattr(error, "orig", None) or error
        if isinstance(original, DatabaseBusy | sa.exc.TimeoutError) or getattr(error, "connection_invalidated", False):
            return True
        if _is_psycopg(original) and _says_busy(original):
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
        if _is_psycopg(original) and original.sqlstate == _POSTGRESQL_FULL:
            return True
        if isinstance(original, OSError) and original.errno in DISK_FULL:
            return True
        if (isinstance(original, OSError) or _is_polars(original)) and _POLARS_FULL in str(original):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_away(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, says that the database cannot be reached, or was left just now."""
    while error is not None:
        original: Any = getattr(error, "orig", None) or error
        if getattr(error, "connection_invalidated", False) or (_is_psycopg(original) and _says_away(original)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_psycopg(error: BaseException) -> bool:
    """Whether it is PostgreSQL's driver's, which is imported with the first engine that needs it."""
    driver = sys.modules.get("psycopg")
    return driver is not None and isinstance(error, driver.Error)


def _is_polars(error: BaseException) -> bool:
    """Whether it is one of Polars' own, which only the processor imports."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(error, polars.exceptions.PolarsError)


def _says_busy(error: Any) -> bool:  # noqa: ANN401 - psycopg is imported late
    return error.sqlstate in _POSTGRESQL_BUSY or _says_away(error)


def _says_away(error: Any) -> bool:  # noqa: ANN401 - psycopg is imported late
    if error.sqlstate is None:  # not the server's words: it could not be reached, or the connection broke
        return isinstance(error, sys.modules["psycopg"].OperationalError | sys.modules["psycopg"].InterfaceError)
    return bool(error.sqlstate.startswith(_POSTGRESQL_AWAY))


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


def _revision(tx: sa.Connection) -> str | None:
    if not sa.inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _is_up_to_date(revision: str | None) -> bool:
    return revision is not None and revision >= newest_revision()  # numbers of four digits


def newest_revision() -> str:
    """The revision that the newest migration makes."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _alembic_config() -> Any:  # noqa: ANN401 - Alembic is imported late
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
