"""`landingzone audit`, as an operator types it; and that every command that changes something writes a record."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from landingzone import audit
from landingzone.command import Installation
from landingzone.refused_logins import RefusedLogins

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(here: Installation) -> Run:
    def landingzone(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return landingzone


def test_the_trail_is_shown_and_verified_and_a_broken_link_is_named(run: Run, here: Installation) -> None:
    here.accounts.add("springfield", title="Springfield\x1b[31m", time_zone="UTC", actor="lisa")
    here.accounts.set_enabled("springfield", False, actor="lisa")
    here.accounts.add("shelbyville", actor="bart")
    shown = run("audit", "show").stdout
    assert "account.disabled" in shown
    assert "\x1b" not in shown
    only = json.loads(run("audit", "show", "--account", "springfield", "--action", "account", "--json").stdout)
    assert [(one["actor"], one["action"]) for one in only] == [("lisa", "account.added"), ("lisa", "account.disabled")]
    assert json.loads(run("audit", "show", "--since", "2999-01-01", "--json").stdout) == []
    assert "Not a moment" in run("audit", "show", "--since", "31.1.2026").stderr
    whole = run("audit", "verify")
    assert (whole.returncode, "whole: 3 records" in whole.stdout) == (0, True)
    head = whole.stdout.split("elsewhere: ")[1].strip()
    assert json.loads(run("audit", "verify", "--head", head, "--json").stdout)["whole"] is True
    with sqlite3.connect(here.settings.root / "landingzone.db") as db:
        db.execute("DROP TRIGGER audit_no_update")
        db.execute("UPDATE audit SET actor = 'nobody' WHERE id = 2")
    broken = run("audit", "verify")
    assert (broken.returncode, "broken (changed). Record 2 was changed" in broken.stderr) == (1, True)
    assert json.loads(run("audit", "verify", "--json").stdout)["at_record"] == 2


def test_who_was_refused_is_shown(run: Run, here: Installation) -> None:
    refused = RefusedLogins(here.db)
    for _ in range(3):
        refused.note(address="192.0.2.7", account="springfield", reason="unknown_key")
    refused.flush()
    (row,) = json.loads(run("audit", "refused", "--account", "springfield", "--json").stdout)
    assert (row["address"], row["reason"], row["count"]) == ("192.0.2.7", "unknown_key", 3)
    assert "Nobody was refused." in run("audit", "refused", "--address", "192.0.2.8").stdout


def test_every_command_that_changes_something_writes_a_record(
    run: Run, here: Installation, make_key: Callable[..., Path]
) -> None:
    keys = {name: make_key(name).with_suffix(".pub") for name in ("one", "two", "three", "ca")}
    ignored = [word for code in ("never_used", "not_rotated") for word in ("--ignore", code)]
    steps: list[tuple[tuple[str | Path, ...], list[str]]] = [
        (("accounts", "add", "riverdale"), ["account.added"]),
        (("accounts", "set", "riverdale", "deactivate_share=0.2"), ["account.options"]),
        (("accounts", "disable", "riverdale"), ["account.disabled"]),
        (("accounts", "enable", "riverdale"), ["account.enabled"]),
        (("keys", "add", "riverdale", keys["one"]), ["key.added"]),
        (("keys", "rotate", "riverdale", keys["two"]), ["key.added", "key.rotation_started"]),
        (("keys", "revoke", "riverdale", "1", "--reason", "lost"), ["key.revoked"]),
        (("keys", "import", "riverdale", keys["three"]), ["key.added"]),
        (("keys", "import", "riverdale", keys["three"]), []),
        (("keys", "check", "riverdale", *ignored), []),
        (("keys", "ca", "add", keys["ca"]), ["ca.added"]),
        (("keys", "ca", "revoke", "1", "--serial", "7"), ["certificate.revoked"]),
        (("keys", "ca", "lift", "1"), ["certificate.revocation_lifted"]),
        (("keys", "ca", "remove", "1"), ["ca.removed"]),
        (("feeds", "expect", "riverdale", "x_{date}.csv", "--feed", "students"), ["source.expected"]),
        (("feeds", "map", "riverdale", "x", "student_id=Pupil"), ["source.mapped"]),
        (("feeds", "map", "riverdale", "x", "--forget"), ["source.unmapped"]),
        (("feeds", "retire", "riverdale", "x", "--rows", "deactivate"), ["source.retired"]),
    ]
    for arguments, actions in steps:
        seen = len(audit.records(here.db))
        done = run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert [one.action for one in audit.records(here.db)[seen:]] == actions, arguments
    assert audit.verify(here.db).broken is None
