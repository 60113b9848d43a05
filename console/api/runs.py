"""Runs: what became of each landed file, its receipt and rejects, the file itself, and an operator's answers."""

from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from console import run_sight
from console.api.access import Absent, Anybody, Operator, Staff, TheDesk, WithRows, require_account
from console.api.accounts import found_account
from console.api.model import (
    AfterNumber,
    Asked,
    FeedPath,
    Limit,
    Line,
    Model,
    Moment,
    OfAccount,
    Page,
    RunName,
    RunPath,
    page,
)
from console.api.problem import Code, Problem
from console.api.receipts import HoldAnswer, ReceiptAnswer, RowCounts, receipt_of
from console.api.routes import add, group
from console.desk import Desk
from console.role import Principal, Role
from console.run_sight import NotKept
from landingzone.clock import iso
from landingzone.errors import LandingZoneError
from processor import kept_changes, receipt_text, requests
from processor import run as runs
from processor.kept_changes import ChangedRow
from processor.outcome import Outcome
from processor.run import Run, State


class RunAnswer(Model):
    """One attempt to take one landed file through the import step."""

    id: str
    landing_id: str
    attempt: int
    account: str
    file: str
    source: str | None
    feed: str | None
    state: State
    outcome: Outcome | None
    rows: RowCounts | None
    hold: HoldAnswer | None
    asked: Literal["retry", "approve", "reject", "revert"] | None
    requested_by: str
    landed_at: Moment
    created_at: Moment
    finished_at: Moment | None
    bytes: int | None
    sha256: str | None


class RunWithReceipt(RunAnswer):
    """A run, with the receipt once it has ended."""

    receipt: ReceiptAnswer | None


class AskedFor(Model):
    """The attempt that was asked for: it is done as soon as it has its turn."""

    run: str
    asked: str


class FeedChanges(Model):
    """How many rows of one feed."""

    feed: str
    added: int = 0
    changed: int = 0
    reactivated: int = 0
    deactivated: int = 0


class ChangesAnswer(Model):
    """What a run has changed, or would have."""

    feeds: list[FeedChanges]


class ValueAnswer(Model):
    """One field; `before` is null where it was the same, or nothing."""

    field: str
    now: str
    before: str | None


class ChangedRowAnswer(Model):
    """One row: its key, and its other fields."""

    key: list[ValueAnswer]
    values: list[ValueAnswer]


class Approve(Asked):
    """Why; it stands in the audit trail."""

    reason: Line = ""


class Reject(Asked):
    """Why; the customer reads it."""

    reason: Annotated[Line, Field(min_length=1)]


class Revert(Asked):
    """Whether all that were applied since are undone, too."""

    through: bool = False


class Answers(Asked):
    """One answer to many runs."""

    action: Literal["approve", "retry"]
    runs: Annotated[list[RunName], Field(min_length=1, max_length=200)]


class Rejections(Asked):
    """Many rejections, for one reason, which the customers read."""

    action: Literal["reject"]
    runs: Annotated[list[RunName], Field(min_length=1, max_length=200)]
    reason: Annotated[Line, Field(min_length=1)]


class AnswerResult(Model):
    """What became of one of many."""

    run: str
    asked: str | None
    problem: Problem | None


class AnswerResults(Model):
    """What became of each, in their order."""

    results: list[AnswerResult]


def calls() -> APIRouter:
    """The calls."""
    router = group("runs")
    add(router, "GET", "/runs", list_)
    add(router, "POST", "/runs/answers", answer_many)
    add(router, "GET", "/runs/{run}", show)
    add(router, "GET", "/runs/{run}/receipt", receipt_, refuses=True)
    text = {"text/plain": "The receipt."}
    add(router, "GET", "/runs/{run}/receipt.txt", receipt_as_text, content=text, refuses=True)
    rejects_ = {"text/csv": "Every rejected row as it was sent, with its line and why."}
    add(router, "GET", "/runs/{run}/rejects", rejects, content=rejects_, refuses=True)
    whole = {"application/octet-stream": "The bytes as they arrived."}
    add(router, "GET", "/runs/{run}/file", file, content=whole, refuses=True)
    add(router, "GET", "/runs/{run}/changes", changes, refuses=True)
    add(router, "GET", "/runs/{run}/changes/{feed}/{kind}", changed_rows, refuses=True)
    add(router, "POST", "/runs/{run}/approve", approve)
    add(router, "POST", "/runs/{run}/reject", reject)
    add(router, "POST", "/runs/{run}/retry", retry)
    add(router, "POST", "/runs/{run}/revert", revert)
    return router


