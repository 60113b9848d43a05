"""Rotations: a new key takes the place of old ones, which open until it was used so often, or the overlap has ended.

An old key is shut by rule when it is looked up, at the exact moment. `settle` then writes that down, with its record.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from keys.key import ROTATION
from landingzone import audit
from landingzone.clock import iso
from landingzone.tables import accounts, key_rotations
from landingzone.tables import keys as table


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where a rotation stands.

    Attributes:
        id: the database's number.
        account: the account's name.
        new_key: number of the key that comes.
        new_fingerprint: SHA256:...
        new_label: what a person calls it.
        old_keys: numbers of the keys that go.
        started_at: UTC, ISO 8601.
        started_by: who began it.
        overlap_ends_at: when the old keys are shut at the latest, UTC, ISO 8601.
        uses: how often the new key has opened the account since.
        uses_wanted: after how many the old ones are shut.
        new_last_used_at: UTC, ISO 8601; None: never.
        old_last_used_at: the last use of any of the old ones, UTC, ISO 8601; None: never.
        ended_at: UTC, ISO 8601; None while it is under way.
        ended_because: `uses`, `overlap`, `new_revoked` (the old ones stay), `old_revoked`; None while it is under way.
    """

    id: int
    account: str
    new_key: int
    new_fingerprint: str
    new_label: str
    old_keys: tuple[int, ...]
    started_at: str
    started_by: str
    overlap_ends_at: str
    uses: int
    uses_wanted: int
    new_last_used_at: str | None
    old_last_used_at: str | None
    ended_at: str | None
    ended_because: str | None

    @property
    def state(self) -> str:
        """`waiting` (the new key was never used), `overlapping`, or why it has ended."""
        return self.ended_because or ("overlapping" if self.uses else "waiting")


def rotations(tx: sa.Connection, *, account: str | None = None) -> list[Rotation]:
    """Every rotation, the newest first; of one account if named."""
    new, old = table.alias("new"), table.alias("old")
    query = (
        sa.select(key_rotations, accounts.c.name, new.c.id, new.c.fingerprint, new.c.label, new.c.last_used_at)
        .join(accounts, accounts.c.id == key_rotations.c.account_id)
        .join(new, new.c.new_in_rotation == key_rotations.c.id)
        .order_by(key_rotations.c.id.desc())
    )
    if account is not None:
        query = query.where(accounts.c.name == account)
    found = []
    for row in tx.execute(query).all():
        olds = tx.execute(
            sa.select(old.c.id, old.c.last_used_at).where(old.c.old_in_rotation == row[0]).order_by(old.c.id)
        ).all()
        found.append(
            Rotation(
                id=row[0],
                account=row.name,
                new_key=row[10],
                new_fingerprint=row.fingerprint,
                new_label=row.label,
                old_keys=tuple(one.id for one in olds),
                started_at=row.started_at,
                started_by=row.started_by,
                overlap_ends_at=row.overlap_ends_at,
                uses=row.uses,
                uses_wanted=row.uses_wanted,
                new_last_used_at=row.last_used_at,
                old_last_used_at=max((one.last_used_at for one in olds if one.last_used_at), default=None),
                ended_at=row.ended_at,
                ended_because=row.ended_because,
            )
        )
    return found


def begin(
    tx: sa.Connection,
    account_id: int,
    *,
    new: int,
    old: list[int],
    ends_at: datetime,
    uses: int,
    actor: str,
    at: datetime,
) -> int:
    """Let the key `new` take the place of the keys `old`; returns the rotation's number."""
    values = {
        "account_id": account_id,
        "started_at": iso(at),
        "started_by": actor,
        "overlap_ends_at": iso(ends_at),
        "uses_wanted": uses,
    }
    number: int = tx.execute(key_rotations.insert().values(values).returning(key_rotations.c.id)).scalar_one()
    tx.execute(table.update().where(table.c.id == new).values(new_in_rotation=number))
    tx.execute(table.update().where(table.c.id.in_(old)).values(old_in_rotation=number))
    return number


