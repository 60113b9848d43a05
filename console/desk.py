"""What every page works with: the installation, its stores, and how a page is drawn."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.responses import HTMLResponse

from console.live import Live
from console.oidc import Provider
from console.password import Passwords
from console.role import Principal, Role
from console.secret import Secret
from console.sending import Sending
from console.sessions import Sessions
from console.sign_in import SignIn
from console.tokens import Tokens
from console.users import Users
from keys.store import Keys
from landingzone import __version__
from landingzone.command import Installation
from landingzone.feed import Catalogue
from landingzone.settings import ConsoleSettings
from processor import account_data
from processor.archive import Archive, archive_of

STATIC = Path(__file__).parent / "static"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Entry:
    """A page that the navigation leads to: its path, its name, and the roles that it is for."""

    path: str
    name: str
    roles: tuple[Role, ...]


NAVIGATION = (
    Entry("/tonight", "Tonight", (Role.OPERATOR, Role.VIEWER)),
    Entry("/held", "Held", (Role.OPERATOR, Role.VIEWER)),
    Entry("/accounts", "Accounts", (Role.OPERATOR, Role.VIEWER)),
    Entry("/keys", "Keys", (Role.OPERATOR, Role.VIEWER)),
    Entry("/audit", "Audit", (Role.OPERATOR,)),
    Entry("/users", "Users", (Role.OPERATOR,)),
    Entry("/files-today", "Your files", (Role.DISTRICT,)),
    Entry("/send", "Send a file", (Role.DISTRICT,)),
    Entry("/receipts", "Receipts", (Role.DISTRICT,)),
    Entry("/connect", "Connect", (Role.DISTRICT,)),
)


@dataclass(frozen=True)
class Desk:
    """One console.

    Attributes:
        here: the installation: settings, database, zone, accounts, sources, feeds.
        passwords: makes and proves their hashes.
    """

    here: Installation
    passwords: Passwords = field(default_factory=Passwords)

    @property
    def settings(self) -> ConsoleSettings:
        """The console's own settings."""
        return self.here.settings.console

    @cached_property
    def secret(self) -> Secret:
        """What is sealed, is sealed with this."""
        return Secret.of(self.here.settings.root)

    @cached_property
    def users(self) -> Users:
        """Who may sign in."""
        return Users(self.here.db, self.passwords)

    @cached_property
    def sessions(self) -> Sessions:
        """Who has."""
        return Sessions(self.here.db, self.settings)

    @cached_property
    def sign_in(self) -> SignIn:
        """How one does."""
        return SignIn(
            self.here.db, self.here.settings, passwords=self.passwords, secret=self.secret, sessions=self.sessions
        )

    @cached_property
    def provider(self) -> Provider:
        """Where people sign in by OpenID Connect, if the settings name a provider."""
        return Provider(self.settings, self.secret)

    @cached_property
    def keys(self) -> Keys:
        """The keys of every account."""
        return Keys(self.here.db)

    @cached_property
    def sending(self) -> Sending:
        """Files that are sent by hand."""
        return Sending(self.here)

    @cached_property
    def tokens(self) -> Tokens:
        """What programs show."""
        return Tokens(self.here.db)

    @cached_property
    def archive(self) -> Archive:
        """What has been archived."""
        return archive_of(self.here.settings, self.here.zone)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The feeds, whose tables are there."""
        account_data.ensure_tables(self.here.db, self.here.catalogue)
        return self.here.catalogue

    @cached_property
    def live(self) -> Live:
        """How every account stands, kept up to date."""
        return Live(self.here, self.sessions)

    @cached_property
    def templates(self) -> Environment:
        """How pages look."""
        made = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.filters |= {"moment": moment, "clock": clock, "count": count, "size": size}
        made.globals |= {"static": _Static(), "version": __version__, "csrf_field": _csrf_field}
        return made

    def page(
        self,
        request: Request,
        template: str,
        principal: Principal | None = None,
        /,
        *,
        status: int = 200,
        **values: Any,  # noqa: ANN401 - whatever the template shows
    ) -> HTMLResponse:
        """A page from a template; `principal` is who sees it."""
        told = {
            "principal": principal,
            "path": request.url.path,
            "navigation": [one for one in NAVIGATION if principal is not None and principal.role in one.roles],
            "oidc": bool(self.settings.oidc_issuer),
            **values,
        }
        return HTMLResponse(self.templates.get_template(template).render(told), status_code=status)


class _Static:
    """Addresses of scripts and styles, which change with what they hold: browsers may keep them for ever."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
        return f"/static/{name}?v={self._known[name]}"


@pass_context
def _csrf_field(context: Context) -> Markup:
    """What each form of a session brings along."""
    principal = context.resolve("principal")
    csrf = principal.csrf if isinstance(principal, Principal) else ""
    return Markup('<input type="hidden" name="csrf" value="{}">').format(csrf)


def moment(value: str | datetime | None) -> Markup:
    """A time, which the browser shows in the reader's zone; without its script it stands in UTC.

    >>> moment("2026-01-31T06:00:00.000Z")
    Markup('<time datetime="2026-01-31T06:00:00Z">2026-01-31 06:00 UTC</time>')
    """
    if not value:
        return Markup("")
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return Markup('<time datetime="{:%Y-%m-%dT%H:%M:%S}Z">{:%Y-%m-%d %H:%M} UTC</time>').format(at, at)


def clock(value: datetime | None) -> Markup:
    """The time of day of a moment of these days; the browser shows it in the reader's zone.

    >>> clock(datetime(2026, 1, 31, 6))
    Markup('<time datetime="2026-01-31T06:00:00Z" data-clock>06:00</time>')
    """
    return Markup('<time datetime="{:%Y-%m-%dT%H:%M:%S}Z" data-clock>{:%H:%M}</time>').format(value, value)


def count(value: int | None) -> str:
    """A number with its thousands apart; nothing for None.

    >>> count(1234567), count(None)
    ('1,234,567', '')
    """
    return "" if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes for people.

    >>> size(900), size(15_000), size(3 << 30), size(None)
    ('900 B', '14.6 KiB', '3.0 GiB', '')
    """
    if value is None:
        return ""
    amount, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":  # noqa: PLR2004 - binary units
            break
        amount /= 1024
    return f"{int(amount)} B" if unit == "B" else f"{amount:.1f} {unit}"
