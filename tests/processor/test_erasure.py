"""A district leaves: nothing of it stays but the audit trail and the certificate."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.tables import accounts

AN_HOUR = timedelta(hours=1)
Students = Callable[..., bytes]


def command(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "landingzone", "--root", str(root), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def erase(root: Path) -> "subprocess.CompletedProcess[str]":
    return command(root, "accounts", "erase", "springfield", "--confirm", "springfield")


def disabled_long_ago(night: Any) -> None:
    night.here.accounts.set_enabled("springfield", enabled=False, actor="test")
    with night.here.db.write() as tx:
        tx.execute(accounts.update().where(accounts.c.name == "springfield").values(disabled_at=iso(now() - AN_HOUR)))


def test_nothing_of_an_erased_account_is_left_in_any_file_or_table(night: Any, students: Students) -> None:
    root = night.here.settings.root
    night.here.accounts.add("shelbyville", actor="test")
    night.here.zone.prepare_account("shelbyville")
    night.start(processor__large_mebibytes="0")
    night.receipt(night.land("students.csv", students(40, first={5: "Zebulonia"}, phone={7: "12"})))
    night.receipt(night.land("students.csv", students(39, first={5: "Xanthippe"})))
    night.receipt(night.land("staff.csv", b"nonsense of Quetzalina", resumed=True))
    other = night.land("students.csv", students(40, start=5000), "shelbyville")
    night.receipt(other)
    assert "not disabled" in erase(root).stderr
    night.here.accounts.set_enabled("springfield", enabled=False, actor="test")
    assert "just now" in erase(root).stderr
    night.stop()
    disabled_long_ago(night)
    waiting = night.land("students.csv", students(3))
    assert "wait or are under way" in erase(root).stderr
    night.here.zone.withdraw(waiting)
    assert command(root, "accounts", "erase", "springfield", "--confirm", "sprngfield").returncode == 2

    done = erase(root)
    assert done.returncode == 0, done.stderr
    words = [b"Zebulonia", b"Xanthippe", b"Quetzalina", b"Last7", b"2065549009", b"4255549010"]
    files = [path for path in root.rglob("*") if path.is_file()]
    assert [(path.name, word) for path in files for word in words if word in path.read_bytes()] == []
    named = [path for path in root.rglob("*springfield*") if path.parent.name != "certificates"]
    assert named == []
    assert _tables_that_name(root / "landingzone.db", "springfield") == {"audit", "erasures"}
    assert _tables_that_name(root / "workflows.db", "springfield") == set()

    told = json.loads(next((root / "certificates").glob("*.json")).read_bytes())
    assert told["erased"]["data_students"]["rows"] == 40
    assert told["erased"]["runs"]["rows"] == 3
    assert told["erased"]["archive"]["files"] >= 9
    assert command(root, "audit", "verify").returncode == 0
    assert erase(root).returncode == 0  # it is done; the certificate is written again
    shown = json.loads(command(root, "accounts", "show", "shelbyville", "--json").stdout)
    assert shown["rows"]["students"] == 40


def _tables_that_name(file: Path, word: str) -> set[str]:
    with closing(sqlite3.connect(file)) as tx:
        tables = [row[0] for row in tx.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name for name in tables for row in tx.execute(f'SELECT * FROM "{name}"') if word in repr(row)}


def test_an_erasure_that_was_killed_goes_on(night: Any, students: Students) -> None:
    root = night.here.settings.root
    night.start()
    night.receipt(night.land("students.csv", students(40)))
    night.stop()
    disabled_long_ago(night)
    program = (
        "import os, signal, sys\n"
        "from processor import erasure\n"
        "def die(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(erasure, sys.argv.pop(1), die)\n"
        "from landingzone.cli import main\n"
        "main()\n"
    )
    arguments = ["--root", str(root), "accounts", "erase", "springfield", "--confirm", "springfield"]
    for moment in ("_data", "_runs_steps", "_rows", "_wipe", "_certify"):
        died = subprocess.run([sys.executable, "-c", program, moment, *arguments], check=False)
        assert died.returncode == -9, moment
    assert erase(root).returncode == 0
    with night.here.db.read() as tx:
        assert tx.execute(sa.select(accounts)).all() == []
    told = json.loads(next((root / "certificates").glob("*.json")).read_bytes())
    assert (told["erased"]["data_students"]["rows"], told["erased"]["runs"]["rows"]) == (40, 1)
