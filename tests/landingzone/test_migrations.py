"""Migrations only add, so that the old version runs on while the new one starts; they are made by one process."""

import ast
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import landingzone.migrations
from landingzone.db import Database, newest_revision

VERSIONS = sorted((Path(landingzone.migrations.__path__[0]) / "versions").glob("0*.py"))
ADDING = {"create_table", "create_index", "add_column", "batch_alter_table", "f", "drop_index"}
"""An index may go: nobody's statement names one, and another covers its columns."""


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """What a migration's `upgrade` asks of Alembic."""
    (upgrade,) = (
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    )
    found = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    ours = [
        call for call in found if isinstance(call.func.value, ast.Name) and call.func.value.id in {"op", "batch_op"}
    ]
    return [(call.func.attr, call) for call in ours]


@pytest.mark.parametrize("path", [path for path in VERSIONS if path.stem >= "0006"], ids=lambda path: path.stem)
def test_a_migration_only_adds(path: Path) -> None:
    for name, call in calls(path):
        if name == "execute":
            assert ast.unparse(call.args[0]).startswith("'UPDATE "), "only what is new is filled"
            continue
        assert name in ADDING, f"{name} takes something from the version that still runs"
        if name == "add_column":
            told = ast.unparse(call)
            assert "nullable=False" not in told or "server_default" in told, "the old version writes no such column"


def test_a_newer_database_is_taken_as_it_is(any_db: Database) -> None:
    with any_db.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert any_db.is_up_to_date
    any_db.migrate()
    assert any_db.revision == "9999"


def test_several_processes_migrate_one_database(request: pytest.FixtureRequest) -> None:
    server: Any = request.getfixturevalue("_postgresql")
    url = server.new_database(empty=True)
    databases = [Database(url) for _ in range(3)]
    threads = [threading.Thread(target=one.migrate) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.revision for one in databases] == [newest_revision()] * 3
    for one in databases:
        one.close()
    server.drop(url)
