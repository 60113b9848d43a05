"""Accounts: one for each school district, its name is the SSH user name."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.settings import GuardSettings
from landingzone.tables import accounts

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class AccountError(LandingZoneError):
    """The account is not as the command needs it."""


@dataclass(frozen=True, slots=True)
class Account:
    """A school district's account.

    Attributes:
        id: the database's number.
        name: lower case letters, digits, `-`; at most 32; the SSH user name and the folders' name.
        title: what a person calls it.
        time_zone: IANA name; decides which day `today` is.
        created_at: UTC, ISO 8601.
        disabled_at: UTC, ISO 8601; None while the account is enabled.
        options: what holds for this account only: `strict_alt_phone`, and guards by their names in the settings.
    """

    id: int
    name: str
    title: str
    time_zone: str
    created_at: str
    disabled_at: str | None
    options: dict[str, Any]

    def guards(self, settings: GuardSettings) -> GuardSettings:
        """The guards that hold for this account: the settings', with its own."""
        own = {name: value for name, value in self.options.items() if name in GuardSettings.model_fields}
        return settings.model_copy(update=own)

    @property
    def strict_alt_phone(self) -> bool:
        """Whether an alternative phone number is required, to the letter of the reference."""
        return bool(self.options.get("strict_alt_phone", False))

    @property
    def enabled(self) -> bool:
        """Whether its keys open the door."""
        return self.disabled_at is None


def check_account_name(name: str) -> str:
    """The name, if it may name an account; raises AccountError, saying what may."""
    if not _NAME.fullmatch(name):
        raise AccountError(
            f"{name!r} cannot name an account: use lower case letters, digits and '-', "
            "starting with a letter or digit, at most 32."
        )
    return name


class Accounts:
    """The accounts in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, name: str, *, title: str = "", time_zone: str = "UTC", actor: str) -> Account:
        """Make an account; raises AccountError if the name is taken or unusable, or the time zone unknown."""
        check_account_name(name)
        try:
            ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError):
            raise AccountError(
                f"{time_zone!r} is not a time zone; use an IANA name such as America/New_York."
            ) from None
        with audit.changing(self._db) as tx:
            if self.by_name(tx, name):
                raise AccountError(f"There is an account {name} already.")
            tx.execute(accounts.insert().values(name=name, title=title, time_zone=time_zone, created_at=iso(now())))
            audit.record(tx, actor=actor, action="account.added", account=name, title=title, time_zone=time_zone)
        return self.get(name)

    def get(self, name: str) -> Account:
        """The account of that name; raises AccountError if there is none."""
        account = self.find(name)
        if account is None:
            raise AccountError(_MISSING.format(name))
        return account

    def find(self, name: str) -> Account | None:
        """The account of that name, or None."""
        with self._db.read() as tx:
            return self.by_name(tx, name)

    def all(self) -> list[Account]:
        """Every account, by name."""
        with self._db.read() as tx:
            return self.of(tx)

    @staticmethod
    def by_name(tx: sa.Connection, name: str) -> Account | None:
        """The account of that name, or None."""
        row = tx.execute(_BY_NAME, {"of_name": name}).first()
        return Account(*row) if row else None

    @staticmethod
    def of(
        tx: sa.Connection, *, names: Collection[str] | None = None, numbers: Collection[int] | None = None
    ) -> list[Account]:
        """The accounts of these names or numbers, every one if neither is given; by name."""
        query = sa.select(*_COLUMNS).order_by(accounts.c.name)
        query = query if names is None else query.where(accounts.c.name.in_(names))
        query = query if numbers is None else query.where(accounts.c.id.in_(numbers))
        return [Account(*row) for row in tx.execute(query)]

    def set_enabled(self, name: str, enabled: bool, *, actor: str) -> Account:
        """Open or close the door for all keys of an account; its files and data stay."""
        with audit.changing(self._db) as tx:
            account = self.by_name(tx, name)
            if account is None:
                raise AccountError(_MISSING.format(name))
            if account.enabled is not enabled:
                disabled_at = None if enabled else iso(now())
                tx.execute(accounts.update().where(accounts.c.id == account.id).values(disabled_at=disabled_at))
                action = "account.enabled" if enabled else "account.disabled"
                audit.record(tx, actor=actor, action=action, account=name)
        return self.get(name)

    def set_options(self, name: str, options: dict[str, Any], *, actor: str) -> Account:
        """Set what holds for this account only; a value of None goes back to the settings'.

        Raises AccountError for an unknown option or a value that it may not have.
        """
        unknown = set(options) - set(GuardSettings.model_fields) - {"strict_alt_phone"}
        if unknown:
            known = ", ".join(["strict_alt_phone", *GuardSettings.model_fields])
            raise AccountError(f"There is no option {unknown.pop()!r}. There are: {known}.")
        with audit.changing(self._db) as tx:
            account = self.by_name(tx, name)
            if account is None:
                raise AccountError(_MISSING.format(name))
            kept = {**account.options, **options}
            values = _checked({option: value for option, value in kept.items() if value is not None})
            tx.execute(accounts.update().where(accounts.c.name == name).values(options=values))
            audit.record(tx, actor=actor, action="account.options", account=name, options=values)
        return self.get(name)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Options in the form in which they are kept; raises AccountError for a value that one may not have."""
    try:
        strict = TypeAdapter(bool).validate_python(options.get("strict_alt_phone", False))
        guards = GuardSettings(**{option: value for option, value in options.items() if option != "strict_alt_phone"})
    except ValidationError as wrong:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors(include_input=False))
        raise AccountError(f"Option {told}.") from None
    return guards.model_dump(exclude_unset=True) | ({"strict_alt_phone": True} if strict else {})


_MISSING = "There is no account {!r}. `landingzone accounts list` shows all."
_COLUMNS = [accounts.c[name] for name in Account.__dataclass_fields__]
_BY_NAME = sa.select(*_COLUMNS).where(accounts.c.name == sa.bindparam("of_name"))
