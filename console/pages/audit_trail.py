"""The audit trail: who changed what, filtered; and the proof that it is whole."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from console.access import Operator, TheDesk
from landingzone import audit

_PAGE = 100
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_Word = Annotated[str, Query(max_length=100)]


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/audit", show, methods=["GET"])
    router.add_api_route("/audit/verify", verify, methods=["POST"])
    return router


def show(
    request: Request,
    desk: TheDesk,
    who: Operator,
    account: _Word = "",
    action: _Word = "",
    since: _Word = "",
    before: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """The newest records first, a page at a time."""
    records = audit.newest(
        desk.here.db,
        account=account.strip() or None,
        action=action.strip() or None,
        since=since if _DAY.fullmatch(since) else None,
        before=before,
        limit=_PAGE + 1,
    )
    return desk.page(
        request,
        "audit.html",
        who,
        records=records[:_PAGE],
        further=records[_PAGE - 1].id if len(records) > _PAGE else None,
        given={"account": account, "action": action, "since": since},
        verdict=None,
    )


def verify(request: Request, desk: TheDesk, who: Operator) -> Response:
    """Walk the whole chain, and say what was found."""
    verdict = audit.verify(desk.here.db)
    given = {"account": "", "action": "", "since": ""}
    return desk.page(request, "audit.html", who, records=[], further=None, given=given, verdict=verdict)
