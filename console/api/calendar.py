"""When files are due: days off, broadcasts; and whom notices go to."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from console.api.access import Absent, Operator, Staff, TheDesk
from console.api.accounts import found_account
from console.api.model import (
    AccountPath,
    AccountText,
    Asked,
    Day,
    FeedName,
    Limit,
    Line,
    Model,
    Moment,
    OfAccount,
    Page,
)
from console.api.routes import add, group
from landingzone.broadcast import BroadcastError, Broadcasts
from landingzone.notices import notice, words
from landingzone.notices.contacts import MOST, Contacts
from landingzone.notices.notice import Kind
from landingzone.school_calendar import CalendarError, SchoolCalendar, TimeOff, checked

_BroadcastName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
_EMail = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=r"^[!-~]+@[!-~]+$")]


class DaysOff(Model):
    """Days on which nothing is due, of one account or (null) of all."""

    account: str | None
    first: Day
    last: Day
    reason: str


class NewDaysOff(Asked):
    """Days on which nothing is to be due."""

    first: Day
    last: Annotated[Day, Field(description="The last one, which is one of them.")]
    account: Annotated[AccountText | None, Field(description="Whose; null: of all accounts.")] = None
    reason: Annotated[Line, Field(max_length=100)] = ""


class NoDaysOff(Asked):
    """Days within which everything is forgotten."""

    first: Day
    last: Day
    account: AccountText | None = None


class Changed(Model):
    """How many were added, or removed."""

    changed: int


class BroadcastAnswer(Model):
    """When messages go out, and which feeds must be in by then."""

    account: str
    name: str
    times: str
    feeds: list[str]


class NewBroadcast(Asked):
    """When messages go out, and what they need."""

    times: Annotated[Line, Field(min_length=1, description="10:00 (Monday to Friday), or 'Mon-Thu 10:00, Fri 9:30'.")]
    feeds: Annotated[list[FeedName], Field(min_length=1, max_length=50)]


class Addresses(Model):
    """Whom an account's notices go to, beside the operator."""

    addresses: list[str]


class NewAddresses(Asked):
    """Whom they are to go to."""

    addresses: Annotated[list[_EMail], Field(max_length=MOST)]


class NoticeAnswer(Model):
    """Something that was told, and whether it has reached everybody."""

    at: Moment
    kind: Kind
    account: str
    reached: str
    problem: str
    said: str


def calls() -> APIRouter:
    """The calls."""
    router = group("calendar and notices")
    add(router, "GET", "/calendar", days_off)
    add(router, "POST", "/calendar", add_days_off)
    add(router, "POST", "/calendar/remove", remove_days_off)
    add(router, "GET", "/broadcasts", broadcasts)
    add(router, "PUT", "/accounts/{account}/broadcasts/{name}", set_broadcast)
    add(router, "DELETE", "/accounts/{account}/broadcasts/{name}", remove_broadcast, status=204)
    add(router, "GET", "/accounts/{account}/notices", addresses)
    add(router, "PUT", "/accounts/{account}/notices", set_addresses)
    add(router, "GET", "/notices", notices)
    return router


def days_off(desk: TheDesk, who: Staff, account: OfAccount = None) -> Page[DaysOff]:
    """List the days on which nothing is due; with an account what holds for it."""
    if account is not None:
        found_account(desk, who, account)
    kept = SchoolCalendar(desk.here.db).all(account)
    return Page(
        items=[
            DaysOff(account=one.account or None, first=str(one.first), last=str(one.last), reason=one.reason)
            for one in kept
        ],
        next=None,
    )


def add_days_off(desk: TheDesk, who: Operator, asked: NewDaysOff) -> Changed:
    """Let nothing be due on some days."""
    if asked.account is not None:
        found_account(desk, who, asked.account)
    off = checked(TimeOff(asked.first, asked.last, asked.reason))
    return Changed(changed=SchoolCalendar(desk.here.db).add([off], account=asked.account, actor=who.actor))


def remove_days_off(desk: TheDesk, who: Operator, asked: NoDaysOff) -> Changed:
    """Let files be due again: what lies within these days is forgotten."""
    if asked.account is not None:
        found_account(desk, who, asked.account)
    within = TimeOff(asked.first, asked.last)
    removed = SchoolCalendar(desk.here.db).remove(within, account=asked.account, actor=who.actor)
    if not removed:
        raise CalendarError("Nothing of that kind lies within these days.")
    return Changed(changed=removed)


def broadcasts(desk: TheDesk, who: Staff, account: OfAccount = None) -> Page[BroadcastAnswer]:
    """List the broadcasts."""
    if account is not None:
        found_account(desk, who, account)
    kept = Broadcasts(desk.here.db, desk.here.catalogue).all(account)
    return Page(items=[BroadcastAnswer.model_validate(one) for one in kept], next=None)


def set_broadcast(
    desk: TheDesk, who: Operator, account: AccountPath, name: _BroadcastName, asked: NewBroadcast
) -> BroadcastAnswer:
    """Say when messages go out and what they need; the outlook then warns of what is missing."""
    found_account(desk, who, account)
    kept = Broadcasts(desk.here.db, desk.here.catalogue)
    return BroadcastAnswer.model_validate(kept.put(account, name, asked.times, asked.feeds, actor=who.actor))


def remove_broadcast(desk: TheDesk, who: Operator, account: AccountPath, name: _BroadcastName) -> None:
    """Forget a broadcast."""
    found_account(desk, who, account)
    try:
        Broadcasts(desk.here.db, desk.here.catalogue).remove(account, name, actor=who.actor)
    except BroadcastError:
        raise Absent from None


def addresses(desk: TheDesk, who: Operator, account: AccountPath) -> Addresses:
    """Say whom a district's late, held, rejected and unknown files are told to, beside the operator."""
    found_account(desk, who, account)
    return Addresses(addresses=Contacts(desk.here.db).of(account))


def set_addresses(desk: TheDesk, who: Operator, account: AccountPath, asked: NewAddresses) -> Addresses:
    """Set whom they are told to."""
    found_account(desk, who, account)
    kept = Contacts(desk.here.db)
    before = kept.of(account)
    for address in before:
        if address not in asked.addresses:
            kept.remove(account, address, actor=who.actor)
    for address in asked.addresses:
        kept.add(account, address, actor=who.actor)
    return Addresses(addresses=kept.of(account))


def notices(desk: TheDesk, who: Staff, limit: Limit = 50) -> Page[NoticeAnswer]:
    """List the newest notices, and whether each has reached everybody."""
    with desk.here.db.read() as tx:
        found = notice.newest(tx, limit=limit)
    return Page(
        items=[
            NoticeAnswer(
                at=one.created_at,
                kind=one.kind,
                account=one.account,
                reached=reached,
                problem=problem,
                said=words.sentence(one),
            )
            for one, reached, problem in found
        ],
        next=None,
    )
