"""Runs: the states of the import step, the table of transitions, and the only function that changes one.

A run is one attempt to take one landing through the import step. Its state says how far it is, its outcome how it
ended. The outcome commits in the transaction of the data; after that a run only moves forward.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.errors import LandingZoneError
from landingzone.landing import Landing
from landingzone.tables import HAS_TURN, UNANSWERED, accounts, landings, runs, sources
from processor.outcome import APPLIED, SUPERSEDABLE, Outcome


class State(StrEnum):
    """How far a run is."""

    LANDED = "landed"
    CLAIMED = "claimed"
    RECOGNISED = "recognised"
    READ = "read"
    VALIDATED = "validated"
    RECONCILED = "reconciled"
    APPLIED = "applied"
    ARCHIVED = "archived"
    RECEIPTED = "receipted"


BEFORE_COMMIT = (State.CLAIMED, State.RECOGNISED, State.READ, State.VALIDATED, State.RECONCILED)

#: From which states each state is entered. Up to the commit a run may begin again at `claimed` (its process died, or
#: another one took it over) and may end (`applied` means: the outcome is committed, whichever it is). What lies between
#: is written down of a run that takes its time only (progress.py), so each may be passed over.
TRANSITIONS: dict[State, tuple[State, ...]] = {
    State.CLAIMED: (State.LANDED, *BEFORE_COMMIT),
    **{state: BEFORE_COMMIT[:at] for at, state in enumerate(BEFORE_COMMIT) if at},
    State.APPLIED: (State.LANDED, *BEFORE_COMMIT),
    State.ARCHIVED: (State.APPLIED,),
    State.RECEIPTED: (State.ARCHIVED,),
}

#: Priorities within an account, lower first: an absence is called from within the hour, a roster from tomorrow on.
EVENTS, ROSTERS = 1, 10


class RunError(LandingZoneError):
    """The run is not as the command needs it."""


class TakenOver(Exception):
    """Another process has taken this run over, or has finished it: whoever sees this changes nothing more."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt to take one landing through the import step.

    Attributes:
        serial: the database's number, which the account's data refers to.
        id: `<landing-id>:<attempt>`.
        account: the account's name; account_id its number.
        file: the plain file name.
        source: the source's name, once recognised.
        feed: the feed's name, once recognised.
        state: how far it is.
        outcome: how it ended; None before that.
        owner: the process that works on it, or did last.
        request: what an operator asked this attempt for: {"kind": "retry"}, {"kind": "approve", "holds"} (each
            as it was shown), {"kind": "reject", "reason"}, {"kind": "revert", "through"}; None for a landing's
            first attempt.
        report: the receipt's body, once there is an outcome.
        priority: lower ones first within an account.
        crashes: how many processes have died while they had it in hand, before its outcome was committed.
    """

    serial: int
    id: str
    landing_id: str
    attempt: int
    account_id: int
    account: str
    file: str
    source_id: int | None
    source: str | None
    feed: str | None
    state: State
    outcome: Outcome | None
    owner: str | None
    request: dict[str, Any] | None
    requested_by: str
    created_at: str
    finished_at: str | None
    sha256: str | None
    bytes: int | None
    report: dict[str, Any] | None
    priority: int
    crashes: int

    @property
    def landing(self) -> Landing:
        """The landing that this run takes through."""
        return Landing(self.landing_id, self.account, self.file)

    @property
    def undid_nothing(self) -> bool:
        """Whether it was to undo what stands, and has not: then what was applied before it stands as it did."""
        return self.request is not None and self.request["kind"] == "revert" and self.outcome is not Outcome.REVERTED


def own(tx: sa.Connection, run: Run, owner: str) -> Run:
    """Let a process claim a run that has no owner; returns it as it is then. Raises TakenOver if it has one."""
    state = tx.execute(_OWN, {"of_id": run.id, "new_owner": owner}).scalar()
    if state is None:
        raise TakenOver
    return replace(run, owner=owner, state=State(state))


def disown(tx: sa.Connection, node: str, *, but: str = "", crashed: bool) -> int:
    """Take away from a node's processes what they own and have not ended: from now on they change nothing of it.

    `but` is a process that keeps what it has. With `crashed` it is counted that a process has died of each run, or with
    it, whose outcome was not committed yet. Returns how many runs there were.
    """
    theirs = sa.and_(
        runs.c.state != State.RECEIPTED.value, runs.c.owner.startswith(f"{node}/", autoescape=True), runs.c.owner != but
    )
    at_work = [state.value for state in BEFORE_COMMIT]
    died = sa.case((runs.c.state.in_(at_work), runs.c.crashes + 1), else_=runs.c.crashes)
    values = {"owner": None, **({"crashes": died} if crashed else {})}
    return tx.execute(runs.update().where(theirs).values(values)).rowcount


def begun(tx: sa.Connection, *, owner: str | None) -> list[str]:
    """The ids of runs that have their turn, have begun and not ended, and are this process's (None: nobody's)."""
    under_way = sa.and_(sa.text(HAS_TURN), runs.c.state != State.LANDED.value)
    return list(tx.execute(sa.select(runs.c.id).where(under_way, runs.c.owner.is_not_distinct_from(owner))).scalars())


def give_up(tx: sa.Connection, ids: Collection[str], *, owner: str) -> None:
    """Make runs nobody's that a process owns and has not ended."""
    theirs = sa.and_(runs.c.id.in_(ids), runs.c.owner == owner, runs.c.state != State.RECEIPTED.value)
    tx.execute(runs.update().where(theirs).values(owner=None))


