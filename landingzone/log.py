"""Logging, set up once: JSON lines for services, readable on a terminal; account and landing bound by contextvars.

Event names are stable (`file.landed`, `run.imported`). Personal data and secrets are never passed to a logger:
ids, counts and codes only.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from landingzone.settings import LogSettings

#: Libraries whose informative messages name files and users: only their warnings are ours to keep.
_QUIET = ("asyncssh", "alembic", "dbos", "watchdog", "paramiko", "asyncio", "sqlalchemy")


def configure(settings: LogSettings, *, service: str, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process, once, in main."""
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
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _service(service), render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


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


def _service(name: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", name)
        return event

    return add
