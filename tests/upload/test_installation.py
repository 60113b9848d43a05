"""The upload utility installs alone: the wheel in an empty environment, with nothing of the server."""

import json
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER_ONLY = {
    "asyncssh",
    "dbos",
    "sqlalchemy",
    "alembic",
    "obstore",
    "pyrage",
    "watchdog",
    "uvloop",
    "prometheus-client",
}
STUDENTS = (
    "student_id,first_name,last_name,phone,school_id\n017,Lisa,Simpson,217-555-0101,014\n018,Bart,,217-555-0102,014\n"
)
EVERY_MODULE_WITHOUT_UNIX = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
import upload
print([importlib.import_module(one.name) for one in pkgutil.walk_packages(upload.__path__, "upload.")])
"""


def run(*command: str | Path, expected: int = 0) -> str:
    """Runs a program; gives what it printed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_the_wheel_installs_alone_and_checks_a_file(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    there = tmp_path / "venv" / "bin"
    versions = {one.name: one.version for one in metadata.distributions() if one.name != "landingzone"}
    (tmp_path / "same.txt").write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
    pip = [sys.executable, "-m", "pip", "--python", there / "python", "--disable-pip-version-check", "-q"]
    run(*pip, "install", "--no-compile", "--only-binary", ":all:", "--constraint", tmp_path / "same.txt", wheel)

    names = "from importlib import metadata; print(*(one.name for one in metadata.distributions()))"
    installed = {re.sub(r"[-_.]+", "-", name).lower() for name in run(there / "python", "-c", names).split()}
    assert {"landingzone", "polars", "paramiko"} <= installed
    assert not installed & (SERVER_ONLY | {"adbc-driver-sqlite", "icalendar", "pyarrow"})

    assert "schedule" in run(there / "landingzone-upload", "--help")
    (tmp_path / "students.csv").write_text(STUDENTS)
    (tmp_path / "landingzone-upload.toml").write_text(
        f'[server]\nhost = "h"\naccount = "a"\nhost_keys = ["SHA256:{"x" * 43}"]\n'
        '[[source]]\nfeed = "students"\nfile = "students.csv"\n'
    )
    (told,) = json.loads(run(there / "landingzone-upload", "--folder", tmp_path, "check", "--json"))
    assert told["rows"] == {"read": 2, "accepted": 1, "rejected": 1}
    assert "pip install 'landingzone[server]'" in run(there / "landingzone", "--help", expected=1)


def test_no_module_needs_what_windows_does_not_have() -> None:
    assert "upload.preparation" in run(sys.executable, "-c", EVERY_MODULE_WITHOUT_UNIX)
