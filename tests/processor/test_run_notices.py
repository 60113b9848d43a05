"""A run that ended so that somebody should know makes one notice, on every database."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from landingzone import landing_record
from landingzone.account import Accounts
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.landing import IdMaker, Landing
from landingzone.notices import notice
from landingzone.notices.notice import Kind
from landingzone.notices.target import Channel, Target
from landingzone.tables import runs as table
from processor import run as runs
from processor import run_notices

new_id = IdMaker()
HOOK = Target(Channel.WEBHOOK, "https://x.example/")


@pytest.fixture
def db(any_db: Database) -> Database:
    Accounts(any_db).add("springfield", title="Springfield Schools", actor="test")
    return any_db


def run(db: Database, outcome: str | None, **values: Any) -> str:
    with db.write() as tx:
        landing = Landing(new_id(), "springfield", "students.csv")
        landing_record.note(tx, landing)
        made = runs.add(tx, landing)
        if outcome:
            end(tx, made, outcome, **values)
    return made


def end(tx: sa.Connection, made: str, outcome: str, **values: Any) -> None:
    ended = {"outcome": outcome, "state": "receipted", "finished_at": iso(now())}
    tx.execute(table.update().where(table.c.id == made).values(**ended, **values))


def test_each_end_that_needs_somebody_is_told_with_its_reason_and_no_other(db: Database) -> None:
    held = run(db, "held", report={"hold": {"code": "truncated", "message": "Ann Lee"}})
    for outcome in ("imported", "unchanged", "superseded", "withdrawn", "reverted"):
        run(db, outcome)
    run(db, "rejected", request={"kind": "reject", "reason": "asked for"})
    failed = run(db, "failed", report={"hold": None})
    with db.read() as tx:
        found = [one.notice for one in run_notices.ended(tx, 0)]
    assert [one and one.said["run"] for one in found] == [held, None, failed]
    first = found[0]
    assert first is not None
    assert (first.kind, first.title, first.said["code"]) == (Kind.HELD, "Springfield Schools", "truncated")
    assert "Ann" not in str(first)


def test_the_mark_moves_over_what_has_ended_some_minutes_ago_and_never_past_what_is_under_way(db: Database) -> None:
    with time_machine.travel(now() - timedelta(hours=1)):
        run(db, "held")
        under_way = run(db, None)
        run(db, "held")
    run(db, "failed")
    with db.write() as tx:
        assert run_notices.mark(tx) is None
        run_notices.set_mark(tx, run_notices.next_mark(tx))
        assert run_notices.mark(tx) == 1
        end(tx, under_way, "rejected")
        assert [one.serial for one in run_notices.ended(tx, 1)] == [2, 3, 4]
        run_notices.set_mark(tx, run_notices.next_mark(tx))
        assert run_notices.mark(tx) == 3


def test_a_cause_that_is_seen_twice_makes_one_notice_and_one_delivery(db: Database) -> None:
    run(db, "held", report={"hold": {"code": "truncated"}})
    for expected in (True, False):
        with db.write() as tx:
            (found,) = run_notices.ended(tx, 0)
            assert found.notice
            assert notice.make(tx, found.notice, [HOOK], digest_seconds=60) is expected
    with db.write() as tx:
        (delivery,) = notice.waiting(tx)
        assert (delivery.target, delivery.notice.said["why"]) == (HOOK.key, "The file looks cut off.")
        assert notice.oldest_waiting(tx) is not None
        notice.delivered(tx, [delivery.id])
        assert notice.waiting(tx) == []
        assert [reached for _, reached, _ in notice.newest(tx, limit=5)] == ["1 of 1"]
    with time_machine.travel(now() + timedelta(days=100)), db.write() as tx:
        assert notice.remove_old(tx) == 1
