"""Durable runs: the one place that knows DBOS.

A run is a workflow whose id is the run's id. It is enqueued when its account's turn is its own (turns.py), so what
stands in the queues belongs to different accounts and goes side by side: attendance first, then in the order of
turns. Large files have a queue of their own, so that they never take all workers.

After a crash a workflow begins again: how far its run is, and so what is left to do, the run's own row says; DBOS is
not told of each step. A process that starts takes up what a process of the same node left, and others take up what a
dead one left.
"""

import json
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, Serializer, SetEnqueueOptions, SetWorkflowID
from dbos._dbos import _get_dbos_instance

from landingzone.db import database_url, is_disk_full, postgresql_engine, prepare_sqlite
from processor.queue_bell import Bell, hang_up

_QUEUE, _LARGE = "runs", "large"
_AGAIN = "+"
"""Before what makes a further workflow of a run another one: `<landing-id>:<attempt>+<something>`."""
#: Fixed: workflows of one application version are taken up by processes of that version only. Raise it only when the
#: steps of a run change in a way that a half-done run cannot bear.
_APPLICATION_VERSION = "1"

log = structlog.get_logger()

OfRun = Callable[[str], None]
"""What gets a run's id."""


class Lost(BaseException):
    """The run is no longer this process's: its workflow ends here, and nothing is noted of it.

    Not an Exception: DBOS would note that as the run's result, for the process that has it now.
    """


