"""A model of the life of runs, beside the real steps: whatever dies, wakes up, is asked for or lands in between."""

import contextlib
import dataclasses
import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from landingzone import tables
from landingzone.landing import Landing
from processor import account_data, receipt, requests, turns
from processor import run as runs
from processor.context import Context, owner_name
from processor.durable import Lost
from processor.durable_steps import durable_steps
from processor.outcome import APPLIED, RETRYABLE, Outcome
from processor.run import BEFORE_COMMIT, EVENTS, ROSTERS, TRANSITIONS, RunError, State

EXAMPLES, STEPS = 12, 20
LONG = 16.0
NUMBERS = itertools.count(1)

Row = tuple[str, ...]
Table = dict[Row, Row]

STUDENTS = "Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone,Grade"
ATTENDANCE = "Student ID,Absence Date,Reason,Periods"

#: Where a process can stand still: nothing is locked there, so that others go on.
STILL = (
    *(f"after commit:{state}" for state in State if state is not State.LANDED),
    "before claim",
    "after claim",
    "after hash",
    "after examine",
    "after reconcile",
    "before commit",
    "before keep",
    "after compress",
    "after keep",
    "before receipt",
    "before receipt_link",
    "after receipt",
)
#: Where it can die.
MOMENTS = (
    *STILL,
    *(f"before commit:{state}" for state in State if state is not State.LANDED),
    *("after staging", "after save_changes", "after add_rows", "before end_rows", "after standing", "after commit"),
)


class Died(BaseException):
    """The process has ended at this moment."""


@dataclass(frozen=True)
class Content:
    """What a file holds. `rows` is what is taken; `bad` the keys of rows that are rejected, each with its key known."""

    rows: tuple[tuple[Row, Row], ...]
    bad: tuple[Row, ...] = ()
    day: str = ""

    @property
    def bytes(self) -> bytes:
        if self.day:
            lines = [ATTENDANCE, *(f"{key[0]},{self.day},{row[0]}," for key, row in self.rows)]
        else:
            lines = [STUDENTS, *(_student(key, row, f"206554{key[0]}") for key, row in self.rows)]
            lines += [_student(key, ("X",), "bad") for key in self.bad]
        return ("\r\n".join(lines) + "\r\n").encode()


def _student(key: Row, row: Row, phone: str) -> str:
    return f"{key[0]},First{key[0]},{row[0]},{phone},001,,3"


