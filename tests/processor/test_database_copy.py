"""What the copy of a SQLite database holds, and when it is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone import audit
from landingzone.db import Database
from landingzone.errors import DatabaseMoved
from landingzone.tables import accounts, metadata, processors, runs
from processor import account_data
from processor.database_copy import CopyRefused, copy_database

Students = Callable[..., bytes]


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database in which there is nothing at all."""
    server = request.getfixturevalue("_postgresql")
    url = server.new_database(empty=True)
    made = Database(url)
    yield made
    made.close()
    server.drop(url)


@pytest.fixture
def origin(desk: Any, students: Students) -> Path:
    """A database in which something has happened; nobody has it open."""
    desk.bring("students.csv", students(60, first={2: "tab\\there, \u00e9\u4e16"}))
    desk.bring("students.csv", students(30))
    _close(desk)
    return Path(desk.night.here.db.file)


def _close(desk: Any) -> None:
    for db in (desk.context.db, desk.context.progress, desk.night.here.db):
        db.close()


def content(db: Database, table: sa.Table) -> list[Any]:
    with db.read() as tx:
        return sorted(map(repr, tx.execute(sa.select(table)).all()))


def test_every_table_is_there_as_it_was_and_numbers_go_on_after_the_highest(
    desk: Any, origin: Path, target: Database, students: Students
) -> None:
    source = Database(f"sqlite:///{origin}")
    with source.write() as tx:
        tx.exec_driver_sql(
            "CREATE TABLE data_gone (source_id INTEGER NOT NULL, gone_id TEXT NOT NULL, note TEXT, first_run INTEGER "
            "NOT NULL, changed_run INTEGER NOT NULL, ended_run INTEGER, PRIMARY KEY (source_id, gone_id)) WITHOUT ROWID"
        )
        tx.exec_driver_sql("INSERT INTO data_gone VALUES (1, 'a', 'kept', 1, 1, NULL)")
    tables = [table for table in metadata.sorted_tables if table.name not in {"audit", "audit_head", "processors"}]
    with source.read() as tx:
        tables += account_data.tables_there(tx)
    before = {table.name: content(source, table) for table in tables}
    chain = audit.verify(source)
    source.close()
    told = copy_database(origin, target, actor="test")
    assert {table.name: content(target, table) for table in tables} == before
    assert told.rows["data_students"] == 60
    assert told.rows["data_gone"] == 1
    assert audit.verify(target, kept=chain.head).records == chain.records + 1
    with target.write() as tx:
        highest = tx.execute(sa.select(sa.func.max(accounts.c.id))).scalar_one()
        row = {"name": "new", "created_at": "2026-01-01T00:00:00.000Z"}
        assert tx.execute(accounts.insert().values(row)).inserted_primary_key == (highest + 1,)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), target.write() as tx:
        tx.exec_driver_sql("UPDATE audit SET actor = 'nobody'")
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), target.write() as tx:
        tx.exec_driver_sql("UPDATE audit_head SET last_id = last_id + 2")
    with pytest.raises(DatabaseMoved):
        Database(f"sqlite:///{origin}").require()


def test_a_database_that_somebody_has_open_is_not_copied(origin: Path, target: Database) -> None:
    other = Database(f"sqlite:///{origin}")
    other.require()
    with pytest.raises(CopyRefused, match="has the SQLite database open"):
        copy_database(origin, target, actor="test")
    assert target.revision is None
    other.close()
    assert copy_database(origin, target, actor="test").rows["accounts"] == 1


def test_nothing_is_copied_into_a_database_in_which_there_is_something(origin: Path, target: Database) -> None:
    target.migrate()
    with target.write() as tx:
        at = "2026-01-01T00:00:00.000Z"
        tx.execute(processors.insert().values(node="early", owner="early/1", beat=1, started_at=at, beat_at=at))
    with pytest.raises(CopyRefused, match="not empty: processors"):
        copy_database(origin, target, actor="test")
    with target.write() as tx:
        tx.execute(processors.delete())
    assert copy_database(origin, target, actor="test").rows["runs"] == 2


def test_a_copy_that_fails_leaves_nothing_and_can_be_made_again(origin: Path, target: Database) -> None:
    source = Database(f"sqlite:///{origin}")
    with source.write() as tx:
        tx.exec_driver_sql("UPDATE data_students SET last_name = 'a' || char(0) WHERE student_id = '1059'")
    source.close()
    with pytest.raises(CopyRefused, match="does not take what data_students holds"):
        copy_database(origin, target, actor="test")
    with target.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(runs)).scalar_one() == 0
    source = Database(f"sqlite:///{origin}")
    with source.write() as tx:
        tx.exec_driver_sql("UPDATE data_students SET last_name = 'a' WHERE student_id = '1059'")
        tx.exec_driver_sql("CREATE TABLE further (id INTEGER)")
    source.close()
    with pytest.raises(CopyRefused, match="knows nothing of: further"):
        copy_database(origin, target, actor="test")
    source = Database(f"sqlite:///{origin}")
    with source.write() as tx:
        tx.exec_driver_sql("DROP TABLE further")
    source.close()
    assert copy_database(origin, target, actor="test").rows["runs"] == 2


def test_a_broken_audit_trail_comes_over_as_broken_as_it_was(origin: Path, target: Database) -> None:
    source = Database(f"sqlite:///{origin}")
    with source.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER audit_no_update")
        tx.exec_driver_sql("UPDATE audit SET actor = 'somebody else' WHERE id = 1")
    before = audit.verify(source)
    source.close()
    assert before.at_record == 1
    assert copy_database(origin, target, actor="test").trail.at_record == 1
    assert audit.verify(target).broken == before.broken
