"""What is looked up and then written holds on PostgreSQL too, where many write at once: each has its own connection."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone import audit, landing_record, login_attempt, penalty
from landingzone.account import AccountError, Accounts
from landingzone.clock import now
from landingzone.db import Database, is_away, is_busy
from landingzone.feed import load_catalogue
from landingzone.landing import Landing
from landingzone.login_attempt import LoginAttempt
from landingzone.penalty import Tally
from landingzone.settings import GuardSettings, LimitSettings
from landingzone.source import SourceError, Sources
from landingzone.tables import login_attempts, penalties, runs, sources
from processor import run as run_of

WRITERS = 4
Race = Callable[[Callable[[Database, int], object]], list[Any]]


@pytest.fixture
def db(_postgresql: Any) -> Iterator[Database]:
    url = _postgresql.new_database()
    made = Database(url)
    Accounts(made).add("springfield", actor="test")
    yield made
    made.close()
    _postgresql.drop(url)


@pytest.fixture
def race(db: Database) -> Race:
    """Lets several do the same at the same time; what each got, or its error."""

    def run(work: Callable[[Database, int], object]) -> list[Any]:
        start, results = threading.Barrier(WRITERS), [None] * WRITERS

        def one(number: int) -> None:
            mine = Database(db.url.render_as_string(hide_password=False))
            try:
                with mine.read() as tx:
                    tx.execute(sa.text("SELECT 1"))
                start.wait(20)
                results[number] = work(mine, number)
            except Exception as error:  # noqa: BLE001 - looked at by the test
                results[number] = error
            finally:
                mine.close()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    return run


def test_one_of_several_makes_an_account(db: Database, race: Race) -> None:
    results = race(lambda mine, _: Accounts(mine).add("shelbyville", actor="test"))
    assert sorted(type(one).__name__ for one in results) == ["Account", *["AccountError"] * (WRITERS - 1)]
    assert audit.verify(db).broken is None


def test_no_option_of_an_account_is_lost(db: Database, race: Race) -> None:
    defaults = list(GuardSettings().model_dump().items())[:WRITERS]
    race(lambda mine, n: Accounts(mine).set_options("springfield", dict([defaults[n]]), actor="test"))
    assert Accounts(db).get("springfield").options == dict(defaults)


def test_of_patterns_that_overlap_one_is_declared(db: Database, race: Race) -> None:
    catalogue = load_catalogue()
    patterns = [f"{start}{{school}}.csv" for start in ("a", "ab", "abc", "abcd")]
    results = race(
        lambda mine, n: Sources(mine, catalogue).expect(
            "springfield", patterns[n], feed=catalogue["students"], name=f"s{n}", actor="test"
        )
    )
    assert sum(isinstance(one, SourceError) for one in results) == WRITERS - 1, results
    with db.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(sources)).scalar() == 1


def test_a_source_gets_one_number(db: Database, race: Race) -> None:
    account_id = Accounts(db).get("springfield").id

    def number(mine: Database, _: int) -> int:
        here = Sources(mine, load_catalogue())
        source = here.get("springfield", "students")
        with mine.write() as tx:
            return here.id_of(tx, account_id, source)

    assert len(set(race(number))) == 1


def test_a_landing_is_taken_in_once(db: Database, race: Race) -> None:
    landing = Landing("0197a8a0-0000-7000-8000-000000000001", "springfield", "students.csv")

    def take(mine: Database, _: int) -> None:
        with mine.write() as tx:
            landing_record.note(tx, landing)
            if not run_of.exists(tx, landing.id):
                run_of.add(tx, landing)

    assert race(take) == [None] * WRITERS
    with db.read() as tx:
        assert tx.execute(sa.select(runs.c.attempt)).scalars().all() == [1]


def test_doors_count_the_same_attempts_and_failures_together(db: Database, race: Race) -> None:
    attempt = LoginAttempt("springfield", "192.0.2.1", outcome="unknown_key")
    limits = LimitSettings(login_failures_per_address=1000)

    def note(mine: Database, _: int) -> None:
        for _again in range(5):
            tally = Tally()
            tally.failed["192.0.2.1", ""] += 1
            with mine.write() as tx:
                login_attempt.note(tx, [attempt], now())
                penalty.write(tx, tally, limits)

    assert race(note) == [None] * WRITERS
    with db.read() as tx:
        assert tx.execute(sa.select(login_attempts.c.times)).scalars().all() == [5 * WRITERS]
        assert tx.execute(sa.select(penalties.c.failures)).scalars().all() == [5 * WRITERS]


def test_a_reader_sees_one_state(db: Database) -> None:
    other = Database(db.url.render_as_string(hide_password=False))
    with db.read() as tx:
        before = tx.execute(sa.text("SELECT count(*) FROM accounts")).scalar()
        Accounts(other).add("shelbyville", actor="test")
        assert tx.execute(sa.text("SELECT count(*) FROM accounts")).scalar() == before
    other.close()


def test_who_waits_too_long_is_told_that_the_database_is_busy(db: Database) -> None:
    impatient = Database(db.url.render_as_string(hide_password=False), waits_seconds=1)
    with audit.changing(db), pytest.raises(sa.exc.OperationalError) as told:
        Accounts(impatient).add("shelbyville", actor="test")
    assert is_busy(told.value)
    assert not is_away(told.value)
    impatient.close()


def test_connections_of_a_process_that_was_given_up_are_ended(db: Database) -> None:
    stopped = Database(db.url.render_as_string(hide_password=False), name="node-1/17/abc")
    with pytest.raises(sa.exc.OperationalError) as told, audit.changing(stopped) as tx:
        assert db.end_connections("node-1/17/abc") == 1
        Accounts(db).add("shelbyville", actor="test")
        tx.execute(sa.text("SELECT 1"))
    assert is_away(told.value)
    with pytest.raises(AccountError):
        Accounts(stopped).add("shelbyville", actor="test")
    stopped.close()
