"""Uploads over HTTPS by tus 1.0 (https://tus.io/protocols/resumable-upload): the protocol, and nothing of the files.

Core, with the extensions creation, creation-with-upload, expiration, termination, checksum. A finished upload has
landed: its answers bear `Landing-Id`. Beside it, for the same token, the account's receipts. Every request shows an
upload token (`Authorization: Bearer lzu_...`), and sees its account's uploads only.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from console.tokens import Kind, Refusal, Token, Tokens
from console.web_receiving import (
    ALGORITHMS,
    Checksum,
    Crowded,
    Cut,
    NotAsProven,
    Overtaken,
    TooMany,
    WebReceiving,
    WrongOffset,
)
from console.web_uploads import Gone, InUse, Landed, NotLanded, Sender, Sending, TemporaryName, WebUploads
from landingzone.clock import iso
from landingzone.command import Installation
from landingzone.db import is_busy
from landingzone.errors import LandingZoneError
from landingzone.landing import NameRefused, check_name
from landingzone.refusal import Busy, NoRoom, Refused, TooLarge, TooMuch
from landingzone.refused_logins import RefusedLogins
from landingzone.room import Rooms
from landingzone.zone import Zone, open_plain

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination,checksum"
BYTES_TYPE = "application/offset+octet-stream"
MOST_METADATA = 2048
_MOST_DRAINED = 64 << 20
_DRAIN_SECONDS = 2.0
_READ_BYTES = 1 << 16
_COUNT_SECONDS = 5.0
_NUMBER = re.compile(r"[0-9]{1,18}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OVERRIDES = ("PATCH", "DELETE", "HEAD")

_log = structlog.get_logger("console")


class NotUnderstood(Refused):
    """The request is not as the protocol has it."""


class NotThisVersion(Refused):
    """This server speaks version 1.0.0 of the tus protocol: send Tus-Resumable: 1.0.0."""


class NotBytes(Refused):
    """The bytes of an upload have the content type application/offset+octet-stream."""


class TokenRefused(Refused):
    """This token does not open anything here. Ask the vendor for one."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(_TOKEN_REFUSED.get(refusal))
        self.refusal = refusal


_TOKEN_REFUSED = {
    Refusal.REVOKED: "This token was revoked. Ask the vendor for a new one.",
    Refusal.EXPIRED: "This token has expired. Ask the vendor for a new one.",
    Refusal.ACCOUNT_DISABLED: "This account is disabled. Ask the vendor.",
    Refusal.OTHER_KIND: "This token is of another kind: uploads need one that begins with lzu_.",
}
_STATUS: tuple[tuple[type[LandingZoneError], int], ...] = (
    (TokenRefused, 401),
    (NameRefused, 400),
    (TemporaryName, 400),
    (NotUnderstood, 400),
    (NotThisVersion, 412),
    (NotBytes, 415),
    (Gone, 404),
    (Cut, 408),
    (WrongOffset, 409),
    (Landed, 409),
    (TooLarge, 413),
    (TooMany, 413),
    (InUse, 423),
    (Overtaken, 423),
    (TooMuch, 429),
    (Crowded, 429),
    (NotAsProven, 460),
    (Busy, 503),
    (NotLanded, 503),
    (NoRoom, 507),
)
"""The first that fits; anything else is 500."""
_AGAIN_SECONDS = {423: "2", 429: "30", 503: "10", 507: "60"}


@dataclass(frozen=True)
class Files:
    """What serving uploads needs.

    Attributes:
        zone: where receipts lie.
        tokens: who may come in.
        receiving: takes the uploads in.
        threads: for what blocks.
        refused: counts the tokens that opened nothing.
        address_of: a request's client.
    """

    zone: Zone
    tokens: Tokens
    receiving: WebReceiving
    threads: Executor
    refused: RefusedLogins
    address_of: Callable[[Request], str]

    @classmethod
    def of(cls, here: Installation, threads: Executor, address_of: Callable[[Request], str] | None = None) -> "Files":
        """As an installation's settings have it. Looks at the disk once."""
        rooms = Rooms(here.zone, here.settings.limits)
        rooms.look_at_disk()
        uploads = WebUploads(here.zone, here.db, here.sources.of, here.settings.door.resume_hours)
        receiving = WebReceiving(here.zone, uploads, rooms, threads)
        refused = RefusedLogins(here.db.with_durability("normal"))
        return cls(here.zone, Tokens(here.db), receiving, threads, refused, address_of or _address_of)

    async def keep_house(self) -> None:
        """What must go on while uploads are served; for ever and ever."""
        await asyncio.gather(self.receiving.keep_house(), self._keep_counting())

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            try:
                await self.receiving.in_thread(self.refused.flush)
            except sa.exc.SQLAlchemyError:  # they stay counted
                _log.exception("console.error", request="refused_tokens")


