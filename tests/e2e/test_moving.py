"""From one machine to several: a service on SQLite moves to PostgreSQL in the middle of its work, and loses nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

DYING = Path(__file__).parents[1] / "processor" / "dying_processor.py"


def landingzone(root: Path, *arguments: str, exit_code: int = 0, **environment: str) -> str:
    """What the command line printed."""
    program = [sys.executable, "-m", "landingzone", "--root", str(root), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout + done.stderr


def table(header: str, line: str, count: int) -> bytes:
    return "\r\n".join([header, *(line.format(at=at) for at in range(count)), ""]).encode()


def students(count: int) -> bytes:
    header = "Student ID,First Name,Last Name,Phone Number,School ID#"
    return table(header, "1{at:03},First{at},Last{at},2065549{at:03},001", count)


def staff(count: int, first: str) -> bytes:
    header = "Staff ID,Last Name,First Name,Phone Number,School ID#"
    return table(header, f"9{{at:03}},Last{{at}},{first},2065548{{at:03}},001", count)


def sections(count: int) -> bytes:
    header = "Staff ID,School ID#,Section ID,Period,Course Name"
    return table(header, "9{at:03},001,S{at},1,Course {at}", count)


@pytest.fixture
def dying(root: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A processor that kills itself between reading and applying, once a file arms it."""
    armed = tmp_path / "armed"
    command = [sys.executable, str(DYING), "after examine", "--root", str(root), "processor"]
    with (tmp_path / "processor.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, "ARMED": str(armed)}, stdout=log, stderr=log)
    yield process, armed
    process.kill()
    process.wait(10)


def receipts(root: Path, account: str) -> dict[str, dict[str, Any]]:
    """By landing id."""
    found = [json.loads(path.read_bytes()) for path in (root / "receipts" / account).glob("0*.receipt.json")]
    assert len({one["landing_id"] for one in found}) == len(found)
    return {one["landing_id"]: one for one in found}


def wait_for(root: Path, account: str, count: int) -> dict[str, dict[str, Any]]:
    until = time.monotonic() + 90
    while len(found := receipts(root, account)) < count:
        assert time.monotonic() < until, [(one["file"], one["outcome"]) for one in found.values()]
        time.sleep(0.05)
    return found


def test_a_service_moves_from_sqlite_to_postgresql_in_the_middle_of_its_work_and_loses_nothing(
    make_service: Callable[..., Any],
    make_client: Callable[..., Any],
    dying: tuple["subprocess.Popen[bytes]", Path],
    request: pytest.FixtureRequest,
    here: Any,
    root: Path,
    account: str,
) -> None:
    processor, armed = dying
    door = make_service("sftpd")
    client = make_client(door)

    def put(*files: tuple[str, bytes]) -> None:
        for name, content in files:
            with client.paramiko() as session, session.open_sftp() as sftp, sftp.open(name, "wb") as file:
                file.write(content)

    put(("students.csv", students(60)))
    wait_for(root, account, 1)
    put(("staff.csv", staff(30, "Before")))
    wait_for(root, account, 2)
    put(("staff.csv", staff(30, "After")))
    wait_for(root, account, 3)
    put(("students.csv", students(40)))
    before = wait_for(root, account, 4)
    assert sorted(one["outcome"] for one in before.values()) == ["held", "imported", "imported", "imported"]
    held = next(one for one in before.values() if one["outcome"] == "held")
    to_undo = max(one["landing_id"] for one in before.values() if one["file"] == "staff.csv")
    armed.touch()
    put(("sections.csv", sections(30)))
    assert processor.wait(60) == -9
    put(
        ("attendance.csv", b"Student ID,Reason\r\n1001,A\r\n"),
        ("enrollments.csv", b"Student ID,School ID#,Section ID\r\n1001,001,S1\r\n"),
    )

    server = request.getfixturevalue("_postgresql")
    url = server.new_database(empty=True)
    (root / "landingzone.toml").write_text(f"database_url = {json.dumps(url)}\n")
    assert "has the SQLite database open" in landingzone(root, "database", "copy", exit_code=1)
    door.stop()
    here.db.close()
    assert "Runs that begin again: 1." in landingzone(root, "database", "copy")
    assert "was copied to PostgreSQL" in landingzone(root, "database", "copy", exit_code=1)
    old = f"sqlite:///{root / 'landingzone.db'}"
    assert "was copied to PostgreSQL" in landingzone(root, "serve", exit_code=1, LANDINGZONE_DATABASE_URL=old)

    several = make_service("serve --doors 2 --processors 2", processor__beat_seconds=0.3)
    client.port = several.port
    client.known_hosts.write_text(client.known(several.port))
    after = wait_for(root, account, 7)
    assert {one["file"]: one["outcome"] for one in after.values() if one["landing_id"] not in before} == {
        "sections.csv": "imported",
        "attendance.csv": "imported",
        "enrollments.csv": "imported",
    }
    put(("sections.csv", sections(30)))
    assert max(wait_for(root, account, 8).items())[1]["outcome"] == "unchanged"
    landingzone(root, "runs", "approve", held["landing_id"])
    landingzone(root, "runs", "revert", to_undo)
    until = time.monotonic() + 60
    while {receipts(root, account)[one]["outcome"] for one in (held["landing_id"], to_undo)} != {
        "imported",
        "reverted",
    }:
        assert time.monotonic() < until
        time.sleep(0.1)
    _check_data(root, account)
    assert several.stop() == 0
    server.drop(url)


def _check_data(root: Path, account: str) -> None:
    shown = json.loads(landingzone(root, "accounts", "show", account, "--json"))
    rows = {"students": 40, "staff": 30, "sections": 30, "attendance": 1, "enrollments": 1}
    assert {name: count for name, count in shown["rows"].items() if count} == rows
    landingzone(root, "audit", "verify")
    assert not [path for kind in ("inbox", "work") for path in (root / kind / account).iterdir()]
