"""Exit codes of the command line: 0 done, 1 refused or failed, 2 usage; every refusal is one clear line."""

import subprocess
import sys
from pathlib import Path

import pytest


def landingzone(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "landingzone", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--help",), 0, ""),
        (("--bogus",), 2, "--bogus"),
        (("accounts", "add"), 2, "ACCOUNT"),
        (("--root", "/nowhere", "accounts", "list"), 1, "landingzone init"),
        (("--root", "/nowhere", "settings"), 0, ""),
    ],
)
def test_exit_codes_say_what_happened(arguments: tuple[str, ...], code: int, told: str) -> None:
    done = landingzone(*arguments)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named_with_what_it_may_be() -> None:
    done = landingzone("settings", LANDINGZONE_DOOR__PORT="abc")
    assert (done.returncode, "door.port" in done.stderr, "abc" in done.stderr) == (2, True, False)


def test_init_can_be_repeated_and_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "zone"
    assert landingzone("--root", str(root), "init").returncode == 0
    kept = {
        path: path.read_bytes()
        for path in root.rglob("*")
        if (path.is_file() and "key" in path.name) or path.suffix == ".toml"
    }
    assert landingzone("--root", str(root), "accounts", "add", "springfield").returncode == 0
    assert landingzone("--root", str(root), "init").returncode == 0
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert "springfield" in landingzone("--root", str(root), "accounts", "list").stdout
    assert {oct(path.stat().st_mode & 0o77) for path in [root, *root.rglob("*")] if path.suffix != ".pub"} == {"0o0"}


def test_what_is_expected_has_no_folder_in_its_name_and_one_line_says_what_to_write(tmp_path: Path) -> None:
    root = str(tmp_path / "zone")
    landingzone("--root", root, "init")
    landingzone("--root", root, "accounts", "add", "springfield")
    expect = ("--root", root, "feeds", "expect", "springfield")
    for words, told in (
        (("exports/pupils_{date}.csv",), "give the name alone: 'pupils_{date}.csv'."),
        (("pupils/",), "give the name alone."),
        (("pupils.csv", "--name", "sis/students"), "call it 'sis-students'."),
        (("pupils.csv", "--name", "sis\nstudents"), "cannot be a source's name"),
        (("pupils.csv", "--name", "x" * 151), "at most 150"),
    ):
        done = landingzone(*expect, *words, "--feed", "students")
        assert (done.returncode, done.stderr.count("\n"), told in done.stderr) == (1, 1, True), done.stderr
    assert "pupils" not in landingzone("--root", root, "feeds", "list", "springfield").stdout
    assert landingzone(*expect, "pupils.csv", "--feed", "students", "--name", "sis-students").returncode == 0


def test_an_account_name_must_be_one_that_a_folder_and_a_login_can_bear(tmp_path: Path) -> None:
    root = str(tmp_path / "zone")
    landingzone("--root", root, "init")
    for name in ("Springfield", "a/b", "..", "x" * 33, "-x", "a b", ""):
        done = landingzone("--root", root, "accounts", "add", "--", name)
        assert (done.returncode, "lower case letters" in done.stderr) == (1, True), name
