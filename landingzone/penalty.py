"""Penalties: who fails to log in again and again has to wait, longer each time.

Counted for an address (an IPv6 network of 64 bits), and for an address at one account: never for an account alone, so
that no stranger can lock a district out. Counted in the database, so that all nodes share them. A login that succeeds
never adds to a penalty: it wipes out what its address, and its address at that account, have gathered.

While an address has a penalty its connections are ended before they cost anything. While it has one at an account, it
is refused there only; such attempts do not count against the address, behind which other districts may be.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database, take_turn
from landingzone.errors import LandingZoneError
from landingzone.settings import LimitSettings
from landingzone.tables import penalties as table

FORGET_AFTER = timedelta(days=1)
"""After so long without a failure the next penalty is a first one again."""
MAX_KEPT = 20_000
MAX_TALLY = 5000
"""Places that are counted between two writes; a flood from more than that is counted in part."""

Place = tuple[str, str]
"""A network, and an account or an empty name."""


class PenaltyError(LandingZoneError):
    """There is no such penalty."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """What is counted against a place.

    Attributes:
        address: an IPv4 address, or an IPv6 network of 64 bits.
        account: at which account; empty: everywhere.
        failures: failed logins since the last penalty, within the time in which they count.
        times: how many penalties there were.
        until: when the last one ends; None: there was none.
        last_at: the last failure.
    """

    address: str
    account: str
    failures: int
    times: int
    until: str | None
    last_at: str


@dataclass
class Tally:
    """What has happened since the last write: failed logins by place, and the places that were opened."""

    failed: Counter[Place] = field(default_factory=Counter)
    opened: set[Place] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Whether anything has happened."""
        return bool(self.failed or self.opened)


class Penalties:
    """The penalties that hold, in memory, as the door asks for them; what happens is gathered to be written."""

    def __init__(self) -> None:
        self._until: dict[Place, str] = {}
        self._tally = Tally()

    def seconds_left(self, network: str, account: str = "") -> float:
        """How long a place still has to wait; 0: not at all."""
        until = self._until.get((network, account))
        if until is None:
            return 0
        return max(0.0, (datetime.fromisoformat(until) - now()).total_seconds())

    def failed(self, network: str, account: str = "") -> None:
        """A login failed: counted for the address, and for it at the account, if that is one."""
        if len(self._tally.failed) < MAX_TALLY:
            self._tally.failed[network, ""] += 1
            if account:
                self._tally.failed[network, account] += 1

    def opened(self, network: str, account: str) -> None:
        """A login succeeded: what its address has gathered is forgotten."""
        for place in ((network, ""), (network, account)):
            self._tally.failed.pop(place, None)
            self._tally.opened.add(place)

    def take(self) -> Tally:
        """What has happened since this was last asked."""
        tally, self._tally = self._tally, Tally()
        return tally

    def hold(self, penalties: Iterable[Penalty]) -> None:
        """From now on these hold."""
        self._until = {(one.address, one.account): one.until for one in penalties if one.until}


# In the database


def write(tx: sa.Connection, tally: Tally, limits: LimitSettings) -> list[Penalty]:
    """Count what has happened, in the caller's transaction; returns the penalties that begin with it."""
    at = now()
    take_turn(tx, "penalties")
    for address, account in tally.opened:
        past = sa.or_(table.c.until.is_(None), table.c.until <= iso(at))
        tx.execute(table.delete().where(table.c.address == address, table.c.account == account, past))
    begun = []
    for (address, account), failures in tally.failed.items():
        here = sa.and_(table.c.address == address, table.c.account == account)
        row = tx.execute(sa.select(table).where(here)).mappings().first()
        count, times, since, until = failures, 0, iso(at), None
        if row is not None:
            times, until = row["times"], row["until"]
            if row["counted_from"] > iso(at - timedelta(minutes=limits.failure_minutes)):
                count, since = count + row["failures"], row["counted_from"]
        if count >= _limit(account, limits):
            until = iso(at + timedelta(seconds=_length(times, limits)))
            count, times, since = 0, times + 1, iso(at)
            begun.append(Penalty(address, account, 0, times, until, iso(at)))
        values = {"failures": count, "counted_from": since, "last_at": iso(at), "times": times, "until": until}
        if row is None:
            tx.execute(table.insert().values(address=address, account=account, **values))
        else:
            tx.execute(table.update().where(here).values(values))
    return begun


def holding(tx: sa.Connection) -> list[Penalty]:
    """The penalties that hold now."""
    return _select(tx, table.c.until > iso(now()))


def seconds_left(tx: sa.Connection, network: str, account: str = "") -> float:
    """How long a place still has to wait, for who asks too seldom to keep them in memory; 0: not at all."""
    here = sa.and_(table.c.address == network, table.c.account == account)
    until = tx.execute(sa.select(table.c.until).where(here)).scalar()
    return max(0.0, (datetime.fromisoformat(until) - now()).total_seconds()) if until else 0.0


def forget_old(db: Database) -> None:
    """Forget who has not failed for a day; of the others the newest stay."""
    with db.read() as tx:
        count = tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        if not count:
            return
        border = sa.select(table.c.last_at).order_by(table.c.last_at.desc()).offset(MAX_KEPT).limit(1)
        too_old = max(iso(now() - FORGET_AFTER), tx.execute(border).scalar() or "")
    past = sa.or_(table.c.until.is_(None), table.c.until <= iso(now()))
    with db.write() as tx:
        take_turn(tx, "penalties")
        tx.execute(table.delete().where(table.c.last_at <= too_old, past))


def listing(db: Database) -> list[Penalty]:
    """All that is counted, those that have to wait longest first."""
    with db.read() as tx:
        return _select(tx, sa.true())


def lift(db: Database, address: str, *, account: str | None = None, actor: str) -> int:
    """Forget what is counted against an address: at one account if named, else all of it. Returns of how many places.

    Raises PenaltyError if there is nothing.
    """
    of_it = [table.c.address == address, *([] if account is None else [table.c.account == account])]
    with audit.changing(db) as tx:
        take_turn(tx, "penalties")
        gone = tx.execute(table.delete().where(*of_it)).rowcount
        if not gone:
            raise PenaltyError(
                f"Nothing is counted against {address}. `landingzone door penalties list` shows all that is."
            )
        audit.record(tx, actor=actor, action="penalty.lifted", account=account or "", address=address)
    return gone


def _limit(account: str, limits: LimitSettings) -> int:
    return limits.login_failures_per_address_and_account if account else limits.login_failures_per_address


def _length(times: int, limits: LimitSettings) -> float:
    """Seconds of the next penalty: each is twice as long as the one before.

    >>> [_length(times, LimitSettings(penalty_seconds=30, penalty_most_minutes=2)) for times in range(4)]
    [30.0, 60.0, 120.0, 120.0]
    """
    return float(min(limits.penalty_seconds * 2 ** min(times, 32), limits.penalty_most_minutes * 60))


def _select(tx: sa.Connection, where: sa.ColumnElement[bool]) -> list[Penalty]:
    columns = [table.c[name] for name in Penalty.__dataclass_fields__]
    query = sa.select(*columns).where(where).order_by(sa.desc(table.c.until), table.c.address, table.c.account)
    return [Penalty(*row) for row in tx.execute(query)]
