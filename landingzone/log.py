"""Logging, set up once: JSON lines for services, readable on a terminal; account and landing bound by contextvars.

Event names are stable (`file.landed`, `run.imported`). Personal data and secrets are never passed to a logger:
ids, counts and codes only.
"""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from landingzone.settings import LogSettings

#: Libraries whose informative messages name files and users: only their warnings are ours to keep.
_QUIET = ("asyncssh", "alembic", "dbos", "watchdog", "paramiko", "asyncio", "sqlalchemy", "uvicorn", "httpx", "httpx2")


Note = Callable[[Mapping[str, Any]], None]


def configure(
    settings: LogSettings, *, service: str, node: str = "", stream: TextIO | None = None, note: Note | None = None
) -> None:
    """Set up structlog and the standard library's logging for this process, once, in main.

    Each line says the `service` and, where several processes of one may write, its `node`.
    `note` gets every event of ours, also those below the level that is written: metrics count them.
    """
    out = stream or sys.stderr
    readable = settings.format == "console" or (settings.format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: tuple[Processor, ...] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _frames_only,
    )
    render: Processor = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    formatter = _ForJournal if _is_journal(out) else structlog.stdlib.ProcessorFormatter
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        formatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _service(service, node), render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            *([_noted(note, level)] if note else []),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(min(level, logging.INFO) if note else level),
        cache_logger_on_first_use=True,
    )


def _noted(note: Note, level: int) -> Processor:
    """Pass every event on before those below the level are dropped."""

    def noted(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        note({**structlog.contextvars.get_contextvars(), **event})
        if logging.getLevelNamesMapping().get(method.upper(), logging.ERROR) < level:  # `exception` is an error
            raise structlog.DropEvent
        return event

    return noted


class _ForJournal(structlog.stdlib.ProcessorFormatter):
    """Each line with its priority before it, as systemd's journal takes it off: `journalctl -p warning` finds it."""

    def format(self, record: logging.LogRecord) -> str:
        grave = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
        priority = next((priority for level, priority in grave if record.levelno >= level), 7)
        return f"<{priority}>{super().format(record)}"


def _is_journal(out: TextIO) -> bool:
    """Whether what is written goes straight to systemd's journal (sd-daemon(3): JOURNAL_STREAM)."""
    try:
        info = os.fstat(out.fileno())
    except (OSError, ValueError):  # no file of the system's, as in tests
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


def _frames_only(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Of an exception, its type and where it was raised: its text may quote a row, its locals may be one."""
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else (info[1] if isinstance(info, tuple) else sys.exc_info()[1])
        if error is not None:
            event["error"] = type(error).__name__
            event["frames"] = frames(error)
    return event


def frames(error: BaseException) -> list[str]:
    """Where an error was raised, innermost last: `file.py:12 function`. No text, no values."""
    found = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in found[-12:]]


def _service(name: str, node: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", name)
        if node:
            event.setdefault("node", node)
        return event

    return add
