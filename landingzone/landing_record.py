"""What the door notes of a landing in the database, for the receipt and for other processes.

The file is the truth: a row is written before the rename that makes the landing, so a row without a file may stand for
a landing that never came to be. Only a withdrawal is told by the row alone.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from landingzone.clock import iso, now
from landingzone.landing import Landing
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


def note_withdrawal(tx: sa.Connection, landing: Landing) -> None:
    """Note that the customer deletes a landing; before its file goes, so that its receipt is never forgotten."""
    note(tx, landing)
    tx.execute(landings.update().where(landings.c.id == landing.id).values(withdrawn_at=iso(now())))


def retract_withdrawal(tx: sa.Connection, landing: Landing) -> None:
    """Note that a landing was not withdrawn after all: a run had claimed it meanwhile."""
    tx.execute(landings.update().where(landings.c.id == landing.id).values(withdrawn_at=None))


def find(tx: sa.Connection, landing_id: str) -> LandingRecord | None:
    """The notes on a landing, or None."""
    row = tx.execute(sa.select(*_COLUMNS).where(landings.c.id == landing_id)).first()
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
