"""The processor as a service: what it notices, what it leaves alone, what it tells operators, what it never logs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Students = Callable[..., bytes]


def command(night: Any, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The real command line at the night's zone."""
    program = [sys.executable, "-m", "landingzone", "--root", str(night.here.settings.root), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_check_prints_the_rejects_of_the_real_run(night: Any, students: Students, tmp_path: Path) -> None:
    content = students(40, phone={5: "12", 9: ""}, last={7: ""}, first={11: "x" * 256}, grade={12: "y" * 300})
    content += b'"1","too","few"\r\n"1000","Other","Person","2065559999","001","",""\r\n'
    file = tmp_path / "students.csv"
    file.write_bytes(content)
    printed = command(night, "check", str(file), "--feed", "students", "--json")
    assert printed.returncode == 0, printed.stderr
    told = json.loads(printed.stdout)
    night.start()
    real = night.receipt(night.land("students.csv", content))
    for part in ("rejects", "reject_counts", "warnings", "tolerated", "outcome", "sha256", "rows"):
        assert told[part] == real[part], part
    assert len(real["rejects"]) == 6
    as_text = command(night, "check", str(file), "--feed", "students").stdout
    assert all(f"line {reject['line']}" in as_text for reject in real["rejects"])


def test_check_with_an_account_compares_with_what_stands(night: Any, students: Students, tmp_path: Path) -> None:
    night.start()
    night.receipt(night.land("students.csv", students(40)))
    file = tmp_path / "students.csv"
    file.write_bytes(students(20))
    told = json.loads(
        command(night, "check", str(file), "--feed", "students", "--account", "springfield", "--json").stdout
    )
    assert (told["outcome"], told["hold"]["code"]) == ("held", "many_deactivated")
    assert len(night.rows("students")) == 40


@pytest.mark.both_databases
def test_operators_see_approve_and_retry_runs_from_the_command_line(night: Any, students: Students) -> None:
    night.start()
    night.receipt(night.land("students.csv", students(40)))
    held = night.land("students.csv", students(10))
    night.receipt(held, outcome="held")
    listed = json.loads(command(night, "runs", "list", "--state", "held", "--json").stdout)
    assert [run["id"] for run in listed] == [f"{held.id}:1"]
    assert "many_deactivated" in command(night, "runs", "show", held.id, "--json").stdout
    refused = command(night, "runs", "retry", night.runs()[0].id)
    assert (refused.returncode, "imported" in refused.stderr) == (1, True)
    assert command(night, "runs", "approve", held.id).returncode == 0
    assert night.receipt(held, outcome="imported")["attempt"] == 2
    shown = json.loads(command(night, "accounts", "show", "springfield", "--json").stdout)
    assert shown["rows"]["students"] == 10
    assert command(night, "runs", "list", "--state", "nonsense").returncode == 2


def test_a_file_that_an_operator_drops_in_by_hand_is_taken_once_its_size_is_stable(
    night: Any, students: Students
) -> None:
    night.start(processor__stable_seconds="0.5", processor__rescan_seconds="0.3")
    night.wait_until_started()
    (night.here.zone.folder("inbox", "springfield") / "students.csv").write_bytes(students(9))
    until = time.monotonic() + 20
    while not (latest := night.receipts / "latest-students.receipt.json").is_file():
        assert time.monotonic() < until, night.log
        time.sleep(0.05)
    assert json.loads(latest.read_bytes())["outcome"] == "imported"
    assert night.left_over() == []


def test_links_and_devices_in_an_inbox_are_never_taken(night: Any, students: Students, tmp_path: Path) -> None:
    inbox = night.here.zone.folder("inbox", "springfield")
    secret = tmp_path / "students.csv"
    secret.write_bytes(students(9))
    (inbox / "students.csv").symlink_to(secret)
    os.link(secret, inbox / "staff.csv")
    os.mkfifo(inbox / "sections.csv")
    night.start(processor__stable_seconds="0", processor__rescan_seconds="0.2")
    night.wait_until_started()
    time.sleep(1.5)
    assert night.runs() == []
    assert secret.read_bytes() == students(9)
    assert {path.name for path in inbox.iterdir()} == {"students.csv", "staff.csv", "sections.csv"}


@pytest.mark.parametrize("watch", ["native", "polling"])
def test_what_lands_while_the_processor_runs_is_noticed(night: Any, students: Students, watch: str) -> None:
    night.start(processor__watch=watch, processor__rescan_seconds="600")
    night.wait_until_started()
    time.sleep(0.5)
    assert night.receipt(night.land("students.csv", students(9)))["outcome"] == "imported"


@pytest.mark.both_databases
def test_what_lands_does_not_wait_for_the_queue_to_be_looked_at(night: Any, students: Students) -> None:
    night.start(processor__poll_seconds=3600, processor__workers=1)
    for count in (40, 41, 42):
        assert night.receipt(night.land("students.csv", students(count)))["outcome"] == "imported"


def test_what_landed_while_it_was_away_is_taken_in_order(night: Any, students: Students) -> None:
    landings = [night.land("students.csv", students(30 + number)) for number in range(6)]
    night.start()
    for landing in landings:
        assert night.receipt(landing)["outcome"] == "imported"
    assert [run.landing_id for run in night.runs()] == [landing.id for landing in landings]
    assert len(night.rows("students")) == 35


def test_a_withdrawal_before_the_processor_came_has_a_receipt(night: Any, students: Students) -> None:
    from landingzone import landing_record

    landing = night.land("students.csv", students(9))
    with night.here.db.write() as tx:
        landing_record.note_withdrawal(tx, landing)
    night.here.zone.withdraw(landing)
    night.start()
    assert night.receipt(landing)["outcome"] == "withdrawn"


def test_a_second_processor_of_the_same_name_is_refused(night: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from processor import service

    night.start()
    night.wait_until_started()
    monkeypatch.setattr(service, "_LOCK_TRIES", 1)
    with pytest.raises(service.NodeTaken, match="node-1"):
        service.hold_node_lock(night.here.settings)


def test_sigterm_ends_it_quickly_and_cleanly(night: Any, students: Students) -> None:
    night.start()
    night.receipt(night.land("students.csv", students(9)))
    assert night.stop() == 0
    assert '"processor.stopped"' in night.log


def test_no_personal_datum_reaches_the_log(night: Any, students: Students) -> None:
    night.start(log__level="debug")
    seeded = {"first": {3: "Zyxwvut"}, "last": {4: "Qwertzu", 6: ""}, "phone": {5: "987-nobody"}}
    told = night.receipt(night.land("students.csv", students(40, **seeded)))
    assert told["rows"]["rejected"] == 2
    night.receipt(night.land("Zyxwvut Qwertzu.csv", students(5)))
    night.receipt(night.land("students.csv", b"\x1f\x8b\x08Zyxwvut"))
    night.stop()
    for datum in ("Zyxwvut", "Qwertzu", "987-nobody", "2065550001"):
        assert datum not in night.log


def test_all_held_runs_are_approved_at_once(night: Any, students: Students) -> None:
    here = night.here
    here.accounts.add("shelbyville", actor="test")
    here.zone.prepare_account("shelbyville")
    night.start()
    for account in ("springfield", "shelbyville"):
        for count in (40, 10):
            night.receipt(night.land("students.csv", students(count), account))
    assert command(night, "runs", "approve").returncode == 2
    approved = command(night, "runs", "approve", "--all-held", "--code", "many_deactivated")
    assert (approved.returncode, approved.stdout.count("Asked for")) == (0, 2)
    until = time.monotonic() + 20
    while [run.outcome for run in night.runs()].count("imported") < 4:
        assert time.monotonic() < until, [run.outcome for run in night.runs()]
        time.sleep(0.1)


@pytest.mark.parametrize(("rows", "left"), [("keep", 9), ("deactivate", 0)])
def test_retiring_a_source_says_what_becomes_of_its_rows(night: Any, students: Students, rows: str, left: int) -> None:
    night.start()
    night.receipt(night.land("students.csv", students(9)))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "landingzone",
            "--root",
            str(night.here.settings.root),
            "feeds",
            "retire",
            "springfield",
            "students",
        ],
        input=f"{rows}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "9 active rows" in done.stdout
    assert [row[-1] for row in night.rows("students")].count(True) == left
    assert night.receipt(night.land("students.csv", students(9)))["outcome"] == "unrecognised"


def test_the_list_of_held_runs_shows_only_what_still_waits(night: Any, students: Students) -> None:
    night.start()
    night.receipt(night.land("students.csv", students(40)))
    held = night.land("students.csv", students(10))
    night.receipt(held, outcome="held")
    command(night, "runs", "approve", held.id)
    night.receipt(held, outcome="imported")
    assert json.loads(command(night, "runs", "list", "--state", "held", "--json").stdout) == []
    assert len(json.loads(command(night, "runs", "list", "--json").stdout)) == 3


def test_serve_says_that_its_port_is_taken_and_ends(night: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, "LANDINGZONE_DOOR__HOST": "127.0.0.1"}
        program = [
            sys.executable,
            "-m",
            "landingzone",
            "--root",
            str(night.here.settings.root),
            "serve",
            "--port",
            str(port),
        ]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 1
    assert "sftpd does not start" in done.stderr


def test_what_is_suggested_for_an_odd_file_can_be_kept_and_imports_it(night: Any, tmp_path: Path) -> None:
    import shlex

    names = [
        f"{first}{last}" for first in ("Al", "Bo", "Cy", "Di", "Ed") for last in ("an", "ix", "ena", "or", "us", "y")
    ]
    rows = [
        f"{1000 + at},{name},Mc{name},{2065550000 + at},01{at % 3},{name}@example.org" for at, name in enumerate(names)
    ]
    content = "\r\n".join(["Perm ID,Pupil First,Pupil Surname,Call This,Bldg,Mail", *rows, ""]).encode()
    file = tmp_path / "odd.csv"
    file.write_bytes(content)
    suggested = command(night, "feeds", "suggest", str(file), "--feed", "students")
    assert suggested.returncode == 0, suggested.stderr
    assert "sure" in suggested.stdout
    (line,) = (line for line in suggested.stdout.splitlines() if line.startswith("To keep it: landingzone "))
    kept = line.removeprefix("To keep it: landingzone ").replace("ACCOUNT", "springfield")
    assert command(night, *shlex.split(kept)).returncode == 0
    night.start()
    told = night.receipt(night.land("students.csv", content))
    assert (told["outcome"], told["rows"]["added"]) == ("imported", 30)
