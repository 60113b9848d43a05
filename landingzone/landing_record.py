"""What the door notes of a landing in the database, for the receipt and for other processes.

The file is the truth: a row is written before the rename that makes the landing, so a row without a file may stand for
a landing that never came to be. Only a withdrawal is told by the row alone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from landingzone.clock import iso, now
from landingzone.landing import Landing, least_id_of
from landingzone.tables import accounts, landings, runs


@dataclass(frozen=True, slots=True)
class LandingRecord:
    """The notes on one landing.

    Attributes:
        id: the landing's id.
        name: its plain file name.
        resumed: it was continued after a cut.
        key_fingerprint: SHA256:... of the key that opened the session; empty if dropped in by hand.
        peer: the client's address; empty if dropped in by hand.
        withdrawn_at: when the customer deleted it, UTC, ISO 8601; None otherwise.
    """

    id: str
    name: str
    resumed: bool
    key_fingerprint: str
    peer: str
    withdrawn_at: str | None


def note(
    tx: sa.Connection, landing: Landing, *, resumed: bool = False, key_fingerprint: str = "", peer: str = ""
) -> None:
    """Note a landing, unless it is noted already; in the caller's write transaction, which then holds its row.

    So of two processes that take one landing in, the second one sees what the first has made of it.
    Raises KeyError if there is no account of that name.
    """
    row = {"resumed": resumed, "key_fingerprint": key_fingerprint, "peer": peer}
    values = {"of_id": landing.id, "of_account": landing.account, "of_name": landing.name, **row}
    if not tx.execute(_NOTE[tx.dialect.name], values).rowcount:
        raise KeyError(landing.account)


def note_newest(
    tx: sa.Connection,
    landing: Landing,
    *,
    size: int,
    mtime: float,
    resumed: bool = False,
    key_fingerprint: str = "",
    peer: str = "",
) -> str:
    """Note a new landing if its id is above every other of its account; else return the newest id, nothing is noted.

    In the caller's write transaction, for which others that note landings of the account wait.
    Raises KeyError if there is no account of that name.
    """
    _hold(tx, landing.account)
    row = {"resumed": resumed, "key_fingerprint": key_fingerprint, "peer": peer, "bytes": size, "mtime": mtime}
    of = {"of_id": landing.id, "of_account": landing.account, "of_name": landing.name}
    if tx.execute(_NOTE_NEWEST, {**of, **row}).first():  # a count of rows is not given by every database
        return ""
    newest = _newest_id(tx, landing.account)
    if newest is None:
        raise KeyError(landing.account)
    return newest


def is_newest(tx: sa.Connection, landing: Landing) -> bool:
    """Whether no other landing of its account was noted after it; in the caller's write transaction, as before."""
    _hold(tx, landing.account)
    return _newest_id(tx, landing.account) == landing.id


def _hold(tx: sa.Connection, account: str) -> None:
    """Let nobody else note landings of an account until the caller's write transaction ends."""
    if tx.dialect.name != "sqlite":  # which lets one write at a time
        tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account).with_for_update())


def _newest_id(tx: sa.Connection, account: str) -> str | None:
    """The highest id of an account's landings."""
    of_account = sa.select(accounts.c.id).where(accounts.c.name == account).scalar_subquery()
    newest: str | None = tx.execute(
        sa.select(sa.func.max(landings.c.id)).where(landings.c.account_id == of_account)
    ).scalar()
    return newest


class MakeLanding(Protocol):
    """Makes a landing with a fresh id, as `Zone.new_landing` does."""

    def __call__(self, account: str, name: str, *, above: str = "") -> Landing:
        """A landing whose id is above another one."""


def note_in_order(
    tx: sa.Connection,
    landing: Landing,
    make: MakeLanding,
    *,
    size: int,
    mtime: float,
    resumed: bool = False,
    key_fingerprint: str = "",
    peer: str = "",
) -> Landing:
    """Note a new landing, as `note_newest` does; where another process has noted a later one, under an id above that.

    Returns the landing as it was noted. Raises KeyError if there is no account of that name.
    """
    who = {"key_fingerprint": key_fingerprint, "peer": peer}
    while newest := note_newest(tx, landing, size=size, mtime=mtime, resumed=resumed, **who):
        landing = make(landing.account, landing.name, above=newest)
    return landing


def note_mtime(tx: sa.Connection, landing_id: str, mtime: float) -> None:
    """Note the time that a client gives what has landed."""
    tx.execute(landings.update().where(landings.c.id == landing_id).values(mtime=mtime))


