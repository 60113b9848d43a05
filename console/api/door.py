"""Who has to wait at the door; and the doctor's word on an account."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import StringConstraints

from console.api.access import Operator, Staff, TheDesk
from console.api.accounts import found_account
from console.api.model import AccountPath, AccountText, Asked, Limit, Model, Moment, Page
from console.api.routes import add, group
from landingzone import penalty
from landingzone.doctor import account_facts
from landingzone.doctor.account import diagnose, explain
from landingzone.doctor.finding import Severity

_Address = Annotated[str, StringConstraints(min_length=2, max_length=50, pattern=r"^[0-9A-Fa-f.:/]+$")]


class PenaltyAnswer(Model):
    """What is counted against an address, at one account or (empty) everywhere."""

    address: str
    account: str
    failures: int
    times: int
    until: Moment | None
    last_at: Moment


class Lift(Asked):
    """Whose penalties; at one account if named, else all."""

    address: _Address
    account: AccountText | None = None


class Lifted(Model):
    """Of how many places something was forgotten."""

    places: int


class DoctorFinding(Model):
    """What stands between an account and its data, and what to do."""

    check: str
    severity: Severity
    found: str
    advice: str


class AttemptAnswer(Model):
    """One way in which somebody tried to log in, how often, and what the doctor says of it."""

    address: str
    client: str
    outcome: str
    times: int
    first_at: Moment
    last_at: Moment
    offered: list[str]
    meaning: str
    ask: str
    do: str


class DoctorAnswer(Model):
    """The doctor's word on an account."""

    account: str
    healthy: bool
    findings: list[DoctorFinding]
    attempts: list[AttemptAnswer]


def calls() -> APIRouter:
    """The calls."""
    router = group("door")
    add(router, "GET", "/penalties", list_)
    add(router, "POST", "/penalties/lift", lift)
    add(router, "GET", "/accounts/{account}/doctor", doctor)
    return router


def list_(desk: TheDesk, who: Operator, limit: Limit = 50) -> Page[PenaltyAnswer]:
    """List who has to wait, and who has failed to log in; those that have to wait longest first."""
    found = penalty.listing(desk.here.db)[:limit]
    return Page(items=[PenaltyAnswer.model_validate(one) for one in found], next=None)


def lift(desk: TheDesk, who: Operator, asked: Lift) -> Lifted:
    """Forget what is counted against an address."""
    return Lifted(places=penalty.lift(desk.here.db, asked.address, account=asked.account, actor=who.actor))


def doctor(desk: TheDesk, who: Staff, account: AccountPath) -> DoctorAnswer:
    """Explain an account's connections and files: what is wrong, and what to do."""
    found_account(desk, who, account)
    facts = account_facts.facts_of(desk.here, account)
    findings = diagnose(facts)
    return DoctorAnswer(
        account=account,
        healthy=all(one.severity is not Severity.PROBLEM for one in findings),
        findings=[DoctorFinding.model_validate(one) for one in findings],
        attempts=[
            AttemptAnswer(
                address=one.address,
                client=one.client,
                outcome=one.outcome,
                times=one.times,
                first_at=one.first_at,
                last_at=one.last_at,
                offered=[key.fingerprint for key in one.offered],
                meaning=advice.meaning,
                ask=advice.ask,
                do=advice.do,
            )
            for one in facts.attempts
            for advice in (explain(one, facts),)
        ],
    )
