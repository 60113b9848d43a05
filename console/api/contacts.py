"""An account's data as the service would read it: whom a message would reach, and what does not fit together."""

import base64
import binascii
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import StringConstraints

from console.api.access import Operator, TheDesk, WithRows
from console.api.accounts import found_account
from console.api.model import AccountPath, Day, Limit, Model, Name, Page
from console.api.routes import add, group
from landingzone.errors import LandingZoneError
from processor import account_data
from processor import integrity as found_integrity
from processor import recipients as found_recipients
from processor.recipients import Audience, StaffAudience

_Any = Annotated[tuple[Name, ...], Query(max_length=100)]
_After = Annotated[
    str | None,
    StringConstraints(max_length=6000, pattern=r"^[A-Za-z0-9_-]+$"),
    Query(description="What `next` of the page before says."),
]


class RecipientAnswer(Model):
    """One contact of one student; or a member of staff: then there is no student, and `category` is the position."""

    student_id: str
    student_name: str
    school_id: str
    grade: str
    contact: str
    contact_id: str
    category: str
    first_name: str
    last_name: str
    phone: str
    alt_phone: str
    email: str
    alt_email: str
    language: str


class Counts(Model):
    """How many would be reached; of staff only `staff`, of others all but it."""

    students: int | None = None
    guardians: int | None = None
    own_contacts: int | None = None
    staff: int | None = None
    phones: int
    without_phone: int


class OpenFinding(Model):
    """One thing that does not fit together between an account's files, with the first records."""

    code: str
    feed: str
    field: str
    other: str
    count: int
    message: str
    records: list[dict[str, str]]


def calls() -> APIRouter:
    """The calls."""
    router = group("recipients")
    add(router, "GET", "/accounts/{account}/recipients", list_, refuses=True)
    add(router, "GET", "/accounts/{account}/recipients/counts", counts, refuses=True)
    add(router, "GET", "/accounts/{account}/integrity", integrity)
    return router


def audience(
    school: _Any = (),
    grade: _Any = (),
    section: _Any = (),
    course: _Any = (),
    period: _Any = (),
    language: _Any = (),
    absent_on: Day | None = None,
    as_user: Name | None = None,
    staff: Annotated[bool, Query(description="Members of staff instead.")] = False,
    position: _Any = (),
) -> Audience | StaffAudience:
    """Who is meant. A parameter given several times means any of these; different ones must all hold."""
    of_students = (grade, section, course, period, absent_on, as_user)
    if staff and any(of_students):
        raise LandingZoneError("staff goes with school, position and language only: the others are about students.")
    if position and not staff:
        raise LandingZoneError("position is about members of staff: say staff=true, too.")
    if staff:
        return StaffAudience(school, position, language)
    return Audience(school, grade, section, course, period, language, absent_on, as_user)


_Audience = Annotated[Audience | StaffAudience, Depends(audience)]


def list_(
    desk: TheDesk,
    who: Operator,
    account: AccountPath,
    audience: _Audience,
    after: _After = None,
    limit: Limit = 50,
) -> Page[RecipientAnswer]:
    """List contacts: the guardians of each student, or the student's own where there are none; or members of staff.

    A parameter given several times means any of these; different ones must all hold.
    """
    here, of_account = desk.here, found_account(desk, who, account)
    account_data.ensure_tables(here.db, here.catalogue)
    behind = _place(after) if after is not None else None
    with here.db.read() as tx:
        some = found_recipients.some(tx, here.catalogue, of_account.id, audience, behind=behind, limit=limit + 1)
    last = some[limit - 1] if len(some) > limit else None
    return Page(
        items=[RecipientAnswer.model_validate(one) for one in some[:limit]],
        next=_cursor(last.student_id, last.contact_id) if last is not None else None,
    )


def counts(desk: TheDesk, who: Operator, account: AccountPath, audience: _Audience) -> Counts:
    """Count whom a message would reach."""
    here, of_account = desk.here, found_account(desk, who, account)
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        return Counts(**found_recipients.counts(tx, here.catalogue, of_account.id, audience))


def integrity(
    desk: TheDesk,
    who: WithRows,
    account: AccountPath,
    records: Annotated[int, Query(ge=0, le=1000, description="So many records of each, at most.")] = 10,
) -> Page[OpenFinding]:
    """List what does not fit together between an account's files now: missing partners, ids used twice."""
    here, of_account = desk.here, found_account(desk, who, account)
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        found = list(found_integrity.findings(tx, here.catalogue, of_account.id, limit=records))
    return Page(items=[OpenFinding.model_validate(one) for one in found], next=None)


def _cursor(*place: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode("ascii").rstrip("=")


def _place(cursor: str) -> tuple[str, str]:
    """Student and contact of a cursor. Raises LandingZoneError."""
    try:
        student, contact = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise LandingZoneError("`after` is not what `next` of a page said.") from None
    if not (isinstance(student, str) and isinstance(contact, str)) or "\0" in student + contact:
        raise LandingZoneError("`after` is not what `next` of a page said.")
    return student, contact
