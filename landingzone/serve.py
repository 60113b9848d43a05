"""`landingzone serve`: the front door and the processor side by side, as processes of their own.

An import must never stall the SSH event loop. A part that dies is started again; the next one waits a little longer.
"""

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

import structlog

from landingzone.errors import LandingZoneError

log = structlog.get_logger()

_FIRST_WAIT, _LONGEST_WAIT, _GOOD_FOR = 0.5, 30.0, 60.0
_PROVEN_AFTER = 10.0
_PR_SET_PDEATHSIG = 1


class PartFailed(LandingZoneError):
    """A part of the service does not start."""


@dataclass
class _Part:
    """One part of the service."""

    name: str
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0
    wait: float = _FIRST_WAIT
    not_before: float = 0
    proven: bool = False

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, preexec_fn=_end_with_parent)  # noqa: PLW1509, S603 - no threads here; our own command
        self.started = time.monotonic()

    def look(self) -> None:
        """Start again what has died, after a wait that grows while it keeps dying."""
        present = time.monotonic()
        self.proven = self.proven or (self.process is not None and present - self.started > _PROVEN_AFTER)
        if self.process is not None and (code := self.process.poll()) is not None:
            self.wait = _FIRST_WAIT if present - self.started > _GOOD_FOR else min(self.wait * 2, _LONGEST_WAIT)
            if not self.proven and present - self.started < _PROVEN_AFTER:
                raise PartFailed(f"{self.name} does not start; what it said stands above.")
            self.not_before, self.process = present + self.wait, None
            log.error("part.died", part=self.name, code=code, again_in_seconds=self.wait)
        if self.process is None and present >= self.not_before:
            self.start()


def serve(commands: dict[str, list[str]], *, drain_seconds: float) -> int:
    """Run the parts (name -> arguments of the command line) until SIGTERM or SIGINT; returns the exit code.

    Raises PartFailed if one does not come up at all, as when its port is taken.
    """
    parts = [_Part(name, [sys.executable, "-m", "landingzone", *arguments]) for name, arguments in commands.items()]
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        while not stopping:
            for part in parts:
                part.look()
            time.sleep(0.1)
    except PartFailed:
        _stop(parts, drain_seconds=0)
        raise
    return _stop(parts, drain_seconds=drain_seconds)


def _stop(parts: list[_Part], *, drain_seconds: float) -> int:
    """Tell all to stop; the door finishes uploads within its bound, the processor the runs under way."""
    running = [part.process for part in parts if part.process is not None]
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    until = time.monotonic() + drain_seconds + 10
    for process in running:
        try:
            process.wait(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("part.killed", pid=process.pid)
            process.kill()
            process.wait()
    return 0


def _end_with_parent() -> None:
    """In the child: end when the parent does, even if it is killed; two doors on one zone would be one too many."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
