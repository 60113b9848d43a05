"""A run: what is sent is vouched for by its receipt, or the exit code and the log say why not."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from upload.folder import Folder
from upload.outcome import Ending
from upload.outgoing import Outgoing
from upload.parcel import Parcel
from upload.receipt import Receipt
from upload.run import only_one

SERVICE = "_shared_whole"

STUDENTS = Path("landingzone/sample/students.csv").read_text()


@pytest.fixture
def students(here: Any, uploader: Any) -> Any:
    here.sources.expect(uploader.account, "students.csv", feed=here.catalogue.get("students"), actor="test")
    uploader.file("students.csv", STUDENTS)
    uploader.settle("students")
    return uploader


def test_a_file_is_delivered_and_vouched_for_by_its_receipt(students: Any, service: Any) -> None:
    (attempt,) = students.run()
    assert attempt.ending is Ending.IMPORTED_WITH_REJECTS, (attempt, students.log())
    (landed,) = service.landed()
    assert (landed.name, landed.sha256) == (attempt.file, attempt.sha256)
    assert (attempt.landing_id, attempt.outcome, attempt.rows) == (landed.id, "imported_with_rejects", 24)
    assert students.modes() == {0o600}


def test_two_runs_in_one_folder_are_kept_apart(students: Any) -> None:
    with only_one(Folder(students.folder)):
        done = students.program("run")
    assert done.returncode == 23
    assert "Another run is under way" in done.stderr
    assert "logs" not in {path.name for path in students.folder.iterdir()}


def test_what_the_check_refuses_is_not_sent_unless_told_to(students: Any, service: Any) -> None:
    students.file("students.csv", STUDENTS.splitlines()[0] + "\r\n")
    (attempt,) = students.run()
    assert attempt.ending is Ending.REFUSED
    assert "--send-anyway" in "\n".join(students.heard.lines)
    assert service.landed() == []
    (attempt,) = students.run(send_anyway=True)
    assert attempt.ending in {Ending.HELD, Ending.REJECTED}
    assert len(service.landed()) == 1


def test_no_receipt_yet_is_said_and_looked_for_again(here: Any, make_uploader: Any, make_service: Any) -> None:
    door = make_service()
    uploader = make_uploader(door)
    here.sources.expect(uploader.account, "students.csv", feed=here.catalogue.get("students"), actor="test")
    uploader.file("students.csv", STUDENTS)
    uploader.settle("students")
    (attempt,) = uploader.run(seconds=3)
    assert attempt.ending is Ending.NO_RECEIPT
    assert "no receipt came" in attempt.why
    (landed,) = door.landed()
    door.stop()
    door.part = "serve"
    door.start()
    told = uploader.folder.parent / "root" / "receipts" / uploader.account / "latest-students.receipt.json"
    until = time.monotonic() + 30
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.1)
    done = uploader.program("status")
    assert done.returncode == 10, done.stdout + done.stderr
    assert "imported with rejects, 24 rows, 2 rejected" in done.stdout
    assert landed.sha256 == attempt.sha256


def test_a_receipt_that_counts_other_rows_is_no_success(students: Any) -> None:
    receipt = {
        "landing_id": "1",
        "attempt": 1,
        "file": "f",
        "sha256": "",
        "outcome": "imported",
        "rows": {"read": 23, "accepted": 23, "rejected": 0},
        "message": "Imported.",
        "reject_counts": {},
    }
    out = Outgoing("students", "students", Path(), "f", 24, 0, "")
    found = Receipt.of(json.dumps(receipt).encode())
    assert found
    parcel = Parcel(out, Path(), "f", 0, "")
    assert found.ending(parcel) is Ending.MISCOUNTED
    assert "24 rows were sent and 23 were read" in found.in_words(parcel, with_values=True)
    assert Receipt.of(b'{"landing_id": 1}') is None
    assert Receipt.of(b"[" * 100_000) is None


def test_no_log_and_no_state_holds_personal_data_or_the_key(students: Any, make_trouble: Any) -> None:
    lines = STUDENTS.splitlines()
    seeded = '"300999","Zyxwvut","Qponmlk","777-88","Seed0School","","(206) 555-9999","zyx.qpo@seeded.example",""'
    students.file("students.csv", "\r\n".join([*lines, seeded, ""]))
    students.run()
    assert students.run()[0].ending is Ending.IMPORTED_WITH_REJECTS
    students.program("run")
    done = students.program("status")
    kept = [path for name in ("logs", "state") for path in (students.folder / name).rglob("*") if path.is_file()]
    assert len([path for path in kept if path.suffix == ".log"]) == 3
    told = (
        b"".join(path.read_bytes() for path in kept) + "\n".join(students.heard.lines).encode() + done.stdout.encode()
    )
    for value in ("Zyxwvut", "Qponmlk", "777-88", "5559999", "555-9999", "zyx.qpo", "Amara", "Abbott", "PRIVATE KEY"):
        assert value.encode() not in told, value
    assert students.modes() == {0o600}
    assert list((students.folder / "work").iterdir()) == []


def test_logs_go_after_thirty_days(students: Any) -> None:
    students.run()
    (log,) = (students.folder / "logs").iterdir()
    old = time.time() - 31 * 24 * 3600
    os.utime(log, (old, old))
    students.run()
    assert log not in (students.folder / "logs").iterdir()


def test_a_terminal_shows_bars_and_the_values_that_were_rejected(students: Any) -> None:
    students.file("students.csv", STUDENTS.replace("555-01", "777-88"))
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "upload.cli", "--folder", str(students.folder), "run"]
    with subprocess.Popen(command, stdout=child, stderr=child, env={**os.environ, "COLUMNS": "120"}) as running:
        os.close(child)
        told = b""
        with contextlib.suppress(OSError):  # the terminal ends with the program
            while data := os.read(parent, 1 << 16):
                told += data
    os.close(parent)
    assert running.returncode == 10, told
    assert b"777-88" in told
    assert b"777-88" not in students.program("run").stdout.encode()
