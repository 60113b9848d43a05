"""A run: its receipt, steps and changes; what was held, with approval and rejection; undoing; the file itself."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from console import run_sight
from console.access import NotFound, Operator, Staff, TheDesk
from console.desk import Desk
from console.role import Principal
from console.run_sight import RunSight, sight_of
from landingzone.errors import LandingZoneError
from processor import guards, kept_changes, requests
from processor.outcome import Outcome
from processor.run import Run, unanswered

_Reason = Annotated[str, Form(max_length=500)]
_ROWS = 100
_HELD_SHOWN = 500


class ReasonMissing(LandingZoneError):
    """Say why: the district reads it in the receipt."""


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/held", held, methods=["GET"])
    router.add_api_route("/runs/{run}", show, methods=["GET"])
    router.add_api_route("/runs/{run}/rows", rows, methods=["GET"])
    router.add_api_route("/runs/{run}/file", file, methods=["GET"])
    router.add_api_route("/runs/{run}/rejects", rejects, methods=["GET"])
    router.add_api_route("/runs/{run}/approve", approve, methods=["POST"])
    router.add_api_route("/runs/{run}/reject", reject, methods=["POST"])
    router.add_api_route("/runs/{run}/retry", retry, methods=["POST"])
    router.add_api_route("/runs/{run}/revert", revert, methods=["POST"])
    return router


def held(request: Request, desk: TheDesk, who: Staff) -> Response:
    """What waits for an operator, the oldest first."""
    with desk.here.db.read() as tx:
        found = unanswered(tx, limit=_HELD_SHOWN)
    waiting = [one for one in found if one.outcome is Outcome.HELD]
    failed = [one for one in found if one.outcome is Outcome.FAILED]
    return desk.page(request, "held.html", who, held=waiting, failed=failed, codes=guards.CODES)


def show(request: Request, desk: TheDesk, who: Staff, run: str) -> Response:
    """A run."""
    return _page(request, desk, who, _run(desk, run))


def rows(
    request: Request,
    desk: TheDesk,
    who: Operator,
    run: str,
    feed: Annotated[str, Query(max_length=64)],
    kind: Annotated[str, Query(max_length=32)],
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """Some of the rows that it changed."""
    found = _run(desk, run)
    counts = kept_changes.counts(desk.archive, found)
    if feed not in counts or kind not in counts[feed]:
        raise NotFound
    pages_ = -(-counts[feed][kind] // _ROWS)
    at = min(page, pages_)
    these = kept_changes.rows(
        desk.archive, desk.here.catalogue, found, feed=feed, kind=kind, skip=(at - 1) * _ROWS, most=_ROWS
    )
    return desk.page(
        request,
        "run_rows.html",
        who,
        run=found,
        rows=these,
        feed=desk.here.catalogue[feed],
        kind=kind,
        number=counts[feed][kind],
        page=at,
        pages=pages_,
    )


def file(desk: TheDesk, who: Operator, run: str) -> Response:
    """The file as it arrived."""
    found = _run(desk, run)
    with desk.here.db.read() as tx:
        pieces = run_sight.original(tx, desk.archive, found)
    run_sight.note_download(desk.here.db, found, "file", actor=who.actor)
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=_attached(found.file))


def rejects(desk: TheDesk, who: Operator, run: str) -> Response:
    """The rows that were rejected."""
    found = _run(desk, run)
    pieces = run_sight.rejects(desk.archive, found)
    run_sight.note_download(desk.here.db, found, "rejects", actor=who.actor)
    return StreamingResponse(pieces, media_type="text/csv", headers=_attached(f"{found.file}.rejects.csv"))


def approve(desk: TheDesk, who: Operator, run: str, reason: _Reason = "") -> Response:
    """Approve a held run as it is shown."""
    found = _run(desk, run)
    asked = requests.approve(desk.here.db, desk.archive, found.id, reason=reason.strip(), actor=who.actor)
    return RedirectResponse(f"/runs/{asked}", 303)


def reject(request: Request, desk: TheDesk, who: Operator, run: str, reason: _Reason = "") -> Response:
    """Reject a held run; the district reads why."""
    found = _run(desk, run)
    if not reason.strip():
        return _page(request, desk, who, found, refused=ReasonMissing(), status=422)
    asked = requests.reject(desk.here.db, desk.archive, found.id, reason=reason.strip(), actor=who.actor)
    return RedirectResponse(f"/runs/{asked}", 303)


def retry(desk: TheDesk, who: Operator, run: str) -> Response:
    """Try a file again that was not imported."""
    found = _run(desk, run)
    return RedirectResponse(f"/runs/{requests.retry(desk.here.db, desk.archive, found.id, actor=who.actor)}", 303)


def revert(desk: TheDesk, who: Operator, run: str, through: Annotated[bool, Form()] = False) -> Response:
    """Undo an applied run, with `through` also all that were applied since."""
    found = _run(desk, run)
    asked = requests.revert(desk.here.db, desk.archive, found.id, through=through, actor=who.actor)
    return RedirectResponse(f"/runs/{asked}", 303)


def _run(desk: Desk, run: str) -> Run:
    with desk.here.db.read() as tx:
        found = run_sight.get(tx, run)
    if found is None:
        raise NotFound
    return found


def _page(
    request: Request, desk: Desk, who: Principal, run: Run, *, refused: Exception | None = None, status: int = 200
) -> Response:
    with desk.here.db.read() as tx:
        sight: RunSight = sight_of(tx, desk.archive, desk.here.catalogue, run, with_rows=who.may_see_rows)
    return desk.page(request, "run.html", who, status=status, sight=sight, run=run, codes=guards.CODES, refused=refused)


def _attached(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
