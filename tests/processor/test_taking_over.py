"""Several processors on one zone: what one leaves when it dies or stands still, the others bring to its end, once."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone.tables import processors, runs
from processor import run as run_rows
from processor import turns
from processor.run import EVENTS, State, TakenOver, advance, disown, own

Students = Callable[..., bytes]
FAST = {"processor__beat_seconds": "0.3", "processor__rescan_seconds": "1"}


@pytest.fixture
def second(night: Any, tmp_path: Path) -> Iterator[Any]:
    """A further processor of the same zone."""
    other = type(night)(night.here, tmp_path / "second.log", dict(night.settings))
    other.log_file.touch()
    yield other
    other.kill()


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)


def states(night: Any) -> list[str]:
    return [run.state.value for run in night.runs()]


def check_once(night: Any, landings: list[Any]) -> None:
    """One run and one receipt for each, whoever has done it."""
    for landing in landings:
        night.receipt(landing)
    wait_for(lambda: set(states(night)) == {"receipted"} and not night.left_over())
    assert sorted(run.landing_id for run in night.runs()) == sorted(landing.id for landing in landings)


@pytest.mark.both_databases
@pytest.mark.parametrize("moment", ["after examine", "after commit:applied"])
def test_what_a_dead_node_had_in_hand_another_one_finishes(
    night: Any, second: Any, students: Students, moment: str
) -> None:
    night.start(node="one", die_at=moment, **FAST)
    night.wait_until_started()
    night.armed.touch()
    landings = [night.land("students.csv", students(60))]
    assert night.wait_for_death() == -9
    landings.append(night.land("students.csv", students(58, start=1002)))
    second.start(node="two", **FAST)
    check_once(night, landings)
    assert [run.outcome for run in night.runs()] == ["imported", "imported"]
    assert '"processor.taken_over"' in second.log
    rows = night.rows("students")
    assert [(row[0], row[-1]) for row in rows] == [(f"{number}", number >= 1002) for number in range(1000, 1060)]
    with night.here.db.read() as tx:
        gone = dict(tx.execute(sa.select(processors.c.node, processors.c.gone_at)).all())
    assert gone["one"] is not None
    assert gone["two"] is None


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)  # with SQLite it may stand still with a lock
@pytest.mark.parametrize("moment", ["after examine"])
def test_a_node_that_stood_still_and_wakes_up_changes_nothing_more(
    night: Any, second: Any, students: Students, moment: str
) -> None:
    night.settings["STANDS_STILL"] = "1"
    night.start(node="one", die_at=moment, **FAST)
    night.wait_until_started()
    night.armed.touch()
    landing = night.land("students.csv", students(60))
    assert night.process is not None
    pid = night.process.pid
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    night.armed.unlink()
    second.start(node="two", **FAST)
    check_once(night, [landing])
    told = night.receipt(landing)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: '"run.taken_over"' in night.log)
    later = night.land("students.csv", students(61))  # both work on
    check_once(night, [landing, later])
    assert night.receipt(landing) == told
    assert [run.outcome for run in night.runs()] == ["imported", "imported"]
    assert len(night.rows("students")) == 61


def test_a_file_that_has_killed_three_processes_is_set_aside_and_can_be_asked_for_again(
    night: Any, students: Students
) -> None:
    night.armed.touch()
    landings = [night.land("students.csv", students(60)), night.land("staff.csv", b"Staff ID\r\n")]
    for _ in range(3):
        night.start(die_at="before examine", **FAST)
        assert night.wait_for_death() == -9
    night.start(**FAST)
    told = night.receipt(landings[0])
    assert (told["outcome"], told["rows"]["read"]) == ("failed", 0)
    assert '"run.set_aside"' in night.log
    assert night.receipt(landings[1])["outcome"] == "rejected"  # the account goes on
    assert night.archived_sha256(landings[0]) == told["sha256"]
    from processor import requests
    from processor.archive import archive_of

    archive = archive_of(night.here.settings, night.here.zone)
    requests.retry(night.here.db, archive, landings[0].id, actor="test")
    assert night.receipt(landings[0], outcome="imported")["rows"]["added"] == 60


@pytest.mark.both_databases
def test_attendance_that_lands_last_goes_first_and_one_account_never_goes_twice_at_once(
    night: Any, second: Any, students: Students
) -> None:
    landings = [night.land("students.csv", students(40 + number)) for number in range(12)]
    attendance = night.land("attendance.csv", b"Student ID,Absence Date,Period\r\n1000,01/05/2026,1\r\n")
    night.start(node="one", **FAST)
    second.start(node="two", **FAST)
    check_once(night, [*landings, attendance])
    done = sorted(night.runs(), key=lambda run: run.finished_at)
    assert done[0].landing_id == attendance.id
    assert [run.landing_id for run in done[1:]] == [landing.id for landing in landings]
    assert [run.outcome for run in done] == ["imported"] * 13


@pytest.mark.both_databases
def test_attendance_does_not_wait_for_rosters_that_landed_before_whoever_has_the_turn(
    night: Any, students: Students
) -> None:
    districts = [f"district{number:02}" for number in range(36)]
    for name in districts:
        night.here.accounts.add(name, actor="test")
        night.here.zone.prepare_account(name)
    rosters = [night.land("students.csv", students(40), name) for name in districts]
    night.start(processor__workers="1", **FAST)
    night.receipt(rosters[0])
    absent = b"Student ID,Absence Date,Period\r\n1000,01/05/2026,1\r\n"
    attendance = [night.land("attendance.csv", absent, name) for name in districts]
    check_once(night, [*rosters, *attendance])
    done = [run.landing_id for run in sorted(night.runs(), key=lambda run: run.finished_at)]
    assert done[0] == rosters[0].id  # who has waited longest goes first
    assert set(done[-12:]) <= {roster.id for roster in rosters}


@pytest.mark.both_databases
def test_one_run_of_an_account_has_its_turn_attendance_first_then_in_order_of_landing(night: Any) -> None:
    db, account = night.here.db, night.here.accounts.get("springfield")
    names = ["students.csv", "staff.csv", "attendance.csv"]
    landed = [night.upload(name, b"")[1] for name in names]
    with db.write() as tx:
        ids = [
            run_rows.add(tx, landing, priority=EVENTS if "att" in landing.name else run_rows.ROSTERS)
            for landing in landed
        ]
        given = turns.give(tx, account.id)
        assert given is not None
        assert (given.run_id, given.landing) == (ids[2], landed[2])
        assert turns.give(tx, account.id) is None
        assert turns.waiting_accounts(tx) == {}
        assert [turn.run_id for turn in turns.unclaimed(tx)] == [ids[2]]
    with pytest.raises(sa.exc.IntegrityError), db.write() as tx:
        tx.execute(runs.update().where(runs.c.id == ids[0]).values(turn_at="2026-01-01T00:00:00.000Z"))
    for expected in (ids[0], ids[1], None):
        with db.write() as tx:
            tx.execute(runs.update().where(runs.c.turn_at.is_not(None)).values(state=State.RECEIPTED.value))
            assert list(turns.waiting_accounts(tx)) == ([account.id] if expected else [])
            given = turns.give(tx, account.id)
            assert (given.run_id if given else None) == expected


@pytest.mark.both_databases
def test_a_run_that_was_taken_away_can_be_owned_anew_and_changed_only_by_its_owner(night: Any) -> None:
    db = night.here.db
    landing = night.upload("students.csv", b"")[1]
    with db.write() as tx:
        run = run_rows.get(tx, run_rows.add(tx, landing))
        own(tx, run, "node_1/1/a")
        with pytest.raises(TakenOver):
            own(tx, run, "two/1/b")
        advance(tx, run, State.CLAIMED, owner="node_1/1/a")
        assert disown(tx, "nodex1", crashed=True) == 0  # `_` stands for itself
        assert disown(tx, "node_1", but="node_1/1/a", crashed=True) == 0
        assert disown(tx, "node_1", crashed=True) == 1
        assert disown(tx, "node_1", crashed=True) == 0
        assert run_rows.get(tx, run.id).crashes == 1
        with pytest.raises(TakenOver):
            advance(tx, run, State.RECOGNISED, owner="node_1/1/a")
        own(tx, run, "two/1/b")
        advance(tx, run, State.RECOGNISED, owner="two/1/b")


def test_what_nobody_works_on_although_it_has_its_turn_is_brought_to_its_end(night: Any, students: Students) -> None:
    night.start(**FAST)
    first = night.land("students.csv", students(40))
    night.receipt(first)
    wait_for(lambda: states(night) == ["receipted"])
    assert night.stop() == 0
    with night.here.db.write() as tx:  # as if a power cut had taken the last note of the run, not that of its workflow
        tx.execute(runs.update().values(state=State.APPLIED.value, owner=f"{night.here.settings.node}/1/dead"))
    second = night.land("students.csv", students(41))
    night.start(processor__beat_seconds="0.1", processor__rescan_seconds="1")
    check_once(night, [first, second])
    assert [run.outcome for run in night.runs()] == ["imported", "imported"]
    assert '"run.strayed"' in night.log
