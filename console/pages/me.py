"""A user's own page: the password, and the sessions that are open."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from console.access import Anybody, TheDesk
from console.desk import Desk
from console.password import PasswordRefused
from console.role import Principal
from console.users import UserError
from landingzone.errors import LandingZoneError

_Text = Annotated[str, Form(max_length=300)]


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/me", show, methods=["GET"])
    router.add_api_route("/me/password", change_password, methods=["POST"])
    router.add_api_route("/me/sessions/{digest}/end", end_session, methods=["POST"])
    return router


def show(request: Request, desk: TheDesk, who: Anybody, done: str = "") -> Response:
    """The page."""
    return _page(request, desk, who, done=done == "password")


def change_password(
    request: Request, desk: TheDesk, who: Anybody, present: _Text = "", new: _Text = "", again: _Text = ""
) -> Response:
    """Set another password; all other sessions end."""
    try:
        if new != again:
            raise PasswordRefused("The two new passwords differ.")
        desk.users.change_password(who.name, present=present, new=new, keep_session=who.session, actor=who.actor)
    except (PasswordRefused, UserError) as refused:
        return _page(request, desk, who, refused=refused, status=422)
    return RedirectResponse("/me?done=password", 303)


def end_session(desk: TheDesk, who: Anybody, digest: str) -> Response:
    """End one of one's own sessions."""
    desk.sessions.end(who.user_id, digest)
    return RedirectResponse("/me", 303)


def _page(
    request: Request,
    desk: Desk,
    who: Principal,
    *,
    refused: LandingZoneError | None = None,
    done: bool = False,
    status: int = 200,
) -> Response:
    user, sessions = desk.users.get(who.name), desk.sessions.of(who.user_id)
    return desk.page(request, "me.html", who, status=status, user=user, sessions=sessions, refused=refused, done=done)
