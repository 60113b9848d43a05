"""The keys that open an account: add (the fingerprint is shown before anything is saved), rotate, revoke."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from console.access import Operator, Staff, TheDesk
from console.desk import Desk
from console.role import Principal
from keys.checkup import findings
from keys.public_key import MAX_INPUT_BYTES, PublicKey
from landingzone import open_session
from landingzone.clock import now
from landingzone.command import end_of
from landingzone.errors import LandingZoneError, UsageError

_SOON = timedelta(days=30)
_MOST_DAYS, _MOST_USES = 366, 1000
_Text = Annotated[str, Form(max_length=400)]
_Key = Annotated[str, Form(max_length=MAX_INPUT_BYTES)]


@dataclass(frozen=True)
class Wanted:
    """What was typed of a new key; `action` is `add` or `rotate`."""

    action: _Text = "add"
    public_key: _Key = ""
    label: _Text = ""
    expires: _Text = ""
    networks: _Text = ""
    replaces: _Text = ""
    overlap_days: _Text = "14"
    uses: _Text = "3"

    @property
    def network_list(self) -> tuple[str, ...]:
        """The networks, one by one."""
        return tuple(self.networks.replace(",", " ").split())

    @property
    def expires_at(self) -> datetime | None:
        """The first moment at which it opens no more, UTC. Raises UsageError."""
        return end_of(self.expires) if self.expires else None

    @property
    def overlap(self) -> timedelta:
        """How long the old key opens at most. Raises UsageError."""
        return timedelta(days=_number(self.overlap_days, most=_MOST_DAYS, what="The overlap, in days,"))

    @property
    def uses_wanted(self) -> int:
        """Logins with the new key that end it earlier. Raises UsageError."""
        return _number(self.uses, most=_MOST_USES, what="The number of logins")


WantedKey = Annotated[Wanted, Depends()]


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/keys", overview, methods=["GET"])
    router.add_api_route("/accounts/{account}/keys", show, methods=["GET"])
    router.add_api_route("/accounts/{account}/keys/look", look, methods=["POST"])
    router.add_api_route("/accounts/{account}/keys", save, methods=["POST"])
    router.add_api_route("/accounts/{account}/keys/{key}/revoke", ask_revoke, methods=["GET"])
    router.add_api_route("/accounts/{account}/keys/{key}/revoke", revoke, methods=["POST"])
    return router


def overview(request: Request, desk: TheDesk, who: Staff) -> Response:
    """What is to be done about keys, and where each rotation stands."""
    desk.keys.settle()
    rotations = desk.keys.rotations()
    found = findings(desk.keys.of(), rotations, at=now(), soon=_SOON)
    under_way = [one for one in rotations if one.ended_at is None]
    accounts = desk.here.accounts.all()
    return desk.page(request, "keys.html", who, findings=found, rotations=under_way, accounts=accounts)


def show(request: Request, desk: TheDesk, who: Staff, account: str) -> Response:
    """An account's keys."""
    return _page(request, desk, who, account)


async def look(
    request: Request,
    desk: TheDesk,
    who: Operator,
    account: str,
    wanted: WantedKey,
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Show what the key is, before it is saved."""
    if file is not None and file.filename:
        public_key = (await file.read(MAX_INPUT_BYTES + 1)).decode("utf-8", "replace")
        wanted = replace(wanted, public_key=public_key)
    try:
        key = PublicKey.parse(wanted.public_key.encode())
        _ = wanted.expires_at, wanted.overlap, wanted.uses_wanted
    except LandingZoneError as refused:
        return _page(request, desk, who, account, refused=refused, wanted=wanted, status=422)
    return desk.page(request, "key_look.html", who, account=account, key=key, wanted=wanted)


def save(
    request: Request,
    desk: TheDesk,
    who: Operator,
    account: str,
    wanted: WantedKey,
) -> Response:
    """Let the key open the account; with `rotate` it takes the place of another one."""
    try:
        key = PublicKey.parse(wanted.public_key.encode())
        if wanted.action == "rotate":
            desk.keys.rotate(
                account,
                key,
                overlap=wanted.overlap,
                uses=wanted.uses_wanted,
                replaces=(wanted.replaces,) if wanted.replaces else (),
                label=wanted.label,
                expires_at=wanted.expires_at,
                networks=wanted.network_list,
                actor=who.actor,
            )
        else:
            desk.keys.add(
                account,
                key,
                label=wanted.label,
                expires_at=wanted.expires_at,
                networks=wanted.network_list,
                actor=who.actor,
            )
    except LandingZoneError as refused:
        return _page(request, desk, who, account, refused=refused, wanted=wanted, status=422)
    return RedirectResponse(f"/accounts/{account}/keys", 303)


def ask_revoke(request: Request, desk: TheDesk, who: Operator, account: str, key: int) -> Response:
    """Say what revoking will do, and ask."""
    found = desk.keys.get(account, str(key))
    left = [one for one in desk.keys.of(account) if one.closed(now()) is None and one.id != found.id]
    inside = open_session.of(desk.here.db, account=account, fingerprint=found.fingerprint)
    return desk.page(request, "key_revoke.html", who, account=account, key=found, left=left, inside=inside)


def revoke(request: Request, desk: TheDesk, who: Operator, account: str, key: int, reason: _Text = "") -> Response:
    """Close the door for it, at once and for good."""
    try:
        desk.keys.revoke(account, str(key), reason=reason.strip(), actor=who.actor)
    except LandingZoneError as refused:
        return _page(request, desk, who, account, refused=refused, status=422)
    return RedirectResponse(f"/accounts/{account}/keys", 303)


def _page(
    request: Request,
    desk: Desk,
    who: Principal,
    account: str,
    *,
    refused: LandingZoneError | None = None,
    wanted: Wanted | None = None,
    status: int = 200,
) -> Response:
    at = now()
    found = desk.here.accounts.get(account)
    desk.keys.settle()
    keys = desk.keys.of(account)
    return desk.page(
        request,
        "account_keys.html",
        who,
        status=status,
        account=found.name,
        keys=[(key, key.state(at)) for key in keys],
        open_keys=[key for key in keys if key.closed(at) is None],
        rotations=desk.keys.rotations(account),
        refused=refused,
        wanted=wanted or Wanted(),
    )


def _number(text: str, *, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise UsageError(f"{what} is a whole number from 1 to {most}.")
    return int(text)