def tus_router(files: Files, *, prefix: str = "/files") -> APIRouter:
    """The routes; they need no session and no protection against forged requests: a browser never sends the token."""
    router = APIRouter(prefix=prefix, include_in_schema=False)
    tus, receipts = _Tus(files), _Receipts(files)
    for path in ("", "/"):
        router.add_api_route(path, tus.options, methods=["OPTIONS"])
        router.add_api_route(path, tus.create, methods=["POST"])
    router.add_api_route("/receipts", receipts.list, methods=["GET"])
    router.add_api_route("/receipts/{name}", receipts.get, methods=["GET"])
    router.add_api_route("/{upload_id}", tus.options, methods=["OPTIONS"])
    router.add_api_route("/{upload_id}", tus.upload, methods=["HEAD", "PATCH", "DELETE", "POST"])
    return router


class _Tus:
    """The protocol's requests."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._receiving = files.receiving

    async def options(self) -> Response:
        """What this server can do."""
        most = self._receiving.rooms.limits.file_mebibytes << 20
        told = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(most),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        return _answer(204, told)

    async def create(self, request: Request) -> Response:
        """A new upload, perhaps with its first bytes."""
        return await _answered(request, self._create)

    async def upload(self, request: Request, upload_id: str) -> Response:
        """Ask for an upload, go on with it, or give it up."""
        method = request.headers.get("x-http-method-override", request.method).upper()

        async def done(request: Request) -> Response:
            token = await self._admit(request)
            _check_version(request)
            if method not in _OVERRIDES:
                return _answer(405, {"Allow": "OPTIONS, HEAD, PATCH, DELETE"})
            if not _ID.fullmatch(upload_id):
                raise Gone
            assert token.account
            sending = await self._receiving.find(token.account, upload_id)
            if method == "HEAD":
                return _answer(200, {**_told(sending), **_of_head(sending), "Cache-Control": "no-store"})
            if method == "DELETE":
                await self._receiving.discard(sending)
                return _answer(204)
            return _answer(204, _told(await self._add(request, token, sending)))

        return await _answered(request, done)

    async def _create(self, request: Request) -> Response:
        token = await self._admit(request)
        _check_version(request)
        if "upload-defer-length" in request.headers:
            raise NotUnderstood("The length of an upload must be known when it begins: send Upload-Length.")
        length = _number(request, "upload-length")
        metadata = request.headers.get("upload-metadata", "")
        name = check_name(_file_name(metadata))
        kind = request.headers.get("content-type", "")
        if kind != BYTES_TYPE and request.headers.get("content-length", "0") != "0":
            raise NotBytes
        assert token.account
        sender = Sender(token.account, f"token {token.id}", self._files.address_of(request))
        sending = await self._receiving.begin(sender, name, length, metadata=metadata)
        told = {"Location": f"{request.url.path.rstrip('/')}/{sending.file.id}"}
        if kind == BYTES_TYPE and length:
            try:
                sending = await self._add(request, token, sending, offset=0)
            except Cut:
                return _answer(201, told)  # it is there, also if nobody hears it
        return _answer(201, {**told, **_told(sending)})

    async def _add(self, request: Request, token: Token, sending: Sending, *, offset: int | None = None) -> Sending:
        if request.headers.get("content-type", "") != BYTES_TYPE:
            raise NotBytes
        offset = _number(request, "upload-offset") if offset is None else offset
        size = _number(request, "content-length") if "content-length" in request.headers else None

        def welcome() -> None:
            if refusal := self._files.tokens.still_opens(token):
                raise TokenRefused(refusal)

        return await self._receiving.add(
            sending, offset, _body(request), size=size, checksum=_checksum(request), welcome=welcome
        )

    async def _admit(self, request: Request) -> Token:
        return await self._receiving.in_thread(lambda: _admit(self._files, request))


class _Receipts:
    """The account's receipts, for whoever may send its files. FastAPI calls these in threads."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def list(self, request: Request) -> Response:
        """Every receipt: its name, size, and when it was written."""
        found = []
        try:
            token = _admit(self._files, request)
            assert token.account
            with os.scandir(self._files.zone.receipts_folder(token.account)) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                        continue
                    info = entry.stat(follow_symlinks=False)
                    modified = iso(datetime.fromtimestamp(info.st_mtime, UTC))
                    found.append({"name": entry.name, "bytes": info.st_size, "modified": modified})
        except FileNotFoundError:  # the account has none yet, or one went as it was looked at: ask again
            pass
        except Exception as error:  # noqa: BLE001 - told, or raised again
            return _refused(error)
        found.sort(key=lambda one: str(one["name"]))
        return JSONResponse({"receipts": found}, headers=_PLAIN)

    def get(self, request: Request, name: str) -> Response:
        """One of them."""
        try:
            token = _admit(self._files, request)
            assert token.account
            descriptor = _open_receipt(self._files.zone.receipts_folder(token.account), name)
        except FileNotFoundError:
            return _refused(Gone("There is no receipt of this name."))
        except Exception as error:  # noqa: BLE001 - told, or raised again
            return _refused(error)
        size = os.fstat(descriptor).st_size
        return StreamingResponse(
            _pieces(descriptor, size),
            media_type="application/octet-stream",
            headers={**_PLAIN, "Content-Length": str(size), "Content-Disposition": "attachment"},
        )


