"""The audit trail: who changed what; and the proof that it is whole."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from console.api.access import Operator, TheDesk
from console.api.model import AfterNumber, Asked, Day, Limit, Model, Moment, OfAccount, Page, page
from console.api.routes import add, group
from landingzone import audit
from landingzone.audit import Break, Head

_Action = Annotated[
    str | None,
    StringConstraints(max_length=100, pattern=r"^[a-z_]+(\.[a-z_]+)*$"),
    Query(description="Only this action, such as key.added; `key` is every one that begins with `key.`."),
]


class RecordAnswer(Model):
    """One change; `hash` is SHA-256 of all of the above it."""

    id: int
    at: Moment
    actor: str
    action: str
    account: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


class HeadText(Asked):
    """Where the chain once ended, as an operator has kept it: `<number>:<hash>`."""

    kept: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}:[0-9a-f]{64}$")] | None = None


class VerdictAnswer(Model):
    """Whether the chain is whole; `broken` says how it is not, `at_record` where."""

    records: int
    head: Annotated[str, Field(description="Where the chain ends: keep it, to prove later what was there.")]
    broken: Break | None
    at_record: int | None
    message: str


def calls() -> APIRouter:
    """The calls."""
    router = group("audit")
    add(router, "GET", "/audit", list_)
    add(router, "POST", "/audit/verify", verify)
    return router


def list_(
    desk: TheDesk,
    who: Operator,
    account: OfAccount = None,
    action: _Action = None,
    since: Annotated[Day | None, Query(description="Only from this day on (UTC).")] = None,
    after: AfterNumber = None,
    limit: Limit = 50,
) -> Page[RecordAnswer]:
    """List the trail, the newest record first."""
    found = audit.newest(
        desk.here.db,
        account=account,
        action=action,
        since=since.isoformat() if since else None,
        before=after,
        limit=limit + 1,
    )
    return page(found, limit, RecordAnswer.model_validate, lambda one: one.id)


def verify(desk: TheDesk, who: Operator, asked: HeadText) -> VerdictAnswer:
    """Walk the whole chain, and say whether it is whole."""
    found = audit.verify(desk.here.db, kept=Head.parse(asked.kept) if asked.kept else None)
    return VerdictAnswer(
        records=found.records,
        head=str(found.head),
        broken=found.broken,
        at_record=found.at_record,
        message=found.message,
    )
