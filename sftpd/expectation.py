"""What is expected of an account, remembered for a moment: every close of a file asks."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

import sqlalchemy as sa
import structlog

from landingzone.source import Source

FRESH_SECONDS = 1.0

_log = structlog.get_logger("sftpd")


class Expectation:
    """The sources of each account, at most a second old."""

    def __init__(self, sources_of: Callable[[str], tuple[Source, ...]], threads: Executor) -> None:
        self._sources_of = sources_of
        self._threads = threads
        self._known: dict[str, tuple[float, tuple[Source, ...]]] = {}

    async def match(self, account: str, name: str) -> Source | None:
        """The source that a file of that name belongs to, or None: nobody expects it.

        While the database is away, what was last known counts; a file that is not matched for it settles and lands.
        """
        at, sources = self._known.get(account, (-FRESH_SECONDS, ()))
        if time.monotonic() - at > FRESH_SECONDS:
            try:
                sources = await asyncio.get_running_loop().run_in_executor(self._threads, self._sources_of, account)
            except sa.exc.SQLAlchemyError:
                _log.exception("door.error", request="sources", account=account)
            else:
                self._known[account] = (time.monotonic(), sources)
        return next((source for source in sources if source.matches(name)), None)
