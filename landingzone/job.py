"""Jobs: what is to be done now and then, once over all nodes, and taken up by another node when its own dies.

A row for each job says who works on it and until when that holds. The lease is renewed while the job runs; who finds it
run out takes it over. So a job must bear being begun again at any point, and beside a predecessor that was only stopped
for a while: what it commits goes through `Work.commit`, which refuses who has lost the lease. Nodes' clocks may differ
by less than `LEASE`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from landingzone.clock import iso, now
from landingzone.db import Database, is_busy, is_disk_full
from landingzone.tables import jobs as table

LEASE = timedelta(seconds=60)
_RENEWED_EVERY = 15.0
_LOOKED_AT_EVERY = 10.0
"""How late, at most, somebody sees that another node's lease has run out."""
_FIRST_RETRY = timedelta(seconds=30)

log = structlog.get_logger()


class Interrupted(Exception):
    """The job is to end here: its process stops, or another one has taken it over. It goes on at its next turn."""


@dataclass(frozen=True, slots=True)
class Every:
    """At an interval, counted from the end of the last time."""

    interval: timedelta

    def first(self, present: datetime) -> datetime:
        """When a job that was never done is due."""
        return present

    def after(self, present: datetime) -> datetime:
        """When a job that has just ended is due again."""
        return present + self.interval


@dataclass(frozen=True, slots=True)
class Daily:
    """Once a day at a time of day (UTC)."""

    at: time

    def first(self, present: datetime) -> datetime:
        """When a job that was never done is due: not before its time of day."""
        return self.after(present)

    def after(self, present: datetime) -> datetime:
        """The next moment of that time of day.

        >>> Daily(time(3)).after(datetime(2026, 1, 31, 3, tzinfo=UTC))
        datetime.datetime(2026, 2, 1, 3, 0, tzinfo=datetime.timezone.utc)
        """
        today = datetime.combine(present.astimezone(UTC).date(), self.at, UTC)
        return today if today > present else today + timedelta(days=1)


class Work:
    """What a running job is given: its lease, and the way to commit under it."""

    def __init__(self, db: Database, name: str, owner: str, stopping: threading.Event) -> None:
        self._db, self._name, self._owner = db, name, owner
        self._stopping, self._lost = stopping, threading.Event()

    def go_on(self) -> None:
        """Raise Interrupted if the job is to end here. Ask often: a stopping process waits for the answer."""
        if self._stopping.is_set() or self._lost.is_set():
            raise Interrupted

    @contextmanager
    def commit(self) -> Iterator[sa.Connection]:
        """A write transaction that commits only while this process holds the job; else Interrupted is raised."""
        self.go_on()
        with self._db.write() as tx:
            if not self.renew(tx):
                raise Interrupted
            yield tx

    def renew(self, tx: sa.Connection) -> bool:
        """Hold the lease for another while; False if somebody else holds it."""
        ours = table.update().where(table.c.name == self._name, table.c.owner == self._owner)
        held = tx.execute(ours.values(lease_until=iso(now() + LEASE))).rowcount == 1
        if not held:
            self._lost.set()
        return held


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done now and then.

    Attributes:
        name: stable, lower case letters and `_`; at most 40.
        when: at which times.
        do: does it; what it returns (counts, no names) is logged; None: nothing was to be done. It can be repeated
            from any point.
    """

    name: str
    when: Every | Daily
    do: Callable[[Work], dict[str, int] | None]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known of a job.

    Attributes:
        name: the job's.
        due_at: when it is due, UTC, ISO 8601; while it runs, since when it was.
        owner: the process that works on it; None while nobody does.
        lease_until: until when that holds unless it is renewed.
        started_at: when it was begun last.
        ended_at: when it ended last.
        outcome: how: `done`, `failed`, `interrupted`; None before its first end.
        failures: how often it has failed since it was done last.
    """

    name: str
    due_at: str
    owner: str | None
    lease_until: str | None
    started_at: str | None
    ended_at: str | None
    outcome: str | None
    failures: int


def known(db: Database) -> list[JobRecord]:
    """Every job that any node has ever known, by name."""
    columns = [table.c[name] for name in JobRecord.__dataclass_fields__]
    with db.read() as tx:
        return [JobRecord(*row) for row in tx.execute(sa.select(*columns).order_by(table.c.name))]


