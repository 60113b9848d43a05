"""`landingzone-upload schedule`: what is written for each system's scheduler, judged by the system itself."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import date, time
from pathlib import Path

import pytest

from upload.cli import app
from upload.errors import SettingsError
from upload.schedule import (
    Schedule,
    cron_lines,
    systemd_service,
    systemd_timer,
    times_of,
    windows_task,
    without_cron_lines,
)

ODD = ("/opt/my python/bin/python", "-m", "upload.cli", "--folder", '/srv/50% "off" $HOME', "run")
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
Need = Callable[[str], str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, and a home of its own."""
    keys = f'host_keys = ["SHA256:{"x" * 43}"]'
    (tmp_path / "landingzone-upload.toml").write_text(
        f'[server]\nhost = "h"\naccount = "a"\n{keys}\n[[source]]\nfeed = "students"\nfile = "students.csv"\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def schedule(folder: Path, *arguments: str) -> None:
    """Runs the command."""
    app(["--folder", str(folder), "schedule", *arguments], standalone_mode=False)


def test_systemd_takes_the_units_and_runs_them_when_it_is_said(tmp_path: Path, need: Need) -> None:
    wanted = Schedule((time(5, 30), time(23)), every_day=False, command=(sys.executable, *ODD[1:]))
    (tmp_path / "landingzone-upload.service").write_text(systemd_service(wanted))
    (tmp_path / "landingzone-upload.timer").write_text(systemd_timer(wanted))
    analyze = need("systemd-analyze")
    units = sorted(map(str, tmp_path.iterdir()))
    judged = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in judged.stderr.splitlines() if str(tmp_path) in line or "landingzone" in line]
    assert (judged.returncode, complaints) == (0, [])
    for line in systemd_timer(wanted).splitlines():
        if line.startswith("OnCalendar="):
            said = subprocess.run(
                [analyze, "calendar", line.removeprefix("OnCalendar=")], capture_output=True, text=True, check=False
            )
            assert said.returncode == 0, said.stderr


def test_words_reach_the_program_as_they_are_through_systemd_and_cron() -> None:
    """systemd's own rules for quotes are C's; cron takes `\\%` for `%`, and hands the rest to the shell."""
    (start,) = [line for line in systemd_service(Schedule((), True, ODD)).splitlines() if line.startswith("ExecStart")]
    assert start.endswith('"--folder" "/srv/50%% \\"off\\" $$HOME" "run"')
    echo = Schedule((time(5, 30),), every_day=True, command=("printf", "%s|", *ODD))
    (line,) = cron_lines(echo)
    assert line.startswith("30 5 * * * ")
    handed = line.split(" ", 5)[5].replace("\\%", "%").replace(">/dev/null", "")
    done = subprocess.run(["/bin/sh", "-c", handed], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(f"{word}|" for word in ODD)


def test_the_crontab_keeps_what_others_wrote(
    folder: Path, need: Need, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crontab = need("crontab")
    before = subprocess.run([crontab, "-l"], capture_output=True, text=True, check=False).stdout
    others = "MAILTO=eve\n# nightly\n0 3 * * * /bin/true\n"
    try:
        subprocess.run([crontab, "-"], input=others, text=True, check=True)
        schedule(folder, "install", "--kind", "cron", "--at", "05:30", "--at", "9:00")
        schedule(folder, "install", "--kind", "cron", "--at", "06:15")
        now = subprocess.run([crontab, "-l"], capture_output=True, text=True, check=True).stdout
        assert now.startswith(others)
        assert now.removeprefix(others).splitlines() == [
            f"15 6 * * 1-5 {sys.executable} -m upload.cli --folder {folder} run >/dev/null # landingzone-upload"
        ]
        capsys.readouterr()
        schedule(folder, "show", "--kind", "cron")
        assert "15 6 * * 1-5" in capsys.readouterr().out
        schedule(folder, "remove", "--kind", "cron")
        assert subprocess.run([crontab, "-l"], capture_output=True, text=True, check=True).stdout == others
    finally:
        if before:
            subprocess.run([crontab, "-"], input=before, text=True, check=True)
        else:
            subprocess.run([crontab, "-r"], check=False)
    assert without_cron_lines("x\n") == "x\n"


def test_the_windows_task_has_its_parts_in_the_schemas_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = Schedule((time(5, 30),), every_day=False, command=("C:\\Program Files\\Python\\python.exe", *ODD[1:]))
    task = ET.fromstring(windows_task(wanted, user="OAK\\eve", begin=date(2026, 1, 31)).partition("\n")[2])

    def names(parent: ET.Element | None) -> list[str]:
        assert parent is not None
        return [one.tag.removeprefix(TASK) for one in parent]

    assert names(task) == ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"]
    trigger = task.find(f"{TASK}Triggers/{TASK}CalendarTrigger")
    assert names(trigger) == ["StartBoundary", "ScheduleByWeek"]
    assert names(task.find(f".//{TASK}ScheduleByWeek")) == ["DaysOfWeek", "WeeksInterval"]
    assert names(task.find(f".//{TASK}DaysOfWeek")) == ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    assert task.findtext(f".//{TASK}StartBoundary") == "2026-01-31T05:30:00"
    assert names(task.find(f".//{TASK}Exec")) == ["Command", "Arguments"]
    assert task.findtext(f".//{TASK}Command") == "C:\\Program Files\\Python\\python.exe"
    assert task.findtext(f".//{TASK}Arguments") == '-m upload.cli --folder "/srv/50% \\"off\\" $HOME" run'
    schedule(folder, "install", "--kind", "windows", "--at", "05:30", "--every-day")
    said = capsys.readouterr().out
    assert "schtasks /Create" in said
    written = (folder / "landingzone-upload.task.xml").read_bytes()
    assert ET.fromstring(written).find(f".//{TASK}Sunday") is not None
    schedule(folder, "remove", "--kind", "windows")
    assert not (folder / "landingzone-upload.task.xml").exists()


def test_only_showing_writes_nothing_and_a_wrong_time_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schedule(folder, "install", "--kind", "systemd", "--at", "5:30", "--show-only")
    assert "OnCalendar=Mon..Fri *-*-* 05:30:00" in capsys.readouterr().out
    assert not (folder / "home").exists()
    with pytest.raises(SettingsError, match="24:00"):
        times_of(["24:00"])
