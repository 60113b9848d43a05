"""How every account stands, kept up to date: what has moved is read anew, what time alone changes is worked out anew.

The functions that tell it of one account (processor.arrivals) tell it here, too; what is remembered only spares asking
again. An account is read anew when something of it has moved (processor.moved), and once an hour whatever happens.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from landingzone.account import Account, Accounts
from landingzone.clock import now
from landingzone.db import Database
from landingzone.settings import ArrivalSettings
from landingzone.source import Sources
from processor.arrivals import District, Lessons, Outlook, assess, districts
from processor.moved import Moved, Movements, Queue

_ANEW_SECONDS = 1800.0, 3600.0
"""An account is read anew after a time between these, so that not all are at once."""
_AT_ONCE = 100
"""Accounts that are read, or worked out, before those who look see them."""
_CLOCK_WAS_SET = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Stand:
    """One account: what is known of it, and how it stands."""

    district: District
    outlook: Outlook


@dataclass(frozen=True, slots=True)
class Sight:
    """All accounts that are enabled, at a moment.

    Attributes:
        at: the moment, UTC.
        stands: by the account's name.
        queue: what waits for the import.
        unread: how many accounts are still to be read; None before the first look.
        version: another one for each change.
    """

    at: datetime
    stands: Mapping[str, Stand]
    queue: Queue
    unread: int | None
    version: int


class Night:
    """One process's sight of every account.

    Args:
        db: the database.
        sources: the sources of every account.
        settings: what holds for a source without due times of its own.
    """

    def __init__(self, db: Database, sources: Sources, settings: ArrivalSettings) -> None:
        self._db, self._sources, self._settings = db, sources, settings
        self._looking = threading.Lock()
        self._movements = Movements()
        self._stands: dict[str, Stand] = {}
        self._lessons: dict[str, Lessons] = {}
        self._anew_at: dict[str, float] = {}
        self.sight = Sight(now(), {}, Queue(), None, 0)

    def look(
        self, at: datetime | None = None, *, on_change: Callable[[Sight, frozenset[str]], None] | None = None
    ) -> Sight:
        """Bring everything up to date. From any thread; one looks at a time.

        Args:
            at: the moment, UTC; the present by default.
            on_change: is told of each change, and which accounts it is about (that are gone, too): where many have
                changed, some at a time.
        """
        with self._looking:
            if (at or now()) < self.sight.at - _CLOCK_WAS_SET:
                self._stands, self._movements = {}, Movements()
            with self._db.read() as tx:
                moved = self._movements.since_last(tx, at or now())
                todo = self._to_read(tx, moved)
            gone = self._gone(todo, moved)
            if gone or moved.queue != self.sight.queue:
                self._show(at, gone, len(todo), moved.queue, on_change)
            names = list(todo)
            for begin in range(0, len(names), _AT_ONCE):
                some = [todo[name] for name in names[begin : begin + _AT_ONCE]]
                present = {one.name for one in some if one is not None}
                self._read([one for one in some if one is not None], at or now())
                self._show(at, present, len(names) - begin - len(some), moved.queue, on_change)
            self._let_time_pass(at, moved.queue, on_change)
            self.sight = replace(self.sight, at=at or now(), unread=0)
            return self.sight

    def _to_read(self, tx: sa.Connection, moved: Moved) -> dict[str, Account | None]:
        """The accounts to be read anew, by name; None for one that is gone, or is disabled."""
        if moved.all:
            return {one.name: one if one.enabled else None for one in Accounts.of(tx)}
        names = {*moved.names, *(name for name, anew_at in self._anew_at.items() if anew_at <= time.monotonic())}
        found = [*Accounts.of(tx, names=names), *Accounts.of(tx, numbers=moved.numbers)]
        return {**dict.fromkeys(names), **{one.name: one if one.enabled else None for one in found}}

    def _gone(self, todo: dict[str, Account | None], moved: Moved) -> set[str]:
        """Forget the accounts that are gone; their names."""
        names = {name for name, one in todo.items() if one is None}
        names |= self._stands.keys() - todo.keys() if moved.all else set()
        gone = names & self._stands.keys()
        for name in names:
            self._stands.pop(name, None)
            self._lessons.pop(name, None)
            self._anew_at.pop(name, None)
            todo.pop(name, None)
        return gone

    def _read(self, some: list[Account], at: datetime) -> None:
        with self._db.read() as tx:
            for district in districts(tx, some, self._sources, at):
                self._assess(district, at)
                self._anew_at[district.account.name] = time.monotonic() + random.uniform(*_ANEW_SECONDS)  # noqa: S311 - no secret

    def _let_time_pass(
        self, at: datetime | None, queue: Queue, on_change: Callable[[Sight, frozenset[str]], None] | None
    ) -> None:
        """Work out anew what stays as it is no longer; read anew what was not settled."""
        moment = at or now()
        due = [one.district for one in self._stands.values() if one.outlook.holds_until <= moment]
        for begin in range(0, len(due), _AT_ONCE):
            moment, some = at or now(), due[begin : begin + _AT_ONCE]
            unsettled = [one.account for one in some if _is_over(one.arrived.unsettled_until, moment)]
            for one in some:
                self._assess(one, moment)
            self._read(unsettled, moment)
            self._show(at, {one.account.name for one in some}, 0, queue, on_change)

    def _assess(self, district: District, at: datetime) -> None:
        name, settings = district.account.name, self._settings
        lessons = self._lessons.setdefault(name, Lessons())
        seen = assess(district, lessons, at, by_default=settings.due, warn_minutes=settings.broadcast_minutes)
        self._stands[name] = Stand(district, seen)

    def _show(
        self,
        at: datetime | None,
        names: Iterable[str],
        unread: int,
        queue: Queue,
        on_change: Callable[[Sight, frozenset[str]], None] | None,
    ) -> None:
        self.sight = Sight(at or now(), dict(self._stands), queue, unread, self.sight.version + 1)
        if on_change is not None:
            on_change(self.sight, frozenset(names))


def _is_over(moment: datetime | None, at: datetime) -> bool:
    return moment is not None and moment <= at
