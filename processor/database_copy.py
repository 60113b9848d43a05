"""Moving from one machine to several: everything of the SQLite database goes into an empty PostgreSQL database.

The source is held alone while it is copied: whoever has it open (a door, a processor, a command) makes the copy refuse,
and nobody can open it before the copy has ended. So there is nothing that the source has and the copy has not: no
record of the audit trail, no revoked key. A file needs neither: it waits in the inbox.

The target's tables are filled in one transaction: they hold all of it or nothing. Not copied are `processors`, which
tells of processes; what these had in hand is nobody's in the copy, and begins again there. What durable runs keep of
their steps (`workflows.db`) is not needed for that.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database, is_busy, newest_revision
from landingzone.errors import LandingZoneError
from landingzone.tables import audit_head, metadata, processors
from landingzone.zone import write_file
from processor import account_data
from processor import run as runs

_AT_ONCE = 10_000
_HELD_WITHIN_SECONDS = 3
_NOT_COPIED = frozenset({"processors", "audit_head"})
"""The first tells of processes; the second, a row that may only go forward, is set."""
_OTHERS = frozenset({"alembic_version"})
_CHAIN_TRIGGERS = 5
_AWAKE = "SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'D' AND NOT tgisinternal AND left(tgname, 6) = 'audit_'"


class CopyRefused(LandingZoneError):
    """The database cannot be copied like this; nothing was."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        rows: how many rows of each table.
        begun_again: how many runs were under way when their processors ended, and begin again.
        trail: the verdict on the copy's audit trail.
    """

    rows: dict[str, int]
    begun_again: int
    trail: audit.Verdict


def copy_database(origin: Path, target: Database, *, actor: str) -> Copied:
    """Copy everything, prove it, and mark the source as moved, so that nothing opens it by mistake.

    Raises CopyRefused if somebody has the source open, the target is not an empty PostgreSQL database, or the two are
    of different versions; and if the copy is not what the source is: then the target holds nothing of it.
    """
    if target.is_sqlite:
        raise CopyRefused("Nothing to copy to: set database_url to the new PostgreSQL database first.")
    if not origin.is_file():
        raise CopyRefused(f"There is no SQLite database {origin}.")
    source = Database(f"sqlite:///{origin.absolute()}", waits_seconds=_HELD_WITHIN_SECONDS, alone=True)
    try:
        source.require()
        return _copy(source, target, actor=actor)
    except sa.exc.OperationalError as error:
        if is_busy(error) and isinstance(error.orig, sqlite3.Error):
            raise CopyRefused(_IN_USE) from None
        raise
    finally:
        source.close()


_IN_USE = (
    "Somebody has the SQLite database open. Stop the service (every front door and processor), wait until commands "
    "have ended, and ask again. Files that have landed wait in the inbox."
)


def _copy(source: Database, target: Database, *, actor: str) -> Copied:
    if source.revision != newest_revision():
        raise CopyRefused(
            f"The source's tables are of version {source.revision}, this program's of {newest_revision()}. "
            "Start and stop the service of this version once, then ask again."
        )
    target.migrate()
    if target.revision != newest_revision():
        raise CopyRefused(f"The target's tables are of a newer version, {target.revision}.")
    before = audit.verify(source)
    with source.read() as old, target.write() as new:
        for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
            new.exec_driver_sql(f"SET LOCAL {setting} = 0")
        data = account_data.tables_there(old)
        _refuse_unknown(old, data)
        _refuse_filled(new)
        there = set(sa.inspect(new).get_table_names())
        for table in data:
            if table.name in there:
                new.exec_driver_sql(f'DROP TABLE "{table.name}"')  # empty: the source's may have further columns
            account_data.make(new, table)
        rows = {}
        for table in [*metadata.sorted_tables, *data]:
            if table.name not in _NOT_COPIED:
                rows[table.name] = _copy_table(old, new, table)
                _set_sequence(new, table)
        _set_head(old, new)
        begun_again = _disown(old, new)
        total = sum(rows.values())
        audit.record(new, actor=actor, action="database.copied", rows=total, begun_again=begun_again)
        triggers = new.exec_driver_sql(_AWAKE).scalar_one()
        if triggers != _CHAIN_TRIGGERS:
            raise CopyRefused(f"The target's audit trail has {triggers} triggers, not {_CHAIN_TRIGGERS}. Make it anew.")
        after = _verdict(new, before)
        new.exec_driver_sql("ANALYZE")
    assert source.moved_mark is not None
    write_file(source.moved_mark, f"Copied to {target.url.host or 'PostgreSQL'} at {iso(now())}\n".encode())
    return Copied(rows, begun_again, after)


def _verdict(new: sa.Connection, before: audit.Verdict) -> audit.Verdict:
    """What is found of the copy's trail, which must be what was found of the source's, and one record more."""
    after = audit.verify_in(new, kept=None if before.broken else before.head)
    same = after.at_record == before.at_record and after.records == before.records + (0 if before.broken else 1)
    if after.broken != before.broken or not same:
        raise CopyRefused(f"The copy's audit trail is not the source's: {after.message or before.message}")
    return after


def _refuse_unknown(old: sa.Connection, data: list[sa.Table]) -> None:
    known = {table.name for table in (*metadata.sorted_tables, *data)} | _OTHERS
    if unknown := sorted(set(sa.inspect(old).get_table_names()) - known):
        raise CopyRefused(f"The source has tables that this version knows nothing of: {', '.join(unknown)}.")


def _refuse_filled(new: sa.Connection) -> None:
    names = {name for name in sa.inspect(new).get_table_names() if name.startswith("data_")}
    names |= {table.name for table in metadata.sorted_tables if table is not audit_head}
    for name in sorted(names):
        if new.exec_driver_sql(f'SELECT 1 FROM "{name}" LIMIT 1').first() is not None:  # noqa: S608 - names of tables
            raise CopyRefused(
                f"The target is not empty: {name} has rows. Is database_url the new database? "
                "Then make it anew (DROP DATABASE, CREATE DATABASE), and let nothing start before the copy."
            )


def _copy_table(old: sa.Connection, new: sa.Connection, table: sa.Table) -> int:
    """Copy one table as it is stored, some rows at a time; returns how many there are on either side."""
    import psycopg  # noqa: PLC0415 - with SQLite nobody needs it

    names = ", ".join(f'"{column.name}"' for column in table.columns)
    driver = new.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    count = 0
    try:
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in _rows(old, f'SELECT {names} FROM "{table.name}"'):  # noqa: S608 - names of tables
                copy.write_row(row)
                count += 1
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise CopyRefused(
            f"PostgreSQL does not take what {table.name} holds ({type(error).__name__}). Nothing was copied."
        ) from error
    how_many = sa.select(sa.func.count()).select_from(table)
    if not old.execute(how_many).scalar_one() == new.execute(how_many).scalar_one() == count:
        raise CopyRefused(f"The copy of {table.name} has not as many rows as the source. Nothing was copied.")
    return count


def _rows(old: sa.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Plain rows, as SQLite stores them: truth as 0 and 1, JSON as text."""
    result = old.exec_driver_sql(query)
    cursor: Any = result.cursor
    while found := cursor.fetchmany(_AT_ONCE):
        yield from found
    result.close()


def _set_sequence(new: sa.Connection, table: sa.Table) -> None:
    """Let the numbers that PostgreSQL gives go on after the highest there is."""
    column = table.autoincrement_column
    if column is None:
        return
    sequence = new.execute(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))).scalar()
    highest = new.execute(sa.select(sa.func.max(column))).scalar()
    if sequence is not None and highest is not None:
        new.execute(sa.select(sa.func.setval(sequence, highest)))


def _set_head(old: sa.Connection, new: sa.Connection) -> None:
    """Set where the chain ends. The trigger that lets it go forward by one only is away for this statement."""
    end = dict(old.execute(sa.select(audit_head)).mappings().one())
    new.exec_driver_sql("ALTER TABLE audit_head DISABLE TRIGGER audit_head_forward")
    new.execute(audit_head.update().values(end))
    new.exec_driver_sql("ALTER TABLE audit_head ENABLE TRIGGER audit_head_forward")


def _disown(old: sa.Connection, new: sa.Connection) -> int:
    """What processors still had in hand, that is: died of or with, is nobody's; counted as a crash of each run."""
    nodes = old.execute(sa.select(processors.c.node)).scalars().all()
    return sum(runs.disown(new, node, crashed=True) for node in nodes)
