"""Sending a file by hand: choose it, say what its columns hold, see what would happen, confirm.

Every step is a form that works without script, and the draft remembers them all: a session that ends in between, a
second window or a look at something else loses nothing. What is known from the last time is not asked again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console.access import District, DistrictSending, TheDesk
from console.browser import ForeignForm, address_of, require_own_form
from console.columns import ColumnsRefused, fields_of, missing_of, to_keep
from console.desk import Desk
from console.drafts import Draft, DraftGone, NoRoomForDraft, Sender
from console.pages.district import account_of
from console.role import Principal
from console.sending import NotExpected, Plan, Sending, UnreadableFile, is_per_school
from console.upload_form import UploadForm, drain
from console.web_receiving import WebReceiving
from landingzone.backpressure import Backpressure
from landingzone.db import DISK_FULL
from landingzone.errors import LandingZoneError
from landingzone.kept_mapping import KeptMapping
from landingzone.refusal import Busy, NoRoom, Refused, TooLarge, TooMuch
from landingzone.room import Room
from processor.outcome import Outcome

_BATCH = 1 << 20
_BESIDE_FILE = 1 << 16
"""What a form with a file takes beside it, at most."""
_REJECTS_SHOWN = 20
_Text = Annotated[str, Form(max_length=300)]
_log = structlog.get_logger("console")


class Closed(Refused):
    """Your account is closed at the moment. Ask us before you send anything."""


class NoFile(Refused):
    """No file was chosen. Choose one first."""


class EmptyFile(Refused):
    """This file is empty. Look whether your system has written it, and choose it again."""


class DiskError(Refused):
    """The server could not store the file. Choose it again in some minutes."""


class NotReadable(LandingZoneError):
    """This file cannot be read. Choose another one."""


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/send", choose, methods=["GET"])
    router.add_api_route("/send", take, methods=["POST"])
    router.add_api_route("/send/{draft}", go_on, methods=["GET"])
    router.add_api_route("/send/{draft}", send, methods=["POST"])
    router.add_api_route("/send/{draft}/columns", columns, methods=["GET"])
    router.add_api_route("/send/{draft}/columns", keep_columns, methods=["POST"])
    router.add_api_route("/send/{draft}/check", check, methods=["GET"])
    router.add_api_route("/send/{draft}/discard", discard, methods=["POST"])
    return router


def choose(request: Request, desk: TheDesk, who: District) -> Response:
    """Choose a file; and what was chosen before, and not sent."""
    return _choose(request, desk, who)


async def take(request: Request, desk: TheDesk, who: DistrictSending) -> Response:
    """Take a file in, as it comes; it is a draft then."""
    form = UploadForm(request)
    try:
        draft = await _take(request, desk, who, form)
    except (Refused, ForeignForm) as refused:
        await drain(request)
        if isinstance(refused, ForeignForm):
            raise
        return await run_in_threadpool(_choose, request, desk, who, refused=refused, status=422)
    return RedirectResponse(f"/send/{draft.id}", 303)


def go_on(request: Request, desk: TheDesk, who: District, draft: str) -> Response:
    """Where a draft stands: its columns are to be chosen, or it can be looked at as a whole."""
    sending = desk.sending
    found = _draft(sending, who, draft)
    if found.landing_id:
        return RedirectResponse(f"/receipts/{found.landing_id}", 303)
    try:
        with _reading():
            source, school, is_sure = sending.guess(found)
            if not source or not is_sure:
                return RedirectResponse(f"/send/{found.id}/columns", 303)
            plan = sending.plan(found, source=source, school=school, mapping=found.mapping)
            known = sending.needs_no_asking(plan)
    except NotExpected:
        known = False
    except NotReadable as refused:
        return _unusable(request, desk, who, found, refused)
    if not known:
        return RedirectResponse(f"/send/{found.id}/columns", 303)
    sending.drafts.choose(found, source=source, school=school, with_header=found.with_header, mapping=found.mapping)
    return RedirectResponse(f"/send/{found.id}/check", 303)


def columns(request: Request, desk: TheDesk, who: District, draft: str) -> Response:
    """The first rows, and what each column holds."""
    return _columns(request, desk, who, draft)


async def keep_columns(request: Request, desk: TheDesk, who: District, draft: str) -> Response:
    """Take over what was chosen for the columns, or show them anew for another kind of file."""
    form = await request.form()
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    return await run_in_threadpool(_keep_columns, request, desk, who, draft, given)


def check(request: Request, desk: TheDesk, who: District, draft: str, changed: str = "") -> Response:
    """What would happen, and the button that lets it happen."""
    sending = desk.sending
    found = _draft(sending, who, draft)
    if found.landing_id:
        return RedirectResponse(f"/receipts/{found.landing_id}", 303)
    if not found.source:
        return RedirectResponse(f"/send/{found.id}", 303)
    try:
        with _reading():
            plan = sending.planned(found)
            seen, taken = sending.read_as(plan)
            told = sending.dry_run(plan)
    except NotExpected:
        return RedirectResponse(f"/send/{found.id}/columns", 303)
    except (NotReadable, ColumnsRefused) as refused:
        return _unusable(request, desk, who, found, refused)
    labels = {one.name: one.label for one in fields_of(seen, plan.feed, plan.kept)}
    return desk.page(
        request,
        "send_check.html",
        who,
        draft=found,
        plan=plan,
        seen=seen,
        columns=taken,
        labels=labels,
        told=told,
        rejects=told["rejects"][:_REJECTS_SHOWN],
        possible=told["outcome"] != Outcome.REJECTED,
        changed=bool(changed),
        replaces=plan.to_keep is not None and plan.source.mapping is not None,
    )


def send(
    request: Request, desk: TheDesk, who: District, draft: str, shown: Annotated[str, Form(max_length=64)] = ""
) -> Response:
    """Let it land, once, as it was shown; then wait for its receipt."""
    sending = desk.sending
    found = _draft(sending, who, draft)
    if found.landing_id:
        return RedirectResponse(f"/receipts/{found.landing_id}", 303)
    try:
        plan = sending.planned(found)
    except NotExpected:
        return RedirectResponse(f"/send/{found.id}/columns", 303)
    if plan.mark != shown:
        return RedirectResponse(f"/send/{found.id}/check?changed=1", 303)
    sender = Sender(who.actor, f"user {who.name}", address_of(request, desk.settings))
    landing_id = sending.drafts.send(found, sender, source=plan.source.name, name=plan.name, mapping=plan.to_keep)
    return RedirectResponse(f"/receipts/{landing_id}", 303)


def discard(desk: TheDesk, who: District, draft: str) -> Response:
    """Forget a draft."""
    sending = desk.sending
    with suppress(DraftGone):  # as was wanted
        sending.drafts.discard(_draft(sending, who, draft))
    return RedirectResponse("/send", 303)


# Step 1


async def _take(request: Request, desk: Desk, who: Principal, form: UploadForm) -> Draft:
    sending = desk.sending
    account = account_of(who)
    receiving: WebReceiving = request.app.state.files.receiving
    fields = await form.fields_before_file()
    require_own_form(request, desk.settings, csrf=who.csrf, given=fields.get("csrf", ""))
    if not form.file_name:
        raise NoFile
    with sending.way(account):
        room = receiving.rooms.of(account)
        try:
            _check_length(request, desk)
            room.begin_file()
        except Refused as refused:
            _log.warning("upload.refused", account=account, reason=_reason(refused))
            raise
        enabled = await receiving.in_thread(lambda: desk.here.accounts.get(account).enabled)
        if not enabled:
            raise Closed
        try:
            file, descriptor = await receiving.in_thread(lambda: sending.drafts.begin(account, form.file_name))
        except Refused as refused:
            _log.warning("upload.refused", account=account, reason=_reason(refused))
            raise
        kept = False
        try:
            size = await _receive(form, receiving, room, descriptor, most=desk.settings.send_mebibytes)
            if not size:
                raise EmptyFile
            source = fields.get("source", "")[:255]
            draft = await receiving.in_thread(
                lambda: sending.drafts.keep(file, name=form.file_name, size=size, begun_by=who.actor, source=source)
            )
            kept = True
        except Refused as refused:
            _log.warning("upload.refused", account=account, upload_id=file.id, reason=_reason(refused))
            raise
        finally:
            if not kept:
                await receiving.in_thread(lambda: desk.here.zone.discard_upload(file))
            os.close(descriptor)
    return draft


async def _receive(form: UploadForm, receiving: WebReceiving, room: Room, descriptor: int, *, most: int) -> int:
    """Write the file as it comes; its size. Raises Refused."""
    batch: list[bytes] = []
    size = batched = 0

    async def flush() -> None:
        nonlocal batched
        data = b"".join(batch)
        room.grow(size, len(data))
        try:
            await receiving.in_thread(lambda: _write(descriptor, data))
        except OSError as error:
            raise (NoRoomForDraft if error.errno in DISK_FULL else DiskError) from None
        batch.clear()
        batched = 0

    async for piece in form.file():
        batch.append(piece)
        size += len(piece)
        batched += len(piece)
        if size > most << 20:
            raise TooLarge(_too_large(most))
        if batched >= _BATCH:
            await flush()
    if batched:
        await flush()
    return size


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _check_length(request: Request, desk: Desk) -> None:
    said, most = request.headers.get("content-length", "0"), desk.settings.send_mebibytes
    if not said.isdigit() or int(said[:20]) > (most << 20) + _BESIDE_FILE:
        raise TooLarge(_too_large(most))


def _too_large(most: int) -> str:
    return (
        f"This file is larger than {most} MiB, which is the most that is sent by hand. Let a program send it by SFTP."
    )


def _reason(refused: Refused) -> str:
    """Why a file was refused, in the log's word."""
    match refused:
        case TooMuch():
            return "too_much"
        case NoRoomForDraft():
            return "disk_full"
        case DiskError():
            return "disk_error"
        case NoRoom() | Busy():
            return Backpressure.reason(refused)
        case Closed():
            return "account_disabled"
    return "not_whole"


