"""Views of real databases through ODBC: what survives, what is refused, and how much memory a million rows take."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from upload import query, statement
from upload.command import Setup
from upload.errors import NotExtracted, SettingsError
from upload.folder import Folder
from upload.preparation import prepare

SERVICE = "_shared_whole"

SERVER = f'[server]\nhost = "h"\naccount = "a"\nhost_keys = ["SHA256:{"x" * 43}"]\n'
ROWS = 1_000_000
MILLION = {
    "postgresql": f"""
        CREATE TABLE pupils AS SELECT lpad(i::text, 8, '0') AS student_id, 'Lisa' || i AS first_name,
          'Simpson'::varchar AS last_name, (2170000000 + i)::numeric(10, 0) AS phone, mod(i, 100) AS school_id,
          'lisa' || i || '@example.org' AS email, date '2026-01-31' AS entered FROM generate_series(1, {ROWS}) i""",
    "sqlite": f"""
        CREATE TABLE pupils AS WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {ROWS})
          SELECT printf('%08d', i) AS student_id, 'Lisa' || i AS first_name, 'Simpson' AS last_name,
          2170000000 + i AS phone, i % 100 AS school_id, 'lisa' || i || '@example.org' AS email,
          '2026-01-31' AS entered FROM g""",
}
MEASURED = """
from upload.cli import app
app(standalone_mode=False)
print(open("/proc/self/status").read())
"""
"""The most memory of this program alone: what the system tells of a child counts its parent's, too."""
COLUMNS = (
    "student_id varchar(20), first_name varchar(100), last_name varchar(100), phone numeric(12,1), school_id char(3), "
    "grade integer, gender text, entered date, seen timestamp, moved timestamp, height float, fees numeric(8,1)"
)
MANY = "é" * 300
VALUES: list[tuple[Any, ...]] = [
    (
        *("00017", "Zoë 😀", 'Simp"son, Jr', 2175550101, "014", 7, MANY, "2026-01-31"),
        *("2026-01-31 00:00:00", "2026-01-31 06:05:00", 1.0, 2.5),
    ),
    ("00018", "Bart\r\nJo", "O'Hara;", 2175550102, "014", *[None] * 7),
]


@dataclass
class Source:
    """A database that is asked through ODBC, and written to beside it."""

    kind: str
    connection: str
    execute: Callable[..., Any]


@pytest.fixture(params=["postgresql", "sqlite"])
def source(request: pytest.FixtureRequest, tmp_path: Path, need: Callable[[str], str]) -> Iterator[Source]:
    """Each of the two databases, empty."""
    drivers = subprocess.run([need("odbcinst"), "-q", "-d"], capture_output=True, text=True, check=True).stdout
    if "PostgreSQL Unicode" not in drivers or "SQLite3" not in drivers:
        pytest.skip("the ODBC drivers of PostgreSQL and SQLite are not installed")
    if request.param == "sqlite":
        path = tmp_path / "sis.db"
        sqlite = sqlite3.connect(path, isolation_level=None)
        yield Source("sqlite", f"Driver=SQLite3;Database={path}", sqlite.execute)
        sqlite.close()
        return
    server = request.getfixturevalue("_postgresql")
    url = sa.make_url(server.new_database(empty=True))
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def execute(text: str, values: tuple[Any, ...] = ()) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(text.replace("?", "%s") if values else text, values or None)

    host = url.query.get("host", url.host)
    yield Source(
        "postgresql",
        f"Driver=PostgreSQL Unicode;Servername={host};"
        f"Port={url.port or 5432};Database={url.database};UID={url.username}",
        execute,
    )
    engine.dispose()
    server.drop(url.render_as_string(hide_password=False))


def settings(folder: Path, connection: str, asked: str) -> Setup:
    """A folder whose settings ask a database for students."""
    text = f"{SERVER}[[source]]\nfeed = \"students\"\nconnection = '{connection}'\n{asked}\n"
    (folder / "landingzone-upload.toml").write_text(text)
    return Setup(Folder(folder))


def test_types_nulls_dates_leading_zeros_quotes_and_newlines_survive(source: Source, tmp_path: Path) -> None:
    source.execute(f"CREATE TABLE kids ({COLUMNS})")
    for row in VALUES:
        source.execute(f"INSERT INTO kids VALUES ({', '.join('?' * len(row))})", row)
    source.execute("CREATE VIEW pupils AS SELECT * FROM kids")
    setup = settings(tmp_path, source.connection, 'view = "pupils"')
    (one,) = prepare(setup, setup.settings.source[0])
    assert one.outgoing.path.read_bytes().decode() == (
        '"student_id","first_name","last_name","phone","school_id","grade","gender",'
        '"entered","seen","moved","height","fees"\r\n'
        f'"00017","Zoë 😀","Simp""son, Jr","2175550101","014","7","{MANY}",'
        '"01/31/2026","01/31/2026","01/31/2026 06:05:00","1","2.5"\r\n'
        '"00018","Bart\r\nJo","O\'Hara;","2175550102","014","","","","","","",""\r\n'
    )
    assert one.outgoing.rows == 2
    one.discard()


