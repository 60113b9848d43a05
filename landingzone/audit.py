"""The trail: who changed what, and when. Written in the transaction of the change itself.

The records are a chain: the hash of each covers its content and the hash before it, and a head row says where the chain
ends. The database refuses to change or remove a record; who gets around that breaks a link, which `verify` finds.
"""

import getpass
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.tables import audit, audit_head

GENESIS = "0" * 64
"""What the first record follows."""
_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


class AuditError(LandingZoneError):
    """The audit trail cannot be read as asked."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change.

    Attributes:
        id: its number in the chain, from 1.
        at: UTC, ISO 8601.
        actor: who did it.
        action: a stable name such as `key.added`.
        account: the account that it is about; empty for the installation itself.
        detail: ids and counts, no personal data.
        previous_hash: the hash of the record before it.
        hash: SHA-256, in hex, of all of the above.
    """

    id: int
    at: str
    actor: str
    action: str
    account: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str

    def computed_hash(self, number: int | None = None) -> str:
        """The hash that its content gives (with another number, if one is given)."""
        content = (number or self.id, self.at, self.actor, self.action, self.account, self.detail, self.previous_hash)
        return _digest(content)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends: the last record's number and hash. An operator keeps it to prove later what was there."""

    last_id: int
    hash: str

    def __str__(self) -> str:
        """`<number>:<hash>`."""
        return f"{self.last_id}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """What `str` gave; raises AuditError for anything else."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise AuditError("A head is a number, a colon and 64 hex digits, as `landingzone audit verify` prints it.")
        return cls(int(found[1]), found[2])


class Break(StrEnum):
    """How a chain is broken."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    INSERTED = "inserted"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found.

    Attributes:
        records: how many records were whole, from the beginning on.
        head: where the chain ends; of a broken one, the last whole record.
        broken: how it is broken; None: it is whole.
        at_record: the number of the first record that does not fit (or that is missing); None for a whole chain.
        message: the same for a person.
    """

    records: int
    head: Head
    broken: Break | None = None
    at_record: int | None = None
    message: str = ""


@contextmanager
def changing(db: Database) -> Iterator[sa.Connection]:
    """A write transaction of a change that is recorded: such changes go one at a time, on every database.

    It locks the end of the chain before anything else. So what it looks up it may rely on, and two of them never wait
    for each other. Others who write (the door's notes, imports) never wait for the end of the chain.
    """
    with db.write() as tx:
        tx.execute(_END)
        yield tx


def record(tx: sa.Connection, *, actor: str, action: str, account: str = "", **detail: Any) -> None:  # noqa: ANN401 - JSON
    """Append a record in the caller's write transaction: the change and its record are both there, or neither.

    The end of the chain stays locked until that transaction ends. Begin it with `changing`.
    """
    end = tx.execute(_END).one()
    plain = json.loads(json.dumps(detail, allow_nan=False))  # as it will be read back
    made = AuditRecord(end.last_id + 1, iso(now()), actor, action, account, plain, end.hash, "")
    digest = made.computed_hash()
    values = {name: getattr(made, name) for name in AuditRecord.__dataclass_fields__}
    tx.execute(audit.insert().values({**values, "hash": digest}))
    moved = {"last_id": made.id, "records": audit_head.c.records + 1, "hash": digest}
    tx.execute(audit_head.update().values(moved))


def records(
    db: Database, *, account: str | None = None, since: str | None = None, action: str | None = None
) -> list[AuditRecord]:
    """The trail, oldest first: of one account, from a moment on (ISO 8601), of one action or a group of them.

    The group `key` is every action that begins with `key.`.
    """
    with db.read() as tx:
        return [AuditRecord(*row) for row in tx.execute(_filtered(account, since, action).order_by(audit.c.id))]


def newest(
    db: Database,
    *,
    account: str | None = None,
    since: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int,
) -> list[AuditRecord]:
    """The same, the newest first and at most so many; only those `before` a record's number if one is given."""
    query = _filtered(account, since, action).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    with db.read() as tx:
        return [AuditRecord(*row) for row in tx.execute(query)]


def _filtered(account: str | None, since: str | None, action: str | None) -> sa.Select[*tuple[Any, ...]]:
    query = _COLUMNS
    if account is not None:
        query = query.where(audit.c.account == account)
    if since is not None:
        query = query.where(audit.c.at >= since)
    if action is not None:
        group = audit.c.action.startswith(f"{action}.", autoescape=True)
        query = query.where(sa.or_(audit.c.action == action, group))
    return query


