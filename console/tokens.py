"""Tokens: a secret that a program shows instead of a key or a password. Every change leaves an audit record.

An `upload` token sends files for one account and fetches its receipts. An `api` token speaks for one user, with that
user's role. The secret is told once, when it is made; only its SHA-256 is kept, which suffices for 256 bits of chance.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
import structlog

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database, is_disk_full
from landingzone.errors import LandingZoneError
from landingzone.tables import accounts, users
from landingzone.tables import tokens as table

_SECRET_BYTES = 32
_SECRET = re.compile(r"lz[ua]_[A-Za-z0-9_-]{43}")
_USE_NOTED_FOR = timedelta(minutes=1)
"""How old the note of a token's last use may become before a request renews it: a request should rarely write."""
_LONGEST = 255
_log = structlog.get_logger("console")


class TokenError(LandingZoneError):
    """The token is not as the command needs it."""


class Kind(StrEnum):
    """What a token is for."""

    UPLOAD = "upload"
    API = "api"

    @property
    def prefix(self) -> str:
        """How its secret begins, so that a person, and a scanner for leaked secrets, knows it for what it is."""
        return "lzu_" if self is Kind.UPLOAD else "lza_"


class Refusal(StrEnum):
    """Why a token opens nothing; stands in the log as the reason."""

    UNKNOWN = "unknown_token"
    OTHER_KIND = "other_kind_of_token"
    REVOKED = "token_revoked"
    EXPIRED = "token_expired"
    ACCOUNT_DISABLED = "account_disabled"
    USER_DISABLED = "user_disabled"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is known here, without its secret.

    Attributes:
        id: the database's number.
        kind: what it is for.
        account: the name of the account that it is of; None for a user's who belongs to none.
        user: the name of the user that it speaks for; None for an upload token.
        user_id: that user's number.
        label: what a person calls it.
        added_at: UTC, ISO 8601.
        added_by: who made it.
        expires_at: the moment from which it opens nothing, UTC, ISO 8601; None: never.
        revoked_at: UTC, ISO 8601; None while it opens.
        revoked_by: who revoked it.
        revoked_reason: why.
        last_used_at: UTC, ISO 8601, to the minute; None: never.
        last_used_from: the address of its last use.
        last_used_client: what the client called itself at its last use.
        account_disabled_at: since when its account is disabled; None: it is not.
        user_disabled_at: since when its user is disabled; None: he is not.
    """

    id: int
    kind: Kind
    account: str | None
    user: str | None
    user_id: int | None
    label: str
    added_at: str
    added_by: str
    expires_at: str | None
    revoked_at: str | None
    revoked_by: str | None
    revoked_reason: str
    last_used_at: str | None
    last_used_from: str | None
    last_used_client: str | None
    account_disabled_at: str | None
    user_disabled_at: str | None

    def closed(self, at: datetime) -> Refusal | None:
        """Why it opens nothing at that moment; None: it opens."""
        if self.revoked_at is not None:
            return Refusal.REVOKED
        if self.expires_at is not None and self.expires_at <= iso(at):
            return Refusal.EXPIRED
        if self.account_disabled_at is not None:
            return Refusal.ACCOUNT_DISABLED
        if self.user_disabled_at is not None:
            return Refusal.USER_DISABLED
        return None

    def state(self, at: datetime) -> str:
        """`active`, `revoked`, `expired`, `account_disabled` or `user_disabled` at that moment."""
        closed = self.closed(at)
        return closed.value.removeprefix("token_") if closed else "active"


@dataclass(frozen=True, slots=True)
class Made:
    """A new token, and its secret, which nobody can be told again."""

    token: Token
    secret: str


class Tokens:
    """The tokens of every account and user."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # For the operator

    def add_for_account(self, account: str, *, label: str = "", expires_at: datetime | None = None, actor: str) -> Made:
        """Make a token that sends files for an account. Raises TokenError if there is no such account."""
        with audit.changing(self._db) as tx:
            number = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
            if number is None:
                raise TokenError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
            owner = {"account_id": number}
            return _add(tx, Kind.UPLOAD, owner, label=label, expires_at=expires_at, account=account, actor=actor)

    def add_for_user(self, user: str, *, label: str = "", expires_at: datetime | None = None, actor: str) -> Made:
        """Make a token that speaks for a user. Raises TokenError if there is no such user, or he is disabled."""
        with audit.changing(self._db) as tx:
            query = sa.select(users.c.id, users.c.account_id, users.c.disabled_at, accounts.c.name)
            joined = query.select_from(users).outerjoin(accounts, accounts.c.id == users.c.account_id)
            known = tx.execute(joined.where(users.c.name == user)).first()
            if known is None:
                raise TokenError(f"There is no user {user!r}. `landingzone users list` shows all.")
            if known.disabled_at is not None:
                raise TokenError(f"The user {user} is disabled: a token would open nothing.")
            owner = {"user_id": known.id, "account_id": known.account_id}
            account = known.name or ""
            return _add(tx, Kind.API, owner, label=label, expires_at=expires_at, account=account, actor=actor)

    def of(self, account: str | None = None, *, user_id: int | None = None) -> list[Token]:
        """Every token, revoked ones too, oldest first; of one account, or one user, if named.

        Raises TokenError if there is no such account.
        """
        with self._db.read() as tx:
            where = []
            if account is not None:
                if not tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).first():
                    raise TokenError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
                where.append(accounts.c.name == account)
            if user_id is not None:
                where.append(table.c.user_id == user_id)
            return _select(tx, *where)

    def get(self, number: int) -> Token:
        """The token of that number; raises TokenError if there is none."""
        with self._db.read() as tx:
            return _pick(tx, number)

    def revoke(self, number: int, *, reason: str = "", actor: str) -> Token:
        """Let a token open nothing any more, at once and for good. Raises TokenError if it is revoked already."""
        if len(reason) > _LONGEST:
            raise TokenError(f"The reason may have {_LONGEST} characters.")
        with audit.changing(self._db) as tx:
            token = _pick(tx, number)
            if token.revoked_at is not None:
                raise TokenError(f"Token {number} was revoked on {token.revoked_at} by {token.revoked_by}.")
            closed = {"revoked_at": iso(now()), "revoked_by": actor, "revoked_reason": reason}
            tx.execute(table.update().where(table.c.id == number).values(closed))
            audit.record(
                tx,
                actor=actor,
                action="token.revoked",
                account=token.account or "",
                token=number,
                kind=token.kind.value,
                user=token.user_id,
                reason=reason,
            )
            return _pick(tx, number)

    # For whoever serves

    def authenticate(self, secret: str, *, kind: Kind, address: str, client: str = "") -> Token | Refusal:
        """The token of a secret that a client has shown, if it is of that kind and opens now; else why not.

        Notes its use, about once a minute. Reads, and rarely writes, the database: not for the event loop.
        """
        if not _SECRET.fullmatch(secret):
            return Refusal.UNKNOWN
        with self._db.read() as tx:
            found = next(iter(_select(tx, table.c.digest == digest_of(secret))), None)
        if found is None:
            return Refusal.UNKNOWN
        if found.kind is not kind:
            return Refusal.OTHER_KIND
        if refusal := found.closed(now()):
            return refusal
        self._note_use(found, address=address[:64], client=client[:_LONGEST])
        return found

    def account_of(self, secret: str) -> str:
        """The account that a secret is of, also if it opens nothing; empty if that is nobody's."""
        if not _SECRET.fullmatch(secret):
            return ""
        with self._db.read() as tx:
            found = next(iter(_select(tx, table.c.digest == digest_of(secret))), None)
        return (found.account or "") if found else ""

    def still_opens(self, token: Token) -> Refusal | None:
        """Why a token that was authenticated some time ago opens nothing any more; None: it does."""
        with self._db.read() as tx:
            found = next(iter(_select(tx, table.c.id == token.id)), None)
        return Refusal.UNKNOWN if found is None else found.closed(now())

    def _note_use(self, token: Token, *, address: str, client: str) -> None:
        at = now()
        recent = token.last_used_at is not None and token.last_used_at > iso(at - _USE_NOTED_FOR)
        if recent and (token.last_used_from, token.last_used_client) == (address, client):
            return
        used = {"last_used_at": iso(at), "last_used_from": address, "last_used_client": client}
        try:
            with self._db.write() as tx:
                tx.execute(table.update().where(table.c.id == token.id).values(used))
        except sa.exc.SQLAlchemyError as error:  # a full disk: what is asked for may need no room at all
            if not is_disk_full(error):
                raise
            _log.exception("console.error", request="note_token")


