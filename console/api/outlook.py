"""How every account stands: what is in, late, held, still due; and what waits for the import."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from console.api.access import Anybody, Staff, TheDesk
from console.api.accounts import found_account
from console.api.model import AccountPath, AfterAccount, At, Limit, Model, Moment, Page, page
from console.api.routes import add, group
from console.desk import Desk
from landingzone import __version__
from landingzone.account import Account
from landingzone.clock import iso, now
from processor import run as runs
from processor.arrivals import Lessons, Outlook, Timing, assess, districts
from processor.outcome import Outcome
from processor.processor_status import unanswered
from processor.run import State

_At = Annotated[At | None, Query(description="As of this moment; now by default.")]
_Timing = Annotated[Timing | None, Query(description="Only sources that stand so; all accounts are listed.")]


class ArrivalAnswer(Model):
    """How one source of an account stands."""

    source: str
    feed: str
    file: str
    timing: Timing
    due_at: Moment | None
    landed_at: Moment | None
    outcome: str
    run: str
    in_at: Moment | None
    rule: str
    origin: str
    sure: str
    why: str
    broadcasts: list[str]


class MissingAnswer(Model):
    """A broadcast of the day that lacks a file."""

    broadcast: str
    goes_out_at: Moment
    sources: list[str]
    near: bool


class OutlookAnswer(Model):
    """How an account stands at a moment."""

    account: str
    title: str
    time_zone: str
    at: Moment
    arrivals: list[ArrivalAnswer]
    missing: list[MissingAnswer]
    changes_at: Moment | None


class StatusAnswer(Model):
    """What there is, and what waits."""

    version: str
    at: Moment
    accounts: int
    disabled_accounts: int
    waiting: int
    in_hand: int
    held: int
    failed: int


def calls() -> APIRouter:
    """The calls."""
    router = group("outlook")
    add(router, "GET", "/status", status)
    add(router, "GET", "/outlook", everybody)
    add(router, "GET", "/accounts/{account}/outlook", of_account)
    return router


def status(desk: TheDesk, who: Staff) -> StatusAnswer:
    """Say what there is, what waits for the import, and what waits for an operator."""
    known = desk.here.accounts.all()
    with desk.here.db.read() as tx:
        under_way, asking = runs.under_way(tx), dict(tx.execute(unanswered()).all())
    waiting = under_way.get(State.LANDED, 0)
    return StatusAnswer(
        version=__version__,
        at=iso(now()),
        accounts=len(known),
        disabled_accounts=sum(not one.enabled for one in known),
        waiting=waiting,
        in_hand=sum(under_way.values()) - waiting,
        held=asking.get(Outcome.HELD.value, 0),
        failed=asking.get(Outcome.FAILED.value, 0),
    )


def everybody(
    desk: TheDesk,
    who: Staff,
    timing: _Timing = None,
    at: _At = None,
    after: AfterAccount = None,
    limit: Limit = 50,
) -> Page[OutlookAnswer]:
    """Show which files are late or held, are still due, and are in: of every account that is enabled, by name."""
    some = [one for one in desk.here.accounts.all() if one.enabled and (after is None or one.name > after)][: limit + 1]
    moment = at or now()
    seen = dict(zip((one.name for one in some), _outlooks(desk, some, moment), strict=True))
    return page(some, limit, lambda one: _outlook(one, seen[one.name], moment, timing), lambda one: one.name)


def of_account(
    desk: TheDesk, who: Anybody, account: AccountPath, timing: _Timing = None, at: _At = None
) -> OutlookAnswer:
    """Show which files of one account are late or held, are still due, and are in."""
    found = found_account(desk, who, account)
    moment = at or now()
    (seen,) = _outlooks(desk, [found], moment)
    return _outlook(found, seen, moment, timing)


def _outlooks(desk: Desk, some: list[Account], at: datetime) -> list[Outlook]:
    settings = desk.here.settings.arrivals
    with desk.here.db.read() as tx:
        known = districts(tx, some, desk.here.sources, at)
        return [
            assess(one, Lessons(), at, by_default=settings.due, warn_minutes=settings.broadcast_minutes)
            for one in known
        ]


def _outlook(account: Account, seen: Outlook, at: datetime, timing: Timing | None) -> OutlookAnswer:
    return OutlookAnswer(
        account=account.name,
        title=account.title,
        time_zone=account.time_zone,
        at=iso(at),
        arrivals=[ArrivalAnswer.model_validate(one) for one in seen.arrivals if timing in {None, one.timing}],
        missing=[MissingAnswer.model_validate(one) for one in seen.missing],
        changes_at=iso(seen.changes_at) if seen.changes_at else None,
    )
