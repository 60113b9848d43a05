"""What is over its time goes; what is still needed stays."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from landingzone.clock import now
from landingzone.job import Work
from landingzone.settings import RetentionSettings
from processor import account_data, requests, retention
from processor import run as runs

Students = Callable[..., bytes]


def swept(desk: Any, *, remove: bool = True, days: int = 500) -> dict[str, dict[str, int]]:
    work = Work(desk.context.db, "retention", "test", threading.Event())
    _hold(desk)
    with time_machine.travel(now() + timedelta(days=days), tick=True):
        return {part: do(desk.context, work, remove=remove) for part, do in retention.PARTS.items()}


def _hold(desk: Any) -> None:
    from landingzone.tables import jobs

    with desk.context.db.write() as tx:
        tx.execute(jobs.delete())
        tx.execute(jobs.insert().values(name="retention", due_at="", owner="test", failures=0))


def test_old_archives_and_rows_go_but_what_the_source_stands_at_can_still_be_undone(
    desk: Any, students: Students
) -> None:
    first = desk.bring("students.csv", students(40))
    desk.bring("students.csv", students(38))
    desk.bring("students.csv", students(3))
    last = desk.bring("students.csv", students(37))
    counted = swept(desk, remove=False)
    assert swept(desk) == counted
    assert counted["archives"]["landings"] >= 2
    assert counted["deactivated"] == {"rows": 2}
    assert swept(desk)["deactivated"] == {"rows": 0}
    assert len(desk.night.rows("students")) == 38
    with pytest.raises(runs.RunError):
        requests.revert(desk.context.db, desk.context.archive, first["landing_id"], actor="test", through=True)
    requests.revert(desk.context.db, desk.context.archive, last["landing_id"], actor="test")
    assert desk.bring("students.csv", students(40))["outcome"] == "imported"
    assert sum(row[-1] for row in desk.night.rows("students")) == 40


def test_nothing_goes_before_its_time_or_while_it_waits_for_somebody(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    held = desk.bring("students.csv", students(3))
    assert held["outcome"] == "held"
    assert swept(desk, days=399)["archives"]["landings"] == 0
    assert swept(desk)["archives"]["landings"] == 0
    with desk.context.db.read() as tx:
        assert tx.execute(sa.select(account_data.table_of(desk.context.catalogue["students"]))).all()


def test_rows_outlive_the_archives_that_would_bring_them_back() -> None:
    with pytest.raises(ValueError, match="at least archive_days"):
        RetentionSettings(deactivated_days=100)
    assert RetentionSettings(deactivated_days=0, archive_days=0).archive_days == 0
