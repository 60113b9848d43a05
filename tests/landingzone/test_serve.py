"""The supervisor: which part died and why, what it does about it, and what it says to systemd."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from landingzone.notify import Ear, notify

pytestmark = pytest.mark.timeout(180)


def children(process: "subprocess.Popen[bytes]") -> dict[str, int]:
    """The parts that run: name -> process id."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in listed}
    return {part: pid for pid, line in lines.items() for part in ("sftpd", "processor") if part.encode() in line}


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that hears what is said to systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60)
        yield heard


def wait_for_line(heard: socket.socket, wanted: str) -> list[str]:
    """Every line up to the wanted one."""
    lines: list[str] = []
    while wanted not in lines:
        lines += heard.recv(4096).decode().splitlines()
    return lines


def test_a_part_that_was_killed_is_named_with_its_signal_and_started_again(
    make_service: Any, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, make_account: Any, account: str
) -> None:
    key = make_account()
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    service = make_service("serve", status__refresh_seconds=0.2)
    wait_for_line(systemd, "READY=1")
    first = children(service.process)
    os.kill(first["sftpd"], signal.SIGKILL)
    died = service.wait_for("part.died", part="sftpd")
    assert (died["reason"], died["signal"], died["code"]) == ("killed", "SIGKILL", None)
    assert died["again_in_seconds"] <= 1
    assert died["lived_seconds"] > 0
    port = service.wait_for("door.opened", count=2, seconds=30)["port"]
    now = children(service.process)
    assert (now["processor"] == first["processor"], now["sftpd"] == first["sftpd"]) == (True, False)

    async def log_in() -> None:
        async with asyncssh.connect(
            "127.0.0.1", port, username=account, client_keys=[str(key)], known_hosts=None, config=None
        ):
            pass

    asyncio.run(log_in())
    assert service.stop() == 0


def test_a_part_that_hangs_is_ended_and_started_again(make_service: Any, systemd: socket.socket) -> None:
    """The supervisor's own code with a shorter patience, in a process of its own."""
    service = make_service("serve", status__refresh_seconds=0.2)
    service.stop()
    seen = len(service.events("processor.started"))
    shorter = (
        "import sys; from landingzone import serve; serve._SILENT_FOR = 3.0; from landingzone.cli import main;"
        "sys.argv[0] = 'landingzone'; main()"
    )
    command = [sys.executable, "-c", shorter, "--root", str(service.root), "serve"]
    environment = {
        **os.environ,
        "LANDINGZONE_DOOR__HOST": "127.0.0.1",
        "LANDINGZONE_DOOR__PORT": "0",
        "LANDINGZONE_LOG__FORMAT": "json",
        "NOTIFY_SOCKET": systemd.getsockname(),
    }
    with service.log_file.open("ab") as out:
        service.process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    wait_for_line(systemd, "READY=1")
    os.kill(children(service.process)["processor"], signal.SIGSTOP)
    service.wait_for("part.hung", part="processor", seconds=30)
    assert service.wait_for("part.died", part="processor")["reason"] == "hung"
    service.wait_for("processor.started", count=seen + 2, seconds=60)


def test_systemd_is_told_when_all_is_up_that_it_lives_and_that_it_stops(
    make_service: Any, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    service = make_service("serve", status__refresh_seconds=0.2)
    before = wait_for_line(systemd, "READY=1")
    assert "STATUS=sftpd up, processor up" in [*before, *wait_for_line(systemd, "WATCHDOG=1")]
    assert service.events("door.opened")
    assert service.events("processor.started")
    service.process.terminate()
    wait_for_line(systemd, "STOPPING=1")
    assert service.process.wait(45) == 0


@pytest.mark.parametrize("part", ["sftpd", "processor"])
def test_each_part_alone_says_it_to_systemd_too(
    root: Path, systemd: socket.socket, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"LANDINGZONE_DOOR__HOST": "127.0.0.1", "LANDINGZONE_DOOR__PORT": "0"}
    environment = {**os.environ, **given, "NOTIFY_SOCKET": systemd.getsockname()}
    process = subprocess.Popen([sys.executable, "-m", "landingzone", "--root", str(root), part], env=environment)
    try:
        wait_for_line(systemd, "READY=1")
        wait_for_line(systemd, "WATCHDOG=1")
    finally:
        process.terminate()
        wait_for_line(systemd, "STOPPING=1")
        assert process.wait(45) == 0


def test_settings_are_read_anew_on_sighup(make_service: Any, root: Path) -> None:
    service = make_service("serve", status__refresh_seconds=0.2)
    service.wait_for("processor.started", seconds=30, workers=4)
    before = children(service.process)
    (root / "landingzone.toml").write_text("[processor]\nworkers = 2\n")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("processor.started", seconds=60, workers=2)
    service.wait_for("door.reloaded")
    assert not service.events("part.died")
    after = children(service.process)
    assert (after["sftpd"] == before["sftpd"], after["processor"] == before["processor"]) == (True, False)
    (root / "landingzone.toml").write_text("[processor]\nworkers = 0\n")
    service.process.send_signal(signal.SIGHUP)
    assert "workers" in service.wait_for("serve.reload_refused")["problem"]
    assert children(service.process) == after


def test_only_the_process_itself_can_say_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    said = "from landingzone.notify import notify; notify('READY=1', 'STATUS=x')"
    environment = {**os.environ, "NOTIFY_SOCKET": ear.address}
    other = subprocess.Popen([sys.executable, "-c", said], env=environment)
    assert other.wait(30) == 0
    monkeypatch.setenv("NOTIFY_SOCKET", ear.address)
    assert notify("WATCHDOG=1")
    heard = list(ear.heard())
    assert heard == [(other.pid, "READY=1"), (other.pid, "STATUS=x"), (os.getpid(), "WATCHDOG=1")]


def test_without_a_supervisor_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
