"""A district's own files: how each stands, the receipts, the rows that were left out, and how to connect.

An operator may look at an account as its district sees it; nothing here changes anything.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from console import landed_files
from console.access import District, NotFound, Operator, Reader, TheDesk, require_account
from console.browser import base_url
from console.desk import Desk
from console.landed_files import LandedFile
from console.role import Principal
from landingzone.account import Account
from landingzone.clock import now
from landingzone.errors import LandingZoneError
from landingzone.host_key_files import fingerprints
from landingzone.landing import Landing, least_id_of
from landingzone.zone import open_plain
from processor import receipt, receipt_text
from processor.archive_cipher import IdentityMissing
from processor.archive_store import ArchiveAway
from processor.arrivals import Outlook, Timing, outlook
from processor.outcome import APPLIED, Outcome
from processor.run import Run

_NEWEST, _PAGE = 8, 50
_DAY = r"\d{4}-\d{2}-\d{2}"
_PIECE = 1 << 16
_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

STANDS = {
    Timing.LATE: "Late: it was to be in by now.",
    Timing.HELD: "It has come, but could not be taken over as it is. Its receipt says why.",
    Timing.DUE: "Expected today, and not in yet.",
    Timing.IN: "In.",
    Timing.NOTHING: "Nothing is expected today.",
}
ENDED = {
    landed_files.WAITS: "It is safe here, and waits for its turn.",
    landed_files.READS: "It is being read.",
    Outcome.IMPORTED: "Taken over, every row of it.",
    Outcome.IMPORTED_WITH_REJECTS: "Taken over, but some rows were left out.",
    Outcome.UNCHANGED: "The same as before; nothing had to be done.",
    Outcome.HELD: "Not taken over yet: it is unusual, and we look at it first.",
    Outcome.SUPERSEDED: "A newer file has taken its place.",
    Outcome.REJECTED: "Not taken over: it cannot be used as it is.",
    Outcome.UNRECOGNISED: "Not taken over: we do not expect a file of this name.",
    Outcome.WITHDRAWN: "You took it back before it was read.",
    Outcome.FAILED: "Not taken over: a fault of ours. We look after it; you need not send it again.",
    Outcome.REVERTED: "We have undone it.",
}


class CopyAway(LandingZoneError):
    """The rows that were left out cannot be fetched at this moment. Try again later, or ask us for them."""


@dataclass(frozen=True)
class Reason:
    """Rejected rows with one reason.

    Attributes:
        message: what is wrong and what to do.
        rows: the first of them: line, field, value.
    """

    message: str
    rows: list[dict[str, object]]


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/files-today", own, methods=["GET"])
    router.add_api_route("/accounts/{account}/as-district", as_district, methods=["GET"])
    router.add_api_route("/receipts", receipts, methods=["GET"])
    router.add_api_route("/receipts/{landing}", show, methods=["GET"])
    router.add_api_route("/receipts/{landing}/receipt.json", as_json, methods=["GET"])
    router.add_api_route("/receipts/{landing}/receipt.txt", as_text, methods=["GET"])
    router.add_api_route("/receipts/{landing}/rejects.csv", rejects, methods=["GET"])
    router.add_api_route("/connect", connect, methods=["GET"])
    return router


def own(request: Request, desk: TheDesk, who: District) -> Response:
    """How one's own files stand."""
    return _today(request, desk, who, desk.here.accounts.get(account_of(who)))


def as_district(request: Request, desk: TheDesk, who: Operator, account: str) -> Response:
    """An account as its district sees it."""
    found = desk.here.accounts.find(account)
    if found is None:
        raise NotFound
    return _today(request, desk, who, found)


def receipts(
    request: Request,
    desk: TheDesk,
    who: District,
    day: Annotated[str, Query(pattern=f"^({_DAY})?$")] = "",
    before: Annotated[str, Query(pattern=f"^({_ID})?$")] = "",
) -> Response:
    """All that has landed, the newest first, by day."""
    account = desk.here.accounts.get(account_of(who))
    zone = ZoneInfo(account.time_zone)
    since, upto = _ids_of(day, zone)
    with desk.here.db.read() as tx:
        found = landed_files.newest(
            tx,
            desk.here.zone,
            account.name,
            most=_PAGE + 1,
            since=since,
            before=min(filter(None, (before, upto)), default=""),
        )
    shown = found[:_PAGE]
    by_day = [(date, list(files)) for date, files in groupby(shown, lambda one: one.landed_at.astimezone(zone).date())]
    further = shown[-1].landing.id if len(found) > _PAGE else None
    return desk.page(request, "receipts.html", who, by_day=by_day, day=day, further=further, ended=ENDED)


def show(request: Request, desk: TheDesk, who: Reader, landing: str) -> Response:
    """The receipt of one file, or how far it is."""
    file = _file(desk, who, landing)
    told = receipt.body(file.run) if file.run is not None and file.is_done else None
    return desk.page(
        request,
        "receipt_part.html" if request.headers.get("hx-request") else "receipt.html",
        who,
        file=file,
        told=told,
        applied=told is not None and told["outcome"] in APPLIED,
        reasons=_reasons(told["rejects"]) if told else [],
        has_rejects=told is not None and bool(told["rows"]["rejected"]),
        ended=ENDED,
    )