class Jobs:
    """Does jobs in the background, each in a thread of its own, so that a long one does not delay the others.

    Args:
        db: the database.
        jobs: what is to be done; names are unique.
        owner: the name of this very process, new at each start.
    """

    def __init__(self, db: Database, jobs: Sequence[Job], *, owner: str) -> None:
        self._db, self._owner = db, owner
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._look_after, args=(job,), name=f"job-{job.name}", daemon=True) for job in jobs
        ]

    def start(self) -> None:
        """Begin to look which are due."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, seconds: float) -> None:
        """Begin nothing more, and wait that long for what is under way; what is not done by then is done again."""
        self._stopping.set()
        until = now() + timedelta(seconds=seconds)
        for thread in self._threads:
            thread.join(max(0.0, (until - now()).total_seconds()))

    def _look_after(self, job: Job) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = self.turn(job)
            except Exception as error:  # the database is away or full: what is due stays due
                reason = _reason(error)
                log.error("job.waits", job=job.name, reason=reason, exc_info=error)
                wait = _LOOKED_AT_EVERY

    def turn(self, job: Job) -> float:
        """Do a job if it is due and nobody else does it; returns after how many seconds to look again."""
        due = self._due(job)
        if due > 0:
            return min(due, _LOOKED_AT_EVERY)
        work = Work(self._db, job.name, self._owner, self._stopping)
        if not self._take(job):
            return _LOOKED_AT_EVERY
        finished = threading.Event()
        renewing = threading.Thread(target=self._keep_lease, args=(work, finished), daemon=True)
        renewing.start()
        try:
            self._do(job, work)
        finally:
            finished.set()
            renewing.join()
        return 0.0

    def now(self, job: Job) -> bool:
        """Do a job at once, due or not; False if somebody else does it just now, or it failed (the log says how)."""
        self._due(job)
        with self._db.write() as tx:
            idle = sa.and_(table.c.name == job.name, table.c.owner.is_(None))
            tx.execute(table.update().where(idle).values(due_at=iso(now())))
        before = now()
        self.turn(job)
        mine = next(one for one in known(self._db) if one.name == job.name)
        return mine.outcome == "done" and (mine.ended_at or "") >= iso(before)

    def _do(self, job: Job, work: Work) -> None:
        try:
            told = job.do(work)
        except Interrupted:
            self._end(job, "interrupted")
        except Exception as error:
            log.error("job.failed", job=job.name, reason=_reason(error), exc_info=error)
            self._end(job, "failed")
        else:
            self._end(job, "done")
            if told is None:  # nothing was to be done, as most minutes of a job that only looks
                log.debug("job.done", job=job.name)
            else:
                log.info("job.done", job=job.name, **told)

    def _due(self, job: Job) -> float:
        """In how many seconds a job is due; noted when it is seen for the first time."""
        present = now()
        with self._db.read() as tx:
            at = tx.execute(sa.select(table.c.due_at).where(table.c.name == job.name)).scalar()
        if at is None:
            at = iso(job.when.first(present))
            try:
                with self._db.write() as tx:
                    tx.execute(table.insert().values(name=job.name, due_at=at, failures=0))
            except sa.exc.IntegrityError:
                return 0.1  # another node has just noted it
        due = min(datetime.fromisoformat(at), job.when.after(present))  # an interval may have become shorter
        return (due - present).total_seconds()

    def _take(self, job: Job) -> bool:
        present = iso(now())
        free = sa.or_(table.c.owner.is_(None), table.c.lease_until < present)
        due = sa.select(table.c.due_at).where(table.c.name == job.name)
        with self._db.write() as tx:
            noted = tx.execute(due).scalar_one()
            still_due = min(datetime.fromisoformat(noted), job.when.after(now())) <= now()
            mine = table.update().where(table.c.name == job.name, table.c.due_at == noted, free)
            values = {"owner": self._owner, "lease_until": iso(now() + LEASE), "started_at": present}
            return still_due and tx.execute(mine.values(**values)).rowcount == 1

    def _end(self, job: Job, outcome: str) -> None:
        """Give the lease back and say when the job is due again; nothing happens if somebody else has it by now."""
        present = now()
        ours = sa.and_(table.c.name == job.name, table.c.owner == self._owner)
        values: dict[str, Any] = {"owner": None, "lease_until": None, "ended_at": iso(present), "outcome": outcome}
        with self._db.write() as tx:
            failures = tx.execute(sa.select(table.c.failures).where(ours)).scalar()
            if failures is None:
                return
            if outcome == "failed":
                again = present + _FIRST_RETRY * 2 ** min(failures, 7)
                values |= {"failures": failures + 1, "due_at": iso(min(again, job.when.after(present)))}
            elif outcome == "done":
                values |= {"failures": 0, "due_at": iso(job.when.after(present))}
            tx.execute(table.update().where(ours).values(**values))

    def _keep_lease(self, work: Work, finished: threading.Event) -> None:
        while not finished.wait(_RENEWED_EVERY):
            try:
                with self._db.write() as tx:
                    held = work.renew(tx)
            except Exception as error:  # it may still be ours; if not, `Work.commit` finds out
                log.warning("job.lease_not_renewed", exc_info=error)
                continue
            if not held:
                return


def _reason(error: Exception) -> str:
    return "disk_full" if is_disk_full(error) else "database" if is_busy(error) else "internal"
