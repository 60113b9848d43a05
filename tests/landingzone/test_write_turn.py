"""Whoever writes to SQLite takes its turn; and who has it and does not give it back holds nobody up for long."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from landingzone.db import Database
from landingzone.write_turn import WriteTurn

WRITER = """
import sys, time
from landingzone.db import Database
db = Database(f"sqlite:///{sys.argv[1]}")
print("begins", flush=True)
for number in range(int(sys.argv[2])):
    with db.write() as tx:
        tx.exec_driver_sql("INSERT INTO written VALUES (?, ?)", (int(sys.argv[3]), number))
        time.sleep(0.002)
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "it.db"
    db = Database(f"sqlite:///{path}")
    with db.write() as tx:
        tx.exec_driver_sql("CREATE TABLE written (writer INTEGER, number INTEGER)")
    db.close()
    return path


def test_processes_and_threads_take_turns_and_nobody_writes_twice_while_others_wait(database: Path) -> None:
    count = 40
    command = [sys.executable, "-c", WRITER, str(database), str(count)]
    processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE) for number in (1, 2)]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    assert [process.wait(60) for process in processes] == [0, 0]
    db = Database(f"sqlite:///{database}")
    with db.read() as tx:
        order = tx.exec_driver_sql("SELECT writer FROM written ORDER BY rowid").scalars().all()
    assert sorted(order) == [1] * count + [2] * count
    together = order[
        order.index(2 if order[0] == 1 else 1) : -1 - list(reversed(order)).index(1 if order[-1] == 2 else 2)
    ]
    twice = [one for one, following in itertools.pairwise(together) if one == following]
    assert len(twice) <= len(together) / 4, order
    assert sorted(path.name for path in database.parent.glob(".it.db.*")) == [".it.db.next", ".it.db.turn"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in database.parent.glob(".it.db.*"))


def test_who_was_stopped_while_it_had_the_turn_or_waited_for_it_keeps_nobody_from_writing(database: Path) -> None:
    descriptors = [os.open(database.with_name(f".it.db.{door}"), os.O_RDWR | os.O_CREAT) for door in ("next", "turn")]
    db = Database(f"sqlite:///{database}")
    for descriptor in descriptors:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        began = time.monotonic()
        with db.write() as tx:
            tx.exec_driver_sql("INSERT INTO written VALUES (0, 0)")
        assert 0.9 < time.monotonic() - began < 20
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def test_a_process_that_is_killed_gives_its_turn_back(database: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(database), "100000", "1"], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    turn = WriteTurn(database)
    with turn.taken():
        other = WriteTurn(database)
        got = threading.Event()

        def take() -> None:
            with other.taken():
                got.set()

        waiting = threading.Thread(target=take)
        waiting.start()
        assert not got.wait(0.3)
    waiting.join(5)
    assert got.is_set()


def test_where_no_file_can_be_made_for_it_the_database_is_asked_without_a_turn(database: Path) -> None:
    path = database.with_name(".it.db.next")
    path.unlink()
    path.mkdir()
    db = Database(f"sqlite:///{database}")
    with db.write() as tx:
        tx.exec_driver_sql("INSERT INTO written VALUES (0, 0)")
