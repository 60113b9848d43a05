"""Webhooks by the Standard Webhooks specification: a JSON body, signed with HMAC-SHA256 over id, timestamp and body.

A receiver is not trusted either: redirects are refused, TLS is verified, an answer is not read, and the whole attempt
has a deadline. Addresses that are not public are refused unless the operator's settings allow them.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from datetime import datetime
from urllib.parse import urlsplit

from landingzone.clock import now
from landingzone.notices.notice import Notice
from landingzone.notices.target import NotifyError

SECONDS = 10.0
"""How long an attempt may take, from the look-up of the name to the answer's status."""
_SECRET_BYTES = range(24, 65)
_GOOD = range(200, 300)
_REDIRECT = range(300, 400)


class NotTaken(Exception):
    """The receiver did not take it. The text is a stable word and perhaps a number, never what the receiver said."""


def secret_of(text: str) -> bytes:
    """The key of a secret as the specification writes it (`whsec_` and base64, 24 to 64 bytes); raises NotifyError."""
    try:
        key = base64.b64decode(text.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _SECRET_BYTES:
        raise NotifyError(
            "webhook_secret must be whsec_ and base64 of 24 to 64 bytes; make one: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


def body_of(notice: Notice) -> bytes:
    """What is sent: `type`, `timestamp`, `data`; no personal data."""
    data = {"account": notice.account, "district": notice.title, **notice.said}
    told = {"type": notice.kind.value, "timestamp": notice.created_at, "data": data}
    return json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def signed(message_id: str, body: bytes, key: bytes, at: datetime) -> dict[str, str]:
    """The headers that prove who sends a body, and when.

    >>> from datetime import UTC
    >>> key = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> at = datetime.fromtimestamp(1614265330, UTC)
    >>> signed("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', key, at)["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(signature).decode("ascii"),
    }


def post(url: str, notice: Notice, key: bytes, *, private: bool, seconds: float = SECONDS) -> None:
    """Send a notice; raises NotTaken unless the receiver answers 2xx in time.

    `private`: whether it may be at an address that is not public.
    """
    body = body_of(notice)
    headers = {**signed(notice.message_id, body, key, now()), "content-type": "application/json"}
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    assert parts.hostname is not None
    address = _resolved(parts.hostname, port, private=private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    status = _exchange(address, parts.hostname, path, body, {**headers, "host": parts.netloc}, secure, seconds)
    if status in _REDIRECT:
        raise NotTaken(f"redirect {status}")
    if status not in _GOOD:
        raise NotTaken(f"status {status}")


def _exchange(
    address: tuple[str, int], host: str, path: str, body: bytes, headers: dict[str, str], secure: bool, seconds: float
) -> int:
    """One request to an address that was looked up and judged; returns the answer's status."""
    begun = time.monotonic()
    with contextlib.ExitStack() as held:
        try:
            plain = held.enter_context(socket.create_connection(address, timeout=seconds))
            late = threading.Timer(seconds, _hang_up, [plain])  # a timeout of the socket's begins anew at each byte
            late.daemon = True
            late.start()
            held.callback(late.cancel)
            used: socket.socket = plain
            if secure:
                used = held.enter_context(ssl.create_default_context().wrap_socket(plain, server_hostname=host))
            connection = http.client.HTTPConnection(host, address[1], timeout=seconds)
            connection.sock = used
            connection.request("POST", path, body, {**headers, "user-agent": "landingzone", "connection": "close"})
            return connection.getresponse().status
        except ssl.SSLCertVerificationError as error:
            raise NotTaken("certificate") from error
        except TimeoutError as error:
            raise NotTaken("timeout") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotTaken("timeout" if time.monotonic() - begun >= seconds else "connection") from error


def _resolved(host: str, port: int, *, private: bool) -> tuple[str, int]:
    """An address of a host; it is what is connected to, so that no second look-up can give another one."""
    try:
        found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise NotTaken("name") from error
    if not private and not all(_is_public(address) for address in found):
        raise NotTaken("private_address")
    return found[0], port


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


def _hang_up(used: socket.socket) -> None:
    with contextlib.suppress(OSError):
        used.shutdown(socket.SHUT_RDWR)
