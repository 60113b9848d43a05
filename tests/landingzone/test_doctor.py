"""The doctor of an installation: each thing that can be wrong is found, with what to do."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone.command import Installation
from landingzone.doctor import examination
from landingzone.doctor.finding import Finding, Severity, examine, worst
from landingzone.landing import Landing
from landingzone.tables import landings, runs
from sftpd.host_key import FOLDER

FILE = "ssh_host_ed25519_key"


def doctor(root: Path, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """The real command."""
    command = [sys.executable, "-m", "landingzone", "--root", str(root), "doctor", *arguments]
    given = {f"LANDINGZONE_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **given})


def found(here: Installation, name: str) -> list[Finding]:
    """What one check finds that is not as it should be."""
    fresh = Installation(here.settings.root, **{key: value for key, value in here.given.items() if key != "root"})
    return [one for one in examine({name: examination.checks(fresh)[name]}) if one.severity is not Severity.OK]


@pytest.mark.timeout(180)
def test_a_service_that_runs_is_well_and_one_that_does_not_is_not(make_service: Any, make_account: Any) -> None:
    make_account()
    service = make_service("serve")
    service.wait_for("processor.started", seconds=30)
    well = doctor(service.root, "--json", door__port=service.port, door__host="127.0.0.1")
    told = json.loads(well.stdout)
    not_ours = {"clock", "disk"}  # of the machine that the tests run on
    assert [one for one in told["findings"] if one["severity"] != "ok" and one["check"] not in not_ours] == []
    assert set(examination.checks(Installation(service.root))) - {"settings"} <= {
        one["check"] for one in told["findings"]
    }
    service.stop()
    ill = doctor(service.root, door__port=service.port, door__host="127.0.0.1")
    assert ill.returncode == 1
    assert "PROBLEM  door: Nobody answers" in ill.stdout
    assert "PROBLEM  processor: No import runs" in ill.stdout
    assert "systemctl start landingzone" in ill.stdout


def open_inbox(here: Installation) -> None:
    (here.settings.root / "inbox").chmod(0o755)


def lose_folder(here: Installation) -> None:
    (here.settings.root / "receipts").rmdir()


def link_folder(here: Installation) -> None:
    root = here.settings.root
    (root / "archive").rename(root.parent / "elsewhere")
    (root / "archive").symlink_to(root.parent / "elsewhere")


def open_host_key(here: Installation) -> None:
    (here.settings.root / FOLDER / FILE).chmod(0o644)


def break_host_key(here: Installation) -> None:
    (here.settings.root / FOLDER / FILE).write_text("no key")


def lose_host_key(here: Installation) -> None:
    shutil.rmtree(here.settings.root / FOLDER)


def lose_database(here: Installation) -> None:
    here.db.close()
    (here.settings.root / "landingzone.db").unlink()


def age_database(here: Installation) -> None:
    with here.db.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))


def damage_database(here: Installation) -> None:
    with here.db.write() as tx:
        tx.exec_driver_sql("CREATE TABLE filler (text TEXT)")
        tx.exec_driver_sql("CREATE INDEX filled ON filler (text)")
        tx.exec_driver_sql("INSERT INTO filler SELECT hex(randomblob(500)) FROM pragma_function_list LIMIT 200")
    with here.db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'filled'").scalar_one()
    here.db.close()
    with (here.settings.root / "landingzone.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def open_settings(here: Installation) -> None:
    (here.settings.root / "landingzone.toml").touch(mode=0o644)


def serve_metrics_to_all(here: Installation) -> None:
    (here.settings.root / "landingzone.toml").write_text('[status]\nenabled = true\nhost = "0.0.0.0"\n')
    (here.settings.root / "landingzone.toml").chmod(0o600)


def serve_old_systems(here: Installation) -> None:
    (here.settings.root / "landingzone.toml").write_text("[door]\nlegacy_port = 2223\n")
    (here.settings.root / "landingzone.toml").chmod(0o600)


def want_more_room_than_there_is(here: Installation) -> None:
    (here.settings.root / "landingzone.toml").write_text("[limits]\nfree_mebibytes = 9_000_000_000\n")


def want_more_sessions_than_files(here: Installation) -> None:
    (here.settings.root / "landingzone.toml").write_text("[limits]\nsessions = 9_000_000\n")


def step_back(here: Installation) -> None:
    future = f"{(time.time_ns() // 1_000_000) + 3_600_000:012x}"
    id_ = f"{future[:8]}-{future[8:]}-7000-8000-000000000000"
    here.accounts.add("springfield", actor="test")
    with here.db.write() as tx:
        account = tx.execute(sa.text("SELECT id FROM accounts")).scalar_one()
        tx.execute(landings.insert().values(id=id_, account_id=account, name="x.csv"))


def forget_account(here: Installation) -> None:
    here.zone.prepare_account("nobody")
    landing = here.zone.new_landing("nobody", "students.csv")
    here.zone.inbox_path(landing).write_bytes(b"x")


def leave_waiting(here: Installation) -> None:
    here.accounts.add("springfield", actor="test")
    here.zone.prepare_account("springfield")
    landing = Landing("01900000-0000-7000-8000-000000000000", "springfield", "students.csv")
    here.zone.inbox_path(landing).write_bytes(b"x")


def get_stuck(here: Installation) -> None:
    add_run(here, state="claimed", created_at="2026-01-01T00:00:00.000Z")


def hold(here: Installation) -> None:
    add_run(here, state="receipted", outcome="held", created_at="2026-01-01T00:00:00.000Z")


def add_run(here: Installation, **values: Any) -> None:
    here.accounts.add("springfield", actor="test")
    id_ = "01900000-0000-7000-8000-000000000000"
    with here.db.write() as tx:
        account = tx.execute(sa.text("SELECT id FROM accounts")).scalar_one()
        tx.execute(landings.insert().values(id=id_, account_id=account, name="x.csv"))
        tx.execute(runs.insert().values(id=f"{id_}:1", landing_id=id_, attempt=1, account_id=account, **values))


def add_account_without_key(here: Installation) -> None:
    here.accounts.add("springfield", actor="test")


PROBLEM, WARNING = Severity.PROBLEM, Severity.WARNING


@pytest.mark.parametrize(
    ("harm", "check", "severity", "told", "advised"),
    [
        (open_inbox, "folders", PROBLEM, "Others can get at", "chmod"),
        (lose_folder, "folders", PROBLEM, "Missing", "landingzone init"),
        (link_folder, "folders", PROBLEM, "Symbolic links", "same filesystem"),
        (open_host_key, "host_keys", PROBLEM, "not 0600", "chmod 600"),
        (break_host_key, "host_keys", PROBLEM, "no usable host key", "backup"),
        (lose_host_key, "host_keys", PROBLEM, "no usable host key", "landingzone init"),
        (lose_database, "database", PROBLEM, "no database", "landingzone init"),
        (age_database, "database", PROBLEM, "form 0001", "Restart"),
        (damage_database, "database", PROBLEM, "damaged", "backup"),
        (open_settings, "settings", PROBLEM, "landingzone.toml", "chmod 600"),
        (serve_metrics_to_all, "settings", WARNING, "without a password", "127.0.0.1"),
        (serve_old_systems, "settings", WARNING, "weak", "switch it off"),
        (want_more_room_than_there_is, "disk", PROBLEM, "uploads are refused", "Make room"),
        (want_more_sessions_than_files, "open_files", WARNING, "may open", "LimitNOFILE"),
        (step_back, "clock", PROBLEM, "stepped back", "NTP"),
        (forget_account, "inboxes", PROBLEM, "is no account", "Make the account"),
        (leave_waiting, "inboxes", PROBLEM, "have waited", "import runs"),
        (get_stuck, "runs", PROBLEM, "under way since", "run.waits"),
        (hold, "runs", WARNING, "wait for an operator", "runs list --state held"),
        (add_account_without_key, "keys", WARNING, "no key that opens: springfield", "doctor ACCOUNT"),
    ],
)
def test_what_is_wrong_is_found_with_what_to_do(
    here: Installation,
    harm: Callable[[Installation], None],
    check: str,
    severity: Severity,
    told: str,
    advised: str,
) -> None:
    before = {(one.check, one.found) for one in found(here, check)}
    harm(here)
    (finding,) = (
        one for one in found(here, check) if (one.check, one.found) not in before and one.severity is severity
    )
    assert told in finding.found
    assert advised in finding.advice
    assert finding.severity is severity


def test_an_import_that_hangs_is_told_from_one_that_runs(here: Installation) -> None:
    path = here.settings.root / ".processor-node-1.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert found(here, "processor") == []
        os.utime(path, (time.time() - 1000, time.time() - 1000))
        (finding,) = found(here, "processor")
        assert "has not turned for 1" in finding.found
    assert "No import runs" in found(here, "processor")[0].found


def test_somebody_else_at_the_doors_port_is_not_taken_for_the_door(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            connection, _ = server.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        (root / "landingzone.toml").write_text(f'[door]\nhost = "127.0.0.1"\nport = {port}\n')
        (finding,) = found(Installation(root), "door")
    assert "somebody else answers: 'SSH-2.0-OpenSSH_9.2p1'" in finding.found


def test_without_an_installation_the_doctor_says_so_and_nothing_breaks(tmp_path: Path) -> None:
    done = doctor(tmp_path / "nowhere")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "landingzone init" in done.stdout


def test_a_check_that_cannot_look_is_a_problem_and_the_others_go_on() -> None:
    def broken() -> list[Finding]:
        raise PermissionError

    findings = examine({"a": broken, "b": lambda: [Finding("b", Severity.OK, "Well.")]})
    assert [(one.check, one.severity) for one in findings] == [("a", Severity.PROBLEM), ("b", Severity.OK)]
    assert worst(findings) is Severity.PROBLEM
    assert worst([]) is Severity.OK
