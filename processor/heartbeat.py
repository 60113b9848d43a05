"""Heartbeats: each processor counts up in the database, and watches the others; what a dead one left is taken over.

A node is dead when its count has stood still through several looks of a living one. Looks are counted, not seconds: no
two clocks are compared, and while the database is away nobody is declared dead. What a node wrongly declared dead still
does changes nothing: its runs are no longer its own (`run.disown`), and it says so at its next step.
"""

import threading
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from landingzone.clock import iso, now
from landingzone.db import is_busy, is_disk_full
from landingzone.tables import processors
from processor import run as runs
from processor.context import Context
from processor.durable import Durable
from processor.strays import Strays
from processor.turns import Turns

DEAD_AFTER_LOOKS = 6
"""A count that stands still through so many looks, one each beat, is a dead node's."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Processor:
    """A node's processor as the database shows it; times UTC, ISO 8601.

    Attributes:
        owner: the process's name as an owner of runs.
        beat: counts up while it lives.
        gone_at: since when its runs are others'; None while it lives.
    """

    node: str
    owner: str
    beat: int
    started_at: str
    beat_at: str
    gone_at: str | None


def all_processors(tx: sa.Connection) -> list[Processor]:
    """Every node that ever was, by name."""
    columns = [processors.c[name] for name in Processor.__dataclass_fields__]
    return [Processor(*row) for row in tx.execute(sa.select(*columns).order_by(processors.c.node))]


class Heartbeat:
    """Beats, and takes over, in a thread of its own.

    Args:
        here: the processor's context.
        durable: takes up what a dead node had in hand.
        turns: enqueues what it had not come to enqueue.
    """

    def __init__(self, here: Context, durable: Durable, turns: Turns) -> None:
        self._here = here
        self._node = here.settings.node
        self._durable = durable
        self._turns = turns
        self._strays = Strays(here, durable)
        self._well = True
        self._seen: dict[str, tuple[str, int, int]] = {}  # node -> owner, beat, looks without a change
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin. What a predecessor of this very node had in hand is free from now on, and counted as crashed."""
        with self._here.db.write() as tx:
            lost = runs.disown(tx, self._node, but=self._here.owner, crashed=True)
            self._enter(tx)
        if lost:
            log.warning("processor.crashed", node=self._node, runs=lost)
        self._thread.start()

    def stop(self) -> None:
        """End in order: what is still in hand is given back, and nobody has crashed."""
        self._ending.set()
        self._thread.join(timeout=10)
        with self._here.db.write() as tx:
            runs.disown(tx, self._node, crashed=False)

    def _work(self) -> None:
        while not self._ending.wait(self._here.settings.processor.beat_seconds):
            try:
                self._beat()
                self._look()
                self._strays.look()
            except Exception as error:
                self._seen.clear()  # what stood still meanwhile may have been the database
                self._strays.forget()
                if self._well:
                    log.error("heartbeat.failed", reason=_reason(error), exc_info=error)
                self._well = False
            else:
                self._well = True

    def _beat(self) -> None:
        alive = {"owner": self._here.owner, "beat": processors.c.beat + 1, "beat_at": iso(now()), "gone_at": None}
        with self._here.progress.write() as tx:
            if not tx.execute(processors.update().where(processors.c.node == self._node).values(alive)).rowcount:
                self._enter(tx)

    def _enter(self, tx: sa.Connection) -> None:
        """Be among the processors, as one that has just started."""
        at = iso(now())
        values = {"owner": self._here.owner, "beat": 1, "started_at": at, "beat_at": at, "gone_at": None}
        if not tx.execute(processors.update().where(processors.c.node == self._node).values(values)).rowcount:
            tx.execute(processors.insert().values(node=self._node, **values))

    def _look(self) -> None:
        with self._here.db.read() as tx:
            others = [one for one in all_processors(tx) if one.node != self._node and one.gone_at is None]
        before, self._seen = self._seen, {}
        for one in others:
            owner, beat, looks = before.get(one.node, ("", 0, 0))
            still = (owner, beat) == (one.owner, one.beat)
            self._seen[one.node] = (one.owner, one.beat, looks + 1 if still else 0)
        for one in others:
            if self._seen[one.node][2] >= DEAD_AFTER_LOOKS:
                self._bury(one)

    def _bury(self, dead: Processor) -> None:
        """Take over: its connections end, its runs are no longer its own, they are enqueued again, it is noted as gone.

        Each may be repeated: whoever dies in between is followed by another.
        """
        self._here.db.end_connections(dead.owner)
        with self._here.db.write() as tx:
            lost = runs.disown(tx, dead.node, crashed=True)
        self._durable.take_over(dead.node)
        self._turns.resume()
        same = sa.and_(processors.c.node == dead.node, processors.c.owner == dead.owner, processors.c.beat == dead.beat)
        with self._here.db.write() as tx:
            tx.execute(processors.update().where(same).values(gone_at=iso(now())))
        self._seen.pop(dead.node, None)
        log.warning("processor.taken_over", node=dead.node, runs=lost)


def _reason(error: Exception) -> str:
    return "disk_full" if is_disk_full(error) else "database" if is_busy(error) else "internal"
