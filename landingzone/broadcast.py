"""Broadcasts: when messages go out that are made from an account's data, and which feeds they depend on."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from landingzone import audit
from landingzone.db import Database
from landingzone.due import Timetable, canonical, parse_rule
from landingzone.errors import LandingZoneError
from landingzone.feed import Catalogue
from landingzone.tables import accounts, broadcasts

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class BroadcastError(LandingZoneError):
    """The broadcast is not as the command needs it."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A time at which messages go out.

    Attributes:
        account: whose.
        name: unique within the account.
        times: as an operator may write them, in the account's time zone.
        feeds: what must be in by then.
    """

    account: str
    name: str
    times: str
    feeds: tuple[str, ...]

    @property
    def table(self) -> Timetable:
        """The times of each weekday."""
        rule = parse_rule(self.times)
        assert isinstance(rule, Timetable)
        return rule


class Broadcasts:
    """The broadcasts in the database."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._db = db
        self._catalogue = catalogue

    def put(self, account: str, name: str, times: str, feeds: Sequence[str], *, actor: str) -> Broadcast:
        """Keep a broadcast, in place of one of that name; raises BroadcastError, DueError."""
        if not _NAME.fullmatch(name):
            raise BroadcastError(
                f"{name[:70]!r} cannot name a broadcast: lower case letters, digits and '-', at most 64."
            )
        if not isinstance(parse_rule(times), Timetable):
            raise BroadcastError("A broadcast has times, such as 10:00 or 'Mon-Thu 10:00, Fri 09:30'.")
        for feed in feeds:
            if feed not in self._catalogue:
                raise BroadcastError(f"There is no feed {feed!r}. `landingzone feeds list` names all.")
        if not feeds:
            raise BroadcastError("Say which feeds must be in by then: --needs attendance.")
        made = Broadcast(account, name, canonical(times), tuple(dict.fromkeys(feeds)))
        with self._db.write() as tx:
            account_id = _account_id(tx, account)
            values = {"times": made.times, "feeds": list(made.feeds)}
            same = sa.and_(broadcasts.c.account_id == account_id, broadcasts.c.name == name)
            if not tx.execute(broadcasts.update().where(same).values(**values)).rowcount:
                tx.execute(broadcasts.insert().values(account_id=account_id, name=name, **values))
            audit.record(tx, actor=actor, action="broadcast.set", account=account, name=name, **values)
        return made

    def remove(self, account: str, name: str, *, actor: str) -> None:
        """Forget a broadcast; raises BroadcastError if there is none."""
        with self._db.write() as tx:
            same = sa.and_(broadcasts.c.account_id == _account_id(tx, account), broadcasts.c.name == name)
            if not tx.execute(broadcasts.delete().where(same)).rowcount:
                raise BroadcastError(f"Account {account} has no broadcast {name!r}.")
            audit.record(tx, actor=actor, action="broadcast.removed", account=account, name=name)

    def all(self, account: str | None = None) -> list[Broadcast]:
        """All broadcasts, or those of one account, by account and name."""
        with self._db.read() as tx:
            return broadcasts_of(tx, None if account is None else [account])


def broadcasts_of(tx: sa.Connection, of: Collection[str] | None) -> list[Broadcast]:
    """The broadcasts of some accounts (None: of all), by account and name."""
    query = (
        sa.select(accounts.c.name, broadcasts.c.name, broadcasts.c.times, broadcasts.c.feeds)
        .join(accounts, accounts.c.id == broadcasts.c.account_id)
        .order_by(accounts.c.name, broadcasts.c.name)
    )
    if of is not None:
        query = query.where(accounts.c.name.in_(of))
    return [Broadcast(name, own, times, tuple(feeds)) for name, own, times, feeds in tx.execute(query)]


def _account_id(tx: sa.Connection, account: str) -> int:
    found: int | None = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
    if found is None:
        raise BroadcastError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
    return found
