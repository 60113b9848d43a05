"""Durable runs: the one place that knows DBOS.

A run is a workflow whose id is the run's id, in a queue that is partitioned by account: one account's runs go one at a
time, in the order in which they were enqueued; different accounts' side by side. What was finished is not repeated
after a crash; what was not, is. A process that starts takes up what a process of the same node left.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, Serializer, SetEnqueueOptions, SetWorkflowID

from landingzone.db import is_disk_full, prepare_sqlite

_QUEUE = "runs"
#: Fixed: workflows of one application version are taken up by processes of that version only. Raise it only when the
#: steps of a run change in a way that a half-done run cannot bear.
_APPLICATION_VERSION = "1"

log = structlog.get_logger()

Step = Callable[[str], None]


class Durable:
    """Takes runs through their steps, durably.

    Args:
        url: SQLAlchemy URL of DBOS's own database; SQLite is put into WAL mode.
        node: stable name of this process.
        workers: runs that go side by side.
        poll_seconds: interval at which the queue is polled.
        steps: what a run goes through; each gets the run's id, and can be repeated without a second effect.
        on_disk_full: called when DBOS could not write for want of room; returns when it is worth trying again.
    """

    def __init__(
        self,
        url: str,
        *,
        node: str,
        workers: int,
        poll_seconds: float,
        steps: tuple[Step, ...],
        on_disk_full: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._poll_seconds = poll_seconds
        self._last_enqueued = 0
        engine = sa.create_engine(url, hide_parameters=True)
        if engine.dialect.name == "sqlite":
            if engine.url.database:
                Path(engine.url.database).touch(mode=0o600, exist_ok=True)
            _prepare_for_dbos(engine, on_disk_full)
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
            max_executor_threads=workers + 4,
        )
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)

        @DBOS.workflow(name="run")
        def run(run_id: str) -> None:
            for step in steps:
                DBOS.run_step({"name": step.__name__}, step, run_id)

        self._run = run

    def start(self) -> None:
        """Begin: what a process of this node left is taken up, the queue is worked on."""
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE,
            partition_concurrency=1,
            worker_concurrency=self._workers,
            polling_interval_sec=self._poll_seconds,
            on_conflict="always_update",
        )

    def enqueue(self, run_id: str, *, account: str, priority: int) -> None:
        """Put a run into its account's queue; one that was enqueued before is left as it is. Lower priority first."""
        self._wait_for_next_millisecond()
        with SetWorkflowID(run_id), SetEnqueueOptions(queue_partition_key=account, priority=priority):
            DBOS.enqueue_workflow(_QUEUE, self._run, run_id)

    def stop(self, *, drain_seconds: int) -> None:
        """Take up nothing more, and wait for what is under way; what is not done by then goes on at the next start."""
        DBOS.destroy(workflow_completion_timeout_sec=drain_seconds)

    def _wait_for_next_millisecond(self) -> None:
        """Of two runs enqueued in the same millisecond the queue would not know which came first."""
        while (present := time.time_ns() // 1_000_000) == self._last_enqueued:
            time.sleep(0.0002)
        self._last_enqueued = present


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


def _prepare_for_dbos(engine: sa.Engine, on_disk_full: Callable[[], None]) -> None:
    # What a power cut takes from it is done again without a second effect, or found again by the scan.
    prepare_sqlite(engine, durability="normal", driver_begins=True)

    @sa.event.listens_for(engine, "handle_error")
    def _wait_for_room(context: sa.engine.ExceptionContext) -> None:
        if is_disk_full(context.original_exception):
            on_disk_full()
            raise sa.exc.OperationalError(None, None, _NoRoom(), hide_parameters=True)
