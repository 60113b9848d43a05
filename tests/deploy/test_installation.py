"""What lies in deploy/ for an installation: the units, the user, the settings, the image's recipe."""

import ctypes
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from landingzone.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORST_EXPOSURE = 20
"""Of `systemd-analyze security`, times ten: 2.0."""
PR_SET_MDWE = 65

Need = Callable[[str], str]


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A command's output as text."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)


def directives(unit: Path) -> list[tuple[str, str]]:
    """Every setting of a unit, in order."""
    return re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they stand in /etc, with a program that is there."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/landingzone/.venv/bin/landingzone", sys.executable)
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def test_there_is_a_unit_for_the_whole_and_for_each_part() -> None:
    commands = {dict(directives(unit))["ExecStart"].rpartition("/")[2] for unit in UNITS}
    assert commands == {
        "landingzone serve",
        "landingzone sftpd",
        "landingzone processor --node %H.%i --status-port %i",
        "landingzone sftpd --share-port --node %H.%i --status-port %i",
        "landingzone processor",
        "landingzone console",
    }


def test_systemd_takes_the_units_without_a_word(need: Need, installed: Path) -> None:
    found = run(need("systemd-analyze"), "verify", "--man=no", *sorted(installed.glob("*.service")))
    said = [line for line in (found.stdout + found.stderr).splitlines() if "landingzone" in line]
    assert (found.returncode, said) == (0, [])


@pytest.mark.parametrize("port_22", [False, True], ids=["", "port-22"])
@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_the_exposure_is_at_most_two(need: Need, installed: Path, unit: str, port_22: bool) -> None:
    if port_22:
        folder = installed / f"{unit}.d"
        folder.mkdir()
        (folder / "port-22.conf").write_text((DEPLOY / "systemd" / "port-22.conf").read_text())
    found = run(
        need("systemd-analyze"),
        "security",
        "--offline=yes",
        "--no-pager",
        f"--threshold={WORST_EXPOSURE}",
        installed / unit,
    )
    assert found.returncode == 0, found.stdout[-2000:]
    assert "Overall exposure level" in found.stdout


def test_all_units_forbid_the_same() -> None:
    forbidden = []
    for unit in UNITS:
        text = unit.read_text()
        forbidden.append(text[text.index("# What it may not do") : text.index("[Install]")])
    assert len(set(forbidden)) == 1
    given = dict(directives(UNITS[0]))
    assert (given["NoNewPrivileges"], given["ProtectSystem"], given["CapabilityBoundingSet"]) == ("yes", "strict", "")
    assert not [name for name, _ in directives(UNITS[0]) if name == "ReadWritePaths"]


def test_the_service_has_time_to_stop() -> None:
    drain = Settings.model_fields["door"].default.drain_seconds
    assert all(int(dict(directives(unit))["TimeoutStopSec"]) > drain + 10 for unit in UNITS)
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())
    assert int(compose["services"]["server"]["stop_grace_period"].rstrip("s")) > drain + 10


def test_the_watchdog_waits_longer_than_a_part_speaks_and_less_than_for_ever() -> None:
    assert {dict(directives(unit))["WatchdogSec"] for unit in UNITS} == {"60"}
    assert {dict(directives(unit))["Type"] for unit in UNITS} == {"notify"}


def test_the_user_and_the_root_are_made_as_the_units_want_them(need: Need, tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root can make users")
    (tmp_path / "etc").mkdir()
    for program, *arguments in (
        ("systemd-sysusers", "sysusers.conf"),
        ("systemd-tmpfiles", "--create", "tmpfiles.conf"),
    ):
        *options, file = arguments
        done = run(need(program), f"--root={tmp_path}", *options, DEPLOY / "systemd" / file)
        assert done.returncode == 0, done.stderr
    (line,) = (
        line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith("landingzone:")
    )
    given = dict(directives(UNITS[0]))
    assert (given["User"], line.split(":")[5], line.rpartition("/")[2]) == (
        "landingzone",
        "/var/lib/landingzone",
        "nologin",
    )
    info = (tmp_path / "var" / "lib" / "landingzone").stat()
    assert (info.st_mode & 0o777, info.st_uid) == (0o700, int(line.split(":")[2]))


def forbid() -> None:
    """In the child: no memory is both written and executed."""
    ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0)


@pytest.fixture
def as_in_the_units(tmp_path: Path) -> dict[str, str]:
    """The units' environment."""
    given = dict(line.split("=", 1) for name, line in directives(UNITS[0]) if name == "Environment")
    return {**os.environ, "POLARS_SKIP_CPU_CHECK": given.get("POLARS_SKIP_CPU_CHECK", ""), "TMPDIR": str(tmp_path)}


