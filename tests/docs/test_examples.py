"""The examples in the documents are run for real: the service, OpenSSH's client, Python, as they stand there."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from landingzone.command import Installation
from landingzone.feed import load_catalogue
from landingzone.settings import Settings
from sftpd import host_key

MakeDocument = Callable[[str], Any]
PATIENCE = 60.0


@pytest.fixture
def clone(tmp_path: Path, repository: Path) -> Path:
    """A folder that looks like an installed clone, as far as the examples go."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "landingzone").write_text(f'#!/bin/sh\nexec {sys.executable} -m landingzone "$@"\n')
    (programs / "landingzone").chmod(0o755)
    (tmp_path / "landingzone").symlink_to(repository / "landingzone")
    return tmp_path


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {missing}")
    if missing:
        pytest.skip(f"not installed: {missing}")


def surroundings(home: Path, repository: Path) -> dict[str, str]:
    """Nothing of the user's own settings, and the door on loopback only."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LANDINGZONE_")}
    own = {"HOME": str(home), "SSH_AUTH_SOCK": "", "LANDINGZONE_DOOR__HOST": "127.0.0.1"}
    return {**kept, **own, "PYTHONPATH": str(repository), "PYTHONSAFEPATH": "1"}


def bash(script: str, folder: Path, environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", "-euo", "pipefail", "-c", script, "bash", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@contextlib.contextmanager
def started(command: str, folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """A command that serves, for the time of the block; it listens when the block begins."""
    process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=folder, env=environment)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # Ctrl-C
        assert process.wait(PATIENCE) == 0


@pytest.mark.timeout(300)  # ten starts of the command line, each some seconds where many tests run
def test_the_first_real_use_in_the_readme(
    document: MakeDocument, clone: Path, repository: Path, port: int, tmp_path: Path
) -> None:
    need("sftp", "ssh-keygen")
    blocks = document("README.md").section("A first real use").fences("bash")
    operator, serve, push, fetch, look, browse = (block.replace("2222", str(port)) for block in blocks)
    environment = surroundings(tmp_path, repository)
    done = bash(operator, clone, environment)
    assert done.returncode == 0, done.stderr
    at_root = {**environment, "LANDINGZONE_ROOT": str(clone / "try-it" / "zone")}
    with started(serve.strip(), clone, at_root, port):
        done = bash(push, clone, environment)
        assert done.returncode == 0, done.stderr
        assert "students.csv" in done.stdout
        until = time.monotonic() + PATIENCE
        while (done := bash(fetch, clone, environment)).returncode and time.monotonic() < until:
            time.sleep(0.5)
        assert "RECEIPT  students.csv" in done.stdout
        done = bash(look, clone, environment)
        invited = bash(browse.splitlines()[0], clone, at_root)  # the next line serves until Ctrl-C
    assert "imported_with_rejects" in done.stdout
    assert re.search(r"students +students.csv +students +22", done.stdout)
    assert "/invitation/" in invited.stdout, invited.stderr


@pytest.fixture
def district(
    make_service: Any, make_account: Any, root: Path, repository: Path, account: str, tmp_path: Path
) -> Callable[[str], str]:
    """Lays key, host key and sample files where the examples look for them; adapts a script to the running service."""
    key = make_account()
    port = make_service("serve").port
    shutil.copy(key, tmp_path / "riverdale_key")
    shutil.copy(key.with_name(f"{key.name}.pub"), tmp_path / "riverdale_key.pub")
    keys = {key.kind: key for key in host_key.host_keys(root) if key.kind != "ecdsa"}  # for old systems
    lines = [key.known_hosts_line("127.0.0.1", port) for key in keys.values()]
    (tmp_path / "known_hosts").write_text("\n".join(lines) + "\n")
    for sample in (repository / "landingzone" / "sample").glob("*.csv"):
        shutil.copy(sample, tmp_path)

    def adapted(script: str) -> str:
        for theirs, ours in (
            ("sftp.example.org", "127.0.0.1"),
            ("2222", str(port)),
            ("riverdale@", f"{account}@"),
            ("open -u riverdale,", f"open -u {account},"),
            ("user = riverdale", f"user = {account}"),
            ('"riverdale"', f'"{account}"'),
            ("FINGERPRINT", keys["ed25519"].fingerprint.removeprefix("SHA256:")),
            ("/home/export", str(tmp_path)),
            ("sleep 5", "sleep 0.3"),
            ("time.sleep(5)", "time.sleep(0.3)"),
        ):
            script = script.replace(theirs, ours)
        return script

    return adapted


@pytest.mark.parametrize(
    ("client", "programs"),
    [
        ("OpenSSH: Linux, macOS, Windows", ["sftp"]),
        ("curl", ["curl"]),
        ("lftp", ["lftp", "ssh"]),
        ("rclone", ["rclone"]),
    ],
)
def test_each_client_lands_a_file_as_the_page_for_districts_says(
    document: MakeDocument,
    district: Callable[[str], str],
    here: Installation,
    account: str,
    repository: Path,
    tmp_path: Path,
    client: str,
    programs: list[str],
) -> None:
    need("ssh-keygen", *programs)
    section = document("docs/customer.md").section(client)
    (command,) = section.fences("bash")
    environment = surroundings(tmp_path, repository)
    if client == "rclone":
        (tmp_path / "rclone.conf").write_text(district(section.fences("ini")[0]))
        (tmp_path / "export").mkdir()
        (tmp_path / "students.csv").rename(tmp_path / "export" / "students.csv")
        environment["RCLONE_CONFIG"] = str(tmp_path / "rclone.conf")
    done = bash(district(command), tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert outcome(here, account) == "imported_with_rejects"


def test_the_host_key_is_pinned_as_the_page_for_districts_says(
    document: MakeDocument, district: Callable[[str], str], repository: Path, tmp_path: Path
) -> None:
    need("ssh-keyscan", "ssh-keygen")
    (command,) = document("docs/customer.md").section("Check our host key").fences("bash")
    before = (tmp_path / "known_hosts").read_text()
    done = bash(district(command), tmp_path, surroundings(tmp_path, repository))
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "known_hosts").read_text().splitlines()) == set(before.splitlines())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["bash", "python"])
def test_the_script_that_sends_and_checks(
    document: MakeDocument,
    district: Callable[[str], str],
    repository: Path,
    tmp_path: Path,
    language: str,
) -> None:
    need("sftp", "ssh-keygen", "sha256sum")
    (script,) = document("docs/customer.md").section("A script that sends and checks").fences(language)
    program = tmp_path / f"send.{language}"
    program.write_text(district(script))
    environment = surroundings(tmp_path, repository)
    runner = "bash" if language == "bash" else sys.executable

    def send(name: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [runner, str(program), name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    first = send("students.csv")
    assert (first.returncode, first.stderr) == (0, "")
    assert "imported_with_rejects" in first.stdout
    assert "unchanged" in send("students.csv").stdout
    (tmp_path / "students.csv").write_bytes(b"".join((tmp_path / "students.csv").open("rb").readlines()[:5]))
    half = send("students.csv")
    assert half.returncode == 1
    assert "held" in half.stdout + half.stderr


def test_the_receipt_on_the_page_for_districts_is_that_of_the_sample(
    document: MakeDocument, here: Installation, repository: Path
) -> None:
    from processor.dry_run import dry_run

    (block,) = document("docs/customer.md").section("How to read one").fences("json")
    told = json.loads(block)
    made = json.loads(
        json.dumps(dry_run(here, repository / "landingzone" / "sample" / "students.csv", feed="students"))
    )
    own = dict.fromkeys(("landing_id", "attempt", "account", "source", "landed_at", "finished_at"))
    assert list(told) == list(made)
    assert told | own == made | own


def test_the_settings_on_the_page_for_operators_can_be_set(document: MakeDocument) -> None:
    page = document("docs/operator.md")
    (settings,) = page.section("Settings").fences("toml")
    assert Settings(**tomllib.loads(settings)).door.port == 22
    (feeds,) = page.section("Feeds of your own").fences("toml")
    catalogue = load_catalogue(extra=tomllib.loads(feeds)["feeds"])
    assert catalogue["bus_routes"].key == ("route_id",)


@pytest.mark.timeout(300)
def test_accounts_keys_and_file_names_are_told_as_the_page_for_operators_says(
    document: MakeDocument, here: Installation, clone: Path, repository: Path, make_key: Callable[[str], Path]
) -> None:
    shutil.copy(f"{make_key('riverdale_key')}.pub", clone)
    page = document("docs/operator.md")
    environment = surroundings(clone, repository) | {"LANDINGZONE_ROOT": str(here.settings.root)}
    environment["PATH"] = f"{clone / '.venv' / 'bin'}:{environment['PATH']}"
    blocks = page.section("Accounts and keys").fences("bash")[:1] + page.section("Other file names").fences("bash")
    for block in blocks:
        done = bash(block, clone, environment)
        assert done.returncode == 0, done.stderr
    for name in ("students.csv", "sis_students_20260131.csv", "staff_014.csv"):
        assert (here.sources.match("riverdale", name) is not None) is (name != "students.csv")


def test_the_audit_can_be_read_as_the_page_for_operators_says(
    document: MakeDocument, here: Installation, account: str, make_account: Any, repository: Path, clone: Path
) -> None:
    make_account()
    (commands, _) = document("docs/operator.md").section("The audit trail").fences("bash")
    environment = surroundings(clone, repository) | {"LANDINGZONE_ROOT": str(here.settings.root)}
    environment["PATH"] = f"{clone / '.venv' / 'bin'}:{environment['PATH']}"
    done = bash(commands, clone, environment)
    assert re.search(rf"test +key\.added +{account}", done.stdout), done.stderr
    assert "The audit trail is whole: 2 records" in done.stdout


def outcome(here: Installation, account: str) -> str | None:
    """How the account's newest run ended, once it has."""
    from processor import run as runs

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with here.db.read() as tx:
            found = runs.newest(tx, account=account, limit=1)
        if found and found[0].outcome:
            return found[0].outcome.value
        time.sleep(0.1)
    return None