def advance(tx: sa.Connection, run: Run, to: State, *, owner: str, **values: Any) -> None:  # noqa: ANN401 - columns
    """Change a run's state, in the caller's write transaction.

    `values` are further columns of the run that change with the state. Raises TakenOver if the run is not in a state
    from which `to` is entered, or is owned by another process: then the caller's transaction must not commit.
    """
    if tx.execute(_advance(to, tuple(values)), {"of_id": run.id, "of_owner": owner, **values}).rowcount != 1:
        raise TakenOver


@lru_cache
def _advance(to: State, names: tuple[str, ...]) -> sa.Update:
    """The statement that changes a state and these columns."""
    of_one = (runs.c.id == sa.bindparam("of_id"), runs.c.owner == sa.bindparam("of_owner"))
    values = {name: sa.bindparam(name, type_=runs.c[name].type) for name in names}
    return runs.update().where(*of_one, runs.c.state.in_(TRANSITIONS[to])).values(state=to.value, **values)


def add(
    tx: sa.Connection,
    landing: Landing,
    *,
    priority: int = ROSTERS,
    requested_by: str = "",
    request: dict[str, Any] | None = None,
) -> str:
    """Add the next attempt for a noted landing, in the caller's write transaction; returns the run's id."""
    attempt = tx.execute(_LAST_ATTEMPT, {"of_landing": landing.id}).scalar() or 0
    run_id = f"{landing.id}:{attempt + 1}"
    row = {
        "id": run_id,
        "landing_id": landing.id,
        "attempt": attempt + 1,
        "priority": priority,
        "requested_by": requested_by,
        "created_at": iso(now()),
    }
    statement = _ADD if request is None else _ADD.values(request=request)
    tx.execute(statement, row | {"of_landing": landing.id})
    return run_id


def hold_account(tx: sa.Connection, account_id: int) -> None:
    """Let nobody else add runs to an account, or give its turn, until the caller's write transaction ends."""
    tx.execute(_HOLD_ACCOUNT, {"of_account": account_id})


def exists(tx: sa.Connection, landing_id: str) -> bool:
    """Whether a landing has a run."""
    return tx.execute(_LAST_ATTEMPT, {"of_landing": landing_id}).scalar() is not None


def find(tx: sa.Connection, run_id: str) -> Run | None:
    """The run of that id; a landing's id, or the beginning of one that is unique, means its newest attempt."""
    row = tx.execute(_BY_ID, {"of_id": run_id}).first()
    if row is not None or ":" in run_id:
        return _run(row) if row is not None else None
    begins = _QUERY.where(runs.c.landing_id.startswith(run_id, autoescape=True))
    found = [_run(row) for row in tx.execute(begins.order_by(runs.c.landing_id, runs.c.attempt.desc()))]
    return found[0] if len({run.landing_id for run in found}) == 1 else None


def get(tx: sa.Connection, run_id: str) -> Run:
    """Like `find`; raises RunError if there is none, or more than one landing begins like that."""
    run = find(tx, run_id)
    if run is None:
        raise RunError(f"No run, or more than one landing, has the id {run_id!r}. `landingzone runs list` shows them.")
    return run


def hash_of(tx: sa.Connection, landing_id: str) -> str | None:
    """The SHA-256 of a landing's file as it arrived, from its first attempt that could hash it."""
    hashed = runs.c.sha256.is_not(None) & (runs.c.sha256 != "")
    query = sa.select(runs.c.sha256).where(runs.c.landing_id == landing_id, hashed)
    return tx.execute(query.order_by(runs.c.attempt).limit(1)).scalar()


