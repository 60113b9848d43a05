"""Undoing a run brings its source back to exactly what it was before."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone.tables import sources
from processor import requests
from processor import run as runs
from processor.run import RunError

pytestmark = pytest.mark.both_databases

Students = Callable[..., bytes]


def active(desk: Any) -> list[tuple[Any, ...]]:
    return [row for row in desk.night.rows("students") if row[-1]]


def undo(desk: Any, told: dict[str, Any], **options: Any) -> dict[str, Any]:
    context = desk.context
    requests.revert(context.db, context.archive, f"{told['landing_id']}:{told['attempt']}", actor="operator", **options)
    with context.db.read() as tx:
        landing = runs.get(tx, told["landing_id"]).landing
    return desk.take(landing)


def test_added_changed_and_deactivated_rows_are_as_they_were(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    before = active(desk)
    second = students(60, start=1004, grade={9: "PK"})
    applied = desk.bring("students.csv", second)
    assert active(desk) != before
    told = undo(desk, applied)
    assert (told["outcome"], told["attempt"]) == ("reverted", 2)
    assert active(desk) == before
    again = desk.bring("students.csv", second)
    assert (again["outcome"], again["rows"]["deactivated"]) == ("imported", 4)


def test_a_row_that_had_come_back_is_gone_again_with_its_old_values(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    desk.bring("students.csv", students(58))
    before = desk.night.rows("students")
    undo(desk, desk.bring("students.csv", students(60, grade={60: "12", 61: "12"})))
    assert desk.night.rows("students") == before


def test_after_undoing_the_same_bytes_are_not_unchanged(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(30))
    undo(desk, told)
    assert active(desk) == []
    again = desk.bring("students.csv", students(30))
    assert (again["outcome"], again["rows"]["added"]) == ("imported", 30)


def test_an_older_run_is_undone_only_with_all_that_came_since(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    before = active(desk)
    older = desk.bring("students.csv", students(60, start=1002))
    desk.bring("students.csv", students(60, start=1004))
    with pytest.raises(RunError, match="--through"):
        undo(desk, older)
    told = undo(desk, older, through=True)
    assert "1 newer files were undone" in told["message"]
    assert active(desk) == before


def test_what_was_not_applied_or_is_undone_cannot_be_undone(desk: Any, students: Students) -> None:
    applied = desk.bring("students.csv", students(60))
    held = desk.bring("students.csv", students(10))
    for told in (held, applied):
        if told is applied:
            undo(desk, applied)
        with pytest.raises(RunError):
            undo(desk, told)


def test_runs_undone_together_are_told_so_and_cannot_be_undone_again(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    before = active(desk)
    older = desk.bring("students.csv", students(60, start=1002))
    newer = desk.bring("students.csv", students(60, start=1004))
    undo(desk, older, through=True)
    told = [path.read_text() for path in desk.night.receipts.glob(f"{newer['landing_id']}*.json")]
    assert len(told) == 1
    assert '"outcome": "reverted"' in told[0]
    with pytest.raises(RunError):
        undo(desk, newer)
    assert active(desk) == before


def test_an_undoing_that_fails_changes_nothing_and_is_asked_for_again(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    before = active(desk)
    older = desk.bring("students.csv", students(60, start=1002))
    context = desk.context
    run_id = f"{older['landing_id']}:1"
    failed = requests.revert(context.db, context.archive, run_id, actor="operator")
    newer = desk.bring("students.csv", students(60, start=1004))  # as if it had been under way
    with context.db.read() as tx:
        landing = runs.get(tx, failed).landing
    assert desk.take(landing)["outcome"] == "failed"
    undo(desk, newer)
    with context.db.read() as tx:
        assert tx.execute(sa.select(sources.c.standing_run)).scalar_one() == run_id
    requests.retry(context.db, context.archive, failed, actor="operator")
    assert desk.take(landing)["outcome"] == "reverted"
    assert active(desk) == before
