"""Tonight: every account and feed at one look, live; and the list of accounts."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response, StreamingResponse

from console.access import Staff, TheDesk
from console.desk import Desk
from console.role import Principal
from console.tonight import URGENT, Grid, State, Wanted
from landingzone.errors import UsageError

_Text = Annotated[str, Query(max_length=100)]
_Page = Annotated[int, Query(ge=1, le=1_000_000)]


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/tonight", show, methods=["GET"])
    router.add_api_route("/tonight/grid", grid, methods=["GET"])
    router.add_api_route("/tonight/live", live, methods=["GET"])
    router.add_api_route("/accounts", accounts, methods=["GET"])
    return router


def show(request: Request, desk: TheDesk, who: Staff, text: _Text = "", state: _Text = "", page: _Page = 1) -> Response:
    """The whole page."""
    return _page(request, desk, who, "tonight.html", _wanted(text, state, page))


def grid(
    request: Request,
    desk: TheDesk,
    who: Staff,
    text: _Text = "",
    state: _Text = "",
    page: _Page = 1,
    seen: _Text = "",
) -> Response:
    """What changes of it, for the page that is open; nothing, if it is as it was `seen`."""
    wanted = _wanted(text, state, page)
    if "hx-request" not in request.headers:
        return RedirectResponse("/tonight", 303)
    if seen and desk.live.grid(wanted).digest == seen:
        return Response(status_code=204)
    return _page(request, desk, who, "tonight_grid.html", wanted)


async def live(desk: TheDesk, who: Staff) -> Response:
    """Server-sent events: `changed` whenever the page may be another one."""
    desk.live.open(who.session)
    await run_in_threadpool(desk.live.start)
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(desk.live.stream(who.session), media_type="text/event-stream", headers=headers)


def accounts(request: Request, desk: TheDesk, who: Staff, text: _Text = "", page: _Page = 1) -> Response:
    """Every account, those that are disabled too."""
    given = text.strip().casefold()
    found = [one for one in desk.here.accounts.all() if given in one.name or given in one.title.casefold()]
    size = 200
    pages_ = max(1, -(-len(found) // size))
    at = min(page, pages_)
    some = found[(at - 1) * size : at * size]
    return desk.page(request, "accounts.html", who, accounts=some, found=len(found), text=text, page=at, pages=pages_)


def _wanted(text: str, state: str, page: int) -> Wanted:
    if state and state not in set(State):
        raise UsageError("There is no such state. Choose one from the list.")
    return Wanted(text.strip(), State(state) if state else None, page)


def _page(request: Request, desk: Desk, who: Principal, template: str, wanted: Wanted) -> Response:
    found, feeds = desk.live.grid(wanted), desk.live.board.feeds
    a_row = desk.templates.get_template("tonight_row.html")
    return desk.page(
        request,
        template,
        who,
        grid=found,
        feeds=feeds,
        drawn=lambda row: desk.live.drawn(row, lambda one: a_row.render(row=one, feeds=feeds)),
        wanted=wanted,
        states=tuple(State),
        urgent=URGENT,
        again=_query(wanted, found, seen=found.digest),
        query=lambda **other: _query(wanted, found, **other),
    )


def _query(wanted: Wanted, found: Grid, **other: object) -> str:
    """The address of this page, or of one that differs in something."""
    state = wanted.state.value if wanted.state else ""
    given = {"text": wanted.text, "state": state, "page": found.page, **other}
    return urlencode({name: value for name, value in given.items() if value not in ("", 1, None)})