def newest(
    tx: sa.Connection,
    *,
    account: str | None = None,
    states: tuple[str, ...] = (),
    before: int | None = None,
    limit: int = 50,
) -> list[Run]:
    """The newest runs first; with `states` (states or outcomes) only each file's newest attempt, if it is in one.

    With `before` only those whose serial is less.
    """
    query = _QUERY.order_by(runs.c.serial.desc()).limit(limit)
    if before is not None:
        query = query.where(runs.c.serial < before)
    if account is not None:
        query = query.where(accounts.c.name == account)
    if states:
        later = runs.alias("later")
        answered = sa.exists().where(later.c.landing_id == runs.c.landing_id, later.c.attempt > runs.c.attempt)
        query = query.where(~answered)
        query = query.where(
            sa.or_(runs.c.outcome.in_(states), sa.and_(runs.c.outcome.is_(None), runs.c.state.in_(states)))
        )
    return [_run(row) for row in tx.execute(query)]


def unanswered(tx: sa.Connection, *, limit: int) -> list[Run]:
    """The files that are held or have failed and that nobody has answered yet, the oldest first."""
    later = runs.alias("later")
    answered = sa.exists().where(later.c.landing_id == runs.c.landing_id, later.c.attempt > runs.c.attempt)
    query = _QUERY.where(sa.text(f"runs.{UNANSWERED}"), ~answered).order_by(runs.c.serial).limit(limit)
    return [_run(row) for row in tx.execute(query)]


def of_landings(tx: sa.Connection, landing_ids: Collection[str]) -> list[Run]:
    """Every attempt of some landings, in order of landing and attempt."""
    query = _QUERY.where(runs.c.landing_id.in_(landing_ids)).order_by(runs.c.landing_id, runs.c.attempt)
    return [_run(row) for row in tx.execute(query)]


def under_way(tx: sa.Connection) -> dict[State, int]:
    """How many runs have no receipt yet, by state."""
    query = sa.select(runs.c.state, sa.func.count()).where(runs.c.state != State.RECEIPTED.value)
    return {State(state): count for state, count in tx.execute(query.group_by(runs.c.state))}


def unfinished(tx: sa.Connection) -> list[Run]:
    """Every run that has no receipt yet, in order of landing."""
    return [_run(row) for row in tx.execute(_QUERY.where(runs.c.state != State.RECEIPTED.value).order_by(runs.c.id))]


def rows_read(run: Run | None) -> int | None:
    """How many rows a run has read; None for no run, or one that has read none."""
    return run.report["rows"]["read"] if run is not None and run.report is not None else None


def days_since(tx: sa.Connection, source_id: int, run: Run) -> list[str]:
    """The days (ISO) of which newer files of a source than a run's have said the whole truth."""
    newer = (one for one in applied_to(tx, source_id) if one.landing_id > run.landing_id and one.report is not None)
    return sorted({day for one in newer for day in (one.report or {}).get("days", [])})


def header_of(run: Run | None) -> list[str] | None:
    """The header line that a run has read; None for no run, or a file without one."""
    return run.report.get("header") if run is not None and run.report is not None else None


def positions_of(run: Run | None) -> list[str]:
    """The fields that a run has taken by the place of their columns alone; empty for no run, or a file with names."""
    return run.report.get("by_position", []) if run is not None and run.report is not None else []


def newest_of_source(tx: sa.Connection, source_id: int) -> Run | None:
    """The run of a source's newest landing that has an outcome."""
    row = tx.execute(_NEWEST_OF_SOURCE, {"of_source": source_id}).first()
    return _run(row) if row else None


def applied_to(tx: sa.Connection, source_id: int) -> list[Run]:
    """The runs that a source stands on, newest first: of each landing the newest attempt, if that was applied.

    An undoing that failed is passed over: it has changed nothing.
    """
    query = _QUERY.where(runs.c.source_id == source_id, runs.c.state == State.RECEIPTED.value)
    newest: dict[str, Run] = {}
    for row in tx.execute(query.order_by(runs.c.landing_id.desc(), runs.c.attempt.desc())):
        run = _run(row)
        if not run.undid_nothing:
            newest.setdefault(run.landing_id, run)
    return [run for run in newest.values() if run.outcome in APPLIED]


def applied_of(tx: sa.Connection, landing_id: str) -> Run:
    """The attempt of a landing whose changes stand. Raises RunError if none do: it was not applied, or is undone."""
    query = _QUERY.where(runs.c.landing_id == landing_id, runs.c.outcome.is_not(None)).order_by(runs.c.attempt.desc())
    run = next((run for run in map(_run, tx.execute(query)) if not run.undid_nothing), None)
    if run is None or run.outcome not in APPLIED:
        raise RunError(f"Nothing of the landing {landing_id} stands, so there is nothing to undo.")
    return run


