"""Notices and their way out, in the database: each cause makes one notice, each notice one delivery for each target.

What is written here holds no personal data: districts, sources, times, ids, codes.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.notices.target import Channel, Target
from landingzone.tables import accounts, deliveries, notices, notify_addresses

MOST_AN_HOUR = 20
"""Of one account and kind: what a client does to a thousand files is told once, not a thousand times."""
KEPT_DAYS = 90


class Kind(StrEnum):
    """What a notice is about; stable, the `type` of a webhook."""

    LATE = "file.late"
    CAME = "file.came"
    HELD = "run.held"
    FAILED = "run.failed"
    REJECTED = "run.rejected"
    UNRECOGNISED = "run.unrecognised"
    BROADCAST = "broadcast.incomplete"
    MANY = "notices.many"
    TEST = "test"


FOR_DISTRICT = (Kind.LATE, Kind.CAME, Kind.HELD, Kind.REJECTED, Kind.UNRECOGNISED)
"""What is of use to the district's own people, too."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told.

    Attributes:
        cause: what makes it one notice however often it is seen.
        kind: what it is about.
        account: the account's name.
        title: what a person calls the district.
        time_zone: in which times are told.
        said: the facts: source, file, due_at, landed_at, outcome, code, run, ...; JSON.
        created_at: UTC, ISO 8601.
        id: the database's number; 0: not kept yet.
    """

    cause: str
    kind: Kind
    account: str
    title: str
    time_zone: str
    said: dict[str, Any]
    created_at: str = ""
    id: int = 0

    @property
    def message_id(self) -> str:
        """The same at each attempt and for each target, so that who gets it twice can know."""
        return "msg_" + hashlib.sha256(f"{self.cause}\n{self.created_at}".encode()).hexdigest()[:32]


def make(tx: sa.Connection, notice: Notice, targets: Iterable[Target], *, digest_seconds: float) -> bool:
    """Keep a notice and a delivery for each target, in the caller's write transaction; False if it is there already.

    Of too many of a kind within an hour one more notice says so, and nothing else is delivered.
    """
    if tx.execute(sa.select(notices.c.id).where(notices.c.cause == notice.cause)).first() is not None:
        return False
    present = now()
    account_id = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == notice.account)).scalar_one()
    since = iso(present - timedelta(hours=1))
    same = sa.and_(notices.c.account_id == account_id, notices.c.kind == notice.kind, notices.c.created_at > since)
    lately = tx.execute(sa.select(sa.func.count()).where(same)).scalar_one()
    row = notices.insert().values(
        cause=notice.cause, kind=notice.kind.value, account_id=account_id, said=notice.said, created_at=iso(present)
    )
    number = tx.execute(row.returning(notices.c.id)).scalar_one()
    if lately >= MOST_AN_HOUR and notice.kind is not Kind.MANY:
        cause = f"many:{notice.account}:{notice.kind}:{present:%Y-%m-%dT%H}"
        said = {"of": notice.kind.value, "more_than": MOST_AN_HOUR}
        more = Notice(cause, Kind.MANY, notice.account, notice.title, notice.time_zone, said)
        make(tx, more, targets, digest_seconds=digest_seconds)
        return True
    for target in targets:
        if target.of_account and (target.of_account != notice.account or notice.kind not in FOR_DISTRICT):
            continue
        wait = digest_seconds if target.channel is Channel.EMAIL else 0
        tx.execute(
            deliveries.insert().values(
                notice_id=number,
                channel=target.channel.value,
                target=target.key,
                next_at=iso(present + timedelta(seconds=wait)),
            )
        )
    return True


def settle(tx: sa.Connection, number: int) -> None:
    """Note that what a notice says holds no more."""
    tx.execute(notices.update().where(notices.c.id == number).values(settled_at=iso(now())))


def open_of(tx: sa.Connection, kind: Kind, among: Collection[str] | None = None) -> list[Notice]:
    """The notices of a kind that still hold, of all accounts or of some, oldest first."""
    query = _QUERY.where(notices.c.kind == kind.value, notices.c.settled_at.is_(None))
    if among is not None:
        query = query.where(accounts.c.name.in_(among))
    return [_notice(row) for row in tx.execute(query)]


def open_late(tx: sa.Connection) -> int:
    """How many files are known to be late."""
    still = sa.and_(notices.c.kind == Kind.LATE.value, notices.c.settled_at.is_(None))
    return tx.execute(sa.select(sa.func.count()).select_from(notices).where(still)).scalar_one()


def oldest_waiting(tx: sa.Connection) -> str | None:
    """When the oldest notice was made that has not reached a target yet; UTC, ISO 8601."""
    waiting = sa.select(sa.func.min(notices.c.created_at)).join(deliveries, deliveries.c.notice_id == notices.c.id)
    found: str | None = tx.execute(waiting.where(deliveries.c.next_at.is_not(None))).scalar()
    return found


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to one target.

    Attributes:
        id: the database's number.
        target: whom, by its key.
        channel: how.
        attempts: how often it was tried in vain.
        next_at: when it is to be tried, UTC, ISO 8601.
        notice: what.
    """

    id: int
    channel: Channel
    target: str
    attempts: int
    next_at: str
    notice: Notice