class Durable:
    """Takes runs through their steps, durably.

    What a power cut takes from DBOS's own database is done again without a second effect, or found again by the scan.

    Args:
        url: SQLAlchemy URL of DBOS's own database; SQLite is put into WAL mode.
        node: stable name of this process.
        owner: what its connections to a server are called.
        workers: runs that go side by side; beside them half as many of large files.
        poll_seconds: interval at which is looked what other processors have put into the queue.
        steps: take a run, by its id, through what is left to be done; they can be repeated without a second effect.
            Raise Lost if another process has the run now.
        on_disk_full: called when DBOS could not write for want of room; returns when it is worth trying again.
    """

    def __init__(
        self,
        url: str,
        *,
        node: str,
        owner: str,
        workers: int,
        poll_seconds: float,
        steps: OfRun,
        on_disk_full: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._poll_seconds = poll_seconds
        self._ended: OfRun
        self._last_enqueued = 0
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._bells = {queue: Bell() for queue in (_QUEUE, _LARGE)}
        if sa.make_url(url).get_backend_name() == "sqlite":
            engine = sa.create_engine(url, hide_parameters=True)
            if engine.url.database:
                Path(engine.url.database).touch(mode=0o600, exist_ok=True)
            prepare_sqlite(engine, durability="normal", driver_begins=True)
        else:
            engine = sa.create_engine(database_url(url), **postgresql_engine(name=owner))
        _wait_for_room(engine, on_disk_full)
        self._engine = engine
        self._workflows: sa.Table
        config = DBOSConfig(
            name="landingzone",
            system_database_url=url,
            system_database_engine=engine,
            serializer=_Json(),
            executor_id=node,
            application_version=_APPLICATION_VERSION,
            enable_otlp=False,
            log_level="WARNING",
            use_listen_notify=False,
            max_executor_threads=2 * workers + 4,
        )
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)

        @DBOS.workflow(name="run", max_recovery_attempts=None)  # what kills a process is counted in the run's row
        def run(run_id: str) -> None:
            with self._lock:
                if run_id in self._under_way:  # put back into the queue just as it was taken out
                    raise Lost
                self._under_way.add(run_id)
            try:
                steps(run_id)
            finally:
                self._under_way.discard(run_id)
                self._ended(run_id)

        self._run = run

    def start(self, *, ended: OfRun) -> None:
        """Begin: what a process of this node left is taken up, the queue is worked on.

        `ended` is called with a run's id when its workflow ends here, however it does.
        """
        self._ended = ended
        hang_up(self._bells)
        DBOS.launch()
        self._workflows = _get_dbos_instance()._sys_db.tables.workflow_status  # noqa: SLF001
        for queue, workers, poll_seconds in (
            (_QUEUE, self._workers, self._poll_seconds),
            (_LARGE, max(1, self._workers // 2), self._poll_seconds),
        ):
            DBOS.register_queue(
                queue,
                worker_concurrency=workers,
                polling_interval_sec=poll_seconds,
                on_conflict="always_update",
            )

    def enqueue(self, run_id: str, *, priority: int, large: bool = False) -> None:
        """Put a run into the queue; one that was enqueued before is left as it is. Lower priority first."""
        with self._lock:
            self._wait_for_next_millisecond()
            with SetWorkflowID(run_id), SetEnqueueOptions(priority=priority):
                DBOS.enqueue_workflow(_LARGE if large else _QUEUE, self._run, run_id)
        self._bells[_LARGE if large else _QUEUE].ring()

    def hurry(self, run_ids: Collection[str], *, priority: int) -> None:
        """Give runs that still wait in a queue another place there; those that do not are passed over."""
        waiting = self._workflows.c.status == "ENQUEUED"
        statement = self._workflows.update().where(self._workflows.c.workflow_uuid.in_(run_ids), waiting)
        with self._engine.begin() as connection:  # DBOS itself has no such call
            connection.execute(statement.values(priority=priority))

    def take_over(self, node: str) -> int:
        """Put what a dead node's process had in hand back into its queue; returns how many runs. May be repeated."""
        return len(DBOS._recover_pending_workflows([node]))  # noqa: SLF001 - there is no other; a test holds what it does

    def revive(self, run_ids: list[str], *, begun: bool) -> list[str]:
        """See to it that runs which nobody has in hand are worked on; returns those of which something was wrong.

        One whose workflow waits is left alone if it has not `begun`, and put back into the queue if it has. One whose
        workflow has ended, or is not there, gets another.
        """
        if not run_ids:
            return []
        known = DBOS.list_workflows(
            workflow_id_prefix=run_ids, status=["ENQUEUED", "PENDING"], load_input=False, load_output=False
        )
        waiting = {one.workflow_id.partition(_AGAIN)[0]: one.workflow_id for one in known}
        if begun and (resumed := [waiting[run_id] for run_id in run_ids if run_id in waiting]):
            DBOS.resume_workflows(resumed, queue_name=_QUEUE)
        missing = [run_id for run_id in run_ids if run_id not in waiting]
        for run_id in missing:
            with SetWorkflowID(f"{run_id}{_AGAIN}{uuid4().hex[:12]}"):
                DBOS.enqueue_workflow(_QUEUE, self._run, run_id)
        return run_ids if begun else missing

    def stop(self, *, drain_seconds: int) -> None:
        """Take up nothing more, and wait for what is under way; what is not done by then goes on at the next start."""
        DBOS.destroy(workflow_completion_timeout_sec=drain_seconds)

    def _wait_for_next_millisecond(self) -> None:
        """Of two runs enqueued in the same millisecond the queue would not know which came first."""
        while (present := time.time_ns() // 1_000_000) == self._last_enqueued:
            time.sleep(0.0002)
        self._last_enqueued = present


def forget(url: str, run_ids: list[str]) -> None:
    """Remove finished runs from DBOS's own database; those that it does not know are passed over."""
    engine = sa.create_engine(url, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        if engine.url.database and not Path(engine.url.database).is_file():
            return
        prepare_sqlite(engine, driver_begins=True)
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("workflow_status", "dbos" if engine.name != "sqlite" else None):
            return
    client = DBOSClient(system_database_url=url, system_database_engine=engine, serializer=_Json())
    try:
        client.delete_workflows(run_ids)
    finally:
        client.destroy()
        engine.dispose()


class _Json(Serializer):
    """Only run ids are stored: readable by people, and nothing that could execute."""

    def serialize(self, data: Any) -> str:  # noqa: ANN401 - DBOS's signature
        return json.dumps(data)

    def deserialize(self, serialized_data: str) -> Any:  # noqa: ANN401 - DBOS's signature
        return json.loads(serialized_data)

    def name(self) -> str:
        return "landingzone_json"


class _NoRoom(Exception):
    """Reads like the lock contention that DBOS waits for and retries; any other error would end the workflow."""

    def __str__(self) -> str:
        return "database is locked: the disk is full"


def _wait_for_room(engine: sa.Engine, on_disk_full: Callable[[], None]) -> None:
    @sa.event.listens_for(engine, "handle_error")
    def _wait(context: sa.engine.ExceptionContext) -> None:
        if is_disk_full(context.original_exception):
            on_disk_full()
            raise sa.exc.OperationalError(None, None, _NoRoom(), hide_parameters=True)