def _choose(
    request: Request, desk: Desk, who: Principal, *, refused: LandingZoneError | None = None, status: int = 200
) -> Response:
    account = account_of(who)
    return desk.page(
        request,
        "send.html",
        who,
        status=status,
        refused=refused,
        drafts=desk.sending.drafts.of(account),
        sources=_sources(desk, account),
        most=desk.settings.send_mebibytes,
    )


# Step 2


def _columns(
    request: Request,
    desk: Desk,
    who: Principal,
    draft_id: str,
    *,
    refused: LandingZoneError | None = None,
    chosen: dict[int, str] | None = None,
) -> Response:
    sending = desk.sending
    draft = _draft(sending, who, draft_id)
    if draft.landing_id:
        return RedirectResponse(f"/receipts/{draft.landing_id}", 303)
    sources = _sources(desk, draft.account)
    values: dict[str, Any] = {"draft": draft, "sources": sources}
    try:
        with _reading():
            source, school, _ = sending.guess(draft)
            plan = _plan_to_show(desk, draft, source, school) if source else None
            seen, offered = sending.look(plan, with_header=draft.with_header) if plan else (None, ())
    except (NotReadable, ColumnsRefused) as unusable:
        return _unusable(request, desk, who, draft, unusable)
    if plan is None or seen is None:
        return desk.page(request, "send_columns.html", who, **values, plan=None, refused=refused, source="", school="")
    if chosen is not None:
        fields = {at: name for at, name in chosen.items() if 0 <= at < seen.width}
    else:
        fields = {one.at: one.field for one in offered}
    taken = {name: at for at, name in fields.items() if name}
    return desk.page(
        request,
        "send_columns.html",
        who,
        **values,
        status=422 if refused else 200,
        refused=refused,
        plan=plan,
        source=plan.source.name,
        school=school,
        per_school=is_per_school(plan.source),
        schools=sending.schools_of(draft.account, plan.source) if is_per_school(plan.source) else [],
        seen=seen,
        columns=offered,
        chosen=fields,
        fields=fields_of(seen, plan.feed, plan.kept),
        missing=missing_of(plan.feed, taken),
        required={one.name for one in plan.feed.required},
    )


