"""The carrier over HTTPS, where only port 443 is open: parcels by tus 1.0, receipts by plain requests.

A parcel goes in chunks, each proven by its SHA-256 before the server keeps it. After a cut the server says how much it
has. It lands with its last byte, and an upload that has landed says so whenever it is asked: so an answer that is lost
leaves no doubt. The server is known by its certificate, the district by its token, which never goes anywhere else.
"""

import base64
import hashlib
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit

import httpx2
from socksio.exceptions import SOCKSError

from upload.begun import BegunUploads
from upload.connection import proxy_of
from upload.delivery import Journey, Progress, TryAgain, until_delivered
from upload.errors import (
    ConnectionLost,
    LoginRefused,
    NotDelivered,
    ServerChanged,
    ServerRefused,
    SettingsError,
    plain,
)
from upload.parcel import Parcel
from upload.patience import Patience
from upload.run_log import Note
from upload.settings import ServerSettings

CHUNK_FIRST, CHUNK_LEAST, CHUNK_MOST = 1 << 20, 128 << 10, 16 << 20
"""Bytes of one request: twice as many after each that arrived, half after a cut, which loses it."""
PIECE = 64 << 10
ANSWER_MOST = 64 << 10
LISTING_MOST = 32 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
_BYTES = "application/offset+octet-stream"
_PASSING = frozenset({408, 409, 423, 425, 429, 460, 507})
"""Besides the server's own errors: statuses after which the same may go well later."""
_OK, _CREATED, _NO_CONTENT, _ELSEWHERE, _UNAUTHORIZED, _OURS, _THEIRS = 200, 201, 204, 300, 401, 400, 500
_GONE = frozenset({404, 410})


class CertificateRefused(ServerChanged):
    """The server's certificate is not valid."""


class HttpRefused(ServerRefused):
    """The server refused a request."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(plain(text) or f"The server refused a request (status {status}).")
        self.status = status
        self.final = status < _THEIRS and status not in _PASSING


@dataclass(frozen=True)
class _Answer:
    """What the server has answered: status, headers, and the body as far as it was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Its words, if it has any."""
        if not self.headers.get("content-type", "").startswith("text/plain"):
            return ""
        return self.body.decode(errors="replace")

    def number(self, header: str) -> int:
        """A header's number. Raises TryAgain."""
        value = self.headers.get(header, "")
        if not (value.isascii() and value.isdigit()):
            raise TryAgain("The server's answer cannot be understood.")
        return int(value[:18])


@dataclass
class _Journey(Journey):
    """The same, of one that has an address of its own at the server.

    Attributes:
        url: that address; empty: it has not been begun.
        own: this run has begun it, or gone on with it before it had landed.
        chunk: how many bytes go next.
        sent: all of them have gone.
    """

    url: str = ""
    own: bool = False
    chunk: int = CHUNK_FIRST
    sent: bool = False


