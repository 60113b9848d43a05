"""Users: who may sign in to the console. Local ones set a password and a second factor by a one-time link."""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from console.password import Passwords
from console.role import Role
from console.secret import digest
from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.tables import accounts, invitations, users, web_sessions

_NAME = re.compile(r"[a-z0-9][a-z0-9._+@-]{1,199}")
_MOST_OF_A_NAME = 100


class UserError(LandingZoneError):
    """There is no such user, or it cannot be as asked."""


class InvitationSpent(LandingZoneError):
    """This link has been used, has ended, or never was one. Ask for a new one: an operator makes it."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in.

    Attributes:
        id: the database's number.
        name: what is typed to sign in, in lower case; best the e-mail address.
        full_name: for people.
        role: what the user may do.
        account: whose staff a district's user is; None for the others.
        has_password: whether one was set, by an invitation.
        has_second_factor: whether one was set.
        oidc_subject: `<issuer> <subject>` once the user has come by OpenID Connect.
        added_at: when, UTC, ISO 8601; added_by by whom.
        disabled_at: since when the user is shut out; None: is not.
        last_seen_at: when the user was last there.
    """

    id: int
    name: str
    full_name: str
    role: Role
    account: str | None
    has_password: bool
    has_second_factor: bool
    oidc_subject: str | None
    added_at: str
    added_by: str
    disabled_at: str | None
    last_seen_at: str | None

    @property
    def enabled(self) -> bool:
        """Whether the user may sign in."""
        return self.disabled_at is None


class Users:
    """The users of one installation.

    Args:
        db: the database.
        passwords: makes their hashes.
    """

    def __init__(self, db: Database, passwords: Passwords) -> None:
        self._db = db
        self._passwords = passwords

    def all(self, *, account: str | None = None) -> list[User]:
        """The users by name; only an account's staff if one is named."""
        query = QUERY.order_by(users.c.name)
        if account is not None:
            query = query.where(accounts.c.name == account)
        with self._db.read() as tx:
            return [user_of(row) for row in tx.execute(query)]

    def get(self, name: str) -> User:
        """A user by name. Raises UserError if there is none."""
        with self._db.read() as tx:
            return self._get(tx, name)

    def add(self, name: str, role: Role, *, account: str | None, full_name: str = "", actor: str) -> User:
        """A new user, who cannot sign in yet: see `invite`. Raises UserError with what to do."""
        name = name.strip().lower()
        if not _NAME.fullmatch(name):
            raise UserError("A user's name is 2 to 200 letters, digits and ._+@- ; best the e-mail address.")
        if (role is Role.DISTRICT) != (account is not None):
            raise UserError("A district's user belongs to an account, and the other roles belong to none.")
        full_name = " ".join(full_name.split())
        if len(full_name) > _MOST_OF_A_NAME or not full_name.isprintable():
            raise UserError(f"A full name has at most {_MOST_OF_A_NAME} characters that can be printed.")
        with audit.changing(self._db) as tx:
            if tx.execute(sa.select(users.c.id).where(users.c.name == name)).first():
                raise UserError(f"There is a user {name} already.")
            tx.execute(
                users.insert().values(
                    name=name,
                    full_name=full_name,
                    role=role.value,
                    account_id=_account_id(tx, account) if account is not None else None,
                    added_at=iso(now()),
                    added_by=actor,
                )
            )
            audit.record(tx, actor=actor, action="user.added", account=account or "", user=name, role=role.value)
            return self._get(tx, name)

    def set_enabled(self, name: str, *, enabled: bool, actor: str) -> User:
        """Shut a user out, with all that is open, or let them in again. Raises UserError for the last operator."""
        with audit.changing(self._db) as tx:
            found = self._get(tx, name)
            if found.enabled == enabled:
                return found
            if not enabled and found.role is Role.OPERATOR and not self._other_operators(tx, found.id):
                raise UserError(f"{found.name} is the last operator; somebody has to let others in. Add another first.")
            values = {"disabled_at": None, "disabled_by": None} if enabled else _disabled(actor)
            tx.execute(users.update().where(users.c.id == found.id).values(values))
            if not enabled:
                end_sessions(tx, found.id)
                _end_invitations(tx, found.id)
            action = "user.enabled" if enabled else "user.disabled"
            audit.record(tx, actor=actor, action=action, account=found.account or "", user=found.name)
            return self._get(tx, name)

    # Invitations

    def invite(self, name: str, *, hours: float, actor: str) -> str:
        """A one-time link's secret: who has it sets a password and a second factor anew. Ends those made before."""
        secret = secrets.token_urlsafe(32)
        with audit.changing(self._db) as tx:
            found = self._get(tx, name)
            if not found.enabled:
                raise UserError(f"{found.name} is disabled; enable the user first.")
            _end_invitations(tx, found.id)
            row = {"digest": digest(secret), "user_id": found.id, "added_at": iso(now()), "added_by": actor}
            tx.execute(invitations.insert().values(**row, expires_at=iso(now() + timedelta(hours=hours))))
            audit.record(tx, actor=actor, action="user.invited", account=found.account or "", user=found.name)
        return secret

    def invited(self, secret: str) -> User:
        """Whose link it is. Raises InvitationSpent."""
        with self._db.read() as tx:
            return self._invited(tx, secret)

    def accept(self, secret: str, *, password: str, sealed_totp: str | None, totp_step: int | None) -> User:
        """Set what the link is for; its user's sessions end. Raises InvitationSpent, PasswordRefused."""
        hashed = self._passwords.hash(password, name=self.invited(secret).name)
        with audit.changing(self._db) as tx:
            found = self._invited(tx, secret)
            tx.execute(invitations.update().where(invitations.c.digest == digest(secret)).values(used_at=iso(now())))
            values = {"password_hash": hashed, "totp_secret": sealed_totp, "totp_last_step": totp_step}
            tx.execute(users.update().where(users.c.id == found.id).values(values))
            end_sessions(tx, found.id)
            actor = f"{found.name} (console)"
            audit.record(tx, actor=actor, action="user.password_set", account=found.account or "", user=found.name)
            return self._get(tx, found.name)

    def change_password(self, name: str, *, present: str, new: str, keep_session: str, actor: str) -> None:
        """Set another password; all other sessions end. Raises UserError if the present one is wrong."""
        with self._db.read() as tx:
            kept = tx.execute(sa.select(users.c.password_hash).where(users.c.name == name)).scalar()
        if not self._passwords.holds(kept, present):
            raise UserError("The present password is another one. Nothing was changed.")
        hashed = self._passwords.hash(new, name=name)
        with audit.changing(self._db) as tx:
            found = self._get(tx, name)
            tx.execute(users.update().where(users.c.id == found.id).values(password_hash=hashed))
            end_sessions(tx, found.id, but=keep_session)
            audit.record(tx, actor=actor, action="user.password_set", account=found.account or "", user=found.name)

    def _get(self, tx: sa.Connection, name: str) -> User:
        row = tx.execute(QUERY.where(users.c.name == name.strip().lower())).first()
        if row is None:
            raise UserError(f"There is no user {name[:100]!r}.")
        return user_of(row)

    def _invited(self, tx: sa.Connection, secret: str) -> User:
        query = QUERY.join(invitations, invitations.c.user_id == users.c.id).where(
            invitations.c.digest == digest(secret),
            invitations.c.used_at.is_(None),
            invitations.c.expires_at > iso(now()),
            users.c.disabled_at.is_(None),
        )
        row = tx.execute(query).first()
        if row is None:
            raise InvitationSpent
        return user_of(row)

    def _other_operators(self, tx: sa.Connection, but: int) -> bool:
        query = sa.select(users.c.id).where(
            users.c.role == Role.OPERATOR.value, users.c.disabled_at.is_(None), users.c.id != but
        )
        return tx.execute(query.limit(1)).first() is not None


