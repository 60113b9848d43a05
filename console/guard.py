"""What stands before every page: headers that bind the browser, and bounds on what one client may ask."""

import time
from collections import deque
from collections.abc import Callable

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.api import problem
from console.api.problem import Code
from console.browser import address_of, is_secure
from landingzone.address import network_of
from landingzone.settings import ConsoleSettings

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
TRANSPORT = "max-age=31536000; includeSubDomains"
NO_STORE = "no-store"
_API = "/api/"
_MINUTE = 60.0
_MOST_ADDRESSES = 10_000
MOST_FORM_BYTES = 1 << 20
"""Of a request that is no upload."""


class Guard:
    """Sets the headers, and turns away who asks too often or sends too much.

    Args:
        app: what comes after it.
        settings: the console's.
        unbounded: whether a path takes uploads, which have bounds of their own.
    """

    def __init__(self, app: ASGIApp, settings: ConsoleSettings, *, unbounded: Callable[[str], bool]) -> None:
        self._app = app
        self._settings = settings
        self._unbounded = unbounded
        self._asked: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        path: str = scope["path"]

        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if is_secure(request, self._settings):
                    headers.setdefault("strict-transport-security", TRANSPORT)
                headers.setdefault("cache-control", NO_STORE)
            await send(message)

        if self._unbounded(path):
            await self._app(scope, receive, bound)
            return
        if not self._may_ask(network_of(address_of(request, self._settings))):
            told = _told(path, Code.TOO_MANY_REQUESTS, "Too many requests from here. Wait a minute.")
            told.headers["retry-after"] = "60"
            await told(scope, receive, bound)
            return
        if _length(request) > MOST_FORM_BYTES or "transfer-encoding" in request.headers:
            told = _told(path, Code.TOO_LARGE, "This is more than a form may hold.")
            told.headers["connection"] = "close"
            await told(scope, receive, bound)
            return
        await self._app(scope, receive, bound)

    def _may_ask(self, network: str) -> bool:
        """Whether a place has not asked too often within the last minute."""
        present = time.monotonic()
        if len(self._asked) > _MOST_ADDRESSES:
            self._asked = {name: times for name, times in self._asked.items() if times[-1] > present - _MINUTE}
        times = self._asked.setdefault(network, deque(maxlen=self._settings.requests_per_minute))
        if len(times) == times.maxlen and times[0] > present - _MINUTE:
            return False
        times.append(present)
        return True


def _told(path: str, code: Code, message: str) -> Response:
    """An answer for a program, or for a person."""
    if path.startswith(_API):
        return problem.answer(code, message)
    return PlainTextResponse(message, problem.STATUS[code])


def _length(request: Request) -> int:
    """What a request says that its body takes, in bytes."""
    said = request.headers.get("content-length", "0")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else MOST_FORM_BYTES + 1  # noqa: PLR2004 - digits
