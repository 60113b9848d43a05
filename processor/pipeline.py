"""Two things at once: what comes next is made while the present one is worked on, and what is done is handed on.

Python's threads, for work that Polars and numpy do outside of the interpreter's lock.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")
_END: Final = object()


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The items, each made in a thread while the one before it is worked on; what it raises is raised here."""
    made: queue.Queue[Any] = queue.Queue(1)
    stopping = threading.Event()
    failed: list[BaseException] = []

    def make() -> None:
        try:
            for item in items:
                made.put(item)
                if stopping.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised where the items are wanted
            failed.append(error)
        made.put(_END)

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    item: Any = None
    try:
        while (item := made.get()) is not _END:
            yield item
    finally:
        stopping.set()
        while item is not _END:
            item = made.get()
        thread.join()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def behind(work: Callable[[T], None]) -> Iterator[Callable[[T], None]]:
    """Gives a function that has `work` done in a thread, in order; its error is raised at the next call, or the end.

    After an error nothing more is worked on.
    """
    given: queue.Queue[Any] = queue.Queue(1)
    failed: list[BaseException] = []

    def run() -> None:
        while (item := given.get()) is not _END:
            if failed:
                continue
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001 - raised where the work comes from
                failed.append(error)

    def give(item: T) -> None:
        if failed:
            raise failed[0]
        given.put(item)

    thread = threading.Thread(target=run, name="behind", daemon=True)
    thread.start()
    try:
        yield give
    finally:
        given.put(_END)
        thread.join()
    if failed:
        raise failed[0]