def as_json(desk: TheDesk, who: Reader, landing: str) -> Response:
    """The receipt for scripts."""
    run = _ended(desk, who, landing)
    return _download(iter([receipt.as_json(receipt.body(run))]), run, "receipt.json", "application/json")


def as_text(desk: TheDesk, who: Reader, landing: str) -> Response:
    """The receipt as text."""
    run = _ended(desk, who, landing)
    return _download(iter([receipt_text.as_text(receipt.body(run))]), run, "receipt.txt", "text/plain; charset=utf-8")


def rejects(desk: TheDesk, who: Reader, landing: str) -> Response:
    """Every row that was left out, with why; from the archive where the copy for the district is gone."""
    run = _ended(desk, who, landing)
    if run.report is None or not run.report["rows"]["rejected"]:
        raise NotFound
    return _download(_pieces(_open_rejects(desk, run)), run, "rejects.csv", "text/csv; charset=utf-8")


def connect(request: Request, desk: TheDesk, who: District) -> Response:
    """How a program sends files: address, host keys, the account's keys."""
    account, at = account_of(who), now()
    door = desk.here.settings.door
    kinds = {"ed25519", "rsa"} | ({"ecdsa"} if door.legacy_port else set())
    return desk.page(
        request,
        "connect.html",
        who,
        account=account,
        host=urlsplit(base_url(request, desk.settings)).hostname or "",
        port=door.port,
        host_keys=[one for one in fingerprints(desk.here.settings.root) if one.kind in kinds],
        keys=[(key, key.state(at)) for key in desk.keys.of(account) if key.closed(at) is None],
        sources=desk.here.sources.of(account),
    )


def account_of(who: Principal) -> str:
    """The account of a district's user. Raises NotFound for whoever has none."""
    if who.account is None:
        raise NotFound
    return who.account


def _today(request: Request, desk: Desk, who: Principal, account: Account) -> Response:
    with desk.here.db.read() as tx:
        found = _outlook(desk, account)(tx)
        files = landed_files.newest(tx, desk.here.zone, account.name, most=_NEWEST)
    waiting = [file for file in files if not file.is_done]
    return desk.page(
        request,
        "files_today.html",
        who,
        account=account,
        arrivals=found.arrivals,
        waiting=waiting,
        files=[file for file in files if file.is_done],
        stands=STANDS,
        ended=ENDED,
    )


def _outlook(desk: Desk, account: Account) -> Callable[..., Outlook]:
    settings = desk.here.settings.arrivals
    return lambda tx: outlook(
        tx, account, desk.here.sources, now(), by_default=settings.due, warn_minutes=settings.broadcast_minutes
    )


def _file(desk: Desk, who: Principal, landing_id: str) -> LandedFile:
    """A file that this person may see. Raises NotFound."""
    with desk.here.db.read() as tx:
        file = landed_files.find(tx, desk.here.zone, landing_id)
    if file is None:
        raise NotFound
    require_account(who, file.landing.account)
    return file


def _ended(desk: Desk, who: Principal, landing_id: str) -> Run:
    """The run that a file's receipt tells of. Raises NotFound while there is none."""
    file = _file(desk, who, landing_id)
    if file.run is None or not file.is_done:
        raise NotFound
    return file.run


def _open_rejects(desk: Desk, run: Run) -> int:
    """The open file of a run's rejected rows. Raises NotFound, CopyAway."""
    own_copy = desk.here.zone.receipts_folder(run.account) / f"{run.landing_id}-{run.file}.rejects.csv"
    try:
        return open_plain(own_copy)
    except FileNotFoundError:
        pass
    try:
        with desk.archive.files(Landing(run.landing_id, run.account, run.file), f"{run.attempt}.rejects.csv") as kept:
            return _open_first(kept)
    except (IdentityMissing, ArchiveAway, OSError):
        raise CopyAway from None


def _open_first(kept: list[Path]) -> int:
    if not kept:
        raise NotFound("The rows that were left out are not kept any more.")
    return open_plain(kept[0])


def _pieces(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _download(pieces: Iterator[bytes], run: Run, ending: str, media_type: str) -> Response:
    """An answer that a browser keeps as a file, never shows."""
    name = f"{run.landing_id}-{run.file}.{ending}"
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_. ") else "_" for char in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(pieces, media_type=media_type, headers={"content-disposition": disposition})


def _reasons(rejected: list[dict[str, object]]) -> list[Reason]:
    """Rejected rows by their reason, in the order in which the reasons come up."""
    by_reason: dict[str, list[dict[str, object]]] = {}
    for one in rejected:
        by_reason.setdefault(str(one["message"]), []).append(one)
    return [Reason(message, rows) for message, rows in by_reason.items()]


def _ids_of(day: str, zone: ZoneInfo) -> tuple[str, str]:
    """The least landing id of a day, and the least after it; empty for no day. Raises NotFound for one that is none."""
    if not day:
        return "", ""
    try:
        begins = datetime.combine(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date(), time(0), zone)
        return least_id_of(begins), least_id_of(begins + timedelta(days=1))
    except (ValueError, OverflowError):
        raise NotFound from None