@pytest.mark.timeout(180)
def test_the_main_job_runs_where_no_memory_is_both_written_and_executed(as_in_the_units: dict[str, str]) -> None:
    """As MemoryDenyWriteExecute=yes has it, with the units' environment; kernels before 6.3 do not hold it."""
    done = run(sys.executable, "-m", "landingzone", "demo", env=as_in_the_units, preexec_fn=forbid)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.timeout(120)
def test_the_console_runs_there_too(as_in_the_units: dict[str, str], root: Path, tmp_path: Path) -> None:
    log, command = tmp_path / "console.log", [sys.executable, "-m", "landingzone", "--root", str(root), "console"]
    with log.open("wb") as out:
        environment = {**as_in_the_units, "LANDINGZONE_LOG__FORMAT": "json"}
        command += ["--port", "0"]
        console = subprocess.Popen(command, stderr=out, env=environment, preexec_fn=forbid)  # noqa: PLW1509 - no threads
    try:
        until = time.monotonic() + 60
        while not (opened := re.search(r'"port": ?(\d+)', log.read_text())):
            assert console.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.1)
        with urlopen(f"http://127.0.0.1:{opened[1]}/sign-in", timeout=30) as page:
            assert page.status == 200
    finally:
        console.terminate()
        assert console.wait(30) == 0


def test_the_sample_settings_can_be_loaded_and_are_stricter_than_the_defaults(tmp_path: Path) -> None:
    from landingzone.settings import load_settings

    (tmp_path / "landingzone.toml").write_bytes((DEPLOY / "landingzone.toml").read_bytes())
    found, default = load_settings(root=tmp_path), Settings()
    assert found.status.enabled
    assert found.status.host == "127.0.0.1"
    assert found.log.format == "json"
    assert found.reserve_mebibytes > default.reserve_mebibytes
    for name in tomllib.loads((DEPLOY / "landingzone.toml").read_text())["guards"]:
        assert getattr(found.guards, name) < getattr(default.guards, name)


def recipe() -> list[list[str]]:
    """The instructions of the Containerfile, each with its words."""
    text = (DEPLOY / "container" / "Containerfile").read_text()
    joined = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split() for line in joined.splitlines() if line.strip()]


def test_the_image_is_made_of_what_is_there_and_holds_all_of_the_code() -> None:
    copied = [words[1:-1] for words in recipe() if words[0] == "COPY" and not words[1].startswith("--from")]
    sources = {source for words in copied for source in words}
    assert all((REPOSITORY / source).exists() for source in sources)
    ignored = (REPOSITORY / ".containerignore").read_text().splitlines()
    assert {f"!{source}" for source in sources} <= set(ignored)
    packages = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= sources


def test_the_image_installs_what_is_locked_and_runs_as_nobody_special() -> None:
    steps = recipe()
    (install,) = (" ".join(words) for words in steps if "install" in words and "-r" in words)
    assert "--require-hashes --only-binary :all: -r requirements.lock" in install
    last_stage = steps[max(at for at, words in enumerate(steps) if words[0] == "FROM") :]
    assert [words[1] for words in last_stage if words[0] == "USER"] == ["10001:10001"]
    services = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())["services"]
    assert [service.get("command", ["serve"]) for service in services.values()] == [["serve"], ["console"]]
    for service in services.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["volumes"] == ["zone:/var/lib/landingzone"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"] if "972" in port)


def test_what_the_containers_listen_on_is_what_the_settings_say() -> None:
    default = Settings()
    services = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())["services"]
    inside = {int(port.rpartition(":")[2]) for service in services.values() for port in service["ports"]}
    status = default.status
    ports = {status.door_port, status.processor_port, status.console_port}
    assert inside == {default.door.port, default.console.port} | ports
    assert f":{status.console_port}/healthz" in services["console"]["healthcheck"]["test"][-1]
    (exposed,) = (words[1:] for words in recipe() if words[0] == "EXPOSE")
    assert set(map(int, exposed)) == inside - ports


def test_the_consoles_unit_stands_beside_the_others() -> None:
    given = dict(directives(DEPLOY / "systemd" / "landingzone-console.service"))
    assert "Conflicts" not in given
    assert {"landingzone.service", "landingzone-sftpd.service"} <= set(given["After"].split())


def test_every_locked_requirement_bears_a_hash_and_comes_as_a_wheel_for_the_image() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    requirements = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    assert [one.partition(" ")[0] for one in requirements if one and "--hash=sha256:" not in one] == []


def test_the_command_in_the_image_runs_the_code_that_lies_beside_it(tmp_path: Path) -> None:
    script = (DEPLOY / "container" / "landingzone").read_text()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    here = script.replace("/opt/landingzone/.venv/bin/python", sys.executable).replace(
        "/opt/landingzone", str(REPOSITORY)
    )
    (tmp_path / "landingzone").write_text(here)
    done = run("sh", tmp_path / "landingzone", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
