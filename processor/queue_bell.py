"""The bell of the queue: what DBOS would only find at its next poll is taken up when somebody rings.

DBOS looks for work at a fixed interval. A short one costs a tenth of a core while nothing is to do, a long one lets
a file wait. So the interval is long, and it is rung when a run comes into the queue, and when one gives its place free.
A look costs as much as three statements: nobody looks without a reason.
"""

import copy
import threading
import time
from typing import TYPE_CHECKING

from dbos import _queue as dbos_queue

if TYPE_CHECKING:
    from dbos import DBOS

LOOKS_APART_SECONDS = 0.01
"""What is rung for within it is found by one look."""


class Bell:
    """Rung by anybody; listened to by the queue's thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = False
        self._looked = 0.0

    def ring(self) -> None:
        """There may be something to do."""
        with self._condition:
            self._rung = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until it is time to look: somebody has rung, or so many seconds have passed."""
        with self._condition:
            self._condition.wait_for(lambda: self._rung, seconds)
            if (rest := self._looked + LOOKS_APART_SECONDS - time.monotonic()) > 0:
                self._condition.wait_for(lambda: False, rest)
            self._rung = False
            self._looked = time.monotonic()


class _Ended:
    """Stands for the event that ends a queue's thread: its wait is the bell's."""

    def __init__(self, event: threading.Event, bell: Bell) -> None:
        self._event = event
        self._bell = bell

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float) -> bool:
        if not self._event.is_set():
            self._bell.wait(timeout)
        return self._event.is_set()


def hang_up(bells: dict[str, Bell]) -> None:
    """From now on the threads of these queues (by name) listen to their bells; call it before DBOS is launched.

    DBOS has no public way to be woken; its version is pinned, and a test holds that a ring is heard.
    """
    work = getattr(dbos_queue.queue_worker_thread, "unbelled", dbos_queue.queue_worker_thread)

    def with_bell(stop_event: threading.Event, dbos: "DBOS", queue: dbos_queue.Queue) -> None:
        bell = bells.get(queue.name)
        if bell is None:
            work(stop_event, dbos, queue)
            return
        _ring_for_free_places(dbos, queue.name, bell)
        # Nothing is enqueued here without a version, so whether ours is the latest decides nothing, at half of a look.
        dbos._sys_db._is_latest_version = lambda *_: False  # type: ignore[method-assign]  # noqa: SLF001
        fixed = copy.copy(queue)
        fixed.database_backed_queue = False  # how it is worked on is the settings' to say: it is not read at each look
        work(_Ended(stop_event, bell), dbos, fixed)  # type: ignore[arg-type]

    with_bell.unbelled = work  # type: ignore[attr-defined]
    dbos_queue.queue_worker_thread = with_bell


def _ring_for_free_places(dbos: "DBOS", queue: str, bell: Bell) -> None:
    """Ring whenever DBOS counts one run less of a queue as being in hand here."""
    active = dbos._active_workflows_set  # noqa: SLF001
    remove = active._remove  # noqa: SLF001

    def with_ring(key: str, bucket: tuple[str, str | None] | None) -> None:
        remove(key, bucket)
        if bucket is not None and bucket[0] == queue:
            bell.ring()

    active._remove = with_ring  # type: ignore[method-assign]  # noqa: SLF001
