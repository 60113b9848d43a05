"""The console as a service: one process, its own TLS if it is given a certificate, until SIGTERM."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import sqlalchemy as sa
import structlog
import uvicorn
from fastapi import FastAPI

from console.app import build_app
from console.console_status import Counted, status_of
from console.desk import Desk
from console.tus import Files
from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.metrics import Metrics
from landingzone.settings import ConsoleSettings
from landingzone.status import Status

_BEAT_SECONDS = 0.5
_DRAIN_SECONDS = 5
_SWEEP_SECONDS = 60.0
_MOST_CONNECTIONS = 1000
_BACKLOG = 128
_log = structlog.get_logger("console")


class ConsoleFailed(LandingZoneError):
    """The console does not start."""


def serve(here: Installation, metrics: Metrics) -> None:
    """Run until SIGTERM or SIGINT. Raises ConsoleFailed if its port is taken, or its certificate cannot be read."""
    settings = here.settings.console
    listener = _listener(settings)
    port = listener.getsockname()[1]
    app = build_app(here)
    status = status_of(app, metrics)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        files: Files = app.state.files
        works = (_keep_beating(status), files.keep_house(), _sweep(app))
        tasks = [asyncio.create_task(work) for work in works]
        status.start()
        app.state.desk.live.start()
        _log.info("console.opened", port=port, tls=bool(settings.tls_certificate))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(app.state.desk.live.stop)
        _log.info("console.closed")

    app.router.lifespan_context = life
    config = uvicorn.Config(
        Counted(app, metrics),
        loop="uvloop",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
    )
    signal.signal(signal.SIGTERM, _end)  # uvicorn hands the signal on once it has ended in peace
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except OSError as wrong:
        raise ConsoleFailed(f"The console's certificate or key cannot be read: {wrong.strerror}.") from None
    finally:
        status.stop()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _listener(settings: ConsoleSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)  # who comes before uvicorn is there waits for it
    except OSError as wrong:
        raise ConsoleFailed(f"The console cannot listen on port {settings.port}: {wrong.strerror}.") from None
    return listener


async def _sweep(app: FastAPI) -> None:
    """Now and then remove what people have chosen and not sent."""
    desk: Desk = app.state.desk
    while True:
        try:
            await asyncio.to_thread(desk.sending.drafts.sweep)
        except (OSError, sa.exc.SQLAlchemyError):  # the next one may find it better
            _log.exception("console.error", request="sweep")
        await asyncio.sleep(_SWEEP_SECONDS)


async def _keep_beating(status: Status) -> None:
    """Say that the event loop turns."""
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        status.beat()
