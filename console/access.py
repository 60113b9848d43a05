"""Who may see which page: each route says it by the type of its `who`; a test asks every route.

Operator    changes things
Staff       operators and viewers: looks at every account
District    a district's own staff: its own account, `who.account`
Reader      operators and a district's own staff: whoever may see what stands in an account's files
Anybody     whoever has signed in
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from console.browser import UNSAFE, ForeignForm, cookie_name, is_secure, require_own_form
from console.desk import Desk
from console.role import STAFF, Principal, Role
from console.upload_form import drain
from landingzone.errors import LandingZoneError


class NotSignedIn(LandingZoneError):
    """Sign in to see this."""


class NotFound(LandingZoneError):
    """This page is not there, or not for you."""


def desk_of(request: Request) -> Desk:
    """The console that answers a request."""
    desk: Desk = request.app.state.desk
    return desk


def cookie_of(request: Request) -> str:
    """What the browser holds of a session; empty: nothing."""
    secure = is_secure(request, desk_of(request).settings)
    return request.cookies.get(cookie_name(secure=secure), "")


def principal_of(request: Request) -> Principal | None:
    """Who has signed in."""
    cookie = cookie_of(request)
    return desk_of(request).sessions.principal(cookie) if cookie else None


async def form_secret(request: Request) -> str:
    """What the form brought along to prove that it is one of ours; htmx sends it as a header."""
    if request.method not in UNSAFE:
        return ""
    if (header := request.headers.get("x-csrf")) is not None:
        return header
    given = (await request.form()).get("csrf", "")
    if isinstance(given, UploadFile):
        raise ForeignForm
    return given


class Allowed:
    """A dependency that lets some roles in. Of a request that changes something the form is proven, too."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    def __call__(self, request: Request, csrf: Annotated[str, Depends(form_secret)]) -> Principal:
        """Who it is; raises NotSignedIn, NotFound, ForeignForm."""
        who = principal_of(request)
        if who is None:
            raise NotSignedIn
        if request.method in UNSAFE:
            require_own_form(request, desk_of(request).settings, csrf=who.csrf, given=csrf)
        if who.role not in self.roles:
            raise NotFound
        return who


class AllowedToSend:
    """Like Allowed, for a form with a file that is read as it comes: its route proves that it is one of ours."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    async def __call__(self, request: Request) -> Principal:
        """Who it is; raises NotSignedIn, NotFound once the form has come: before that no browser shows an answer."""
        who = await run_in_threadpool(principal_of, request)
        if who is None or who.role not in self.roles:
            await drain(request)
            raise NotSignedIn if who is None else NotFound
        return who


Operator = Annotated[Principal, Depends(Allowed(Role.OPERATOR))]
Staff = Annotated[Principal, Depends(Allowed(*STAFF))]
District = Annotated[Principal, Depends(Allowed(Role.DISTRICT))]
DistrictSending = Annotated[Principal, Depends(AllowedToSend(Role.DISTRICT))]
Reader = Annotated[Principal, Depends(Allowed(Role.OPERATOR, Role.DISTRICT))]
Anybody = Annotated[Principal, Depends(Allowed(*Role))]
TheDesk = Annotated[Desk, Depends(desk_of)]


def require_account(who: Principal, account: str) -> None:
    """Raise NotFound for an account that is none of this person's business: whether it is there is not, either."""
    if not who.may_see(account):
        raise NotFound
