"""Which accounts may stand differently since the last look: told from a few small reads, whatever their number.

A look compares the runs that have not ended with those of the look before: one that is gone has ended, one that is new
has begun. What is expected is changed with an audit record only.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from landingzone.landing import least_id_of, moment_of
from landingzone.tables import audit, audit_head, landings, runs
from processor.run import State

EXPECTS = ("source.", "calendar.", "broadcast.", "account.")
"""How the actions of those audit records begin that change what is expected of an account."""
_COMMITTED = (State.APPLIED.value, State.ARCHIVED.value)
_AT_ONCE = 10_000
_VISIBLE_SECONDS = 60.0
"""Serials may become visible out of order: after so long a time they are."""
_TAKEN_UP = timedelta(minutes=1)
"""A landing that was noted within this time and has no run is watched."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for the import, and what it has in hand.

    Attributes:
        waiting: how many runs wait.
        in_hand: how many are being imported.
        oldest_at: when the file of the one that waits longest landed, UTC; None if none waits.
    """

    waiting: int = 0
    in_hand: int = 0
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """What may stand differently.

    Attributes:
        all: every account.
        names: accounts, by name.
        numbers: accounts, by number.
        queue: what waits now.
    """

    all: bool
    names: frozenset[str]
    numbers: frozenset[int]
    queue: Queue


class Movements:
    """What one watcher has seen so far."""

    def __init__(self) -> None:
        self._audited: int | None = None
        self._unfinished: dict[int, str] = {}
        self._noted: frozenset[tuple[int, str]] = frozenset()
        self._newest: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._known: set[int] = set()

    def since_last(self, tx: sa.Connection, at: datetime) -> Moved:
        """What has moved since the last call, at a moment (UTC); the first time: all. It is to be read after that."""
        first = self._audited is None
        last = tx.execute(sa.select(audit_head.c.last_id)).scalar() or 0
        names = set() if first else set(self._changed_by_people(tx, last))
        unfinished: dict[int, str] = dict(tx.execute(_UNFINISHED).all())
        noted = frozenset(
            (number, landing) for number, landing in tx.execute(_NOTED, {"since": least_id_of(at - _TAKEN_UP)})
        )
        numbers = self._began(tx, first=first)
        if not first:
            numbers |= self._of_serials(tx, self._moved(unfinished)) | {number for number, _ in noted ^ self._noted}
        self._audited, self._unfinished, self._noted = last, unfinished, noted
        everybody = first or "" in names
        return Moved(everybody, frozenset(names), frozenset(numbers), self._queue(tx, unfinished))

    def _changed_by_people(self, tx: sa.Connection, last: int) -> Iterator[str]:
        """The accounts of which people have changed what is expected; the empty one: all."""
        if last == self._audited:
            return
        changed = sa.select(audit.c.account, audit.c.action).where(audit.c.id > self._audited, audit.c.id <= last)
        for account, action in tx.execute(changed):
            if action.startswith(EXPECTS):
                yield account

    def _began(self, tx: sa.Connection, *, first: bool) -> set[int]:
        """The accounts of runs that were not seen before, also of those that have ended already."""
        if first:
            newest = tx.execute(sa.select(sa.func.max(runs.c.serial))).scalar() or 0
            self._newest[0] = (time.monotonic(), newest)
            since = newest - _AT_ONCE  # those that were given out just now and are not visible yet are not below it
            self._known = set(tx.execute(_SINCE, {"since": since}).scalars())
            self._newest[0] = (time.monotonic(), since)
            self._newest.append((time.monotonic(), newest))
            return set()
        while len(self._newest) > 1 and self._newest[1][0] <= time.monotonic() - _VISIBLE_SECONDS:
            self._newest.popleft()
        since = self._newest[0][1]
        found: Mapping[int, int] = dict(tx.execute(_SINCE, {"since": since}).all())
        new = found.keys() - self._known
        self._known = set(found)
        self._newest.append((time.monotonic(), max(found, default=since)))
        return {found[serial] for serial in new}

    def _moved(self, unfinished: Mapping[int, str]) -> list[int]:
        """The serials of runs that have begun, have an outcome, or have ended."""
        before = self._unfinished
        moved = before.keys() ^ unfinished.keys()
        committed = {serial for serial, state in unfinished.items() if state in _COMMITTED}
        return sorted(moved | {serial for serial in committed if before.get(serial) not in _COMMITTED})

    @staticmethod
    def _of_serials(tx: sa.Connection, serials: list[int]) -> set[int]:
        found: set[int] = set()
        for begin in range(0, len(serials), _AT_ONCE):
            found |= set(tx.execute(_ACCOUNTS, {"of_serials": serials[begin : begin + _AT_ONCE]}).scalars())
        return found

    @staticmethod
    def _queue(tx: sa.Connection, unfinished: Mapping[int, str]) -> Queue:
        waiting = [serial for serial, state in unfinished.items() if state == State.LANDED.value]
        if not waiting:
            return Queue(0, len(unfinished))
        oldest = tx.execute(sa.select(runs.c.landing_id).where(runs.c.serial == min(waiting))).scalar()
        return Queue(len(waiting), len(unfinished) - len(waiting), moment_of(oldest) if oldest else None)


# Made once; `runs.state <> 'receipted'` word for word as the index has it.
_UNFINISHED = sa.select(runs.c.serial, runs.c.state).where(sa.text("runs.state <> 'receipted'"))
_SINCE = sa.select(runs.c.serial, runs.c.account_id).where(runs.c.serial > sa.bindparam("since"))
_ACCOUNTS = sa.select(runs.c.account_id).where(runs.c.serial.in_(sa.bindparam("of_serials", expanding=True))).distinct()
_NOTED = sa.select(landings.c.account_id, landings.c.id).where(
    landings.c.id >= sa.bindparam("since"),
    landings.c.withdrawn_at.is_(None),
    ~sa.exists().where(runs.c.landing_id == landings.c.id),
)