def waiting(tx: sa.Connection, *, limit: int = 500) -> list[Delivery]:
    """What has not been delivered, in the order in which it was made."""
    columns = [deliveries.c[name] for name in ("id", "channel", "target", "attempts", "next_at")]
    query = _QUERY.join(deliveries, deliveries.c.notice_id == notices.c.id).add_columns(*columns)
    query = query.where(deliveries.c.next_at.is_not(None)).order_by(None).order_by(deliveries.c.id).limit(limit)
    width = len(columns)
    return [
        Delivery(row[-5], Channel(row[-4]), row[-3], row[-2], row[-1], _notice(row[:-width]))
        for row in tx.execute(query)
    ]


def delivered(tx: sa.Connection, numbers: Iterable[int]) -> None:
    """Note that deliveries have reached their target."""
    done = deliveries.update().where(deliveries.c.id.in_(list(numbers)))
    tx.execute(done.values(delivered_at=iso(now()), next_at=None, problem=""))


def not_delivered(tx: sa.Connection, numbers: Iterable[int], *, again_at: datetime | None, problem: str) -> None:
    """Note an attempt in vain, and when the next one is; None: there is none."""
    tried = deliveries.update().where(deliveries.c.id.in_(list(numbers)))
    next_at = iso(again_at) if again_at else None
    tx.execute(tried.values(attempts=deliveries.c.attempts + 1, next_at=next_at, problem=problem[:200]))


def put_off(tx: sa.Connection, target: str, until: datetime) -> None:
    """Try nothing at a target before a moment."""
    sooner = sa.and_(deliveries.c.target == target, deliveries.c.next_at < iso(until))
    tx.execute(deliveries.update().where(sooner).values(next_at=iso(until)))


def remove_old(tx: sa.Connection) -> int:
    """Forget what is long over; returns how many notices."""
    before = iso(now() - timedelta(days=KEPT_DAYS))
    old = sa.select(notices.c.id).where(notices.c.created_at < before)
    tx.execute(deliveries.delete().where(deliveries.c.notice_id.in_(old)))
    return tx.execute(notices.delete().where(notices.c.created_at < before)).rowcount


def newest(tx: sa.Connection, *, limit: int) -> list[tuple[Notice, str, str]]:
    """The newest notices, each with how many of its targets it has reached (`1 of 2`), and the last problem."""
    found = [_notice(row) for row in tx.execute(_QUERY.order_by(None).order_by(notices.c.id.desc()).limit(limit))]
    query = sa.select(deliveries.c.notice_id, deliveries.c.delivered_at, deliveries.c.problem)
    query = query.where(deliveries.c.notice_id.in_([one.id for one in found]))
    ways: dict[int, list[tuple[str | None, str]]] = {}
    for number, at, problem in tx.execute(query):
        ways.setdefault(number, []).append((at, problem))
    return [
        (
            one,
            f"{sum(1 for at, _ in ways.get(one.id, ()) if at)} of {len(ways.get(one.id, ()))}",
            next((problem for _, problem in ways.get(one.id, ()) if problem), ""),
        )
        for one in found
    ]


def addresses_of(tx: sa.Connection) -> list[tuple[str, str]]:
    """Every account's own addresses: (account, address)."""
    query = sa.select(accounts.c.name, notify_addresses.c.address).join(
        notify_addresses, notify_addresses.c.account_id == accounts.c.id
    )
    return [(account, address) for account, address in tx.execute(query.order_by(*query.selected_columns))]


_QUERY = (
    sa.select(
        notices.c.cause,
        notices.c.kind,
        accounts.c.name,
        accounts.c.title,
        accounts.c.time_zone,
        notices.c.said,
        notices.c.created_at,
        notices.c.id,
    )
    .join(accounts, accounts.c.id == notices.c.account_id)
    .order_by(notices.c.id)
)


def _notice(row: Any) -> Notice:  # noqa: ANN401 - a row of _QUERY
    cause, kind, *rest = row
    return Notice(cause, Kind(kind), *rest)
