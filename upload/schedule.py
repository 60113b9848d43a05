"""When uploads run, in the words of each system's own scheduler. Pure: texts only."""

import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Final

from upload.errors import SettingsError

NAME: Final = "landingzone-upload"
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TASK: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DONE_WITH_REJECTS: Final = 10


@dataclass(frozen=True)
class Schedule:
    """When what runs.

    Attributes:
        times: of the day, in the machine's own time.
        every_day: else from Monday to Friday.
        command: the program and its arguments.
    """

    times: tuple[time, ...]
    every_day: bool
    command: tuple[str, ...]

    @property
    def said(self) -> str:
        """For people.

        >>> Schedule((time(5, 30), time(9)), False, ()).said
        'Monday to Friday at 05:30 and 09:00'
        """
        days = "every day" if self.every_day else "Monday to Friday"
        return f"{days} at {' and '.join(f'{one:%H:%M}' for one in self.times)}"


def times_of(texts: Sequence[str]) -> tuple[time, ...]:
    """Times of the day, in order; raises SettingsError.

    >>> times_of(["9:05", "05:30"])
    (datetime.time(5, 30), datetime.time(9, 5))
    """
    found = [_TIME.fullmatch(text.strip()) for text in texts]
    for text, match in zip(texts, found, strict=True):
        if match is None:
            raise SettingsError(f"{text!r} is no time of the day; write it like 05:30.")
    return tuple(sorted({time(int(match[1]), int(match[2])) for match in found if match}))


def systemd_service(schedule: Schedule) -> str:
    """The unit that runs once. Rows that were rejected are no failure of the unit: the receipt tells of them."""
    return f"""\
[Unit]
Description=Upload to the landing zone

[Service]
Type=oneshot
ExecStart={" ".join(_systemd_word(word) for word in schedule.command)}
SuccessExitStatus={_DONE_WITH_REJECTS}
UMask=0077
Nice=5
"""


def systemd_timer(schedule: Schedule) -> str:
    """The unit that says when; what was missed while the machine was off is made up for."""
    days = "" if schedule.every_day else "Mon..Fri "
    lines = "\n".join(f"OnCalendar={days}*-*-* {one:%H:%M}:00" for one in schedule.times)
    return f"""\
[Unit]
Description=Upload to the landing zone: {schedule.said}

[Timer]
{lines}
Persistent=true
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def _systemd_word(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def cron_lines(schedule: Schedule) -> list[str]:
    """Lines of a crontab; each ends with the mark by which it is found again. What goes wrong cron sends by mail."""
    days = "*" if schedule.every_day else "1-5"
    command = " ".join(shlex.quote(word) for word in schedule.command).replace("%", "\\%")
    return [f"{one.minute} {one.hour} * * {days} {command} >/dev/null {CRON_MARK}" for one in schedule.times]


CRON_MARK: Final = f"# {NAME}"


def without_cron_lines(crontab: str) -> str:
    """A crontab without our lines."""
    return "".join(line for line in crontab.splitlines(keepends=True) if not line.rstrip().endswith(CRON_MARK))


def windows_task(schedule: Schedule, *, user: str, begin: date) -> str:
    """A definition for Windows' Task Scheduler, in the order of its schema. It runs whether or not the user is there.

    Args:
        schedule: when what runs.
        user: whose task it is.
        begin: the first day on which it may run.
    """
    ET.register_namespace("", _TASK)
    task = ET.Element(f"{{{_TASK}}}Task", version="1.2")

    def below(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
        made = ET.SubElement(parent, f"{{{_TASK}}}{name}", attributes)
        made.text = text
        return made

    below(below(task, "RegistrationInfo"), "Description", f"Upload to the landing zone: {schedule.said}")
    triggers = below(task, "Triggers")
    for one in schedule.times:
        trigger = below(triggers, "CalendarTrigger")
        below(trigger, "StartBoundary", f"{begin.isoformat()}T{one:%H:%M}:00")
        week = below(trigger, "ScheduleByWeek")
        days = below(week, "DaysOfWeek")
        for day in _DAYS if schedule.every_day else _DAYS[:5]:
            below(days, day)
        below(week, "WeeksInterval", "1")
    principal = below(below(task, "Principals"), "Principal", id="Author")
    below(principal, "UserId", user)
    below(principal, "LogonType", "Password")
    below(principal, "RunLevel", "LeastPrivilege")
    settings = below(task, "Settings")
    below(settings, "MultipleInstancesPolicy", "IgnoreNew")
    below(settings, "DisallowStartIfOnBatteries", "false")
    below(settings, "StopIfGoingOnBatteries", "false")
    below(settings, "StartWhenAvailable", "true")
    below(settings, "ExecutionTimeLimit", "P1D")
    execute = below(below(task, "Actions", Context="Author"), "Exec")
    below(execute, "Command", schedule.command[0])
    below(execute, "Arguments", " ".join(_windows_word(word) for word in schedule.command[1:]))
    ET.indent(task)
    return '<?xml version="1.0" encoding="UTF-16"?>\n' + ET.tostring(task, encoding="unicode") + "\n"


def _windows_word(word: str) -> str:
    r"""A word of a command line as Microsoft's C runtime takes it apart.

    >>> print(_windows_word("C:\\my files\\"))
    "C:\my files\\"
    """
    if word and not re.search(r'[\s"]', word):
        return word
    inner = re.sub(r'(\\*)"', r'\1\1\\"', word)
    inner = re.sub(r"(\\+)$", r"\1\1", inner)
    return f'"{inner}"'