def digest_of(secret: str) -> str:
    """What is kept of a secret: its SHA-256, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _add(
    tx: sa.Connection,
    kind: Kind,
    owner: dict[str, Any],
    *,
    label: str,
    expires_at: datetime | None,
    account: str,
    actor: str,
) -> Made:
    if expires_at is not None and expires_at <= now():
        raise TokenError("This expiry lies in the past.")
    if len(label) > _LONGEST or not label.isprintable():
        raise TokenError(f"The label may have {_LONGEST} printable characters.")
    secret = kind.prefix + secrets.token_urlsafe(_SECRET_BYTES)
    row = table.insert().values(
        digest=digest_of(secret),
        kind=kind.value,
        label=label,
        expires_at=iso(expires_at) if expires_at else None,
        added_at=iso(now()),
        added_by=actor,
        **owner,
    )
    number = int(tx.execute(row.returning(table.c.id)).scalar_one())
    audit.record(
        tx,
        actor=actor,
        action="token.added",
        account=account,
        token=number,
        kind=kind.value,
        user=owner.get("user_id"),
        expires_at=iso(expires_at) if expires_at else None,
    )
    return Made(_pick(tx, number), secret)


def _pick(tx: sa.Connection, number: int) -> Token:
    found = _select(tx, table.c.id == number) if 0 < number < 1 << 31 else []
    if not found:
        raise TokenError(f"There is no token {number}. `landingzone tokens list` shows all.")
    return found[0]


def _select(tx: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Token]:
    rows = tx.execute(_QUERY.where(*where).order_by(table.c.id)).mappings()
    return [Token(**{**row, "kind": Kind(row["kind"])}) for row in rows]


def _query() -> sa.Select[Any]:
    special = {
        "account": accounts.c.name,
        "user": users.c.name,
        "account_disabled_at": accounts.c.disabled_at,
        "user_disabled_at": users.c.disabled_at,
    }
    columns = [
        (special[one.name] if one.name in special else table.c[one.name]).label(one.name) for one in fields(Token)
    ]
    return (
        sa.select(*columns)
        .select_from(table)
        .outerjoin(accounts, accounts.c.id == table.c.account_id)
        .outerjoin(users, users.c.id == table.c.user_id)
    )


_QUERY = _query()