def verify(db: Database, *, kept: Head | None = None) -> Verdict:
    """Walk the whole chain. Finds the first record that was changed, removed, moved or slipped in.

    The newest records leave no gap when they go: the head row tells of them. Who can rewrite records, hashes and head
    alike is found out by a head that was `kept` elsewhere before.
    """
    with db.read() as tx:
        return verify_in(tx, kept=kept)


def verify_in(tx: sa.Connection, *, kept: Head | None = None) -> Verdict:
    """The same within a transaction."""
    end = tx.execute(sa.select(audit_head.c.last_id, audit_head.c.hash, audit_head.c.records)).first()
    count, last, link, found_kept = 0, 0, GENESIS, kept is None or kept == Head(0, GENESIS)
    for one in _walk(tx):
        broken = _break_at(tx, one, last, link)
        if broken is not None:
            return Verdict(count, Head(last, link), broken[0], one.id, broken[1])
        count, last, link = count + 1, one.id, one.hash
        found_kept = found_kept or kept == Head(last, link)
    whole = Head(last, link)
    if end is None:
        told = "The head row is gone, so nothing says whether newer records were removed."
        return Verdict(count, whole, Break.REMOVED, last + 1, told)
    if count < end.records or last < end.last_id:
        told = f"The newest records are gone: the trail ends at {last}, and once ended at {end.last_id}."
        return Verdict(count, whole, Break.REMOVED, last + 1, told)
    if (end.records, end.last_id, end.hash) != (count, last, link):
        told = f"Record {last} was not written by this program: the head row ends at {end.last_id}."
        return Verdict(count, whole, Break.INSERTED, last, told)
    if kept is not None and not found_kept:
        told = f"The chain is whole, but it is another one: record {kept.last_id} once had another hash."
        if last < kept.last_id:
            told = f"The newest records are gone: the trail ends at {last}, and once ended at {kept.last_id}."
            return Verdict(count, whole, Break.REMOVED, last + 1, told)
        return Verdict(count, whole, Break.CHANGED, kept.last_id, told)
    return Verdict(count, whole)


def operator() -> str:
    """Who runs this command: the login name, and behind sudo the name of who called it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a numeric user without an entry, as in containers
        name = f"uid {os.getuid()}"
    caller = os.environ.get("SUDO_USER")
    told = f"{caller} (as {name})" if caller and caller != name else name
    return told.encode("utf-8", "replace").decode("utf-8")[:255]  # the environment may hold any bytes


_END = sa.select(audit_head.c.last_id, audit_head.c.hash).with_for_update()
_COLUMNS = sa.select(*(audit.c[name] for name in AuditRecord.__dataclass_fields__))


def _digest(content: tuple[Any, ...]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _walk(tx: sa.Connection) -> Iterator[AuditRecord]:
    """Every record in its order, some at a time."""
    for row in tx.execute(_COLUMNS.order_by(audit.c.id).execution_options(yield_per=1000)):
        yield AuditRecord(*row)


def _break_at(tx: sa.Connection, one: AuditRecord, last: int, link: str) -> tuple[Break, str] | None:
    """How a record breaks the chain whose end is `last` and `link`; None if it continues it."""
    if one.computed_hash() != one.hash:
        for other in (last + 1, *tx.execute(sa.select(audit.c.id).order_by(audit.c.id)).scalars()):
            if one.computed_hash(other) == one.hash:
                return Break.REORDERED, f"Record {one.id} was moved: it was written as record {other}."
        return Break.CHANGED, f"Record {one.id} was changed: its hash is not that of its content."
    if one.previous_hash == link:
        return None
    follows = tx.execute(sa.select(audit.c.id).where(audit.c.hash == one.previous_hash)).scalar()
    if follows is not None or one.previous_hash == GENESIS:
        return (
            Break.REORDERED,
            f"Record {one.id} was moved: it follows record {follows or 0}, not {last}.",
        )
    if one.id == last + 1 and last:
        return Break.CHANGED, f"Record {last} was changed, its hash too: record {one.id} followed another one."
    gone = str(last + 1) if one.id == last + 2 else f"{last + 1} to {one.id - 1}"
    return Break.REMOVED, f"Before record {one.id} something was removed: record {gone}."