def _plan_to_show(desk: Desk, draft: Draft, source: str, school: str) -> Plan:
    """The plan for the page of the columns, on which the school may still be lacking."""
    try:
        return desk.sending.plan(draft, source=source, school=school, mapping=draft.mapping)
    except NotExpected:
        declared = desk.here.sources.get(draft.account, source)
        feed = desk.here.catalogue[declared.feed]
        return Plan(draft, declared, feed, draft.mapping or declared.mapping, "")


def _keep_columns(request: Request, desk: Desk, who: Principal, draft_id: str, given: dict[str, str]) -> Response:
    sending = desk.sending
    draft = _draft(sending, who, draft_id)
    if draft.landing_id:
        return RedirectResponse(f"/receipts/{draft.landing_id}", 303)
    source, school = given.get("source", "")[:255], given.get("school", "").strip()[:64]
    with_header = {"yes": True, "no": False}.get(given.get("header", ""))
    if given.get("do") == "show" or given.get("shown_for") != f"{source}/{given.get('header', '')}":
        sending.drafts.choose(draft, source=source, school=school, with_header=with_header, mapping=None)
        return RedirectResponse(f"/send/{draft.id}/columns", 303)
    chosen = {int(name[1:]): value for name, value in given.items() if name[:1] == "c" and name[1:].isdecimal()}
    try:
        with _reading():
            mapping = _mapping(sending, draft, source, school, chosen, with_header=with_header)
    except (NotReadable, ColumnsRefused, NotExpected) as refused:
        sending.drafts.choose(draft, source=source, school=school, with_header=with_header, mapping=None)
        return _columns(request, desk, who, draft_id, refused=refused, chosen=chosen)
    sending.drafts.choose(draft, source=source, school=school, with_header=with_header, mapping=mapping)
    return RedirectResponse(f"/send/{draft.id}/check", 303)


