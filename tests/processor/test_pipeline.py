"""Things that are made ahead and handed on come in order, errors come where they are looked for, nothing hangs."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from processor.pipeline import ahead, behind


def numbers(count: int, *, fails: bool = False) -> Iterator[int]:
    yield from range(count)
    if fails:
        raise OSError("the disk")


def test_items_come_in_order_and_errors_after_the_last_one() -> None:
    assert list(ahead(numbers(100))) == list(range(100))
    seen = []
    with pytest.raises(OSError, match="the disk"):
        for number in ahead(numbers(5, fails=True)):
            seen.append(number)  # noqa: PERF402 - up to the error
    assert seen == [0, 1, 2, 3, 4]


def test_whoever_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    for stop_at in (0, 1, 5):
        with contextlib.closing(ahead(numbers(1000))) as items:
            for number in items:
                if number == stop_at:
                    break
    assert threading.active_count() == before


def test_work_is_done_in_order_and_its_error_ends_it() -> None:
    done: list[int] = []
    with behind(done.append) as give:
        for number in range(50):
            give(number)
    assert done == list(range(50))

    def work(number: int) -> None:
        if number == 3:
            raise OSError("the disk")
        done.append(number)

    done.clear()
    with pytest.raises(OSError, match="the disk"), behind(work) as give:
        for number in range(1000):
            give(number)
    assert done == [0, 1, 2]
    with pytest.raises(OSError, match="the disk"), behind(work) as give:
        give(3)


def test_an_error_of_whoever_gives_the_work_comes_through() -> None:
    with pytest.raises(KeyError), behind(lambda _: None) as give:
        give(1)
        raise KeyError
