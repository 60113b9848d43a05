"""Who may make which call: a token speaks for its user, and each call says by the type of its `who` who may.

A browser never sends a token by itself, so nothing here needs a proof against forged requests.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, get_origin

import sqlalchemy as sa
import structlog
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from pydantic.fields import FieldInfo
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from console.api.problem import Code, answer
from console.browser import address_of
from console.desk import Desk
from console.role import STAFF, Principal, Role
from console.tokens import Kind, Refusal
from landingzone.db import is_busy
from landingzone.errors import DatabaseAway, LandingZoneError, UsageError

PUBLIC = ("/openapi.json",)
_log = structlog.get_logger("console")
_TOLD = {
    Refusal.REVOKED: "This token was revoked. Ask an operator for a new one.",
    Refusal.EXPIRED: "This token has expired. Ask an operator for a new one.",
    Refusal.ACCOUNT_DISABLED: "This token's account is disabled.",
    Refusal.USER_DISABLED: "This token's user is disabled.",
    Refusal.OTHER_KIND: "This token sends files (lzu_); the API takes those that begin with lza_.",
}


class CallNotAllowed(LandingZoneError):
    """This token's user may not do that."""


class Absent(LandingZoneError):
    """There is no such thing here."""


class Bearer:
    """Lets in who shows a token that opens: before anything of a request is looked at.

    Args:
        app: what comes after it.
        desk: the console.
    """

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) in PUBLIC:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            found = await run_in_threadpool(self._admitted, request)
        except sa.exc.SQLAlchemyError as error:
            if not is_busy(error):
                raise
            await answer(Code.AWAY, str(DatabaseAway()))(scope, receive, send)
            return
        if isinstance(found, Refusal):
            _log.warning("api.token_refused", reason=found.value, peer=address_of(request, self._desk.settings))
            told = _TOLD.get(found, "Show a token: Authorization: Bearer lza_...")
            await answer(Code.TOKEN_REFUSED, told, {"www-authenticate": "Bearer"})(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = found
        await self._app(scope, receive, send)

    def _admitted(self, request: Request) -> Principal | Refusal:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return Refusal.UNKNOWN
        client = "".join(char if char.isprintable() else " " for char in request.headers.get("user-agent", ""))
        address = address_of(request, self._desk.settings)
        token = self._desk.tokens.authenticate(secret.strip(), kind=Kind.API, address=address, client=client)
        if isinstance(token, Refusal):
            return token
        assert token.user is not None
        user = self._desk.users.get(token.user)
        return Principal(user.id, user.name, user.full_name, user.role, user.account, token=token.id)


def desk_of(request: Request) -> Desk:
    """The console that answers a request."""
    desk: Desk = request.app.state.desk
    return desk


class Allowed:
    """A dependency that lets some roles in."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    def __call__(self, request: Request) -> Principal:
        """Who it is; raises CallNotAllowed."""
        who: Principal = request.state.principal
        if who.role not in self.roles:
            raise CallNotAllowed
        return who


Operator = Annotated[Principal, Depends(Allowed(Role.OPERATOR))]
Staff = Annotated[Principal, Depends(Allowed(*STAFF))]
WithRows = Annotated[Principal, Depends(Allowed(Role.OPERATOR, Role.DISTRICT))]
"""Those who may see what stands in the files."""
Anybody = Annotated[Principal, Depends(Allowed(*Role))]
TheDesk = Annotated[Desk, Depends(desk_of)]


def roles_of(dependant: Dependant) -> tuple[Role, ...]:
    """Who may make a call, as its `who` says."""
    return next((one.call.roles for one in dependant.dependencies if isinstance(one.call, Allowed)), ())


def require_known_parameters(request: Request) -> None:
    """Raise UsageError for a parameter that a call does not know, or that is there twice: it would not be heard."""
    known = dict(_parameters(request.scope["route"].dependant))
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise UsageError(f"This call has no parameter {name[:50]!r}; it knows {there}.")
        if times > 1 and get_origin(known[name].annotation) is not tuple:
            raise UsageError(f"The parameter {name} is there {times} times.")


def _parameters(dependant: Dependant) -> Iterator[tuple[str, FieldInfo]]:
    yield from ((one.alias, one.field_info) for one in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def require_account(who: Principal, account: str) -> None:
    """Raise Absent for an account that is none of this person's business: whether it is there is not, either."""
    if not who.may_see(account):
        raise Absent
