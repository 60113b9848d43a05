"""Login attempts: what the front door saw of each account's recent connections, so that `doctor` can explain them.

Bounded: what happens again in the same way is one row that counts, and of each account only the newest rows stay.
User names that are no account's are not kept (people type passwords there): such attempts have an empty account.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from landingzone.clock import iso
from landingzone.db import Database, take_turn
from landingzone.tables import login_attempts as table

KEPT_PER_ACCOUNT = 50
OPENED = "opened"
"""The outcome of an attempt that opened the account; every other one is the reason of a `login.refused`."""


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """A key that the client offered.

    Attributes:
        fingerprint: SHA256:...
        algorithm: its SSH name.
        refusal: why it does not open the account; empty if it does.
    """

    fingerprint: str
    algorithm: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """One way in which somebody tried to log in, and how often.

    Attributes:
        account: the account's name; empty if the user name was no account's, or none was given.
        address: the client's.
        client: its version string, at most 100 characters.
        outcome: `opened`, or the reason of the refusal.
        offered: the keys that it offered, in order, at most 20.
        algorithms: what was agreed on: `kex`, `host_key`, `cipher`, `mac`; empty if it did not come to that.
        message: what the client was told, or what broke the connection; empty where the outcome says it.
        first_at: UTC, ISO 8601.
        last_at: UTC, ISO 8601.
        times: how often.
    """

    account: str
    address: str
    client: str = ""
    outcome: str = OPENED
    offered: tuple[OfferedKey, ...] = ()
    algorithms: dict[str, str] = field(default_factory=dict)
    message: str = ""
    first_at: str = ""
    last_at: str = ""
    times: int = 1


def note(tx: sa.Connection, attempts: Iterable[LoginAttempt], at: datetime) -> None:
    """Note attempts in the caller's transaction, and forget the oldest of each account that is named."""
    take_turn(tx, "login_attempts")
    accounts = set()
    for attempt in attempts:
        accounts.add(attempt.account)
        detail = _detail(attempt)
        digest = _digest(attempt, detail)
        again = table.update().where(table.c.digest == digest)
        done = tx.execute(again.values(last_at=iso(at), times=table.c.times + attempt.times))
        if done.rowcount == 0:
            tx.execute(
                table.insert().values(
                    digest=digest,
                    account=attempt.account,
                    address=attempt.address,
                    client=attempt.client,
                    outcome=attempt.outcome,
                    detail=detail,
                    first_at=iso(at),
                    last_at=iso(at),
                    times=attempt.times,
                )
            )
    for account in sorted(accounts):
        newest = sa.select(table.c.id).where(table.c.account == account)
        newest = newest.order_by(table.c.last_at.desc(), table.c.id.desc()).limit(KEPT_PER_ACCOUNT)
        tx.execute(table.delete().where(table.c.account == account, table.c.id.not_in(newest.scalar_subquery())))


def recent(db: Database, account: str, *, addresses: Iterable[str] = ()) -> list[LoginAttempt]:
    """The recent attempts of an account, newest first.

    With `addresses` also those from there that named no account: a wrong user name, or no common algorithm.
    """
    of_it = table.c.account == account
    nameless = sa.and_(table.c.account == "", table.c.address.in_(list(addresses)))
    query = sa.select(table).where(sa.or_(of_it, nameless)).order_by(table.c.last_at.desc(), table.c.id.desc())
    with db.read() as tx:
        return [_attempt(row) for row in tx.execute(query).mappings()]


def _detail(attempt: LoginAttempt) -> dict[str, object]:
    offered = [dataclasses.asdict(key) for key in attempt.offered]
    return {"offered": offered, "algorithms": attempt.algorithms, "message": attempt.message}


def _digest(attempt: LoginAttempt, detail: dict[str, object]) -> str:
    whole = [attempt.account, attempt.address, attempt.client, attempt.outcome, detail]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _attempt(row: sa.RowMapping) -> LoginAttempt:
    detail = row["detail"]
    plain = ("account", "address", "client", "outcome", "first_at", "last_at", "times")
    return LoginAttempt(
        offered=tuple(OfferedKey(**key) for key in detail["offered"]),
        algorithms=detail["algorithms"],
        message=detail["message"],
        **{name: row[name] for name in plain},
    )