@dataclass
class Attempt:
    """One attempt as the model expects it."""

    number: int
    request: dict[str, Any] | None
    outcome: Outcome | None = None
    holds: dict[str, dict[str, int]] = field(default_factory=dict)
    changes: dict[Row, tuple[Row | None, Row | None]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(self.request["kind"]) if self.request else ""


@dataclass
class File:
    """One landing as the model expects it; `source` is None where nobody expects its name."""

    landing: Landing
    content: Content
    source: "Source | None"
    attempts: list[Attempt]
    withdrawn: bool = False
    archived: bool = False

    @property
    def priority(self) -> int:
        return EVENTS if self.content.day else ROSTERS

    @property
    def applied(self) -> Attempt | None:
        """The attempt that stands, unless it was undone: an undoing that failed has changed nothing."""
        known = [one for one in self.attempts if one.outcome is not None]
        standing = [one for one in known if one.kind != "revert" or one.outcome is Outcome.REVERTED]
        return standing[-1] if standing and standing[-1].outcome in APPLIED else None


@dataclass
class Source:
    """What the model expects of a source. `standing` is the file that it stands at; `sha` whether its bytes count."""

    feed: str
    table: Table = field(default_factory=dict)
    standing: "File | None" = None
    same_counts: bool = False

    @property
    def is_events(self) -> bool:
        return self.feed == "attendance"


class Expected:
    """The whole model: files in order of landing, and how each attempt ends."""

    def __init__(self) -> None:
        self.files: list[File] = []

    def of(self, source: Source) -> list[File]:
        """The files of a source that stand applied, newest first."""
        return [one for one in reversed(self.files) if one.source is source and one.applied]

    def end(self, file: File, attempt: Attempt, crashes: int) -> None:
        """How an attempt ends that is committed now, and what it changes."""
        attempt.outcome = self._judge(file, attempt, crashes)

    def _judge(self, file: File, attempt: Attempt, crashes: int) -> Outcome:
        if file.withdrawn:
            return Outcome.WITHDRAWN if attempt.number == 1 else Outcome.FAILED
        if crashes >= 3:
            return Outcome.FAILED
        if attempt.kind == "reject":
            return Outcome.REJECTED
        if attempt.kind == "revert":
            return self._undo(file, through=attempt.request is not None and attempt.request["through"])
        source = file.source
        if source is None:
            return Outcome.UNRECOGNISED
        late = source.standing is not None and source.standing.landing.id > file.landing.id
        if late and not source.is_events:
            return Outcome.SUPERSEDED
        return self._import(file, attempt, source, late=late)

    def _import(self, file: File, attempt: Attempt, source: Source, *, late: bool) -> Outcome:
        content, last = file.content, source.standing
        same = last is not None and source.same_counts and last.content == content
        if not same and content.bad and not content.rows:
            return Outcome.REJECTED
        changes = self._changes(file, source, late=late)
        attempt.holds = {} if same else self._hold(attempt, source, content, changes)
        if attempt.holds:
            return Outcome.HELD
        attempt.changes = changes
        for key, (_, new) in changes.items():
            if new is None:
                del source.table[key]
            else:
                source.table[key] = new
        if not late:
            source.standing, source.same_counts = file, True
        if not source.is_events:
            self._supersede_older(file, source)
        if last is not None and not changes and (same or not content.bad):
            return Outcome.UNCHANGED
        return Outcome.IMPORTED_WITH_REJECTS if content.bad else Outcome.IMPORTED

    def _changes(self, file: File, source: Source, *, late: bool) -> dict[Row, tuple[Row | None, Row | None]]:
        content, told = file.content, dict(file.content.rows)
        scope = set(source.table)
        if source.is_events:
            said = {one.content.day for one in self.of(source) if one.landing.id > file.landing.id}
            if late and content.day in said:
                return {}
            scope = {key for key in scope if key[1] == content.day}
        changes = {key: (source.table.get(key), row) for key, row in told.items() if source.table.get(key) != row}
        gone = {key: (source.table[key], None) for key in scope - set(told) - set(content.bad)}
        return {**changes, **gone}

    def _hold(
        self, attempt: Attempt, source: Source, content: Content, changes: dict[Row, tuple[Row | None, Row | None]]
    ) -> dict[str, dict[str, int]]:
        """The first reason, by its code, for which it is held and that nobody has approved."""
        request = attempt.request
        approved = request["holds"] if request is not None and request["kind"] == "approve" else []
        shown = {one["code"]: one["figures"] for one in approved}
        going = sum(new is None for _, new in changes.values())
        found: dict[str, dict[str, int]] = {}
        if not content.rows and not content.bad:
            found["no_rows"] = {}
        if not source.is_events and source.table and going > 0.5 * len(source.table):
            found["many_deactivated"] = {"deactivated": going}
        for code, figures in found.items():
            if code not in shown or any(value > shown[code].get(name, -1) for name, value in figures.items()):
                return {code: figures}
        return {}

    def _supersede_older(self, file: File, source: Source) -> None:
        for one in self.files:
            if one.source is source and one.landing.id < file.landing.id:
                for attempt in [attempt for attempt in one.attempts if attempt.outcome is not None][-1:]:
                    if attempt.outcome in {Outcome.HELD, Outcome.FAILED} and attempt.kind != "revert":
                        attempt.outcome = Outcome.SUPERSEDED

    def _undo(self, file: File, *, through: bool) -> Outcome:
        source = file.source
        assert source is not None
        since = [one for one in self.of(source) if one.landing.id >= file.landing.id]
        if file not in since or (len(since) > 1 and not through):
            return Outcome.FAILED
        before = next((one for one in self.of(source) if one.landing.id < file.landing.id), None)
        for one in since:
            applied = one.applied
            assert applied is not None
            for key, (old, _) in applied.changes.items():
                if old is None:
                    source.table.pop(key, None)
                else:
                    source.table[key] = old
            if one is not file:
                for attempt in one.attempts[one.attempts.index(applied) :]:
                    if attempt.outcome is not None:
                        attempt.outcome = Outcome.REVERTED
        source.standing, source.same_counts = before, False
        return Outcome.REVERTED


contents = st.one_of(
    st.builds(
        lambda rows, bad: Content(
            tuple(sorted(((key,), (name,)) for key, name in rows.items() if key not in bad)),
            tuple((key,) for key in sorted(bad)),
        ),
        st.dictionaries(st.sampled_from(["1001", "1002", "1003", "1004"]), st.sampled_from(["Lee", "Ray"]), min_size=0),
        st.frozensets(st.sampled_from(["1003", "1004"]), max_size=1),
    ),
    st.sampled_from(
        [
            Content(tuple(((key,), ("Lee",)) for key in ("1001", "1002", "1003", "1004"))),
            Content(tuple(((key,), ("Lee",)) for key in ("1001", "1002", "1003"))),
            Content(tuple(((key,), ("Ray",)) for key in ("1001",))),
        ]
    ),
)
days = st.builds(
    lambda day, reasons: Content(
        tuple(sorted(((key, day), (reason,)) for key, reason in reasons.items())),
        day=day,
    ),
    st.sampled_from(["01/05/2026", "01/06/2026"]),
    st.dictionaries(st.sampled_from(["1001", "1002"]), st.sampled_from(["SICK", "LATE"]), min_size=1),
)


class Life(RuleBasedStateMachine):
    """The real steps in this process; what gets its turn, who dies and what is asked for is drawn."""

    def __init__(self, desk: Any, dying: ModuleType) -> None:
        super().__init__()
        self.night, self.dying = desk.night, dying
        self.model = Expected()
        number = next(NUMBERS)
        self.accounts = [f"springfield-{number}", f"shelbyville-{number}"]
        for account in self.accounts:
            self.night.here.accounts.add(account, actor="test")
            self.night.here.zone.prepare_account(account)
        self.ids = {name: self.night.here.accounts.get(name).id for name in self.accounts}
        self.sources = {(name, feed): Source(feed) for name in self.accounts for feed in ("students", "attendance")}
        self.nodes = itertools.count(1)
        self.desk_context = desk.context
        self.context = self.new_context()
        self.seen: dict[str, tuple[State, Outcome | None]] = {}

    def new_context(self) -> Context:
        """A processor of another name."""
        node = f"node-{next(NUMBERS)}"
        return dataclasses.replace(self.desk_context, owner=owner_name(node), in_hand=set())

    # What a customer does

    @rule(account=st.integers(0, 1), content=st.one_of(contents, contents, days))
    def land(self, account: int, content: Content) -> None:
        self._land(account, content, "attendance" if content.day else "students")

    @rule(account=st.integers(0, 1), content=contents)
    def land_what_nobody_expects(self, account: int, content: Content) -> None:
        self._land(account, content, "holiday photos")

    @rule(again=st.integers(0, 5))
    @precondition(lambda self: self.model.files)
    def land_the_same_again(self, again: int) -> None:
        one = self.model.files[again % len(self.model.files)]
        self._land(self.accounts.index(one.landing.account), one.content, one.landing.name.removesuffix(".csv"))

    def _land(self, account: int, content: Content, stem: str) -> None:
        name = self.accounts[account]
        landing = self.night.land(f"{stem}.csv", content.bytes, name)
        file = File(landing, content, self.sources.get((name, stem)), [Attempt(1, None)])
        with self.context.db.write() as tx:
            runs.add(tx, landing, priority=file.priority)
        self.model.files.append(file)

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: self.model.files)
    def withdraw(self, which: int) -> None:
        file = self.model.files[which % len(self.model.files)]
        with contextlib.suppress(FileNotFoundError):
            self.night.here.zone.withdraw(file.landing)
            file.withdrawn = True

    # What the operator does

    @rule(which=st.integers(0, 20), kind=st.sampled_from(["retry", "approve", "reject", "revert", "revert through"]))
    @precondition(lambda self: any(file.attempts[-1].outcome for file in self.model.files))
    def ask(self, which: int, kind: str) -> None:
        ended = [file for file in self.model.files if file.attempts[-1].outcome]
        file = ended[which % len(ended)]
        newest = file.attempts[-1]
        run = self.run_of(file)
        through = kind == "revert through"
        if kind.startswith("revert"):
            allowed = self._may_undo(file, through=through)
        else:
            assert newest.outcome is not None
            allowed = newest.outcome in (RETRYABLE if kind == "retry" else (Outcome.HELD,))
        db, archive = self.context.db, self.context.archive
        try:
            if kind == "retry":
                requests.retry(db, archive, run.id, actor="model")
            elif kind == "approve":
                requests.approve(db, archive, run.id, actor="model")
            elif kind == "reject":
                requests.reject(db, archive, run.id, reason="No.", actor="model")
            else:
                requests.revert(db, archive, run.id, through=through, actor="model")
        except RunError:
            assert not allowed
            return
        assert allowed
        request: dict[str, Any] = {"kind": kind.partition(" ")[0]}
        if kind == "approve":
            before = newest.request["holds"] if newest.request is not None and newest.kind == "approve" else []
            new = [{"code": code, "figures": figures} for code, figures in newest.holds.items()]
            request["holds"] = [*before, *new]
        elif kind == "retry" and newest.kind == "revert":
            request = dict(newest.request or {})
        elif kind.startswith("revert"):
            request["through"] = through
        file.attempts.append(Attempt(newest.number + 1, request))

    def _may_undo(self, file: File, *, through: bool) -> bool:
        if file.applied is None or file.applied is not file.attempts[-1] or file.source is None:
            return False
        since = [one for one in self.model.of(file.source) if one.landing.id >= file.landing.id]
        since = [one for one in since if self.run_of(one, one.applied).state is State.RECEIPTED]
        return file in since and (through or len(since) == 1)

    # What processors do

    @rule(account=st.integers(0, 1))
    def go(self, account: int) -> None:
        """What has its turn, or gets it, goes to its end."""
        if found := self.turn(account):
            self.take(*found)
            assert self.run_of(*found).state is State.RECEIPTED

    @rule(account=st.integers(0, 1), moment=st.sampled_from(MOMENTS), times=st.sampled_from([1, 1, 1, 3]))
    def die(self, account: int, moment: str, times: int) -> None:
        """The process dies at a moment, or several do at the same; another takes over."""
        for _ in range(times):
            found = self.turn(account)
            if not found:
                return

            def die() -> None:
                raise Died

            try:
                with self.at(moment, die):
                    self.take(*found)
            except Died:
                self.taken_over(*found)
            self.settle(*found)

    @rule(account=st.integers(0, 1), moment=st.sampled_from(STILL), asked=st.integers(0, 20))
    def stand_still(self, account: int, moment: str, asked: int) -> None:
        """The process stands still at a moment and is taken for dead; when it wakes up all has gone on without it."""
        if not (found := self.turn(account)):
            return
        first, woke = self.context, False

        def others_go_on() -> None:
            nonlocal woke
            woke = True
            self.taken_over(*found)
            self.settle(*found)
            self.take(*found)
            self.settle(*found)
            assert self.run_of(*found).state is State.RECEIPTED
            for kind in ("retry", "approve", "revert")[asked % 3 :]:
                self.ask_for(found[0], kind)
            if asked % 2 and (following := self.turn(account)):
                self.take(*following)
                self.settle(*following)
            self.check()

        try:
            with self.at(moment, others_go_on):
                self.take(*found, context=first)
        except Lost:
            assert woke
        else:
            self.settle(*found)

    @rule(account=st.integers(0, 1), moment=st.sampled_from(["after reconcile", "before commit"]))
    def move_the_source(self, account: int, moment: str) -> None:
        """While a file is compared, another of its source is applied (by one that was wrongly taken for dead)."""
        if not (found := self.turn(account)) or found[0].source is None:
            return
        other = next(
            (
                (file, file.attempts[-1])
                for file in self.model.files
                if file.source is found[0].source and file is not found[0] and file.attempts[-1].outcome is None
            ),
            None,
        )
        if other is None or self.run_of(*found).state not in {State.LANDED, *BEFORE_COMMIT}:
            return

        def moved() -> None:
            self.take(*other, context=self.new_context())
            self.settle(*other)

        with self.at(moment, moved):
            self.take(*found)

    # What these are made of

    def ask_for(self, file: File, kind: str) -> None:
        """Ask, if it may be asked for."""
        newest = file.attempts[-1].outcome
        may = {
            "retry": newest in RETRYABLE,
            "approve": newest is Outcome.HELD,
            "revert": newest is not None and self._may_undo(file, through=False),
        }
        if newest is not None and may[kind]:
            ended = [one for one in self.model.files if one.attempts[-1].outcome]
            self.ask(which=ended.index(file), kind=kind)

    def turn(self, account: int) -> tuple[File, Attempt] | None:
        """Whose turn it is in an account; where it is nobody's, it is given, to the one that the model expects."""
        number = self.ids[self.accounts[account]]
        files = [file for file in self.model.files if file.landing.account == self.accounts[account]]
        with self.context.db.write() as tx:
            has = sa.select(tables.runs.c.id).where(tables.runs.c.account_id == number, sa.text(tables.HAS_TURN))
            holder = tx.execute(has).scalar()
            waits = number in turns.waiting_accounts(tx)
            given = turns.give(tx, number)
        if holder is None:
            waiting = [
                (file.priority, file.landing.id, attempt.number)
                for file in files
                for attempt in file.attempts
                if self.run_of(file, attempt).state is State.LANDED
            ]
            assert waits == (given is not None) == bool(waiting)
            if given is None:
                return None
            _, landing_id, attempt_number = min(waiting)
            assert given.run_id == f"{landing_id}:{attempt_number}"
            holder = given.run_id
        else:
            assert given is None
            assert not waits
        landing_id, _, attempt_text = holder.partition(":")
        file = next(file for file in files if file.landing.id == landing_id)
        return file, file.attempts[int(attempt_text) - 1]

    def take(self, file: File, attempt: Attempt, *, context: Context | None = None) -> None:
        """Through every step."""
        durable_steps(context or self.context)(self.id_of(file, attempt))
        self.settle(file, attempt)

    def settle(self, file: File, attempt: Attempt) -> None:
        """What has been committed of an attempt has been as the model expects it."""
        run = self.run_of(file, attempt)
        if attempt.outcome is None and run.outcome is not None:
            self.model.end(file, attempt, run.crashes)
            assert run.outcome is attempt.outcome, (run.outcome, attempt.outcome, run.report)

    def taken_over(self, file: File, attempt: Attempt) -> None:
        """The process is taken for dead, and another goes on."""
        before = self.run_of(file, attempt)
        node = self.context.owner.partition("/")[0]
        with self.context.db.write() as tx:
            freed = runs.disown(tx, node, crashed=True)
        after = self.run_of(file, attempt)
        assert after.crashes == before.crashes + (freed and before.state in BEFORE_COMMIT)
        self.context = self.new_context()

    def id_of(self, file: File, attempt: Attempt) -> str:
        return f"{file.landing.id}:{attempt.number}"

    def run_of(self, file: File, attempt: Attempt | None = None) -> runs.Run:
        with self.context.db.read() as tx:
            return runs.get(tx, self.id_of(file, attempt or file.attempts[-1]))

    @contextlib.contextmanager
    def at(self, moment: str, what: Callable[[], None]) -> Iterator[None]:
        """Something happens at a moment of a run, once."""
        left = [what]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.dying, "die", lambda: left.pop()() if left else None)
            when, _, name = moment.partition(" ")
            self.dying.arm(when, name, patch.setattr)
            yield

    # What always holds

    @invariant()
    def check(self) -> None:
        """The database, the receipts and the folders are as the model expects them."""
        found = {}
        with self.context.db.read() as tx:
            for account in self.accounts:
                found |= {run.id: run for run in runs.newest(tx, account=account, limit=1000)}
            holders = sa.select(tables.runs.c.account_id).where(sa.text(tables.HAS_TURN))
            having = list(tx.execute(holders).scalars())
        assert len(having) == len(set(having))
        assert set(found) == {self.id_of(file, one) for file in self.model.files for one in file.attempts}
        for file in self.model.files:
            for attempt in file.attempts:
                run = found[self.id_of(file, attempt)]
                assert run.outcome is attempt.outcome, (run.id, run.outcome, attempt.outcome)
                self.check_way(run)
        under_way = {run.account for run in found.values() if run.state in {State.APPLIED, State.ARCHIVED}}
        for file in self.model.files:
            states = [found[self.id_of(file, one)].state for one in file.attempts]
            if file.landing.account not in under_way:
                self.check_receipt(file, [found[self.id_of(file, one)] for one in file.attempts])
            if set(states) == {State.RECEIPTED}:
                zone = self.night.here.zone
                assert not zone.inbox_path(file.landing).exists()
                assert not zone.work_folder(file.landing).exists()
                if not file.withdrawn:
                    assert self.night.archived_sha256(file.landing) == found[self.id_of(file, file.attempts[0])].sha256
        for (account, _), source in self.sources.items():
            assert self.rows(account, source) == source.table

    def check_way(self, run: runs.Run) -> None:
        """A state is reached along the transitions; an outcome, once there, changes only by what came later."""
        state, outcome = self.seen.get(run.id, (State.LANDED, None))
        reached = {state}
        while more := {to for to, ways in TRANSITIONS.items() if reached & set(ways)} - reached:
            reached |= more
        assert run.state in reached
        assert outcome in {None, run.outcome} or run.outcome in {Outcome.SUPERSEDED, Outcome.REVERTED}
        assert (run.outcome is None) == (run.state in {State.LANDED, *BEFORE_COMMIT})
        self.seen[run.id] = (run.state, run.outcome)

    def check_receipt(self, file: File, attempts: list[runs.Run]) -> None:
        """What the customer reads is what the newest attempt with a receipt says."""
        receipted = [run for run in attempts if run.state is State.RECEIPTED]
        path = self.night.here.zone.receipts_folder(file.landing.account) / (
            f"{file.landing.id}-{file.landing.name}.receipt.json"
        )
        if not receipted:
            assert not path.exists()
            return
        assert json.loads(path.read_bytes()) == receipt.body(receipted[-1])

    def rows(self, account: str, source: Source) -> Table:
        """The active rows of a source, each key once."""
        feed = self.context.catalogue[source.feed]
        table = account_data.table_of(feed)
        mine = (
            sa.select(table)
            .join(tables.sources, tables.sources.c.id == table.c.source_id)
            .where(tables.sources.c.account_id == self.ids[account], table.c.ended_run.is_(None))
        )
        with self.context.db.read() as tx:
            found = tx.execute(mine).mappings().all()
        keys = ("student_id", "absence_date") if source.is_events else ("student_id",)
        value = "reason" if source.is_events else "last_name"
        told = {tuple(_as_sent(row[name]) for name in keys): (row[value],) for row in found}
        assert len(told) == len(found)
        return told


def _as_sent(value: Any) -> str:
    """A day as the files write it."""
    text = str(value)
    return f"{text[5:7]}/{text[8:10]}/{text[:4]}" if text[4:5] == "-" else text


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The moments at which a processor dies."""
    spec = importlib.util.spec_from_file_location("dying_moments", Path(__file__).parent / "dying_processor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def sleep(seconds: float) -> None:
        """No time passes; what would wait for ever comes to light: waits double from half a second up to thirty."""
        assert seconds < LONG, "a step of a run is tried again and again"

    monkeypatch.setattr("processor.durable_steps.time", SimpleNamespace(sleep=sleep))
    return module


@pytest.mark.both_databases
def test_whatever_happens_the_runs_live_as_the_model_says(desk: Any, dying: ModuleType) -> None:
    with structlog.testing.capture_logs():  # to render what is waited for would take most of the time
        run_state_machine_as_test(
            lambda: Life(desk, dying),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
