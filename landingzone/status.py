"""The status of one process: its pulse, its checks, its metrics; served over HTTP, and told to who supervises it.

    /metrics   for Prometheus
    /healthz   200 while the main loop turns, else 503: restart it
    /readyz    200 while every check holds, else 503: send nobody here

Nothing here runs on a main loop. One thread looks at what may take its time (disk, database, queue) every so often and
keeps what it saw; another tells the supervisor; a request is answered by threads of its own, a bounded number of them,
from what was seen. So a disk that hangs, a flood of requests or one that never ends stall nothing.
"""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import structlog

from landingzone.metrics import Metrics
from landingzone.notify import notify
from landingzone.settings import StatusSettings

MOST_REQUESTS = 8
"""Requests that are answered at the same time; the next ones are closed."""
REQUEST_SECONDS = 5.0
"""How long one may take, from its connection to the last byte of the answer."""
BIND_AGAIN_SECONDS = 10.0
PASSING = ("disk",)
"""Checks that a part may come up without: on a full disk receipts are still fetched and what is held is answered."""
_STALE_AFTER = 60.0
"""Seconds after which what was looked up last counts no more, beyond the interval."""

log = structlog.get_logger()

Check = Callable[[], bool]
Sample = Callable[[], Mapping[str, float | Mapping[str, float]]]


class Status:
    """How one process is.

    Args:
        metrics: what it counts.
        settings: where that is served.
        port: the part's port.
        checks: what must hold for it to be ready; each may wait for the disk or the database.
        samples: figures that may take as long: each gives metrics by their names.
    """

    def __init__(
        self,
        metrics: Metrics,
        settings: StatusSettings,
        *,
        port: int,
        checks: Mapping[str, Check],
        samples: tuple[Sample, ...] = (),
    ) -> None:
        self.metrics = metrics
        self._settings = settings
        self._port = port
        self._checks = checks
        self._samples = samples
        self._beaten = time.monotonic()
        self._checked = time.monotonic()
        self._checked_at = time.time()
        self._holds: dict[str, bool] = dict.fromkeys(checks, False)
        self._failing: set[str] = set()
        self._sampled: list[set[str]] = [set() for _ in samples]
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._bind_after = 0.0
        metrics.look_up("ready", lambda: {name: float(holds) for name, holds in self.readiness().items()})
        metrics.look_up("pulse_age_seconds", lambda: self.pulse_age)
        metrics.look_up("checked_timestamp_seconds", lambda: self._checked_at)

    # For the part

    def beat(self) -> None:
        """The main loop has turned; called from it, at least every few seconds."""
        self._beaten = time.monotonic()

    def start(self) -> None:
        """Look, serve and tell, from now on, in threads of its own."""
        for loop in (self._keep_telling, self._keep_looking):
            threading.Thread(target=loop, name="status", daemon=True).start()

    def stop(self) -> None:
        """The part is about to end: it is not ready any more. What is served goes on until the process ends."""
        self._stopping.set()
        self._tell("STOPPING=1")

    # What is told

    @property
    def pulse_age(self) -> float:
        """Seconds since the main loop turned."""
        return time.monotonic() - self._beaten

    @property
    def healthy(self) -> bool:
        """Whether the main loop turns."""
        return self.pulse_age < self._settings.stalled_seconds

    def readiness(self) -> dict[str, bool]:
        """Every check with whether it holds; looked at lately, or it does not count."""
        fresh = time.monotonic() - self._checked < self._settings.refresh_seconds + _STALE_AFTER
        held = {name: holds and fresh for name, holds in dict(self._holds).items()}
        return {"pulse": self.healthy, **held, "serving": not self._stopping.is_set()}

    # The thread that tells, which never waits for anything, and the one that looks, which may

    def _keep_telling(self) -> None:
        told_ready = False
        while True:
            if self._settings.enabled:
                self._serve()
            if self.healthy:
                if not told_ready and all(holds for name, holds in self.readiness().items() if name not in PASSING):
                    told_ready = True
                    self._tell("READY=1")
                self._tell("WATCHDOG=1")
            if self._stopping.wait(min(1.0, self._settings.refresh_seconds) if told_ready else 0.05):
                return

    def _keep_looking(self) -> None:
        while True:
            self._look()
            if self._stopping.wait(self._settings.refresh_seconds if all(self._holds.values()) else 0.2):
                return

    def _look(self) -> None:
        holds = {name: bool(self._tried(name, check, default=False)) for name, check in self._checks.items()}
        for at, sample in enumerate(self._samples):
            found = self._tried(sample.__name__, sample, default={})
            for name in self._sampled[at] - set(found):  # better no figure than an old one
                self.metrics.forget(name)
            for name, value in found.items():
                self.metrics.look_up(name, _constant(value))
            self._sampled[at] = set(found)
        self._holds, self._checked, self._checked_at = holds, time.monotonic(), time.time()

    def _tried(self, name: str, look: Callable[[], Any], *, default: Any) -> Any:  # noqa: ANN401 - as it is given
        """What `look` sees; if it fails that is logged once, until it succeeds again."""
        try:
            found = look()
        except Exception as error:
            if name not in self._failing:
                self._failing.add(name)
                log.error("status.check_failed", check=name, exc_info=error)
            return default
        self._failing.discard(name)
        return found

    def _tell(self, *said: str) -> None:
        # a supervisor that went away will be missed by the system, not by us
        with contextlib.suppress(OSError):
            notify(*said)

    # What is served

    def _serve(self) -> None:
        """Listen, unless we do. A port that is taken is tried again: files must land all the same."""
        if self._server is not None or time.monotonic() < self._bind_after:
            return
        try:
            self._server = _Server((self._settings.host, self._port), self)
        except OSError as error:
            if not self._bind_after:
                log.error("status.not_served", port=self._port, errno=error.errno)
            self._bind_after = time.monotonic() + BIND_AGAIN_SECONDS
            return
        log.info("status.opened", host=self._settings.host, port=self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="status-http", daemon=True).start()


class _Server(ThreadingMixIn, TCPServer):
    """Answers a bounded number of requests at the same time, each in a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], status: Status) -> None:
        self.status = status
        self._room = threading.BoundedSemaphore(MOST_REQUESTS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Request)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's signature
        """Start a thread for it, if there is room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        """Answer it, then make room; one that takes too long is cut off."""
        late = threading.Timer(REQUEST_SECONDS, _hang_up, [request])
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - likewise
        """Log what went wrong; that somebody hung up is not worth a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("status.request_failed", exc_info=error)


class _Request(BaseHTTPRequestHandler):
    """One request. Bodies are not read, connections are not kept."""

    server: _Server
    server_version = "landingzone"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        status = self.server.status
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, *status.metrics.text(self.headers.get("Accept", "")))
            case "/healthz":
                self._answer_as(status.healthy, {"healthy": status.healthy, "pulse_age_seconds": status.pulse_age})
            case "/readyz":
                checks = status.readiness()
                self._answer_as(all(checks.values()), {"ready": all(checks.values()), "checks": checks})
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"/metrics /healthz /readyz\n", "text/plain")

    do_HEAD = do_GET  # noqa: N815 - the library's names

    def _answer_as(self, good: bool, told: dict[str, Any]) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, json.dumps(told).encode() + b"\n", "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: who asks is no event."""


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        request.shutdown(socket.SHUT_RDWR)


def _constant(value: float | Mapping[str, float]) -> Callable[[], float | Mapping[str, float]]:
    return lambda: value