QUERY = sa.select(
    *(users.c[name] for name in ("id", "name", "full_name", "role")),
    accounts.c.name.label("account"),
    users.c.password_hash.is_not(None).label("has_password"),
    users.c.totp_secret.is_not(None).label("has_second_factor"),
    *(users.c[name] for name in ("oidc_subject", "added_at", "added_by", "disabled_at", "last_seen_at")),
).select_from(users.outerjoin(accounts, accounts.c.id == users.c.account_id))


def user_of(row: sa.Row[*tuple[Any, ...]]) -> User:
    """A user from a row of QUERY."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return User(**{**fields, "role": Role(fields["role"])})


def end_sessions(tx: sa.Connection, user_id: int, *, but: str = "") -> int:
    """End a user's sessions (all but one, by its digest) in the caller's transaction; how many there were."""
    of_it = (web_sessions.c.user_id == user_id, web_sessions.c.ended_at.is_(None), web_sessions.c.digest != but)
    return tx.execute(web_sessions.update().where(*of_it).values(ended_at=iso(now()))).rowcount


def _end_invitations(tx: sa.Connection, user_id: int) -> None:
    open_ones = (invitations.c.user_id == user_id, invitations.c.used_at.is_(None))
    tx.execute(invitations.update().where(*open_ones).values(used_at=iso(now())))


def _disabled(actor: str) -> dict[str, str]:
    return {"disabled_at": iso(now()), "disabled_by": actor}


def _account_id(tx: sa.Connection, account: str) -> int:
    found = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
    if found is None:
        raise UserError(f"There is no account {account[:32]!r}.")
    return int(found)
