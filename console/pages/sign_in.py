"""Coming and going: the sign-in, the link of an invitation, OpenID Connect, the sign-out."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console import oidc, one_time_code
from console.access import Anybody, NotFound, TheDesk, principal_of
from console.browser import address_of, base_url, cookie_name, is_secure, require_own_origin, safe_path
from console.desk import Desk
from console.password import PasswordRefused
from console.role import Principal, Role
from console.secret import SecretError
from console.sign_in import Credentials, SignInRefused
from console.users import User
from landingzone.clock import now
from landingzone.errors import LandingZoneError

_OIDC_COOKIE = "landingzone-oidc"
_Text = Annotated[str, Form(max_length=300)]
_log = structlog.get_logger("console")


def pages() -> APIRouter:
    """The routes; those without a `who` are for everybody."""
    router = APIRouter()
    router.add_api_route("/", first, methods=["GET"])
    router.add_api_route("/sign-in", form, methods=["GET"])
    router.add_api_route("/sign-in", sign_in, methods=["POST"])
    router.add_api_route("/sign-out", sign_out, methods=["POST"])
    router.add_api_route("/invitation/{secret}", invitation, methods=["GET"])
    router.add_api_route("/invitation/{secret}", accept, methods=["POST"])
    router.add_api_route("/oidc/sign-in", begin_oidc, methods=["GET"])
    router.add_api_route("/oidc/back", end_oidc, methods=["GET"])
    return router


def home_of(who: Principal) -> str:
    """The page that somebody begins with."""
    return "/files-today" if who.role is Role.DISTRICT else "/tonight"


def first(who: Anybody) -> Response:
    """The way to one's own first page."""
    return RedirectResponse(home_of(who), 303)


def form(request: Request, desk: TheDesk, next: str = "/") -> Response:  # noqa: A002 - what the address says
    """The form; or on, if one is in already."""
    if principal_of(request) is not None:
        return RedirectResponse(safe_path(next), 303)
    return _form(request, desk, then=safe_path(next))


def sign_in(
    request: Request,
    desk: TheDesk,
    name: _Text = "",
    password: _Text = "",
    code: Annotated[str, Form(max_length=20)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - what the form says
) -> Response:
    """Take what was typed."""
    require_own_origin(request.headers, base_url(request, desk.settings))
    if desk.settings.oidc_only:
        raise NotFound
    given = Credentials(
        name.strip().lower(),
        password,
        code,
        address_of(request, desk.settings),
        request.headers.get("user-agent", ""),
    )
    try:
        secret = desk.sign_in.with_password(given)
    except SignInRefused as refused:
        return _form(request, desk, then=safe_path(next), refused=refused, name=given.name, status=401)
    return _signed_in(request, desk, secret, to=safe_path(next))


def sign_out(request: Request, desk: TheDesk, who: Anybody) -> Response:
    """End this session."""
    desk.sessions.end(who.user_id, who.session)
    answer = RedirectResponse("/sign-in", 303)
    secure = is_secure(request, desk.settings)
    answer.delete_cookie(cookie_name(secure=secure), secure=secure, httponly=True, samesite="lax")
    answer.headers["clear-site-data"] = '"cache", "storage"'
    return answer


# Invitations


def invitation(request: Request, desk: TheDesk, secret: str) -> Response:
    """Where an invited user sets a password and a second factor."""
    return _invitation(request, desk, secret, desk.users.invited(secret))


def accept(
    request: Request,
    desk: TheDesk,
    secret: str,
    password: _Text = "",
    again: _Text = "",
    code: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Set both, and sign in."""
    require_own_origin(request.headers, base_url(request, desk.settings))
    invited = desk.users.invited(secret)
    totp, sealed, step = _totp_of(desk, secret), None, None
    try:
        if password != again:
            raise PasswordRefused("The two passwords differ.")
        if desk.settings.second_factor:
            step = one_time_code.matching_step(totp, code, now(), after=None)
            if step is None:
                raise PasswordRefused("The one-time code is wrong, or too old: type the one that shows now.")
            sealed = desk.secret.seal({"totp": totp})
        user = desk.users.accept(secret, password=password, sealed_totp=sealed, totp_step=step)
    except PasswordRefused as refused:
        return _invitation(request, desk, secret, invited, refused=refused, status=422)
    address, client = address_of(request, desk.settings), request.headers.get("user-agent", "")
    return _signed_in(request, desk, desk.sign_in.open(user, address=address, client=client, by="invitation"), to="/")


def _totp_of(desk: Desk, secret: str) -> str:
    """The second factor that a link proposes; it follows from the link, so that the page shows the same each time."""
    return one_time_code.secret_from(desk.secret.derived("totp", secret))


def _invitation(
    request: Request,
    desk: Desk,
    secret: str,
    invited: User,
    *,
    refused: LandingZoneError | None = None,
    status: int = 200,
) -> Response:
    totp = _totp_of(desk, secret) if desk.settings.second_factor else ""
    qr_code = one_time_code.qr_code(totp, invited.name) if totp else ""
    answer = desk.page(
        request, "invitation.html", status=status, invited=invited, totp=totp, qr_code=qr_code, refused=refused
    )
    answer.headers["referrer-policy"] = "no-referrer"
    return answer


# OpenID Connect


async def begin_oidc(request: Request, desk: TheDesk, next: str = "/") -> Response:  # noqa: A002 - what the address says
    """Off to the provider."""
    provider = _provider(desk)
    url, kept = await provider.begin(back=_back(request, desk), then=safe_path(next))
    answer = RedirectResponse(url, 303)
    secure = is_secure(request, desk.settings)
    answer.set_cookie(
        _OIDC_COOKIE, kept, max_age=oidc.WITHIN_SECONDS, path="/oidc", secure=secure, httponly=True, samesite="lax"
    )
    return answer


async def end_oidc(request: Request, desk: TheDesk) -> Response:
    """Back from it."""
    provider = _provider(desk)
    try:
        who, then = await provider.finish(
            back=_back(request, desk), query=request.url.query, kept=request.cookies.get(_OIDC_COOKIE, "")
        )
    except SecretError:
        raise oidc.ProviderRefused from None
    address, client = address_of(request, desk.settings), request.headers.get("user-agent", "")
    try:
        user = await run_in_threadpool(oidc.user_for, desk.here.db, who)
    except oidc.NotInvited:
        _log.warning("console.sign_in_refused", reason="not_invited", peer=address)
        raise
    secret = await run_in_threadpool(desk.sign_in.open, user, address=address, client=client, by="oidc")
    answer = _signed_in(request, desk, secret, to=then)
    answer.delete_cookie(_OIDC_COOKIE, path="/oidc")
    return answer


def _provider(desk: Desk) -> oidc.Provider:
    if not desk.settings.oidc_issuer:
        raise NotFound
    return desk.provider


def _back(request: Request, desk: Desk) -> str:
    return f"{base_url(request, desk.settings)}/oidc/back"


def _form(
    request: Request,
    desk: Desk,
    *,
    then: str,
    refused: LandingZoneError | None = None,
    name: str = "",
    status: int = 200,
) -> Response:
    return desk.page(
        request,
        "sign_in.html",
        status=status,
        then=then,
        refused=refused,
        name=name,
        password=not desk.settings.oidc_only,
        second_factor=desk.settings.second_factor,
    )


def _signed_in(request: Request, desk: Desk, secret: str, *, to: str) -> Response:
    secure = is_secure(request, desk.settings)
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        cookie_name(secure=secure),
        secret,
        max_age=int(desk.settings.session_hours * 3600),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    return answer
