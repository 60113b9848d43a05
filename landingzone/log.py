"""Logging, set up once: JSON lines for services, readable on a terminal; account and landing bound by contextvars.

Event names are stable (`file.landed`, `run.imported`). Personal data and secrets are never passed to a logger:
ids, counts and codes only.
"""

import logging
import sys
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
        structlog.processors.dict_tracebacks if not readable else _as_is,
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


def _as_is(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return event


def _service(name: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", name)
        return event

    return add
