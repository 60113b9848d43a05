"""The merged view: what the sources of a feed say together, whatever they are and in whatever order they spoke."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landingzone.db import Database
from landingzone.feed import load_catalogue
from landingzone.source import Source, Sources
from landingzone.tables import accounts, metadata, sources
from processor import account_data
from processor.merged import ever_sent, merged, speaking, values

PETS: dict[str, Any] = {
    "pets": {
        "title": "Pets",
        "key": ["owner", "pet"],
        "fields": {
            "owner": {"required": True},
            "pet": {"required": True},
            "colour": {},
            "food": {},
            "language": {"default": "en"},
        },
    }
}
CATALOGUE = load_catalogue(extra=PETS)
FEED = CATALOGUE["pets"]
Key = tuple[str, str]
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Speaker:
    """A source as the oracle knows it: its place, its school, and its rows with whether they are active."""

    name: str
    priority: int
    rows: dict[Key, tuple[Row, bool]]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "postgresql":
        url = request.getfixturevalue("_postgresql").new_database(empty=True)
    else:
        url = f"sqlite:///{tmp_path_factory.mktemp('merged') / 'merged.db'}"
    made = Database(url)
    metadata.create_all(made.engine)
    account_data.ensure_tables(made, CATALOGUE)
    yield made
    made.close()


def fill(tx: sa.Connection, database: Database, speakers: list[Speaker]) -> int:
    """An account of its own with these sources; nothing of it stays when the transaction is rolled back."""
    account_id: int = tx.execute(
        accounts.insert().values(name="pets", created_at="").returning(accounts.c.id)
    ).scalar_one()
    for speaker in speakers:
        source = Source(speaker.name, f"{speaker.name}.csv", "pets", "full", speaker.priority)
        source_id = Sources(database, CATALOGUE).id_of(tx, account_id, source)
        rows = [dict(zip(FEED.field_names, (*key, *row), strict=True)) for key, (row, _) in speaker.rows.items()]
        if rows:
            account_data.add(tx, FEED, source_id, 1, pl.DataFrame(rows))
        ended = [dict(zip(FEED.key, key, strict=True)) for key, (_, active) in speaker.rows.items() if not active]
        if ended:
            account_data.end(tx, FEED, source_id, 2, pl.DataFrame(ended))
    tx.execute(sources.update().where(sources.c.account_id == account_id).values(rows_run=2))  # all that is applied
    return account_id


def told(tx: sa.Connection, account_id: int, *names: str) -> list[tuple[str, ...]]:
    view = merged(tx, FEED, account_id, names or None)
    return sorted(tuple(row) for row in tx.execute(sa.select(view)))


def by_hand(speakers: list[Speaker]) -> dict[Key, Row]:
    """The rule as it stands in the design, record by record and field by field."""
    found: dict[Key, list[str]] = {}
    for speaker in sorted(speakers, key=lambda one: (one.priority, one.name)):
        for key, (row, active) in speaker.rows.items():
            if active:
                record = found.setdefault(key, ["", "", ""])
                for at, value in enumerate(row):
                    record[at] = record[at] or value
    return {key: (record[0], record[1], record[2] or "en") for key, record in found.items()}


_texts = st.sampled_from(["", "a", "B", "ä", "-1", "000001"])
_rows = st.dictionaries(
    st.tuples(st.sampled_from(["1", "01", "2"]), st.sampled_from(["x", "y"])),
    st.tuples(st.tuples(_texts, _texts, st.sampled_from(["", "en", "es"])), st.booleans()),
)
_speakers = st.lists(
    st.builds(Speaker, name=st.sampled_from("abcdef"), priority=st.sampled_from([1, 2, 10, 100]), rows=_rows),
    max_size=5,
    unique_by=lambda one: one.name,
)


@given(speakers=_speakers)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_is_active_while_a_source_lists_it_and_each_field_is_the_first_that_is_not_empty(
    database: Database, speakers: list[Speaker]
) -> None:
    with database.engine.connect() as tx, tx.begin() as transaction:
        account_id = fill(tx, database, speakers)
        expected = sorted((*key, *row) for key, row in by_hand(speakers).items())
        assert told(tx, account_id) == expected
        assert told(tx, account_id, "pet", "owner", "food") == sorted((row[1], row[0], row[3]) for row in expected)
        assert set(tx.execute(values(tx, FEED, account_id, ["food"]))) == {(row[3],) for row in expected}
        assert set(tx.execute(values(tx, FEED, account_id, ["pet"]))) == {(row[1],) for row in expected}
        assert ever_sent(tx, FEED, account_id) is any(one.rows for one in speakers)
        transaction.rollback()


def test_of_equal_priority_the_name_decides(database: Database) -> None:
    speakers = [Speaker(name, 5, {("1", "x"): ((name, "", "en"), True)}) for name in ("zoo", "ark")]
    with database.engine.connect() as tx, tx.begin() as transaction:
        assert told(tx, fill(tx, database, speakers)) == [("1", "x", "ark", "", "en")]
        transaction.rollback()


def test_a_source_of_a_school_has_the_priority_of_the_one_that_is_declared(database: Database) -> None:
    rows = {("1", "x"): (("red", "", "en"), True)}
    speakers = [Speaker("by_school", 50, {}), Speaker("by_school_1", 1, rows), Speaker("other", 10, rows)]
    with database.engine.connect() as tx, tx.begin() as transaction:
        account_id = fill(tx, database, speakers)
        tx.execute(sources.update().where(sources.c.name == "by_school_1").values(part_of="by_school"))
        names = {row.id: row.name for row in tx.execute(sa.select(sources.c.id, sources.c.name))}
        assert [names[one] for one in speaking(tx, FEED, account_id)] == ["other", "by_school_1"]
        transaction.rollback()


def test_one_source_is_read_as_it_is(database: Database) -> None:
    with database.engine.connect() as tx, tx.begin() as transaction:
        account_id = fill(tx, database, [Speaker("a", 1, {("1", "x"): (("", "", "en"), True)})])
        text = str(sa.select(merged(tx, FEED, account_id)).compile(tx.engine))
        assert "GROUP BY" not in text
        transaction.rollback()


def test_two_views_stand_in_one_statement(database: Database) -> None:
    rows = {("1", "x"): (("red", "", "en"), True)}
    with database.engine.connect() as tx, tx.begin() as transaction:
        account_id = fill(tx, database, [Speaker("a", 1, rows), Speaker("b", 2, rows)])
        one, two = merged(tx, FEED, account_id), merged(tx, FEED, account_id, ["owner", "colour"])
        query = sa.select(one.c.pet, two.c.colour).join(two, one.c.owner == two.c.owner)
        assert tx.execute(query).all() == [("x", "red")]
        transaction.rollback()


def test_another_account_is_never_in_it(desk: Any, students: Callable[..., bytes]) -> None:
    desk.bring("students.csv", students(3))
    here = desk.night.here
    other = here.accounts.add("shelbyville", actor="test")
    with here.db.read() as tx:
        assert tx.execute(sa.select(merged(tx, here.catalogue["students"], other.id))).all() == []


def test_two_files_of_one_school_each_give_what_the_other_leaves_out(desk: Any, students: Callable[..., bytes]) -> None:
    here = desk.night.here
    feed = here.catalogue["students"]
    for name, priority in (("office.csv", 1), ("sis.csv", 2)):
        here.sources.expect("springfield", name, feed=feed, actor="test", priority=priority)
    desk.bring("office.csv", students(3, first={2: "Ann"}, grade={2: "", 3: "12"}))
    desk.bring("sis.csv", students(4, first={2: "Anna"}, grade={2: "9", 3: "11"}))
    with here.db.read() as tx:
        view = merged(tx, feed, here.accounts.get("springfield").id)
        found = tx.execute(sa.select(view.c.student_id, view.c.first_name, view.c.grade).order_by(view.c.student_id))
        rows = [tuple(row) for row in found]
    assert rows[:2] == [("1000", "Ann", "9"), ("1001", "First1", "12")]
    assert len(rows) == 4
