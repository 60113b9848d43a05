"""The console's status: what must hold for it to be ready, and the figures that only it knows."""

import time
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.api.app import PREFIX
from console.desk import Desk
from console.tus import Files
from landingzone import zone_status
from landingzone.metrics import Metrics
from landingzone.status import Status

_BAD, _OURS = 400, 500


class Counted:
    """Counts requests by what they ask for and how they are answered.

    Args:
        app: what answers.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, asked, answered = time.perf_counter(), _asked(scope["method"], scope["path"]), False

        async def note(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                self._metrics.count("console_requests", 1, asked, _outcome(message["status"]))
                if asked in {"page", "api"}:
                    self._metrics.observe("console_answer_seconds", time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            if not answered:
                self._metrics.count("console_requests", 1, asked, "cut")


def status_of(app: FastAPI, metrics: Metrics) -> Status:
    """The console's status; started by who made it."""
    desk: Desk = app.state.desk
    files: Files = app.state.files
    here = desk.here

    def files_of_the_zone() -> Mapping[str, float | Mapping[str, float]]:
        return {**zone_status.disk(here.settings.root), **zone_status.database_bytes(here.settings, here.db)}

    def sessions() -> Mapping[str, float]:
        return {"console_sessions": desk.sessions.count()}

    metrics.look_up("console_streams", lambda: desk.live.streams)
    metrics.look_up("console_uploads_open", lambda: files.receiving.under_way + desk.sending.on_their_way)
    checks = {"database": lambda: zone_status.answers(here.db), "disk": lambda: zone_status.above_floor(here.settings)}
    port = here.settings.status.console_port
    return Status(metrics, here.settings.status, port=port, checks=checks, samples=(files_of_the_zone, sessions))


def _asked(method: str, path: str) -> str:
    if path.startswith("/static/"):
        return "static"
    if path == "/files" or path.startswith("/files/") or (path == "/send" and method == "POST"):
        return "upload"
    return "api" if path.startswith(f"{PREFIX}/") else "page"


def _outcome(status: int) -> str:
    return "ok" if status < _BAD else "refused" if status < _OURS else "failed"
