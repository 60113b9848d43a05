"""The API as an application of its own, mounted below the console: its calls, its errors, its document."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from console.api import (
    accounts,
    audit_trail,
    calendar,
    contacts,
    door,
    feeds,
    found,
    keys,
    outlook,
    people,
    problem,
    runs,
    webhooks,
)
from console.api.access import Absent, Bearer, CallNotAllowed, roles_of
from console.api.problem import Code, Problem
from console.desk import Desk
from landingzone import __version__
from landingzone.db import is_busy, is_disk_full
from landingzone.errors import DatabaseAway, DiskFull, LandingZoneError, UsageError
from processor.archive import ArchiveAway, DamagedCopy

PREFIX = "/api/v1"
_log = structlog.get_logger("console")
_CODES: dict[type[Exception], Code] = {
    CallNotAllowed: Code.NOT_ALLOWED,
    Absent: Code.NOT_FOUND,
    UsageError: Code.INVALID,
    DatabaseAway: Code.AWAY,
    LandingZoneError: Code.REFUSED,
}
"""The code for each error that is told; the nearest class counts."""
_ABOUT = """The HTTP API of a landing zone: what its pages and its command line do, for programs.

Every call shows a token that speaks for a user, `Authorization: Bearer lza_...`, and may do what that user's role may:
operators all; viewers look, but see nothing of what stands in the files; a district's user sees its own account. Make
one with `landingzone tokens add --user NAME`. What a token changes stands in the audit trail under its user's name.

Times are UTC, ISO 8601. Listings come in pages: `next` goes into `after`. What is not possible is answered with
`application/problem+json`: a stable `code`, and a `message` for people. A parameter or field that is not in this
document is refused. Fields may be added to answers; nothing else of this version changes.
"""


def build_api(desk: Desk) -> FastAPI:
    """The application that answers below /api/v1."""
    api = FastAPI(
        title="Landing zone",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    api.state.desk = desk
    parts = (outlook, accounts, feeds, keys, runs, contacts, door, calendar, people, audit_trail, found)
    for part in parts:
        api.router.routes.extend(part.calls().routes)
    webhooks.enter(api.webhooks)
    for error, handler in _HANDLERS.items():
        api.add_exception_handler(error, handler)
    api.add_middleware(Bearer, desk=desk)
    api.openapi = lambda: document(api)  # type: ignore[method-assign]
    return api


def document(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if api.openapi_schema is None:
        made = get_openapi(
            title=api.title,
            version=api.version,
            description=api.description,
            routes=api.routes,
            webhooks=api.webhooks.routes,
            servers=[{"url": PREFIX}],
            tags=[],
        )
        schemas = made["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas["Problem"].pop("$defs")
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        for route in _routes(api):
            for method in route.methods or ():
                operation = made["paths"][route.path_format][method.lower()]
                roles = [role.value for role in roles_of(route.dependant)]
                more = operation.get("description", "")
                operation["description"] = f"{more} For the roles: {', '.join(roles)}.".strip()
                operation["x-roles"] = roles
        api.openapi_schema = made
    return api.openapi_schema


def _routes(api: FastAPI) -> list[APIRoute]:
    return [one for one in api.routes if isinstance(one, APIRoute)]


# Errors


async def _refused(_request: Request, error: Exception) -> Response:
    code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    return problem.answer(code, str(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == problem.STATUS[Code.METHOD_NOT_ALLOWED]:
        return problem.answer(Code.METHOD_NOT_ALLOWED, "This address does not take that method.", _allowed(request))
    code = next((code for code, status in problem.STATUS.items() if status == error.status_code), Code.INVALID)
    return problem.answer(code, str(Absent()) if code is Code.NOT_FOUND else problem.MEANINGS[code])


def _allowed(request: Request) -> dict[str, str]:
    """Which methods this address takes: a route knows only its own. A path without place holders is meant first."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = [one for one in _routes(request.app) if one.path_regex.match(path)]
    meant = min((one.path_format for one in routes), key=lambda one: one.count("{"), default="")
    methods = {method for one in routes if one.path_format == meant for method in one.methods or ()}
    return {"allow": ", ".join(sorted(methods))}


async def _invalid(_request: Request, error: Exception) -> Response:
    """What is wrong, and where; never what stood there."""
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{'.'.join(str(part)[:50] for part in one['loc'])}: {one['msg']}" for one in error.errors()[:10])
    return problem.answer(Code.INVALID, f"{told}."[:2000])


async def _away(_request: Request, _error: Exception) -> Response:
    return problem.answer(Code.AWAY, "The archive does not answer; try again.")


async def _damaged(_request: Request, _error: Exception) -> Response:
    return problem.answer(Code.REFUSED, "The archive's copy is damaged: it is not what arrived.")


async def _unexpected(request: Request, error: Exception) -> Response:
    if is_busy(error):
        return problem.answer(Code.AWAY, str(DatabaseAway()))
    route = str(getattr(request.scope.get("route"), "path", "unknown"))
    _log.error("console.error", route=f"{PREFIX}{route}", exc_info=error)
    if is_disk_full(error):
        return problem.answer(Code.AWAY, str(DiskFull()))
    return problem.answer(Code.ERROR, "An error of ours. It was logged; the operator can look it up.")


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Any]] = {
    LandingZoneError: _refused,
    HTTPException: _http,
    RequestValidationError: _invalid,
    ArchiveAway: _away,
    DamagedCopy: _damaged,
    sa.exc.SQLAlchemyError: _unexpected,
    Exception: _unexpected,
}