def list_(
    desk: TheDesk,
    who: Anybody,
    account: OfAccount = None,
    state: Annotated[
        tuple[State | Outcome, ...],
        Query(max_length=20, description="Only files whose newest attempt is in this state or had this outcome."),
    ] = (),
    after: AfterNumber = None,
    limit: Limit = 50,
) -> Page[RunAnswer]:
    """List runs, newest first; a district's user sees those of its own account.

    With `state` only each file's newest attempt counts. `state` may be given several times.
    """
    if who.role is Role.DISTRICT:
        account = account or who.account
    if account is not None:
        found_account(desk, who, account)
    with desk.here.db.read() as tx:
        found = runs.newest(
            tx, account=account, states=tuple(one.value for one in state), before=after, limit=limit + 1
        )
    return page(found, limit, lambda one: _run(one, who), lambda one: one.serial)


def show(desk: TheDesk, who: Anybody, run: RunPath) -> RunWithReceipt:
    """Show a run, and its receipt once it has ended."""
    found = found_run(desk, who, run)
    told = receipt_of(found, who) if found.outcome is not None else None
    return RunWithReceipt(**_run(found, who).model_dump(), receipt=told)


def receipt_(desk: TheDesk, who: Anybody, run: RunPath) -> ReceiptAnswer:
    """The receipt of a run that has ended."""
    return receipt_of(_ended(desk, who, run), who)


def receipt_as_text(desk: TheDesk, who: WithRows, run: RunPath) -> Response:
    """The receipt of a run that has ended, for people."""
    found = _ended(desk, who, run)
    told = receipt_of(found, who).model_dump(mode="json")
    return Response(receipt_text.as_text(told), media_type="text/plain; charset=utf-8")


def rejects(desk: TheDesk, who: WithRows, run: RunPath) -> Response:
    """The reject file of a run: safe to open in a spreadsheet."""
    found = _ended(desk, who, run)
    try:
        pieces = run_sight.rejects(desk.archive, found)
    except NotKept:
        raise Absent("This run has rejected no rows, or the archive keeps them no more.") from None
    _note(desk, who, found, "rejects")
    name = f"{found.landing_id}-{found.file}.rejects.csv"
    return StreamingResponse(pieces, media_type="text/csv; charset=utf-8", headers=_as_file(name))


def file(desk: TheDesk, who: Operator, run: RunPath) -> Response:
    """The file as it came, from the archive, proven by its SHA-256: if it is damaged, the answer breaks off."""
    found = found_run(desk, who, run)
    try:
        with desk.here.db.read() as tx:
            pieces = run_sight.original(tx, desk.archive, found)
    except NotKept:
        raise Absent("The archive keeps no file of this landing (any more).") from None
    _note(desk, who, found, "file")
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=_as_file(found.file))


def changes(desk: TheDesk, who: Staff, run: RunPath) -> ChangesAnswer:
    """Count what a run has changed, or would have if it is held: by feed."""
    found = _ended(desk, who, run)
    counted = kept_changes.counts(desk.archive, found)
    return ChangesAnswer(feeds=[FeedChanges(feed=feed, **counts) for feed, counts in counted.items()])


def changed_rows(
    desk: TheDesk,
    who: Operator,
    run: RunPath,
    feed: FeedPath,
    kind: Annotated[Literal["added", "changed", "reactivated", "deactivated"], Path(description="In which way.")],
    after: Annotated[
        int | None, Query(ge=1, le=2_147_483_647, description="What `next` of the page before says.")
    ] = None,
    limit: Limit = 50,
) -> Page[ChangedRowAnswer]:
    """The rows of a feed that a run has changed in one way, or would have."""
    found = _ended(desk, who, run)
    if feed not in desk.here.catalogue:
        raise Absent
    begin = after or 0
    archive, catalogue = desk.archive, desk.here.catalogue
    some = kept_changes.rows(archive, catalogue, found, feed=feed, kind=kind, skip=begin, most=limit + 1)
    return page(list(enumerate(some, begin + 1)), limit, lambda one: _changed_row(one[1]), lambda one: one[0])


