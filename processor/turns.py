"""Turns: one account's runs go one at a time, attendance first, then in order of landing; accounts go side by side.

Only a run whose turn it is stands in the durable queue; the database keeps it to one of each account. So attendance
that lands while ten rosters wait goes next, and every account waits behind others' runs, never behind their queues.

Turns are given late: of rosters, no more than will soon be begun. Attendance that lands behind the turn of a roster
would wait as long as that one does; where it happens, the roster goes first, too.
"""

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog

from landingzone.clock import iso, now
from landingzone.db import is_busy, is_disk_full
from landingzone.landing import Landing
from landingzone.tables import AWAITS_TURN, HAS_TURN, accounts, landings, runs
from processor.context import Context
from processor.durable import Durable
from processor.run import EVENTS, State, hold_account

_LOOKED_EVERY = 1.0
"""Seconds between two looks for accounts whose turn nobody has: what was asked for by a command, or lost in a crash."""
_GIVEN_AT_ONCE = 100
_AHEAD = 2
"""Turns of rosters that this process has given and nobody has begun, for each of its workers."""
_PACKED = (".gz", ".zip", ".zst", ".xlsx")
_UNPACKS_TO = 8
"""How many times larger a packed file is taken to be."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Turn:
    """The run whose turn it is in its account.

    Attributes:
        run_id: `<landing-id>:<attempt>`.
        landing: its landing.
        priority: see processor.run.
        bytes: the file's size, as an earlier attempt has noted it.
    """

    run_id: str
    landing: Landing
    priority: int
    bytes: int | None


def give(tx: sa.Connection, account_id: int) -> Turn | None:
    """Give an account's next run its turn, in the caller's write transaction; None if one has it, or none waits."""
    hold_account(tx, account_id)
    if tx.execute(_TAKEN, {"of_account": account_id}).first() is not None:
        return None
    run_id = tx.execute(_NEXT, {"of_account": account_id}).scalar()
    if run_id is None:
        return None
    tx.execute(_GIVE, {"of_id": run_id, "at": iso(now())})
    return _turns(tx, _TURN_OF_RUN, of_id=run_id)[0]


def unclaimed(tx: sa.Connection, *, before: str | None = None) -> list[Turn]:
    """The turns that were given (before a moment: UTC, ISO 8601), and whose run has not begun."""
    given = sa.and_(sa.text(HAS_TURN), runs.c.state == State.LANDED.value)
    return _turns(tx, _turn(sa.and_(given, runs.c.turn_at < before) if before else given))


def waiting_accounts(tx: sa.Connection, among: Collection[int] | None = None) -> dict[int, int]:
    """The accounts (by number, all or among some) that have runs waiting, and whose turn nobody has.

    With the priority of the run that is next in each; the account that has waited longest comes first.
    """
    found = tx.execute(_WAITING) if among is None else tx.execute(_WAITING_AMONG, {"among": sorted(among)})
    return {account_id: priority for account_id, priority, _ in found}


class Turns:
    """Gives turns, and enqueues the runs that have them, in a thread of its own."""

    def __init__(self, here: Context, durable: Durable) -> None:
        self._here = here
        self._durable = durable
        self._asked: set[int] = set()
        self._ended: set[str] = set()
        self._resume = True
        self._looked = 0.0
        self._owed: list[Turn] = []
        self._line: dict[int, int] = {}  # account -> priority of its next run, in the order of coming
        self._not_begun: set[str] = set()
        self._hurried: set[str] = set()
        self._ahead = _AHEAD * here.settings.processor.workers
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="turns", daemon=True)

    def start(self) -> None:
        """Begin; what a crash has left without being enqueued is enqueued first."""
        self._thread.start()

    def stop(self) -> None:
        """Give no more turns."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=10)

    def ask(self, account_id: int) -> None:
        """Something waits in this account, or its turn has become free."""
        with self._wake:
            self._asked.add(account_id)
            self._wake.notify()

    def ended(self, run_id: str) -> None:
        """A run has ended: it is in nobody's hand, and its account's turn is free."""
        self._here.in_hand.discard(run_id)
        with self._wake:
            self._ended.add(run_id)
            self._wake.notify()

    def resume(self) -> None:
        """A process has died: it may have given turns and not enqueued their runs."""
        with self._wake:
            self._resume = True
            self._wake.notify()

    def _work(self) -> None:
        while not self._stopping:
            with self._wake:
                if not (self._asked or self._ended or self._resume or self._stopping):
                    self._wake.wait(_LOOKED_EVERY)
                asked, self._asked = self._asked, set()
                ended, self._ended = self._ended, set()
                resume, self._resume = self._resume, False
            try:
                self._give(asked, ended, resume=resume)
            except Exception as error:
                reason = "disk_full" if is_disk_full(error) else "database" if is_busy(error) else "internal"
                log.error("turns.failed", reason=reason, exc_info=error)
                with self._wake:
                    self._resume = True
                    self._wake.wait(_LOOKED_EVERY)

    def _give(self, asked: set[int], ended: set[str], *, resume: bool) -> None:
        owed, self._owed = self._owed, []
        look = resume or time.monotonic() - self._looked >= _LOOKED_EVERY
        with self._here.db.read() as tx:
            if ended:
                asked = asked | set(tx.execute(_ACCOUNTS_OF, {"of_ids": sorted(ended)}).scalars())
            waiting = waiting_accounts(tx, None if look else asked)
            self._not_begun = set(tx.execute(_NOT_BEGUN, {"of_ids": sorted(self._not_begun)}).scalars())
            in_the_way = set(tx.execute(_IN_THE_WAY).scalars())
            owed += unclaimed(tx) if resume else []
        if late := in_the_way - self._hurried:
            self._durable.hurry(late, priority=EVENTS)
        self._hurried = in_the_way
        if look:
            self._looked = time.monotonic()
            self._line = {account: self._line[account] for account in self._line if account in waiting}
        self._line |= waiting
        self._enqueue(owed)
        first = [account for account, priority in self._line.items() if priority == EVENTS]
        others = [account for account, priority in self._line.items() if priority != EVENTS]
        todo = first + others[: max(0, self._ahead - len(self._not_begun))]
        for begin in range(0, len(todo), _GIVEN_AT_ONCE):
            these = todo[begin : begin + _GIVEN_AT_ONCE]
            with self._here.progress.write() as tx:
                given = [give(tx, account_id) for account_id in these]
            for account_id in these:
                del self._line[account_id]
            self._enqueue(turn for turn in given if turn is not None)

    def _enqueue(self, turns: Iterable[Turn]) -> None:
        self._owed += turns
        while self._owed:
            turn = self._owed[0]
            large = self._is_large(turn)
            self._durable.enqueue(turn.run_id, priority=turn.priority, large=large)
            if turn.priority != EVENTS and not large:
                self._not_begun.add(turn.run_id)
            self._owed.pop(0)

    def _is_large(self, turn: Turn) -> bool:
        """Whether it would keep others waiting for long."""
        if turn.priority == EVENTS:
            return False
        zone, size = self._here.zone, turn.bytes
        for path in (zone.inbox_path(turn.landing), zone.claimed_path(turn.landing)):
            try:
                size = path.stat().st_size
            except OSError:
                continue
            break
        packed = turn.landing.name.lower().endswith(_PACKED)
        return (size or 0) * (_UNPACKS_TO if packed else 1) >= self._here.settings.processor.large_mebibytes << 20


