"""The bell of the queue: what DBOS would only find at its next poll is taken up when somebody rings.

DBOS looks for work at a fixed interval. A short one costs a tenth of a core while nothing is to do, a long one lets
a file wait. So the interval is long, and who puts a run into the queue, or has a place free for the next one, rings.
Then it is looked at a short interval for a moment: what was rung for may show late.
"""

import threading
import time
from typing import TYPE_CHECKING

from dbos import _queue as dbos_queue

if TYPE_CHECKING:
    from dbos import DBOS

SHORT_SECONDS = 0.02
RESTLESS_SECONDS = 0.2
"""How long after a ring the short interval holds."""


class Bell:
    """Rung by anybody; listened to by the queue's thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = False
        self._restless_until = 0.0

    def ring(self) -> None:
        """There may be something to do."""
        with self._condition:
            self._rung = True
            self._restless_until = time.monotonic() + RESTLESS_SECONDS
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until somebody rings, at most so long; within the short interval nobody is heard."""
        with self._condition:
            if time.monotonic() < self._restless_until:
                self._rung = False
                self._condition.wait_for(lambda: False, min(seconds, SHORT_SECONDS))
            elif not self._rung:
                self._condition.wait_for(lambda: self._rung, seconds)
            self._rung = False


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
        work(_Ended(stop_event, bell) if bell is not None else stop_event, dbos, queue)  # type: ignore[arg-type]

    with_bell.unbelled = work  # type: ignore[attr-defined]
    dbos_queue.queue_worker_thread = with_bell
