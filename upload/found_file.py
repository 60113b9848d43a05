"""Which files on the disk, or on a share, a source means; and when one is no longer being written."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from landingzone.pattern import DATE, SCHOOL, is_temporary
from upload.errors import NotExtracted

_PLACES: Final = {"{date}": DATE, "{school}": SCHOOL, "*": ".*", "?": "."}
_RECENT_SECONDS: Final = 15.0
"""A file that was changed later than that before now may still be being written."""
_QUIET_SECONDS: Final = 3.0
_OLD_QUIET_SECONDS: Final = 0.3
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file of a source; `school` where the source's pattern makes one of each."""

    path: Path
    school: str = ""


Form = tuple[int, int]
"""Size and time of change in nanoseconds: while they stay, the file is the same."""


def find_files(wanted: Path) -> list[FoundFile]:
    """The files that a path means: itself; of a pattern the newest; with {school} the newest of each school.

    Raises NotExtracted if there is none.
    """
    parts = re.split(r"(\{date\}|\{school\}|\*|\?)", wanted.name)
    if len(parts) == 1:
        if not wanted.is_file():
            raise NotExtracted(f"There is no file {wanted}. See whether the export has run, and where it writes to.")
        return [FoundFile(wanted)]
    pattern = re.compile("".join(_PLACES.get(part) or re.escape(part) for part in parts), re.IGNORECASE)
    newest: dict[str, tuple[int, str, Path]] = {}
    try:
        entries = list(wanted.parent.iterdir())
    except OSError as wrong:
        raise NotExtracted(f"The folder {wanted.parent} cannot be read: {wrong.strerror}.") from None
    for path in entries:
        match = pattern.fullmatch(path.name)
        if match is None or is_temporary(path.name) or not path.is_file():
            continue
        school = match["school"].lower() if "school" in match.groupdict() else ""
        candidate = (path.stat().st_mtime_ns, path.name, path)
        newest[school] = max(newest.get(school, candidate), candidate)
    if not newest:
        raise NotExtracted(f"There is no file {wanted}. See whether the export has run, and where it writes to.")
    return [FoundFile(path, school) for school, (_, _, path) in sorted(newest.items())]


def form_of(path: Path) -> Form:
    """A file's size and time of change; raises NotExtracted if it is gone."""
    try:
        found = path.stat()
    except OSError as wrong:
        raise NotExtracted(f"{path} cannot be looked at: {wrong.strerror}.") from None
    return found.st_size, found.st_mtime_ns


def wait_until_written(path: Path, *, minutes: float, sleep: Callable[[float], None] = time.sleep) -> Form:
    """Wait until size and time of change stand still and the file can be opened; returns them.

    Raises NotExtracted if they do not within the time.
    """
    until = time.monotonic() + minutes * 60
    form, since = form_of(path), time.monotonic()
    while True:
        recent = abs(time.time() - form[1] / 1e9) < _RECENT_SECONDS
        if time.monotonic() - since >= (_QUIET_SECONDS if recent else _OLD_QUIET_SECONDS) and _opens(path):
            return form
        if time.monotonic() > until:
            raise NotExtracted(
                f"{path} is still being written, or held by another program, after {minutes:g} minutes. Run later, or "
                "raise wait_minutes."
            )
        sleep(_LOOK_SECONDS)
        if (now := form_of(path)) != form:
            form, since = now, time.monotonic()


def _opens(path: Path) -> bool:
    """Windows lets nobody open what another program writes."""
    try:
        with path.open("rb"):
            return True
    except PermissionError:
        return False
