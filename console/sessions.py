"""Sessions: a browser holds a secret in a cookie, the database its digest. Each can be ended at once, from anywhere."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from console.role import Principal, Role
from console.secret import digest
from landingzone.clock import iso, now
from landingzone.db import Database, is_disk_full
from landingzone.settings import ConsoleSettings
from landingzone.tables import accounts, users, web_sessions

_NOTED_AFTER = timedelta(minutes=1)
"""How exact it is when a session was last used."""
KEPT = timedelta(days=30)
"""How long an ended session is still listed."""
_MOST_TEXT = 255
_log = structlog.get_logger("console")


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its user sees it.

    Attributes:
        digest: SHA-256 of the cookie's secret, in hex.
        began_at: when it began, UTC, ISO 8601; last_seen_at when it was last used; expires_at its end at the latest.
        address: where it began from.
        client: what the browser called itself.
    """

    digest: str
    began_at: str
    last_seen_at: str
    expires_at: str
    address: str
    client: str


class Sessions:
    """The sessions of one installation; all consoles of it share them."""

    def __init__(self, db: Database, settings: ConsoleSettings) -> None:
        self._db = db
        self._settings = settings

    def begin(self, tx: sa.Connection, user_id: int, *, address: str, client: str) -> str:
        """A new session in the caller's write transaction; the secret for the cookie."""
        secret, at = secrets.token_urlsafe(32), now()
        tx.execute(
            web_sessions.insert().values(
                digest=digest(secret),
                user_id=user_id,
                began_at=iso(at),
                last_seen_at=iso(at),
                expires_at=iso(at + timedelta(hours=self._settings.session_hours)),
                address=address[:64],
                client=_plain(client),
            )
        )
        tx.execute(users.update().where(users.c.id == user_id).values(last_seen_at=iso(at)))
        tx.execute(web_sessions.delete().where(web_sessions.c.expires_at < iso(at - KEPT)))
        return secret

    def principal(self, secret: str) -> Principal | None:
        """Who the holder of a cookie is; None: the session has ended or expired, was idle, or its user is disabled."""
        at = now()
        with self._db.read() as tx:
            row = tx.execute(_OF_DIGEST, {"of_digest": digest(secret)}).first()
        if row is None or row.expires_at <= iso(at) or row.last_seen_at <= iso(at - self._idle):
            return None
        if datetime.fromisoformat(row.last_seen_at) < at - _NOTED_AFTER:
            self._note_use(row.digest, row.user_id, at)
        csrf = hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()
        role = Role(row.role)
        return Principal(row.user_id, row.name, row.full_name, role, row.account, session=row.digest, csrf=csrf)

    def _note_use(self, own: str, user_id: int, at: datetime) -> None:
        """Note that a session was used; on a full disk that waits, for then people need to look most."""
        try:
            with self._db.write() as tx:
                tx.execute(web_sessions.update().where(web_sessions.c.digest == own).values(last_seen_at=iso(at)))
                tx.execute(users.update().where(users.c.id == user_id).values(last_seen_at=iso(at)))
        except sa.exc.SQLAlchemyError as error:
            if not is_disk_full(error):
                raise
            _log.exception("console.error", request="note_session")

    def holds(self, session: str) -> bool:
        """Whether a session (its digest) is still open: for answers that last."""
        with self._db.read() as tx:
            row = tx.execute(_OF_DIGEST, {"of_digest": session}).first()
        return row is not None and row.expires_at > iso(now())

    def of(self, user_id: int) -> list[Session]:
        """A user's open sessions, the newest first."""
        query = (
            sa.select(*(web_sessions.c[name] for name in Session.__dataclass_fields__))
            .where(web_sessions.c.user_id == user_id, *self._open())
            .order_by(web_sessions.c.began_at.desc())
        )
        with self._db.read() as tx:
            return [Session(*row) for row in tx.execute(query)]

    def count(self) -> int:
        """How many are open, of all users."""
        query = sa.select(sa.func.count()).select_from(web_sessions).where(*self._open())
        with self._db.read() as tx:
            return int(tx.execute(query).scalar_one())

    def end(self, user_id: int, session: str) -> None:
        """End one of a user's sessions, by its digest; nothing happens if it is none."""
        own = (web_sessions.c.user_id == user_id, web_sessions.c.digest == session)
        with self._db.write() as tx:
            tx.execute(web_sessions.update().where(*own).values(ended_at=iso(now())))

    def _open(self) -> tuple[sa.ColumnElement[bool], ...]:
        at = now()
        lasting = web_sessions.c.expires_at > iso(at), web_sessions.c.last_seen_at > iso(at - self._idle)
        return web_sessions.c.ended_at.is_(None), *lasting

    @property
    def _idle(self) -> timedelta:
        return timedelta(minutes=self._settings.idle_minutes)


_OF_DIGEST = (
    sa.select(
        *(web_sessions.c[name] for name in ("digest", "user_id", "expires_at", "last_seen_at")),
        *(users.c[name] for name in ("name", "full_name", "role")),
        accounts.c.name.label("account"),
    )
    .select_from(
        web_sessions.join(users, users.c.id == web_sessions.c.user_id).outerjoin(
            accounts, accounts.c.id == users.c.account_id
        )
    )
    .where(web_sessions.c.digest == sa.bindparam("of_digest"), web_sessions.c.ended_at.is_(None))
    .where(users.c.disabled_at.is_(None))
)


def _plain(client: str) -> str:
    """What a browser calls itself, as it may be kept and shown."""
    return "".join(char if char.isprintable() else " " for char in client)[:_MOST_TEXT]
