"""`landingzone keys`, as an operator types it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landingzone.command import Installation

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(here: Installation) -> Run:
    for account in ("springfield", "shelbyville"):
        here.accounts.add(account, title="", time_zone="UTC", actor="test")

    def landingzone(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)

    return landingzone


def test_a_key_is_added_listed_shown_and_revoked(run: Run, make_key: Callable[..., Path]) -> None:
    public = make_key("front-office").with_suffix(".pub")
    limits = ("--label", "front office", "--expires", "2999-12-31", "--from", "192.0.2.0/24,2001:db8::/32")
    done = run("keys", "add", "springfield", public, *limits)
    assert done.returncode == 0, done.stderr
    assert "Key 1 opens springfield: SHA256:" in done.stdout
    (listed,) = json.loads(run("keys", "list", "springfield", "--json").stdout)
    assert (listed["label"], listed["state"], listed["expires_at"]) == (
        "front office",
        "active",
        "3000-01-01T00:00:00.000Z",
    )
    assert listed["networks"] == ["192.0.2.0/24", "2001:db8::/32"]
    table = run("keys", "list").stdout
    assert "front office" in table
    assert listed["fingerprint"] in table
    shown = run("keys", "show", "springfield", "1").stdout
    assert "front office" in shown
    assert run("keys", "revoke", "springfield", listed["fingerprint"]).returncode == 0
    assert json.loads(run("keys", "show", "springfield", "1", "--json").stdout)["state"] == "revoked"


def test_a_key_comes_from_standard_input_and_a_shared_one_is_noted(run: Run, make_key: Callable[..., Path]) -> None:
    text = make_key("vendor").with_suffix(".pub").read_text()
    assert run("keys", "add", "springfield", "-", input=text).returncode == 0
    again = run("keys", "add", "springfield", "-", input=text)
    assert again.returncode == 1
    assert "already" in again.stderr
    shared = run("keys", "add", "shelbyville", "-", input=text)
    assert shared.returncode == 0
    assert "opens springfield too" in shared.stderr


def test_a_private_key_given_by_mistake_is_not_repeated(run: Run, make_key: Callable[..., Path]) -> None:
    private = make_key("oops")
    done = run("keys", "add", "springfield", private)
    assert done.returncode == 1
    assert "treat it as lost" in done.stderr
    assert private.read_text().splitlines()[1] not in done.stdout + done.stderr
    assert run("keys", "list").stdout.startswith("No keys yet")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("springfield", "/nowhere/key.pub"), 1, "No such file"),
        (("nowhere", "FILE"), 1, "no account 'nowhere'"),
        (("springfield", "FILE", "--expires", "soon"), 2, "Not a date"),
        (("springfield", "FILE", "--expires", "9999-12-31"), 2, "Not a date"),
        (("springfield", "FILE", "--expires", "2001-01-01"), 1, "in the past"),
        (("springfield", "FILE", "--from", "here"), 1, "Not a network"),
        (("springfield",), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    run: Run, make_key: Callable[..., Path], arguments: tuple[str, ...], code: int, told: str
) -> None:
    public = str(make_key().with_suffix(".pub"))
    done = run("keys", "add", *(public if word == "FILE" else word for word in arguments))
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
