"""From an empty folder to receipts, with the real programs: init, the key added by the operator, run."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sftpd import host_key

SERVICE = "_shared_whole"

SAMPLE = Path("landingzone/sample")
FEEDS = {
    "attendance": '"Student ID","Absence Reason","Absence Date","Period"\r\n"300100","Ill","2026-11-30","1"\r\n',
    "guardians": (
        '"Guardian ID","First Name","Last Name","Phone Number"\r\n"G1","Ann","Abbott","360-555-1000"\r\n'
        '"G2","Cy","Castillo","360-555-1074"\r\n'
    ),
    "associations": ('"Student ID","Guardian ID","Category"\r\n"300100","G1","mother"\r\n"300102","G2","father"\r\n'),
}


def program(folder: Path, *arguments: str, answers: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "upload.cli", "--folder", str(folder), *arguments]
    return subprocess.run(command, input=answers, capture_output=True, text=True, check=False, timeout=110)


def operator(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "landingzone", "--root", str(root), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_eight_feeds_go_from_an_empty_folder_to_their_receipts(
    root: Path, service: Any, account: str, tmp_path: Path
) -> None:
    folder, old = tmp_path / "upload", time.time() - 60
    folder.mkdir()
    for path in SAMPLE.glob("*.csv"):
        FEEDS[path.stem] = path.read_text()
    for feed, text in FEEDS.items():
        (folder / f"{feed}.csv").write_text(text, newline="")
        os.utime(folder / f"{feed}.csv", (old, old))
    assert len(FEEDS) == 8
    wanted = ["students", "staff", "sections", "enrollments", "teachers", "attendance", "guardians", "associations"]

    # init, as somebody who answers its questions: the files feed by feed, and the host key
    from landingzone.feed import load_catalogue

    files = "".join(f"{name}.csv\n" if name in wanted else "\n" for name in load_catalogue())
    done = program(folder, "init", answers=f"127.0.0.1\n{service.port}\n{account}\n{files}y\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert host_key.host_keys(root)[0].fingerprint in done.stdout
    public = re.search(r"^ssh-ed25519 \S+ .+$", done.stdout, re.MULTILINE)
    assert public
    assert (folder / "key").stat().st_mode & 0o777 == 0o600

    # before the key is known there: one clear sentence, and nothing sent
    operator(root, "accounts", "add", account)
    refused = program(folder, "run", "students")
    assert refused.returncode == 20, refused.stdout
    assert "does not take this key" in refused.stdout

    # the operator adds what the mail said
    (tmp_path / "mailed.pub").write_text(public[0])
    operator(root, "keys", "add", account, str(tmp_path / "mailed.pub"))
    done = program(folder, "run", "--json")
    ended = {one["key"]: one for one in json.loads(done.stdout)}
    assert list(ended) == [name for name in load_catalogue() if name in wanted]
    assert {one["ending"] for one in ended.values()} <= {"IMPORTED", "IMPORTED_WITH_REJECTS"}, done.stdout
    assert done.returncode == 10, done.stdout
    landed = {one.name: one.sha256 for one in service.landed(account, count=8)}
    assert landed == {one["file"]: one["sha256"] for one in ended.values()}
    assert ended["students"]["rejected"] == 2

    # and what is remembered of it
    told = program(folder, "status")
    assert told.returncode == 10
    assert "imported with rejects, 24 rows, 2 rejected" in told.stdout


def test_init_asks_nothing_of_a_script_and_pins_only_what_was_told(
    root: Path, service: Any, account: str, make_account: Callable[..., Path], tmp_path: Path
) -> None:
    key = make_account()
    words = ("init", "--host", "127.0.0.1", "--port", str(service.port), "--account", account, "--yes")
    words += ("--key", str(key), "--feed", "students=students.csv")
    folder = tmp_path / "upload"
    done = program(folder, *words)
    assert done.returncode == 24, done.stderr
    assert not (folder / "landingzone-upload.toml").exists()
    done = program(folder, *words, "--fingerprint", f"SHA256:{'A' * 43}")
    assert done.returncode == 24
    assert "shown:" in done.stderr
    rsa = next(one for one in host_key.host_keys(root) if one.kind == "rsa")
    done = program(folder, *words, "--fingerprint", rsa.fingerprint)
    assert done.returncode == 0, done.stderr
    assert rsa.public_key in (folder / "landingzone-upload.toml").read_text()
    assert key.with_name(f"{account}.pub").read_text().split()[1] in done.stdout

    # after a change of the host key: everything stops, until it is pinned anew
    settings = folder / "landingzone-upload.toml"
    settings.write_text(settings.read_text().replace(rsa.public_key.split()[1][-40:], "A" * 40))
    (folder / "students.csv").write_text((SAMPLE / "students.csv").read_text())
    done = program(folder, "run")
    assert done.returncode == 24, done.stdout
    assert rsa.fingerprint in done.stdout
    assert "by telephone" in done.stdout
    done = program(folder, "init", "--repin", "--yes", "--fingerprint", rsa.fingerprint)
    assert done.returncode == 0, done.stderr
    assert rsa.public_key in settings.read_text()
