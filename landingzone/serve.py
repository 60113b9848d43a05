"""`landingzone serve`: the front door and the processor side by side, as processes of their own.

An import must never stall the SSH event loop. A part that dies, or says no more that it turns, is started again; the
next one waits a little longer. Parts say how they are with systemd's protocol, and `serve` itself says it to systemd.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import structlog

from landingzone.errors import LandingZoneError
from landingzone.notify import Ear, notify

log = structlog.get_logger()

_FIRST_WAIT, _LONGEST_WAIT, _GOOD_FOR = 0.5, 30.0, 60.0
_PROVEN_AFTER = 10.0
_SILENT_FOR = 60.0
"""A part that has said nothing for so long hangs as a whole: also the thread that speaks for it."""
_TELL_EVERY = 5.0
_PR_SET_PDEATHSIG = 1


class PartFailed(LandingZoneError):
    """A part of the service does not start."""


@dataclass
class _Part:
    """One part of the service.

    Attributes:
        proven: it has once come up.
        ready: this process of it is up.
        heard: when it last said something.
        hung: it was ended because it said nothing more.
        renewed: it was ended to read its settings anew.
    """

    name: str
    command: list[str]
    ear: Ear
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0
    wait: float = _FIRST_WAIT
    not_before: float = 0
    proven: bool = False
    ready: bool = False
    heard: float = 0
    hung: bool = False
    renewed: bool = False

    def start(self) -> None:
        environment = {**os.environ, "NOTIFY_SOCKET": self.ear.address}
        self.process = subprocess.Popen(self.command, env=environment, preexec_fn=_end_with_parent)  # noqa: PLW1509, S603 - no threads here; our own command
        self.started = self.heard = time.monotonic()
        self.ready = self.hung = self.renewed = False

    def hear(self, line: str) -> None:
        self.heard = time.monotonic()
        if line == "READY=1":
            self.proven = self.ready = True

    def look(self) -> None:
        """Start again what has died, after a wait that grows while it keeps dying; end what hangs."""
        present = time.monotonic()
        self.proven = self.proven or (self.process is not None and present - self.started > _PROVEN_AFTER)
        if self.process is not None and (code := self.process.poll()) is not None:
            self._buried(code, present)
        if self.process is None and present >= self.not_before:
            self.start()
        if (
            self.process is not None
            and self.ready
            and present - self.heard > _SILENT_FOR
            and not (self.hung or self.renewed)
        ):
            self.hung = True
            log.error("part.hung", part=self.name, pid=self.process.pid, seconds=round(present - self.heard))
            self.process.kill()

    def renew(self) -> None:
        """End it in peace; it is started again at once."""
        if self.process is not None and self.process.poll() is None:
            self.renewed = True
            self.process.terminate()

    def _buried(self, code: int, present: float) -> None:
        lived = present - self.started
        self.process = None
        if self.renewed:
            self.not_before = present
            return
        self.wait = _FIRST_WAIT if lived > _GOOD_FOR else min(self.wait * 2, _LONGEST_WAIT)
        if not self.proven and lived < _PROVEN_AFTER:
            raise PartFailed(f"{self.name} does not start; what it said stands above.")
        self.not_before = present + self.wait
        log.error(
            "part.died",
            part=self.name,
            reason="hung" if self.hung else "killed" if code < 0 else "exited",
            code=code if code >= 0 else None,
            signal=_signal_name(-code) if code < 0 else None,
            lived_seconds=round(lived, 1),
            again_in_seconds=self.wait,
        )


def serve(
    commands: dict[str, list[str]],
    *,
    drain_seconds: float,
    renewed_by_restart: tuple[str, ...] = (),
    check: Callable[[], object] = lambda: None,
) -> int:
    """Run the parts (name -> arguments of the command line) until SIGTERM or SIGINT; returns the exit code.

    On SIGHUP the parts named in `renewed_by_restart` are ended in peace and started again, the others get it, too;
    unless `check` raises LandingZoneError: then everything stays as it is.
    Raises PartFailed if one does not come up at all, as when its port is taken.
    """
    ear = Ear()
    parts = [
        _Part(name, [sys.executable, "-m", "landingzone", *arguments], ear) for name, arguments in commands.items()
    ]
    caught: set[int] = set()

    def catch(number: int, _frame: FrameType | None) -> None:
        caught.add(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, catch)
    told, told_ready = 0.0, False
    try:
        while not caught & {signal.SIGTERM, signal.SIGINT}:
            for part in parts:
                part.look()
            select.select([ear], [], [], 0.1)
            by_pid = {part.process.pid: part for part in parts if part.process is not None}
            for speaker, line in ear.heard():
                if speaker in by_pid:
                    by_pid[speaker].hear(line)
            if signal.SIGHUP in caught:
                caught.discard(signal.SIGHUP)
                _reload(parts, renewed_by_restart, check)
            ready = all(part.ready for part in parts)
            if (ready and not told_ready) or time.monotonic() - told > _TELL_EVERY:
                told, told_ready = time.monotonic(), told_ready or ready
                _tell(*(["READY=1"] if ready else []), "WATCHDOG=1", f"STATUS={_summary(parts)}")
    except PartFailed:
        _stop(parts, drain_seconds=0)
        raise
    _tell("STOPPING=1")
    return _stop(parts, drain_seconds=drain_seconds)


def _reload(parts: list[_Part], renewed_by_restart: tuple[str, ...], check: Callable[[], object]) -> None:
    """Pass SIGHUP on to the parts that re-read their settings by themselves, renew the others."""
    try:
        check()
    except LandingZoneError as wrong:
        log.error("serve.reload_refused", problem=str(wrong))
        return
    log.info("serve.reloading")
    for part in parts:
        if part.name in renewed_by_restart:
            part.renew()
        elif part.process is not None and part.ready:
            part.process.send_signal(signal.SIGHUP)


def _stop(parts: list[_Part], *, drain_seconds: float) -> int:
    """Tell all to stop; the door finishes uploads within its bound, the processor the runs under way."""
    running = [(part, part.process) for part in parts if part.process is not None]
    for _, process in running:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    until = time.monotonic() + drain_seconds + 10
    for part, process in running:
        try:
            process.wait(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("part.killed", part=part.name, pid=process.pid)
            process.kill()
            process.wait()
    return 0


def _summary(parts: list[_Part]) -> str:
    """For `systemctl status`."""
    return ", ".join(f"{part.name} {'up' if part.ready else 'starting'}" for part in parts)


def _tell(*said: str) -> None:
    with contextlib.suppress(OSError):  # who is not there will not miss it
        notify(*said)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end_with_parent() -> None:
    """In the child: end when the parent does, even if it is killed; two doors on one zone would be one too many."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