def _mapping(
    sending: Sending, draft: Draft, source: str, school: str, chosen: dict[int, str], *, with_header: bool | None
) -> KeptMapping | None:
    """What is to be kept so that the file is read as it was chosen. Raises ColumnsRefused, NotExpected."""
    plan = sending.plan(draft, source=source, school=school, mapping=None)
    fields: dict[str, int] = {}
    for at, name in sorted(chosen.items()):
        if name and name in fields:
            label = plan.feed.field(name).label
            raise ColumnsRefused(f"{label} is chosen for two columns: {fields[name] + 1} and {at + 1}. Choose one.")
        if name:
            fields[name] = at
    if missing := missing_of(plan.feed, fields):
        raise ColumnsRefused(f"No column is chosen for {', '.join(missing)}. Every file of this kind needs that.")
    seen, _ = sending.look(plan, with_header=with_header)
    return to_keep(seen, plan.feed, plan.source.mapping, fields)


# Small things


def _draft(sending: Sending, who: Principal, draft_id: str) -> Draft:
    """One's own account's draft. Raises DraftGone."""
    return sending.drafts.get(account_of(who), draft_id)


def _sources(desk: Desk, account: str) -> list[tuple[str, str]]:
    """What may be sent: the source's name, and what a person calls it."""
    return [
        (one.name, f"{desk.here.catalogue[one.feed].title} ({one.pattern})") for one in desk.here.sources.of(account)
    ]


def _unusable(request: Request, desk: Desk, who: Principal, draft: Draft, refused: LandingZoneError) -> Response:
    return desk.page(request, "send_unusable.html", who, status=422, draft=draft, refused=refused)


@contextmanager
def _reading() -> Iterator[None]:
    """A file is read: what cannot be is told, and one that was sent or removed meanwhile is gone."""
    try:
        yield
    except UnreadableFile as unreadable:
        raise NotReadable(str(unreadable)) from None
    except FileNotFoundError:
        raise DraftGone from None