_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _open_receipt(folder: Path, name: str) -> int:
    """The descriptor of a receipt; FileNotFoundError for anything else. Those being written begin with a dot."""
    if name.startswith(".") or "/" in name or "\0" in name:
        raise FileNotFoundError
    return open_plain(folder / name)


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    try:
        left = size
        while left and (data := os.read(descriptor, min(left, _READ_BYTES))):
            left -= len(data)
            yield data
    finally:
        os.close(descriptor)


def _address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def _admit(files: Files, request: Request) -> Token:
    """The token that a request shows. Raises TokenRefused; blocks."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    address, client = files.address_of(request), request.headers.get("user-agent", "")
    found: Token | Refusal = Refusal.UNKNOWN
    if scheme.lower() == "bearer":
        found = files.tokens.authenticate(secret.strip(), kind=Kind.UPLOAD, address=address, client=_printable(client))
    if isinstance(found, Refusal):
        account = files.tokens.account_of(secret.strip())
        files.refused.note(address=address, account=account, reason=found.value)
        _log.warning("token.refused", reason=found.value, peer=address, account=account or None)
        raise TokenRefused(found)
    return found


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


async def _answered(request: Request, work: Callable[[Request], Awaitable[Response]]) -> Response:
    """What the work answers, or what is told of its refusal; what the client still sends then is read and dropped."""
    try:
        return await work(request)
    except Exception as error:  # noqa: BLE001 - told, or raised again
        answer = _refused(error)
        await _drain(request)
        return answer


def _refused(error: Exception) -> Response:
    """The answer to what was refused. Raises the error again if it is none that is told."""
    if is_busy(error):
        return _answer(503, {"Retry-After": "5"}, "The server is busy. Nothing is lost: ask again in some seconds.")
    if not isinstance(error, Refused | NameRefused):
        raise error
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    told = {}
    if status in _AGAIN_SECONDS:
        told["Retry-After"] = _AGAIN_SECONDS[status]
    match error:
        case WrongOffset():
            told["Upload-Offset"] = str(error.size)
        case TokenRefused():
            told["WWW-Authenticate"] = "Bearer"
        case NotThisVersion():
            told["Tus-Version"] = VERSION
    return _answer(status, told, str(error))


async def _drain(request: Request) -> None:
    """Read on for a while: a client that is still sending might never see an answer that comes with a hang-up."""
    left = _MOST_DRAINED
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):  # the last: all of it was read before
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in request.stream():
                left -= len(piece)
                if left <= 0:
                    return


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except ClientDisconnect:
        raise Cut from None


def _answer(status: int, headers: dict[str, str] | None = None, text: str = "") -> Response:
    told = {"Tus-Resumable": VERSION, **_PLAIN, **(headers or {})}
    if status == 204:  # noqa: PLR2004 - no content
        return Response(status_code=status, headers=told)
    return Response(f"{text}\n" if text else "", status_code=status, headers=told, media_type="text/plain")


def _told(sending: Sending) -> dict[str, str]:
    """What is told of an upload as it stands."""
    told = {"Upload-Offset": str(sending.size)}
    if sending.landing_id:
        return {**told, "Upload-Offset": str(sending.length), "Landing-Id": sending.landing_id}
    return {**told, "Upload-Expires": format_datetime(sending.expires_at.replace(microsecond=0), usegmt=True)}


def _of_head(sending: Sending) -> dict[str, str]:
    told = {"Upload-Length": str(sending.length)}
    return {**told, "Upload-Metadata": sending.metadata} if sending.metadata else told


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise NotThisVersion


def _number(request: Request, header: str) -> int:
    values = request.headers.getlist(header)
    if len(values) != 1 or not _NUMBER.fullmatch(values[0]):
        raise NotUnderstood(f"{header.title()} must be there once, as a number of bytes.")
    return int(values[0])


def _file_name(metadata: str) -> bytes:
    """The file's name of Upload-Metadata. Raises NotUnderstood.

    >>> _file_name("is_confidential,filename c3R1ZGVudHMuY3N2")
    b'students.csv'
    """
    if len(metadata) > MOST_METADATA or not metadata.isascii():
        raise NotUnderstood(f"Upload-Metadata may have {MOST_METADATA} characters of ASCII.")
    pairs: dict[str, Any] = {}
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        if key in pairs:
            raise NotUnderstood("Upload-Metadata names a key twice.")
        pairs[key] = value
    if "filename" not in pairs:
        raise NotUnderstood("Upload-Metadata must hold the file's name: filename, a space, and the name in base64.")
    return _base64(pairs["filename"], "Upload-Metadata")


def _checksum(request: Request) -> Checksum | None:
    given = request.headers.get("upload-checksum")
    if given is None:
        return None
    algorithm, _, digest = given.partition(" ")
    if algorithm not in ALGORITHMS:
        raise NotUnderstood(f"Upload-Checksum: this server knows {' and '.join(ALGORITHMS)}.")
    found = _base64(digest, "Upload-Checksum")
    if len(found) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise NotUnderstood("Upload-Checksum has another length than such a checksum.")
    return Checksum(algorithm, found)


def _base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotUnderstood(f"{header} is not base64.") from None
