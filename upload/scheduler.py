"""The schedulers of the three systems: putting a schedule in, looking at it, and taking it out again."""

import getpass
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from datetime import date
from enum import StrEnum
from pathlib import Path

from upload.errors import UploadError
from upload.folder import Folder
from upload.schedule import (
    CRON_MARK,
    NAME,
    Schedule,
    cron_lines,
    systemd_service,
    systemd_timer,
    windows_task,
    without_cron_lines,
)


class Kind(StrEnum):
    """The schedulers that are known."""

    SYSTEMD = "systemd"
    CRON = "cron"
    WINDOWS = "windows"


class NotScheduled(UploadError):
    """The schedule could not be put in."""


class Scheduler(ABC):
    """One of them."""

    @abstractmethod
    def texts(self, schedule: Schedule) -> dict[str, str]:
        """What is written: where -> what."""

    @abstractmethod
    def install(self, schedule: Schedule) -> list[str]:
        """Write it, in place of what was there; returns what is left to do by hand. Raises NotScheduled."""

    @abstractmethod
    def installed(self) -> dict[str, str]:
        """What is there: where -> what; nothing if nothing is."""

    @abstractmethod
    def remove(self) -> list[str]:
        """Take it out; returns what is left to do by hand. Raises NotScheduled."""


class Systemd(Scheduler):
    """A service and a timer: the user's own; root's are the machine's."""

    def __init__(self) -> None:
        self._is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self._folder = Path("/etc/systemd/system") if self._is_root else configuration / "systemd" / "user"

    def texts(self, schedule: Schedule) -> dict[str, str]:
        """Both units."""
        return {
            str(self._folder / f"{NAME}.service"): systemd_service(schedule),
            str(self._folder / f"{NAME}.timer"): systemd_timer(schedule),
        }

    def install(self, schedule: Schedule) -> list[str]:
        """Write both units, and begin."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path, text in self.texts(schedule).items():
            Path(path).write_text(text, encoding="utf-8")
        left = self._control(["daemon-reload"], ["enable", f"{NAME}.timer"], ["restart", f"{NAME}.timer"])
        return left if self._is_root else [*left, f"loginctl enable-linger {getpass.getuser()}"]

    def installed(self) -> dict[str, str]:
        """The units that are there."""
        paths = [self._folder / f"{NAME}.{kind}" for kind in ("service", "timer")]
        return {str(path): path.read_text(encoding="utf-8") for path in paths if path.is_file()}

    def remove(self) -> list[str]:
        """Stop the timer and remove both units."""
        left = self._control(["disable", "--now", f"{NAME}.timer"])
        for path in self.installed():
            Path(path).unlink()
        return left + self._control(["daemon-reload"])

    def _control(self, *commands: list[str]) -> list[str]:
        """Call systemctl; from the first call that fails on, the commands are left to do by hand."""
        calls = [["systemctl", *([] if self._is_root else ["--user"]), *command] for command in commands]
        for at, call in enumerate(calls):
            if shutil.which("systemctl") is None or _run(call).returncode:
                return [" ".join(one) for one in calls[at:]]
        return []


class Cron(Scheduler):
    """Lines of the user's crontab."""

    def texts(self, schedule: Schedule) -> dict[str, str]:
        """The lines."""
        return {"crontab": "\n".join(cron_lines(schedule)) + "\n"}

    def install(self, schedule: Schedule) -> list[str]:
        """Put our lines behind all others."""
        others = without_cron_lines(self._read())
        if others and not others.endswith("\n"):
            others += "\n"
        self._write(others + self.texts(schedule)["crontab"])
        return []

    def installed(self) -> dict[str, str]:
        """Our lines."""
        ours = [line for line in self._read().splitlines() if line.rstrip().endswith(CRON_MARK)]
        return {"crontab": "\n".join(ours) + "\n"} if ours else {}

    def remove(self) -> list[str]:
        """Take our lines out."""
        if self.installed():
            self._write(without_cron_lines(self._read()))
        return []

    @staticmethod
    def _read() -> str:
        """The crontab; that there is none is told by the exit code, as any failure is, so the words must say so."""
        _need("crontab", "On Debian and Ubuntu it is in the package cron.")
        done = _run(["crontab", "-l"])
        if done.returncode and "no crontab" not in done.stderr.lower():
            raise NotScheduled(f"The crontab cannot be read: {done.stderr.strip()}")
        return done.stdout if not done.returncode else ""

    @staticmethod
    def _write(text: str) -> None:
        done = _run(["crontab", "-"], given=text)
        if done.returncode:
            raise NotScheduled(f"crontab refused the lines: {done.stderr.strip()}")


class Windows(Scheduler):
    """A definition beside the settings. Windows asks for the user's password, so the user hands it over."""

    def __init__(self, folder: Folder) -> None:
        self._path = folder.path / f"{NAME}.task.xml"

    def texts(self, schedule: Schedule) -> dict[str, str]:
        """The definition."""
        domain = os.environ.get("USERDOMAIN")
        user = f"{domain}\\{getpass.getuser()}" if domain else getpass.getuser()
        return {str(self._path): windows_task(schedule, user=user, begin=date.today())}  # noqa: DTZ011 - local time

    def install(self, schedule: Schedule) -> list[str]:
        """Write the definition."""
        for text in self.texts(schedule).values():
            self._path.write_bytes(text.replace("\n", "\r\n").encode("utf-16"))
        return [f'schtasks /Create /F /TN {NAME} /XML "{self._path}" /RU "%USERDOMAIN%\\%USERNAME%" /RP *']

    def installed(self) -> dict[str, str]:
        """The definition, if it was written."""
        if not self._path.is_file():
            return {}
        return {str(self._path): self._path.read_bytes().decode("utf-16").replace("\r\n", "\n")}

    def remove(self) -> list[str]:
        """Remove the definition."""
        self._path.unlink(missing_ok=True)
        return [f"schtasks /Delete /F /TN {NAME}"]


def scheduler(kind: Kind | None, folder: Folder) -> Scheduler:
    """The one of that kind, by default the machine's own."""
    match kind or _of_machine():
        case Kind.SYSTEMD:
            return Systemd()
        case Kind.CRON:
            return Cron()
        case Kind.WINDOWS:
            return Windows(folder)


def _of_machine() -> Kind:
    if sys.platform == "win32":
        return Kind.WINDOWS
    return Kind.SYSTEMD if Path("/run/systemd/system").is_dir() else Kind.CRON


def _need(program: str, where: str) -> None:
    if shutil.which(program) is None:
        raise NotScheduled(f"There is no {program} here. {where}")


def _run(command: list[str], *, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
