"""The districts' accounts: list, show, add, set what holds for one of them, close and open the door."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from console.api.access import Absent, Anybody, Operator, Staff, TheDesk, require_account
from console.api.model import (
    AccountPath,
    AccountText,
    AfterAccount,
    Asked,
    Limit,
    Line,
    Model,
    Moment,
    Page,
    page,
)
from console.api.routes import add, group
from console.desk import Desk
from console.role import Principal
from landingzone.account import Account
from processor import account_data


class AccountAnswer(Model):
    """A school district's account."""

    name: str
    title: str
    time_zone: str
    created_at: Moment
    enabled: bool
    disabled_at: Moment | None
    options: "OptionsAnswer"


class OptionsAnswer(Model):
    """What holds for this account only; null: as the settings say."""

    strict_alt_phone: bool | None = None
    deactivate_share: float | None = None
    deactivate_from_rows: int | None = None
    reject_share: float | None = None
    reject_from_rows: int | None = None
    few_rows_share: float | None = None
    contacts_share: float | None = None
    contacts_from_rows: int | None = None
    shared_phone: int | None = None


class AccountWithRows(AccountAnswer):
    """An account, and how many active records it has: by feed, and by source."""

    rows: dict[str, int]
    rows_of_sources: dict[str, int]


class NewAccount(Asked):
    """An account to be made."""

    name: AccountText
    title: Line = ""
    time_zone: Annotated[str, Field(max_length=64, examples=["America/New_York"])] = "UTC"


_Share = Annotated[float | None, Field(gt=0, le=1)]
_Count = Annotated[int, Field(ge=1, le=1_000_000_000)] | None


class Options(Asked):
    """What is to hold for this account only. What is left out stays as it is; null goes back to the settings'."""

    strict_alt_phone: bool | None = None
    deactivate_share: _Share = None
    deactivate_from_rows: _Count = None
    reject_share: _Share = None
    reject_from_rows: _Count = None
    few_rows_share: _Share = None
    contacts_share: _Share = None
    contacts_from_rows: _Count = None
    shared_phone: Annotated[int, Field(ge=2, le=1_000_000_000)] | None = None


def calls() -> APIRouter:
    """The calls."""
    router = group("accounts")
    add(router, "GET", "/accounts", list_)
    add(router, "POST", "/accounts", make, status=201)
    add(router, "GET", "/accounts/{account}", show)
    add(router, "PUT", "/accounts/{account}/options", set_options)
    add(router, "POST", "/accounts/{account}/disable", disable)
    add(router, "POST", "/accounts/{account}/enable", enable)
    return router


def found_account(desk: Desk, who: Principal, name: str) -> Account:
    """An account that is this person's business; raises Absent, whether it is another's or none at all."""
    require_account(who, name)
    found = desk.here.accounts.find(name)
    if found is None:
        raise Absent
    return found


def list_(
    desk: TheDesk,
    who: Staff,
    enabled: Annotated[bool | None, Query(description="Only those that are enabled, or are not.")] = None,
    after: AfterAccount = None,
    limit: Limit = 50,
) -> Page[AccountAnswer]:
    """List the accounts, by name."""
    found = [
        one
        for one in desk.here.accounts.all()
        if (after is None or one.name > after) and (enabled is None or one.enabled is enabled)
    ]
    return page(found[: limit + 1], limit, AccountAnswer.model_validate, lambda one: one.name)


def make(desk: TheDesk, who: Operator, asked: NewAccount) -> AccountAnswer:
    """Make an account and its folders."""
    made = desk.here.accounts.add(asked.name, title=asked.title, time_zone=asked.time_zone, actor=who.actor)
    desk.here.zone.prepare_account(made.name)
    return AccountAnswer.model_validate(made)


def show(desk: TheDesk, who: Anybody, account: AccountPath) -> AccountWithRows:
    """Show an account, and how many active records it has."""
    found, here = found_account(desk, who, account), desk.here
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        rows = account_data.active_counts(tx, here.catalogue, found.id)
        expected = here.sources.expected_of(tx, [found.id])[found.id]
        of_sources = {
            one.name: account_data.active_of_source(tx, here.catalogue, found.id, one.name) for one in expected.sources
        }
    told = AccountAnswer.model_validate(found).model_dump()
    return AccountWithRows(**told, rows=rows, rows_of_sources=of_sources)


def set_options(desk: TheDesk, who: Operator, account: AccountPath, asked: Options) -> AccountAnswer:
    """Set what holds for this account only: guards, and how strict it is."""
    found_account(desk, who, account)
    given = asked.model_dump(exclude_unset=True)
    return AccountAnswer.model_validate(desk.here.accounts.set_options(account, given, actor=who.actor))


def disable(desk: TheDesk, who: Operator, account: AccountPath) -> AccountAnswer:
    """Close the door for all keys and tokens of an account.

    Its files and data stay.
    """
    found_account(desk, who, account)
    return AccountAnswer.model_validate(desk.here.accounts.set_enabled(account, enabled=False, actor=who.actor))


def enable(desk: TheDesk, who: Operator, account: AccountPath) -> AccountAnswer:
    """Open the door again."""
    found_account(desk, who, account)
    return AccountAnswer.model_validate(desk.here.accounts.set_enabled(account, enabled=True, actor=who.actor))