@pytest.mark.parametrize(
    "asked",
    [
        "WITH gone AS (DELETE FROM kids RETURNING student_id) SELECT * FROM gone",
        "WITH x AS (SELECT 1) DELETE FROM kids",
        "SELECT student_id INTO stolen FROM kids",
        "SELECT drain()",
    ],
)
def test_the_database_itself_refuses_to_be_written_to(
    source: Source, tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the statement would pass."""
    source.execute("CREATE TABLE kids (student_id varchar(20))")
    source.execute("INSERT INTO kids VALUES ('1')")
    if source.kind == "postgresql":
        source.execute("CREATE FUNCTION drain() RETURNS text AS 'DELETE FROM kids RETURNING student_id' LANGUAGE sql")
    setup = settings(tmp_path, source.connection, f'query = "{asked}"')
    if "drain" not in asked:
        with pytest.raises(SettingsError, match="may write"):
            list(prepare(setup, setup.settings.source[0]))
        monkeypatch.setattr(statement, "checked", lambda text: text)
    with pytest.raises(NotExtracted, match=r"refused|no columns"):
        list(prepare(setup, setup.settings.source[0]))
    source.execute("CREATE TABLE stolen (i integer)")  # it is not there yet
    if source.kind == "postgresql":
        source.execute("SELECT 1 / count(*) FROM kids")
    else:
        assert source.execute("SELECT count(*) FROM kids").fetchone() == (1,)


@pytest.mark.parametrize(
    "asked",
    [
        "DELETE FROM kids",
        "SELECT 1; DROP TABLE kids",
        "SELECT 1 -- ;\n; SELECT 2",
        "SELECT 'a",
        "EXEC p",
        "",
        "SELECT 1 FOR UPDATE",
    ],
)
def test_anything_but_one_select_is_refused_before_it_is_asked(asked: str) -> None:
    with pytest.raises(SettingsError, match="query: "):
        statement.checked(asked)
    assert statement.checked("select \"update\", 'delete; it''s' /* ; */ from t -- no;\n;") == (
        "select \"update\", 'delete; it''s' /* ; */ from t -- no;"
    )
    with pytest.raises(SettingsError, match="no plain name"):
        statement.of_view("pupils; DROP TABLE pupils")


def test_a_value_that_is_too_long_is_an_error_and_never_cut(source: Source, tmp_path: Path) -> None:
    source.execute("CREATE TABLE kids (student_id varchar(20), first_name text)")
    source.execute("INSERT INTO kids VALUES ('1', ?)", ("x" * 40_000,))
    setup = settings(tmp_path, source.connection, 'query = "SELECT * FROM kids"')
    with pytest.raises(NotExtracted, match="too large"):
        list(prepare(setup, setup.settings.source[0]))


def test_the_password_comes_from_its_place_and_is_never_told(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = settings(tmp_path, source.connection, 'view = "nothing"\npassword_env = "SIS"')
    monkeypatch.delenv("SIS", raising=False)
    with pytest.raises(SettingsError, match="variable SIS"):
        list(prepare(setup, setup.settings.source[0]))
    monkeypatch.setenv("SIS", "hunter2;")
    with pytest.raises(NotExtracted, match="refused") as refused:
        list(prepare(setup, setup.settings.source[0]))
    assert "hunter2" not in str(refused.value)
    assert query.password(setup.settings.source[0]) == "hunter2;"


def test_a_million_rows_are_extracted_and_sent_with_less_than_300_mb(
    source: Source, service: Any, uploader: Any
) -> None:
    source.execute(MILLION[source.kind])
    uploader.extra = f'[[source]]\nfeed = "students"\nview = "pupils"\nconnection = \'{source.connection}\'\n'
    uploader.settle()
    command = [sys.executable, "-c", MEASURED, "--folder", str(uploader.folder), "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "students: imported\n" in done.stdout, done.stdout[:3000] + done.stderr
    assert f"{ROWS:,}  usable" in done.stdout
    (landed,) = service.landed(uploader.account)
    assert landed.name == "students.csv.zst"
    most = int(done.stdout.rpartition("VmHWM:")[2].split()[0]) * 1024
    assert most < 300_000_000, most