@dataclass
class HttpsCarrier:
    """See `upload.carrier.Carrier`.

    Attributes:
        server: the settings.
        patience: how long is waited.
        token: reads the token.
        ca_file: the authority of the server's certificate; None: those that the system trusts.
        begun: remembers where uploads go on, should this program be killed; None: nobody does.
    """

    server: ServerSettings
    patience: Patience
    token: Callable[[], str] = field(repr=False)
    ca_file: Path | None = None
    begun: BegunUploads | None = None
    _client: httpx2.Client | None = None

    def deliver(self, parcel: Parcel, note: Note, progress: Progress) -> None:
        """Send a parcel until it has arrived, once."""
        journey = _Journey(parcel.name, url=self._begun_before(parcel))

        def attempt(log: Note) -> None:
            try:
                self._attempt(parcel, journey, log, progress)
            except HttpRefused as refused:
                log("request.refused", why=str(refused), code=refused.status)
                if refused.final:
                    raise NotDelivered(f"The server refused {parcel.name}: {refused}") from None
                raise TryAgain(f"The server refused: {refused}") from None

        until_delivered(parcel, journey, attempt, self.patience, note)
        if self.begun is not None:
            self.begun.forget(parcel)

    def receipts(self) -> list[str]:
        """The file names of all receipts."""
        answer = self._ask("GET", self._url("receipts"), most=LISTING_MOST)
        self._must(answer, _OK)
        try:
            return [str(one["name"]) for one in json.loads(answer.body)["receipts"]]
        except (ValueError, KeyError, TypeError):
            raise ConnectionLost(f"What answers at {self._where} is no landing zone.") from None

    def receipt(self, name: str, most: int) -> bytes | None:
        """The first bytes of a receipt; None if there is none of that name."""
        answer = self._ask("GET", self._url("receipts", name), most=most)
        if answer.status in _GONE:
            return None
        self._must(answer, _OK)
        return answer.body

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
        self._client = None

    # A parcel

    def _attempt(self, parcel: Parcel, journey: _Journey, log: Note, progress: Progress) -> None:
        landing_id = self._stand(parcel, journey, log)
        progress.at(parcel, journey.confirmed)
        from_byte = journey.confirmed
        with parcel.path.open("rb") as content:
            while not landing_id and journey.confirmed < parcel.bytes:
                landing_id = self._send_chunk(parcel, journey, content)
                progress.at(parcel, journey.confirmed)
        if not journey.sent:
            journey.sent = True
            log("file.sent", file=parcel.name, bytes=parcel.bytes, from_byte=from_byte)
        if not landing_id:
            raise TryAgain("All bytes are there, but the server has not taken the file in yet.")

    def _stand(self, parcel: Parcel, journey: _Journey, log: Note) -> str:
        """Find out how far the upload is, and begin one if there is none; the landing id if it has landed."""
        if journey.url:
            answer = self._ask("HEAD", journey.url)
            if answer.status not in _GONE:
                self._must(answer, _OK)
                journey.confirmed = answer.number("upload-offset")
                landing_id = answer.headers.get("landing-id", "")
                if journey.own or not landing_id:
                    journey.own = True
                    event = "file.landed_unheard" if landing_id else "upload.resumed"
                    log(event, file=parcel.name, there=journey.confirmed)
                    return landing_id
            log("upload.gone", file=parcel.name)  # or landed in an earlier run, whose receipt is not this one's
        journey.url, journey.confirmed, journey.sent = "", 0, False
        name = base64.b64encode(parcel.name.encode()).decode()
        told = {"Upload-Length": str(parcel.bytes), "Upload-Metadata": f"filename {name}"}
        answer = self._ask("POST", self._url(), headers=told)
        self._must(answer, _CREATED)
        url = urljoin(self._url(), answer.headers.get("location", ""))
        if not self._is_ours(url):
            raise HttpRefused(answer.status, "The server sends the upload to another server. That is not followed.")
        journey.url, journey.own = url, True
        if self.begun is not None:
            self.begun.note(parcel, url)
        return answer.headers.get("landing-id", "")

    def _begun_before(self, parcel: Parcel) -> str:
        url = self.begun.find(parcel) if self.begun is not None else ""
        return url if self._is_ours(url) else ""

    def _is_ours(self, url: str) -> bool:
        """Whether an address is the server's: the token goes nowhere else."""
        return urlsplit(url)[:2] == urlsplit(self._url())[:2]

    def _send_chunk(self, parcel: Parcel, journey: _Journey, content: BinaryIO) -> str:
        """Send what comes next; the landing id if that was all."""
        content.seek(journey.confirmed)
        chunk = content.read(min(journey.chunk, parcel.bytes - journey.confirmed))
        if not chunk:
            raise NotDelivered(f"{parcel.path.name} was changed while it was being sent.")
        told = {
            "Upload-Offset": str(journey.confirmed),
            "Upload-Checksum": f"sha256 {base64.b64encode(hashlib.sha256(chunk).digest()).decode()}",
            "Content-Type": _BYTES,
            "Content-Length": str(len(chunk)),
        }
        try:
            answer = self._ask("PATCH", journey.url, headers=told, content=self._pieces(chunk))
        except ConnectionLost:
            journey.chunk = max(CHUNK_LEAST, journey.chunk // 2)
            raise
        if answer.status in _GONE:
            raise TryAgain("The server has given the upload up.")
        self._must(answer, _NO_CONTENT)
        if answer.number("upload-offset") != journey.confirmed + len(chunk):
            raise TryAgain("The server has kept another number of bytes than it was sent.")
        journey.confirmed += len(chunk)
        journey.chunk = min(CHUNK_MOST, journey.chunk * 2)
        return answer.headers.get("landing-id", "")

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        for at in range(0, len(chunk), PIECE):
            if self.patience.left < 0:
                raise ConnectionLost("The deadline has passed.")
            yield chunk[at : at + PIECE]

    # Requests

    @property
    def _where(self) -> str:
        return self.server.url + (f" through {self.server.proxy}" if self.server.proxy else "")

    def _url(self, *more: str) -> str:
        return "/".join([self.server.url.rstrip("/"), "files", *(quote(one, safe="") for one in more)])

    def _must(self, answer: _Answer, status: int) -> None:
        """Raise what another status means."""
        if answer.status == _UNAUTHORIZED:
            why = plain(answer.text) or "Ask the vendor whether it is still good."
            raise LoginRefused(f"The server does not take this token. {why}")
        if _ELSEWHERE <= answer.status < _OURS:
            to = plain(answer.headers.get("location", ""))
            raise HttpRefused(answer.status, f"The server sends elsewhere ({to}), which is not followed: correct url.")
        if answer.status >= _OURS:
            raise HttpRefused(answer.status, answer.text)
        if answer.status != status or (status != _OK and "tus-resumable" not in answer.headers):
            raise ConnectionLost(f"What answers at {self._where} is no landing zone (status {answer.status}).")

    def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Iterator[bytes] | None = None,
        most: int = ANSWER_MOST,
    ) -> _Answer:
        """The answer to a request. Raises ConnectionLost, CertificateRefused, KeyUnusable, SettingsError."""
        client = self._opened()
        seconds = max(0.1, min(self.patience.silence, self.patience.left))
        try:
            with client.stream(method, url, headers=headers, content=content, timeout=seconds) as response:
                body = b""
                for piece in response.iter_raw():
                    body += piece
                    if len(body) >= most:
                        break
                return _Answer(response.status_code, response.headers, body[:most])
        except (httpx2.HTTPError, httpx2.InvalidURL, SOCKSError, OSError) as error:
            self.close()
            raise self._lost(error) from error
        except ConnectionLost:
            self.close()
            raise

    def _lost(self, error: Exception) -> ConnectionLost | CertificateRefused:
        """What is told of a request that did not come to its answer."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return CertificateRefused(
                    f"The certificate of {self._where} is not valid: {plain(cause.verify_message).rstrip('.')}. "
                    "Nothing was sent. Either it has expired, or somebody stands between you and the server. If your "
                    "own network looks into connections, name its authority's file in ca_file; else ask the vendor."
                )
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
            return ConnectionLost(
                f"The connection to {self._where} broke: nothing came for {self.patience.silence:g} seconds."
            )
        why = (plain(str(error)) or type(error).__name__).rstrip(".")
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError | SOCKSError):
            return ConnectionLost(f"{self._where} cannot be reached: {why}.")
        return ConnectionLost(f"The connection to {self._where} broke: {why}.")

    def _opened(self) -> httpx2.Client:
        if self._client is None:
            own = {"Authorization": f"Bearer {self.token()}", "Accept-Encoding": "identity", **_TUS}
            proxy = None
            if self.server.proxy:
                scheme, host, port, user, password = proxy_of(self.server)
                name = f"[{host}]" if ":" in host else host
                proxy = httpx2.Proxy(f"{scheme}://{name}:{port}", auth=(user, password) if user else None)
            self._client = httpx2.Client(
                verify=self._context(), proxy=proxy, trust_env=False, follow_redirects=False, headers=own
            )
        return self._client

    def _context(self) -> ssl.SSLContext:
        """Whom to believe; there is no way not to ask."""
        if self.ca_file is None:
            return httpx2.create_ssl_context(trust_env=False)
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            raise SettingsError(f"ca_file: {self.ca_file} cannot be read as a PEM file of certificates.") from None