def approve(desk: TheDesk, who: Operator, run: RunPath, asked: Approve | None = None) -> AskedFor:
    """Approve a held run as it is shown; if it has become worse meanwhile it is held again."""
    found, reason = found_run(desk, who, run), asked.reason if asked is not None else ""
    new = requests.approve(desk.here.db, desk.archive, found.id, reason=reason, actor=who.actor)
    return AskedFor(run=found.id, asked=new)


def reject(desk: TheDesk, who: Operator, run: RunPath, asked: Reject) -> AskedFor:
    """Reject a held run, with a reason that the customer reads."""
    found = found_run(desk, who, run)
    new = requests.reject(desk.here.db, desk.archive, found.id, reason=asked.reason, actor=who.actor)
    return AskedFor(run=found.id, asked=new)


def retry(desk: TheDesk, who: Operator, run: RunPath) -> AskedFor:
    """Ask for another attempt of a file that was not imported."""
    found = found_run(desk, who, run)
    return AskedFor(run=found.id, asked=requests.retry(desk.here.db, desk.archive, found.id, actor=who.actor))


def revert(desk: TheDesk, who: Operator, run: RunPath, asked: Revert) -> AskedFor:
    """Undo an applied run: its source goes back to its state before it."""
    found = found_run(desk, who, run)
    new = requests.revert(desk.here.db, desk.archive, found.id, through=asked.through, actor=who.actor)
    return AskedFor(run=found.id, asked=new)


def answer_many(desk: TheDesk, who: Operator, asked: Answers | Rejections) -> AnswerResults:
    """Answer many runs at once, as in the week in which schools roll over; each by itself."""
    db, archive = desk.here.db, desk.archive

    def answer(run: str) -> str:
        if isinstance(asked, Rejections):
            return requests.reject(db, archive, run, reason=asked.reason, actor=who.actor)
        ask = requests.approve if asked.action == "approve" else requests.retry
        return ask(db, archive, run, actor=who.actor)

    return AnswerResults(results=[_answered(desk, who, run, answer) for run in asked.runs])


def found_run(desk: Desk, who: Principal, run_id: str) -> Run:
    """A run that is this person's business; raises Absent, whether it is another's or none at all."""
    with desk.here.db.read() as tx:
        found = runs.find(tx, run_id)
    if found is None:
        raise Absent
    require_account(who, found.account)
    return found


def _answered(desk: Desk, who: Principal, run: str, answer: Callable[[str], str]) -> AnswerResult:
    try:
        return AnswerResult(run=run, asked=answer(found_run(desk, who, run).id), problem=None)
    except Absent as absent:
        problem = Problem(code=Code.NOT_FOUND, message=str(absent))
    except LandingZoneError as refused:
        problem = Problem(code=Code.REFUSED, message=str(refused))
    return AnswerResult(run=run, asked=None, problem=problem)


def _ended(desk: Desk, who: Principal, run_id: str) -> Run:
    found = found_run(desk, who, run_id)
    if found.outcome is None:
        raise LandingZoneError(f"This run is under way ({found.state.value}); it has no receipt yet.")
    return found


def _run(one: Run, who: Principal) -> RunAnswer:
    report = one.report or {}
    hold = report.get("hold")
    if not who.may_see_rows:
        hold = run_sight.hold_without_rows(hold)
    return RunAnswer(
        id=one.id,
        landing_id=one.landing_id,
        attempt=one.attempt,
        account=one.account,
        file=one.file,
        source=one.source,
        feed=one.feed,
        state=one.state,
        outcome=one.outcome,
        rows=report.get("rows"),
        hold=hold,
        asked=one.request["kind"] if one.request else None,
        requested_by=one.requested_by if who.role is not Role.DISTRICT else "",
        landed_at=iso(one.landing.landed_at),
        created_at=one.created_at,
        finished_at=one.finished_at,
        bytes=one.bytes,
        sha256=one.sha256,
    )


def _changed_row(one: ChangedRow) -> ChangedRowAnswer:
    return ChangedRowAnswer(
        key=[ValueAnswer.model_validate(each) for each in one.key],
        values=[ValueAnswer.model_validate(each) for each in one.values],
    )


def _note(desk: Desk, who: Principal, run: Run, what: str) -> None:
    if who.role is Role.OPERATOR:
        run_sight.note_download(desk.here.db, run, what, actor=who.actor)


def _as_file(name: str) -> dict[str, str]:
    """The header by which a browser saves it; the name may hold anything."""
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
