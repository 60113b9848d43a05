"""Backup and restore of a service that is at work."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landingzone.backup import MANIFEST


def landingzone(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "landingzone", "--root", str(root), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def students(count: int, first: str) -> bytes:
    lines = ["Student ID,First Name,Last Name,Phone Number,School ID#"]
    lines += [f"{1000 + at},{first},Last{at},{2065549000 + at},001" for at in range(count)]
    return ("\r\n".join(lines) + "\r\n").encode()


def test_what_a_client_was_told_is_safe_is_in_a_backup_taken_afterwards(
    make_service: Callable[..., Any], make_account: Callable[..., Path], account: str, root: Path, tmp_path: Path
) -> None:
    import paramiko

    key = make_account()
    service = make_service("serve")
    told: list[str] = []
    stopping = threading.Event()

    def upload() -> None:
        transport = paramiko.Transport(("127.0.0.1", service.port))
        transport.connect(username=account, pkey=paramiko.Ed25519Key.from_private_key_file(str(key)))
        client = paramiko.SFTPClient.from_transport(transport)
        assert client
        number = 0
        while not stopping.is_set():
            number += 1
            content = students(30, f"Name{number}")
            with client.open("students.csv", "wb") as file:
                file.write(content)
            told.append(f"Name{number}")
            stopping.wait(0.1)
        transport.close()

    sender = threading.Thread(target=upload)
    sender.start()
    service.landed(account, count=5)
    backups = []
    for number in (1,):
        before = len(told)
        made = landingzone(root, "backup", str(tmp_path / f"backup-{number}"))
        assert made.returncode == 0, made.stderr
        backups.append((tmp_path / f"backup-{number}", before))
    stopping.set()
    sender.join()
    service.kill()
    assert "already" in landingzone(root, "backup", str(backups[0][0])).stderr

    for number, (backup, before) in enumerate(backups, 1):
        again = tmp_path / f"again-{number}"
        restored = landingzone(again, "restore", str(backup))
        assert restored.returncode == 0, restored.stderr
        assert "not empty" in landingzone(again, "restore", str(backup)).stderr
        modes = {path.stat().st_mode & 0o777 for path in again.rglob("*") if path.is_file()}
        folders = {path.stat().st_mode & 0o777 for path in again.rglob("*") if path.is_dir()}
        assert (modes, folders) == ({0o600}, {0o700})
        service.root, service.log_file = again, tmp_path / f"log-again-{number}.json"
        service.start()
        landed = service.landed(account, count=before, seconds=90)
        _wait_until_empty(again, account)
        service.stop()
        landed = service.landed(account)
        receipts = [json.loads(path.read_bytes()) for path in (again / "receipts" / account).glob("0*.receipt.json")]
        assert len({one["landing_id"] for one in receipts}) == len(landed) >= before
        assert {one["outcome"] for one in receipts} <= {"imported", "superseded", "held", "unchanged"}
        shown = json.loads(landingzone(again, "accounts", "show", account, "--json").stdout)
        assert shown["rows"]["students"] == 30


def _wait_until_empty(root: Path, account: str) -> None:
    import time

    until = time.monotonic() + 60
    while any((root / "inbox" / account).iterdir()) or any((root / "work" / account).iterdir()):
        assert time.monotonic() < until, list((root / "inbox" / account).iterdir())
        time.sleep(0.1)


@pytest.mark.parametrize("damage", ["changed", "missing", "outside", "no manifest"])
def test_a_damaged_backup_restores_nothing(root: Path, tmp_path: Path, damage: str) -> None:
    backup, again = tmp_path / "backup", tmp_path / "again"
    assert landingzone(root, "backup", str(backup), "--no-archive").returncode == 0
    database, manifest = backup / "landingzone.db", backup / MANIFEST
    if damage == "changed":
        database.write_bytes(database.read_bytes()[:-1] + b"x")
    elif damage == "missing":
        database.unlink()
    elif damage == "outside":
        manifest.write_text(manifest.read_text().replace('"landingzone.db"', '"../landingzone.db"'))
    else:
        manifest.unlink()
    refused = landingzone(again, "restore", str(backup))
    assert refused.returncode == 1, refused.stdout
    assert not again.exists()
    assert list(tmp_path.glob(".again*")) == []
