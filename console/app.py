"""The console's application: its pages, what stands before them, and what becomes of errors."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import sqlalchemy as sa
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from console.access import NotFound, NotSignedIn, principal_of
from console.api.app import PREFIX, build_api
from console.browser import ForeignForm, address_of, page_of
from console.desk import STATIC, Desk
from console.guard import Guard
from console.live import TooManyStreams
from console.pages import account, account_keys, audit_trail, district, me, run, search, send, sign_in, tonight, users
from console.role import Principal
from console.run_sight import NotKept
from console.sign_in import SignInRefused, SignInTooOften
from console.tus import Files, tus_router
from landingzone import __version__
from landingzone.command import Installation
from landingzone.db import is_busy, is_disk_full
from landingzone.errors import DatabaseAway, DiskFull, LandingZoneError, UsageError

_log = structlog.get_logger("console")

_STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    ForeignForm: 403,
    SignInRefused: 401,
    SignInTooOften: 429,
    TooManyStreams: 503,
    NotKept: 404,
    DatabaseAway: 503,
    UsageError: 400,
    LandingZoneError: 409,
}
"""The answer's status for each error that is told to a person; the nearest class counts."""
_THREADS = 8
"""For what blocks while uploads come."""


_PAGES = (
    sign_in,
    me,
    users,
    tonight,
    account,
    run,
    account_keys,
    audit_trail,
    search,
    district,
    send,
)
"""Every module of pages; one in each line."""


class _Kept(StaticFiles):
    """Scripts and styles: their address changes with what they hold."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """As it is, and for a year."""
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer


def page_routes() -> list[APIRoute]:
    """Every page's route."""
    return [route for module in _PAGES for route in module.pages().routes if isinstance(route, APIRoute)]


def build_app(here: Installation) -> FastAPI:
    """The application of one installation."""
    desk = Desk(here)
    app = FastAPI(title="Landing zone", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    files = Files.of(here, ThreadPoolExecutor(_THREADS, "uploads"), lambda request: address_of(request, desk.settings))
    app.state.files = files
    app.include_router(tus_router(files))
    app.mount("/static", _Kept(directory=STATIC), name="static")
    for module in _PAGES:
        app.include_router(module.pages(), include_in_schema=False)
    app.mount(PREFIX, build_api(desk), name="api")
    _Answers(desk).mount(app)
    app.add_middleware(Guard, settings=desk.settings, unbounded=_takes_uploads)
    return app


def _takes_uploads(path: str) -> bool:
    """Whether requests there have bounds of their own."""
    return path in {"/files", "/send"} or path.startswith("/files/")


class _Answers:
    """What becomes of errors: a page that says what to do, and nothing of the inside."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def told(self, request: Request, message: str, status: int) -> Response:
        """A page, or what htmx puts into the one that is there."""
        if request.headers.get("hx-request"):
            fragment = self._desk.templates.get_template("error_fragment.html").render(message=message)
            return HTMLResponse(fragment, status, headers={"HX-Retarget": "#told", "HX-Reswap": "innerHTML"})
        return self._desk.page(request, "error.html", _whoever(request), status=status, message=message, code=status)

    async def refused(self, request: Request, error: Exception) -> Response:
        """Something is not as it has to be, and the error says what."""
        return self.told(request, str(error), _status(error))

    async def not_signed_in(self, request: Request, _error: Exception) -> Response:
        """Off to the sign-in, and back afterwards."""
        back = page_of(request, self._desk.settings)
        to = f"/sign-in?next={quote(back, safe='/')}" if back != "/" else "/sign-in"
        if request.headers.get("hx-request"):
            return Response(status_code=401, headers={"HX-Redirect": to})
        return RedirectResponse(to, 303)

    async def http(self, request: Request, error: Exception) -> Response:
        """No such route, or not by this method."""
        assert isinstance(error, HTTPException)
        words = {404: str(NotFound()), 405: "This page does not take that."}
        return self.told(request, words.get(error.status_code, "This cannot be answered."), error.status_code)

    async def malformed(self, request: Request, _error: Exception) -> Response:
        """A form or an address that is not as ours are."""
        return self.told(request, "Something in the form is missing or not as it should be.", 422)

    async def unexpected(self, request: Request, error: Exception) -> Response:
        """An error of ours, a full disk, or a database that is away."""
        if is_busy(error):
            return self.told(request, str(DatabaseAway()), 503)
        _log.error("console.error", route=_route(request), exc_info=error)
        if is_disk_full(error):
            return self.told(request, str(DiskFull()), 503)
        return self.told(request, "An error of ours. It was logged; the operator can look it up.", 500)

    def mount(self, app: FastAPI) -> None:
        """Answer an application's errors."""
        app.add_exception_handler(NotSignedIn, self.not_signed_in)
        app.add_exception_handler(LandingZoneError, self.refused)
        app.add_exception_handler(HTTPException, self.http)
        app.add_exception_handler(RequestValidationError, self.malformed)
        app.add_exception_handler(sa.exc.SQLAlchemyError, self.unexpected)
        app.add_exception_handler(Exception, self.unexpected)


def _status(error: Exception) -> int:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def _whoever(request: Request) -> Principal | None:
    """Who sees an error page; nobody where that cannot be found out, as while the database is away."""
    try:
        return principal_of(request)
    except sa.exc.SQLAlchemyError:
        return None


def _route(request: Request) -> str:
    """A request's route, without what stands in its place holders."""
    return str(getattr(request.scope.get("route"), "path", "unknown"))
