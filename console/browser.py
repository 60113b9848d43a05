"""What a request says of the browser that made it, and whether it may be believed: address, origin, cookie."""

import hmac
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from landingzone.address import is_within
from landingzone.errors import LandingZoneError
from landingzone.settings import ConsoleSettings

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


class ForeignForm(LandingZoneError):
    """This form was not sent from a page of this console, or the page was too old. Load it again, and send it anew."""


def address_of(request: Request, settings: ConsoleSettings) -> str:
    """The client's address; behind a reverse proxy that the settings name, what the nearest of them says."""
    peer = request.client.host if request.client else ""
    if not is_within(peer, settings.proxy_networks):
        return peer
    named = [part.strip() for part in ",".join(request.headers.getlist("x-forwarded-for")).split(",")]
    for address in reversed([part for part in named if part]):
        if not is_within(address, settings.proxy_networks):
            return address[:64]
    return peer


def is_secure(request: Request, settings: ConsoleSettings) -> bool:
    """Whether the browser came by HTTPS."""
    if settings.public_url:
        return settings.public_url.startswith("https://")
    peer = request.client.host if request.client else ""
    if is_within(peer, settings.proxy_networks):
        return request.headers.get("x-forwarded-proto", "") == "https"
    return request.url.scheme == "https"


def base_url(request: Request, settings: ConsoleSettings) -> str:
    """What leads here, without a slash at its end: for links that are sent to people."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return f"{'https' if is_secure(request, settings) else 'http'}://{request.headers.get('host', '')}"


def cookie_name(*, secure: bool) -> str:
    """The session's cookie. `__Host-`: the browser keeps it to this very host, and sends it by HTTPS only."""
    return "__Host-landingzone" if secure else "landingzone"


def require_own_form(request: Request, settings: ConsoleSettings, *, csrf: str, given: str) -> None:
    """Raise ForeignForm unless a request that changes something comes from a page of ours, in this session.

    `csrf` is what the session wants, empty before there is one; then the browser's word of the origin decides.
    """
    require_own_origin(request.headers, base_url(request, settings))
    if csrf and not hmac.compare_digest(csrf.encode(), given.encode("utf-8", "replace")):
        raise ForeignForm


def require_own_origin(headers: Headers, own: str) -> None:
    """Raise ForeignForm if the browser says that another site has sent this, or nothing of the kind."""
    if (site := headers.get("sec-fetch-site")) is not None:
        if site not in {"same-origin", "none"}:
            raise ForeignForm
        return
    if (origin := headers.get("origin")) is None or _origin(origin) != _origin(own):
        raise ForeignForm


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def page_of(request: Request, settings: ConsoleSettings) -> str:
    """The page that somebody is on: what was asked for, or, of a form, where it stands; `/` if nobody knows."""
    if request.method not in UNSAFE:
        return request.url.path + (f"?{request.url.query}" if request.url.query else "")
    before = urlsplit(request.headers.get("referer", ""))
    if _origin(request.headers.get("referer", "")) != _origin(base_url(request, settings)):
        return "/"
    return safe_path(before.path + (f"?{before.query}" if before.query else ""))


def safe_path(given: str) -> str:
    r"""Where to go after signing in: a path of our own, whatever a link says.

    >>> [safe_path(given) for given in ("/accounts/a?b=1", "//evil.example", "https://evil.example", "/\\x")]
    ['/accounts/a?b=1', '/', '/', '/']
    """
    good = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable() and "\\" not in given
    return given if good else "/"
