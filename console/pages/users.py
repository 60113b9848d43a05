"""Who may sign in: add, invite, shut out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from console.access import Operator, TheDesk
from console.browser import base_url
from console.desk import Desk
from console.role import Principal, Role
from console.users import UserError
from landingzone.errors import LandingZoneError

_Text = Annotated[str, Form(max_length=300)]


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/users", show, methods=["GET"])
    router.add_api_route("/users", add, methods=["POST"])
    router.add_api_route("/users/{name}/invite", invite, methods=["POST"])
    router.add_api_route("/users/{name}/disable", disable, methods=["POST"])
    router.add_api_route("/users/{name}/enable", enable, methods=["POST"])
    return router


def show(request: Request, desk: TheDesk, who: Operator) -> Response:
    """The users, and a form for another one."""
    return _page(request, desk, who)


def add(
    request: Request,
    desk: TheDesk,
    who: Operator,
    name: _Text = "",
    full_name: _Text = "",
    role: _Text = "",
    account: _Text = "",
) -> Response:
    """A new user, with the link that lets them in."""
    try:
        if role not in list(Role):
            raise UserError("Choose a role.")
        user = desk.users.add(name, Role(role), account=account.strip() or None, full_name=full_name, actor=who.actor)
    except UserError as refused:
        given = {"name": name, "full_name": full_name, "role": role, "account": account}
        return _page(request, desk, who, refused=refused, given=given, status=422)
    return _invited(request, desk, who, user.name)


def invite(request: Request, desk: TheDesk, who: Operator, name: str) -> Response:
    """A new link for a user, as for a lost phone or a forgotten password."""
    return _invited(request, desk, who, name)


def disable(desk: TheDesk, who: Operator, name: str) -> Response:
    """Shut a user out, at once."""
    desk.users.set_enabled(name, enabled=False, actor=who.actor)
    return RedirectResponse("/users", 303)


def enable(desk: TheDesk, who: Operator, name: str) -> Response:
    """Let a user in again."""
    desk.users.set_enabled(name, enabled=True, actor=who.actor)
    return RedirectResponse("/users", 303)


def _invited(request: Request, desk: Desk, who: Principal, name: str) -> Response:
    secret = desk.users.invite(name, hours=desk.settings.invitation_hours, actor=who.actor)
    link = f"{base_url(request, desk.settings)}/invitation/{secret}"
    return _page(request, desk, who, link=link, invited=name)


def _page(
    request: Request,
    desk: Desk,
    who: Principal,
    *,
    refused: LandingZoneError | None = None,
    given: dict[str, str] | None = None,
    link: str = "",
    invited: str = "",
    status: int = 200,
) -> Response:
    return desk.page(
        request,
        "users.html",
        who,
        status=status,
        users=desk.users.all(),
        accounts=[one.name for one in desk.here.accounts.all()],
        roles=list(Role),
        refused=refused,
        given=given or {"name": "", "full_name": "", "role": Role.VIEWER.value, "account": ""},
        link=link,
        invited=invited,
        hours=desk.settings.invitation_hours,
    )
