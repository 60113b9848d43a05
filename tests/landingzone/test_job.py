"""Jobs: done when they are due, by one process at a time, and by another one when that dies."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone import job as jobs
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.job import Daily, Every, Interrupted, Job, Jobs, Work
from landingzone.tables import jobs as table

HOUR = Every(timedelta(hours=1))


def a_job(do: Any, when: Any = HOUR) -> Job:
    return Job("sweep", when, do)


def record(db: Database) -> jobs.JobRecord:
    return jobs.known(db)[0]


def make_due(db: Database, **values: Any) -> None:
    with db.write() as tx:
        tx.execute(table.update().values(due_at=iso(now() - timedelta(seconds=1)), **values))


def test_a_job_is_done_at_once_and_again_when_its_interval_is_over(any_db: Database) -> None:
    done: list[Work] = []
    mine = a_job(done.append)
    node = Jobs(any_db, [mine], owner="a")
    node.turn(mine)
    assert node.turn(mine) > 0
    assert (len(done), record(any_db).outcome, record(any_db).owner) == (1, "done", None)
    make_due(any_db)
    node.turn(mine)
    assert len(done) == 2


def test_a_daily_job_waits_for_its_time_of_day() -> None:
    at = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
    assert Daily(at.time()).first(at - timedelta(minutes=1)) == at
    assert Daily(at.time()).after(at) == at + timedelta(days=1)


def test_a_shorter_interval_holds_at_once(any_db: Database) -> None:
    done: list[Work] = []
    Jobs(any_db, [], owner="a").turn(a_job(done.append, Every(timedelta(days=30))))
    time.sleep(0.05)
    Jobs(any_db, [], owner="a").turn(a_job(done.append, Every(timedelta(seconds=0))))
    assert len(done) == 2


def test_of_many_nodes_one_does_it(any_db: Database) -> None:
    done: list[str] = []
    both_ready = threading.Barrier(4)

    def node(name: str) -> None:
        def do(_work: Work) -> None:
            done.append(name)
            time.sleep(0.1)

        both_ready.wait()
        for _ in range(4):
            Jobs(any_db, [], owner=name).turn(a_job(do))

    threads = [threading.Thread(target=node, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1


def test_a_failed_job_is_tried_again_soon_and_then_later(any_db: Database) -> None:
    def fail(_work: Work) -> None:
        raise OSError("a value that nobody may read")

    mine = a_job(fail)
    node = Jobs(any_db, [mine], owner="a")
    waits = []
    for _ in range(3):
        node.turn(mine)
        found = record(any_db)
        waits.append((datetime.fromisoformat(found.due_at) - datetime.fromisoformat(str(found.ended_at))).seconds)
        make_due(any_db)
    assert waits == [30, 60, 120]
    assert (found.outcome, found.failures) == ("failed", 3)


def test_who_has_lost_the_lease_commits_nothing(any_db: Database) -> None:
    def slow(work: Work) -> None:
        make_due(any_db, lease_until=iso(now() - timedelta(seconds=1)))  # as after a pause of a minute
        Jobs(any_db, [], owner="b").turn(a_job(lambda work: None))
        make_due(any_db, owner="b", lease_until=iso(now() + timedelta(seconds=60)))
        with work.commit() as tx:
            tx.execute(table.update().values(failures=99))

    Jobs(any_db, [], owner="a").turn(a_job(slow))
    assert (record(any_db).owner, record(any_db).failures) == ("b", 0)


def test_a_stopping_process_interrupts_its_job_and_it_stays_due(any_db: Database) -> None:
    begun = threading.Event()

    def long(work: Work) -> None:
        begun.set()
        while True:
            work.go_on()
            time.sleep(0.01)

    node = Jobs(any_db, [a_job(long)], owner="a")
    node.start()
    assert begun.wait(10)
    node.stop(seconds=10)
    assert (record(any_db).outcome, record(any_db).owner) == ("interrupted", None)
    assert datetime.fromisoformat(record(any_db).due_at) < now()


_DYING = """
import sys, time
from landingzone.db import Database
from landingzone.job import *
def do(work):
    print("begun", flush=True)
    time.sleep(60)
Jobs(Database(sys.argv[1]), [], owner="dead").turn(Job("sweep", Every(timedelta(hours=1)), do))
"""


def test_another_node_takes_over_what_a_killed_one_has_begun(any_db: Database) -> None:
    url = any_db.url.render_as_string(hide_password=False)
    process = subprocess.Popen([sys.executable, "-c", _DYING, url], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait(10)
    done: list[Work] = []
    other = Jobs(any_db, [], owner="b")
    other.turn(a_job(done.append))
    assert (done, record(any_db).owner) == ([], "dead")  # nobody knows yet that it has died
    lease = datetime.fromisoformat(str(record(any_db).lease_until)) - now()
    assert lease <= jobs.LEASE
    with any_db.write() as tx:
        tx.execute(table.update().values(lease_until=iso(now() - timedelta(seconds=1))))
    other.turn(a_job(done.append))
    assert (len(done), record(any_db).outcome) == (1, "done")


def test_interrupted_is_told_where_nothing_holds_the_job(any_db: Database) -> None:
    with any_db.read() as tx:
        assert tx.execute(sa.select(table)).first() is None
    with pytest.raises(Interrupted), Work(any_db, "sweep", "nobody", threading.Event()).commit():
        pass
