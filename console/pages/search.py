"""Search, from the top of every page."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from console.access import Staff, TheDesk
from console.search import MOST, search


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/search", show, methods=["GET"])
    return router


def show(request: Request, desk: TheDesk, who: Staff, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """What was found."""
    with desk.here.db.read() as tx:
        found = search(tx, q)
    return desk.page(request, "search.html", who, q=q, found=found, most=MOST)