def count_use(tx: sa.Connection, number: int, *, at: datetime) -> None:
    """Count a use of a rotation's new key; the last one that was wanted ends it."""
    open_one = sa.and_(key_rotations.c.id == number, key_rotations.c.ended_at.is_(None))
    tx.execute(key_rotations.update().where(open_one).values(uses=key_rotations.c.uses + 1))
    reached = sa.select(key_rotations.c.id).where(open_one, key_rotations.c.uses >= key_rotations.c.uses_wanted)
    if tx.execute(reached).first() is not None:
        _end(tx, number, because="uses", ended_at=iso(at))


def overdue(tx: sa.Connection, *, at: datetime) -> list[tuple[int, str]]:
    """Number and end of each rotation whose overlap is over, and of which that is not yet written down."""
    over = sa.and_(key_rotations.c.ended_at.is_(None), key_rotations.c.overlap_ends_at <= iso(at))
    return [
        (row[0], row[1])
        for row in tx.execute(sa.select(key_rotations.c.id, key_rotations.c.overlap_ends_at).where(over))
    ]


def settle(tx: sa.Connection, *, at: datetime) -> int:
    """Write down what ended by itself; returns how many rotations that were."""
    found = overdue(tx, at=at)
    for number, ended_at in found:
        _end(tx, number, because="overlap", ended_at=ended_at)
    return len(found)


def end_without(tx: sa.Connection, key: int, *, at: datetime) -> None:
    """A key was revoked: a rotation that it was to complete ends and leaves the old keys; one that it was the last old
    key of has nothing left to do.
    """
    mine = sa.select(table.c.new_in_rotation, table.c.old_in_rotation).where(table.c.id == key)
    as_new, as_old = tx.execute(mine).one()
    if as_new is not None:
        _note_end(tx, as_new, because="new_revoked", ended_at=iso(at))
    left = sa.select(table.c.id).where(table.c.old_in_rotation == as_old, table.c.revoked_at.is_(None))
    if as_old is not None and tx.execute(left).first() is None:
        _note_end(tx, as_old, because="old_revoked", ended_at=iso(at))


def _note_end(tx: sa.Connection, number: int, *, because: str, ended_at: str) -> bool:
    open_one = sa.and_(key_rotations.c.id == number, key_rotations.c.ended_at.is_(None))
    done = tx.execute(key_rotations.update().where(open_one).values(ended_at=ended_at, ended_because=because))
    return done.rowcount == 1


def _end(tx: sa.Connection, number: int, *, because: str, ended_at: str) -> None:
    """End a rotation that is under way, and revoke what it replaces."""
    if not _note_end(tx, number, because=because, ended_at=ended_at):
        return  # another process was faster
    new = tx.execute(
        sa.select(table.c.id, table.c.fingerprint, key_rotations.c.uses, accounts.c.name)
        .join(key_rotations, key_rotations.c.id == table.c.new_in_rotation)
        .join(accounts, accounts.c.id == table.c.account_id)
        .where(key_rotations.c.id == number)
    ).one()
    going = sa.and_(table.c.old_in_rotation == number, table.c.revoked_at.is_(None))
    old = tx.execute(sa.select(table.c.id, table.c.fingerprint).where(going).order_by(table.c.id)).all()
    told = f"used {new.uses} times" if because == "uses" else "the overlap has ended"
    reason = f"Replaced by key {new.id}: {told}."
    closed = {"revoked_at": ended_at, "revoked_by": ROTATION, "revoked_reason": reason}
    tx.execute(table.update().where(going).values(closed))
    for key in old:
        audit.record(
            tx,
            actor=ROTATION,
            action="key.retired",
            account=new.name,
            key=key.id,
            fingerprint=key.fingerprint,
            replaced_by=new.id,
            because=because,
            ended_at=ended_at,
            uses=new.uses,
        )