@dataclass(frozen=True, slots=True)
class Shown:
    """A landing as a client is shown it that looks back.

    Attributes:
        landing: the landing.
        size: in bytes.
        mtime: seconds since 1970.
        taken: whether the import has taken it up.
    """

    landing: Landing
    size: int
    mtime: float
    taken: bool


def landed_since(tx: sa.Connection, account: str, moment: datetime, *, name: str, most: int) -> list[Shown]:
    """What has landed of an account from a moment on, newest first; only of a name if one is given. None withdrawn."""
    taken = sa.exists().where(runs.c.landing_id == landings.c.id)
    query = (
        sa.select(landings.c.id, landings.c.name, landings.c.bytes, landings.c.mtime, taken)
        .join(accounts, accounts.c.id == landings.c.account_id)
        .where(accounts.c.name == account, landings.c.id >= least_id_of(moment))
        .where(landings.c.withdrawn_at.is_(None), landings.c.bytes.is_not(None))
        .order_by(landings.c.id.desc())
        .limit(most)
    )
    if name:
        query = query.where(landings.c.name == name)
    return [
        Shown(Landing(id_, account, named), size, mtime, is_taken)
        for id_, named, size, mtime, is_taken in tx.execute(query)
    ]


def note_withdrawal(tx: sa.Connection, landing: Landing) -> None:
    """Note that the customer deletes a landing; before its file goes, so that its receipt is never forgotten."""
    note(tx, landing)
    tx.execute(landings.update().where(landings.c.id == landing.id).values(withdrawn_at=iso(now())))


def retract_withdrawal(tx: sa.Connection, landing: Landing) -> None:
    """Note that a landing was not withdrawn after all: a run had claimed it meanwhile."""
    tx.execute(landings.update().where(landings.c.id == landing.id).values(withdrawn_at=None))


def find(tx: sa.Connection, landing_id: str) -> LandingRecord | None:
    """The notes on a landing, or None."""
    row = tx.execute(_BY_ID, {"of_id": landing_id}).first()
    return LandingRecord(*row) if row else None


def withdrawn_without_run(tx: sa.Connection) -> list[Landing]:
    """Landings that were withdrawn before any run took them up, in order of landing."""
    query = (
        sa.select(landings.c.id, accounts.c.name, landings.c.name)
        .join(accounts, accounts.c.id == landings.c.account_id)
        .outerjoin(runs, runs.c.landing_id == landings.c.id)
        .where(landings.c.withdrawn_at.is_not(None), runs.c.id.is_(None))
        .order_by(landings.c.id)
    )
    return [Landing(*row) for row in tx.execute(query)]


_COLUMNS = [landings.c[name] for name in LandingRecord.__dataclass_fields__]
_BY_ID = sa.select(*_COLUMNS).where(landings.c.id == sa.bindparam("of_id"))


def _note(insert: "postgresql.Insert | sqlite.Insert") -> sa.Insert:
    """One statement: a client waits for it. Where there is a row it stays as it is, and is locked."""
    account = accounts.c.name == sa.bindparam("of_account")
    row = sa.select(
        sa.bindparam("of_id", type_=landings.c.id.type),
        accounts.c.id,
        sa.bindparam("of_name", type_=landings.c.name.type),
        *(sa.bindparam(name, type_=landings.c[name].type) for name in ("resumed", "key_fingerprint", "peer")),
    ).where(account)
    names = ["id", "account_id", "name", "resumed", "key_fingerprint", "peer"]
    as_it_is = {"name": landings.c.name}
    return insert.from_select(names, row).on_conflict_do_update(index_elements=["id"], set_=as_it_is)


_NOTE = {"sqlite": _note(sqlite.insert(landings)), "postgresql": _note(postgresql.insert(landings))}


def _newest() -> sa.Insert:
    """One statement: a client waits for it. Nothing where the account has a landing that is not below this one."""
    columns = ("resumed", "key_fingerprint", "peer", "bytes", "mtime")
    of_id = sa.bindparam("of_id", type_=landings.c.id.type)
    other = landings.alias()
    row = sa.select(
        of_id,
        accounts.c.id,
        sa.bindparam("of_name", type_=landings.c.name.type),
        *(sa.bindparam(name, type_=landings.c[name].type) for name in columns),
    ).where(
        accounts.c.name == sa.bindparam("of_account"),
        ~sa.exists().where(other.c.account_id == accounts.c.id, other.c.id >= of_id),
    )
    return landings.insert().from_select(["id", "account_id", "name", *columns], row).returning(landings.c.id)


_NOTE_NEWEST = _newest()
