"""The log of one attempt: a file of JSON lines, readable by nobody else, kept for 30 days.

It holds names of sources and files, counts, hashes, codes and times. Values of the data never reach it: whoever writes
a line gives them by name, and none of the callers has a row in hand.
"""

import json
import os
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from landingzone.clock import iso, now

KEPT_DAYS = 30

Note = Callable[..., None]
"""Is told an event by its name, and its values by theirs: `note("file.sent", bytes=12)`."""


class RunLog:
    """The log of one attempt; a `Note`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        stamp = f"{now():%Y%m%d-%H%M%S}"
        self.path = folder / f"run-{stamp}-{secrets.token_hex(3)}.log"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def __call__(self, event: str, **values: object) -> None:
        """Write one line; it is in the file when this returns."""
        line = {"time": iso(now()), "event": event, **values}
        self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it; an error that nobody has expected is noted first."""
        if error is not None and kind is not None and not issubclass(kind, SystemExit):
            # the text of an unexpected error may hold a value of the data: its kind and places say enough
            self("run.broken", error=kind.__name__, at=_places(at))
        self._file.close()


def _places(at: TracebackType | None) -> list[str]:
    found = []
    while at is not None:
        found.append(f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}")
        at = at.tb_next
    return found


def remove_old(folder: Path) -> None:
    """Remove logs after their time."""
    limit = time.time() - timedelta(days=KEPT_DAYS).total_seconds()
    for path in folder.glob("run-*.log"):
        if path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)