def supersede_older(tx: sa.Connection, run: Run, source_id: int) -> list[str]:
    """End the held and failed runs of older landings of a source; returns their ids. For the applying transaction.

    Not those that a later attempt has answered: the landing's receipt tells of that one.
    """
    found = tx.execute(_UNANSWERED, {"of_source": source_id, "before": run.landing_id})
    ids = [one.id for one in map(_run, found) if not one.undid_nothing]
    if ids:
        values = {"outcome": Outcome.SUPERSEDED.value, "superseded_by": run.id}
        tx.execute(runs.update().where(runs.c.id.in_(ids)).values(**values))
    return ids


def end_undone(tx: sa.Connection, run: Run, undone: Sequence[Run]) -> None:
    """End runs of other landings that were undone together with a run; for the transaction that undoes them."""
    others = [one.landing_id for one in undone if one.landing_id != run.landing_id]
    if not others:
        return
    theirs = map(_run, tx.execute(_QUERY.where(runs.c.landing_id.in_(others), runs.c.outcome.is_not(None))))
    applied = {one.id for one in undone}
    ids = [one.id for one in theirs if one.id in applied or one.undid_nothing]
    values = {"outcome": Outcome.REVERTED.value, "superseded_by": run.id}
    tx.execute(runs.update().where(runs.c.id.in_(ids)).values(**values))


def superseded_by(tx: sa.Connection, run: Run) -> list[Run]:
    """The runs that a run has superseded or undone, newest attempt of each landing: their receipts must say so."""
    found = [_run(row) for row in tx.execute(_SUPERSEDED_BY, {"by_run": run.id})]
    return list({one.landing_id: one for one in found}.values())


_QUERY = (
    sa.select(
        runs.c.serial,
        runs.c.id,
        runs.c.landing_id,
        runs.c.attempt,
        runs.c.account_id,
        accounts.c.name.label("account"),
        landings.c.name.label("file"),
        runs.c.source_id,
        sources.c.name.label("source"),
        sources.c.feed,
        runs.c.state,
        runs.c.outcome,
        runs.c.owner,
        runs.c.request,
        runs.c.requested_by,
        runs.c.created_at,
        runs.c.finished_at,
        runs.c.sha256,
        runs.c.bytes,
        runs.c.report,
        runs.c.priority,
        runs.c.crashes,
    )
    .join(landings, landings.c.id == runs.c.landing_id)
    .join(accounts, accounts.c.id == runs.c.account_id)
    .outerjoin(sources, sources.c.id == runs.c.source_id)
)
# Statements that every run needs are made once: making one takes longer than running it.
_BY_ID = _QUERY.where(runs.c.id == sa.bindparam("of_id"))
_OWN = (
    runs.update()
    .where(runs.c.id == sa.bindparam("of_id"), runs.c.owner.is_(None))
    .values(
        owner=sa.bindparam("new_owner"),
        state=sa.case((runs.c.state == State.LANDED.value, State.CLAIMED.value), else_=runs.c.state),
    )
    .returning(runs.c.state)
)
_NEWEST_OF_SOURCE = (
    _QUERY.where(runs.c.source_id == sa.bindparam("of_source"), runs.c.outcome.is_not(None))
    .order_by(runs.c.landing_id.desc(), runs.c.attempt.desc())
    .limit(1)
)
_SUPERSEDED_BY = _QUERY.where(runs.c.superseded_by == sa.bindparam("by_run")).order_by(runs.c.id)
_HOLD_ACCOUNT = (
    sa.select(accounts.c.id).where(accounts.c.id == sa.bindparam("of_account")).with_for_update(key_share=True)
)
_LATER = runs.alias("later")
#: The runs of a source's older landings that a newer file makes pointless, and that no later attempt has answered.
_UNANSWERED = _QUERY.where(
    runs.c.source_id == sa.bindparam("of_source"),
    runs.c.landing_id < sa.bindparam("before"),
    runs.c.outcome.in_([outcome.value for outcome in SUPERSEDABLE]),
    ~sa.exists().where(
        _LATER.c.landing_id == runs.c.landing_id, _LATER.c.attempt > runs.c.attempt, _LATER.c.outcome.is_not(None)
    ),
)
_LAST_ATTEMPT = sa.select(sa.func.max(runs.c.attempt)).where(runs.c.landing_id == sa.bindparam("of_landing"))
_ADD = runs.insert().values(
    **{name: sa.bindparam(name) for name in ("id", "landing_id", "attempt", "priority", "requested_by", "created_at")},
    account_id=sa.select(landings.c.account_id)
    .where(landings.c.id == sa.bindparam("of_landing", type_=landings.c.id.type))
    .scalar_subquery(),
    state=State.LANDED.value,
    request=sa.null(),
    report=sa.null(),
)


def _run(row: Any) -> Run:  # noqa: ANN401 - a row of _QUERY, whose type has no end
    fields = row._asdict()
    return Run(**{**fields, "state": State(row.state), "outcome": Outcome(row.outcome) if row.outcome else None})
