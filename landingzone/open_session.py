"""Who is inside at the front doors, as each door last wrote it down: some seconds old, and for people.

A door decides by what it knows itself. A session that lasts no longer than a few seconds may never stand here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.db import Database, insert_into
from landingzone.tables import open_sessions as table

SILENT_AFTER = timedelta(seconds=90)
"""A door that has written nothing for so long is no more, and with it its sessions."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session at a front door.

    Attributes:
        node: the door's name.
        session: the session's id, as the log has it.
        account: whose it is.
        fingerprint: SHA256:... of the key that opened it.
        address: where it comes from.
        seen_at: since when it is known to be open, UTC, ISO 8601.
    """

    node: str
    session: str
    account: str
    fingerprint: str
    address: str
    seen_at: str


def of(db: Database, *, account: str | None = None, fingerprint: str | None = None) -> list[OpenSession]:
    """The sessions that are open, the oldest first; of one account, or opened by one key."""
    beat = table.alias()
    living = sa.exists().where(
        beat.c.node == table.c.node, beat.c.session == "", beat.c.seen_at > iso(now() - SILENT_AFTER)
    )
    columns = [table.c[name] for name in OpenSession.__dataclass_fields__]
    query = sa.select(*columns).where(table.c.session != "", living).order_by(table.c.seen_at, table.c.session)
    if account is not None:
        query = query.where(table.c.account == account)
    if fingerprint is not None:
        query = query.where(table.c.fingerprint == fingerprint)
    with db.read() as tx:
        return [OpenSession(*row) for row in tx.execute(query)]


def note(tx: sa.Connection, node: str, came: Collection[OpenSession], went: Collection[str]) -> None:
    """Note at a door who came and which sessions (their ids) have ended, in the caller's transaction."""
    if went:
        tx.execute(table.delete().where(table.c.node == node, table.c.session.in_(went)))
    beat = OpenSession(node, "", "", "", "", iso(now()))
    rows = [{name: getattr(one, name) for name in OpenSession.__dataclass_fields__} for one in (beat, *came)]
    put = insert_into(tx, table).values(rows)
    of_now = {"seen_at": put.excluded.seen_at}
    tx.execute(put.on_conflict_do_update(index_elements=["node", "session"], set_=of_now))


def forget(tx: sa.Connection, node: str) -> None:
    """Forget a door's sessions: it begins, or ends."""
    tx.execute(table.delete().where(table.c.node == node))