def _turn(which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    earlier = runs.alias("earlier")
    size = sa.select(sa.func.max(earlier.c.bytes)).where(earlier.c.landing_id == runs.c.landing_id).scalar_subquery()
    return (
        sa.select(runs.c.id, runs.c.landing_id, accounts.c.name, landings.c.name, runs.c.priority, size)
        .join(landings, landings.c.id == runs.c.landing_id)
        .join(accounts, accounts.c.id == runs.c.account_id)
        .where(which)
        .order_by(runs.c.priority, runs.c.landing_id)
    )


def _turns(tx: sa.Connection, query: sa.Select[Any], **of: str) -> list[Turn]:
    return [Turn(row[0], Landing(row[1], row[2], row[3]), row[4], row[5]) for row in tx.execute(query, of)]


# Made once: every run needs them, and making one takes longer than running it.
_OF_ACCOUNT = runs.c.account_id == sa.bindparam("of_account")
_TAKEN = sa.select(runs.c.serial).where(_OF_ACCOUNT, sa.text(HAS_TURN))
_NEXT = (
    sa.select(runs.c.id)
    .where(_OF_ACCOUNT, sa.text(AWAITS_TURN))
    .order_by(runs.c.priority, runs.c.landing_id, runs.c.attempt)
    .limit(1)
)
_ACCOUNTS_OF = sa.select(runs.c.account_id).where(runs.c.id.in_(sa.bindparam("of_ids", expanding=True)))
_NOT_BEGUN = sa.select(runs.c.id).where(
    runs.c.id.in_(sa.bindparam("of_ids", expanding=True)), runs.c.state == State.LANDED.value
)
_WAITS = runs.alias("waiting")
#: Rosters that have the turn, have not begun, and keep attendance of their account waiting.
_IN_THE_WAY = sa.select(runs.c.id).where(
    sa.text(HAS_TURN),
    runs.c.state == State.LANDED.value,
    runs.c.priority > EVENTS,
    sa.exists().where(_WAITS.c.account_id == runs.c.account_id, sa.text(AWAITS_TURN), _WAITS.c.priority == EVENTS),
)
_WAITING = (
    sa.select(_WAITS.c.account_id, sa.func.min(_WAITS.c.priority), sa.func.min(_WAITS.c.landing_id))
    .where(
        sa.text(AWAITS_TURN),
        _WAITS.c.account_id.not_in(sa.select(runs.c.account_id).where(sa.text(HAS_TURN))),
    )
    .group_by(_WAITS.c.account_id)
    .order_by(sa.func.min(_WAITS.c.landing_id))
)
_WAITING_AMONG = _WAITING.where(_WAITS.c.account_id.in_(sa.bindparam("among", expanding=True)))
_GIVE = runs.update().where(runs.c.id == sa.bindparam("of_id")).values(turn_at=sa.bindparam("at"))
_TURN_OF_RUN = _turn(runs.c.id == sa.bindparam("of_id"))
