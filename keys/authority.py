"""Certificate authorities: whose signature opens accounts, and which of their certificates open no more.

An authority may be bound to one account: a district that signs its own certificates never opens another's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from keys.certificate import Certificate
from keys.key import KeyStoreError, Refusal
from keys.key_rows import account_id
from keys.public_key import PublicKey
from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.tables import accounts, certificate_authorities, certificate_revocations

_AT_ONCE = 400
_LONGEST = 255


class Revoked(StrEnum):
    """By what a certificate is revoked."""

    SERIAL = "serial"
    KEY_ID = "key_id"
    FINGERPRINT = "fingerprint"


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs certificates.

    Attributes:
        id: the database's number.
        account: the only account that its certificates open; None: every one that they name.
        fingerprint: SHA256:...
        algorithm: its key's SSH name.
        bits: the size of its key.
        public_key: the canonical OpenSSH line.
        label: what a person calls it.
        added_at: UTC, ISO 8601.
        added_by: who added it.
        removed_at: UTC, ISO 8601; None while it counts.
        removed_by: who removed it.
        removed_reason: why.
        last_used_at: when one of its certificates was last used, UTC, ISO 8601, to the minute; None: never.
        last_used_from: the address of that use.
        last_used_client: the client's version string of that use.
    """

    id: int
    account: str | None
    fingerprint: str
    algorithm: str
    bits: int
    public_key: str
    label: str
    added_at: str
    added_by: str
    removed_at: str | None
    removed_by: str | None
    removed_reason: str
    last_used_at: str | None
    last_used_from: str | None
    last_used_client: str | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Certificates that open no more.

    Attributes:
        id: the database's number.
        ca_fingerprint: of which authority; for a key's fingerprint it is said for all.
        kind: `serial`, `key_id` or `fingerprint`.
        value: that.
        reason: why.
        added_at: UTC, ISO 8601.
        added_by: who.
        lifted_at: UTC, ISO 8601; None while it holds.
        lifted_by: who took it back.
    """

    id: int
    ca_fingerprint: str
    kind: Revoked
    value: str
    reason: str
    added_at: str
    added_by: str
    lifted_at: str | None
    lifted_by: str | None


class Authorities:
    """The authorities of an installation, and their revocations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, key: PublicKey, *, account: str | None = None, label: str = "", actor: str) -> Authority:
        """Trust an authority: for every account that its certificates name, or for one only.

        Raises KeyStoreError if it is trusted so already, AccountError if there is no such account.
        """
        with audit.changing(self._db) as tx:
            number = account_id(tx, account) if account is not None else None
            for known in _authorities(tx, certificate_authorities.c.fingerprint == key.fingerprint):
                if known.removed_at is None and known.account in {account, None}:
                    raise KeyStoreError(f"This authority is trusted already (number {known.id}).")
            row = certificate_authorities.insert().values(
                account_id=number,
                fingerprint=key.fingerprint,
                algorithm=key.algorithm,
                bits=key.bits,
                public_key=key.line,
                label=label or key.comment,
                added_at=iso(now()),
                added_by=actor,
            )
            made = tx.execute(row.returning(certificate_authorities.c.id)).scalar_one()
            audit.record(
                tx, actor=actor, action="ca.added", account=account or "", ca=made, fingerprint=key.fingerprint
            )
            return _pick(tx, str(made))

    def all(self) -> list[Authority]:
        """Every authority, removed ones too, in order of age."""
        with self._db.read() as tx:
            return _authorities(tx)

    def remove(self, which: str, *, reason: str = "", actor: str) -> Authority:
        """Trust an authority no longer, by number or fingerprint: all its certificates open no more."""
        _check(reason)
        with audit.changing(self._db) as tx:
            one = _pick(tx, which)
            if one.removed_at is not None:
                raise KeyStoreError(f"Authority {one.id} was removed on {one.removed_at} by {one.removed_by}.")
            gone = {"removed_at": iso(now()), "removed_by": actor, "removed_reason": reason}
            tx.execute(certificate_authorities.update().where(certificate_authorities.c.id == one.id).values(gone))
            audit.record(
                tx,
                actor=actor,
                action="ca.removed",
                account=one.account or "",
                ca=one.id,
                fingerprint=one.fingerprint,
                reason=reason,
            )
            return _pick(tx, str(one.id))

    def revoke(self, which: str, kind: Revoked, value: str, *, reason: str = "", actor: str) -> Revocation:
        """Revoke certificates of an authority by serial or key id, or by their key's fingerprint (of any authority).

        Raises KeyStoreError if that is done already, or for serial 0, which certificates have that were given none.
        """
        _check(reason)
        value = value.strip()
        if not value or len(value) > _LONGEST or not value.isprintable():
            raise KeyStoreError(f"A {kind.value.replace('_', ' ')} has 1 to {_LONGEST} characters.")
        if kind is Revoked.SERIAL:
            value = _check_serial(value)
        if kind is Revoked.FINGERPRINT and not value.startswith("SHA256:"):
            raise KeyStoreError("A fingerprint begins with SHA256:.")
        with audit.changing(self._db) as tx:
            one = _pick(tx, which)
            row = {"ca_fingerprint": one.fingerprint, "kind": kind.value, "value": value}
            table = certificate_revocations
            same = sa.and_(*(table.c[name] == wanted for name, wanted in row.items()), table.c.lifted_at.is_(None))
            if tx.execute(sa.select(table.c.id).where(same)).first() is not None:
                raise KeyStoreError("This is revoked already.")
            added = table.insert().values(**row, reason=reason, added_at=iso(now()), added_by=actor)
            number = tx.execute(added.returning(table.c.id)).scalar_one()
            audit.record(
                tx,
                actor=actor,
                action="certificate.revoked",
                account=one.account or "",
                revocation=number,
                ca=one.id,
                by=kind.value,
                value=value,
                reason=reason,
            )
            return _revocations(tx, table.c.id == number)[0]

    def lift(self, number: int, *, actor: str) -> Revocation:
        """Take a revocation back; raises KeyStoreError if there is none of that number that holds."""
        table = certificate_revocations
        with audit.changing(self._db) as tx:
            held = _revocations(tx, table.c.id == number, table.c.lifted_at.is_(None))
            if not held:
                raise KeyStoreError(f"No revocation {number} holds. `landingzone keys ca revocations` shows all.")
            tx.execute(table.update().where(table.c.id == number).values(lifted_at=iso(now()), lifted_by=actor))
            audit.record(tx, actor=actor, action="certificate.revocation_lifted", revocation=number)
            return _revocations(tx, table.c.id == number)[0]

    def revocations(self) -> list[Revocation]:
        """Every revocation, lifted ones too, in order of age."""
        with self._db.read() as tx:
            return _revocations(tx)


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate that is shown for an account, from an address (None: that does not matter)."""

    account: str
    certificate: Certificate
    address: str | None = None


def refusals(tx: sa.Connection, presented: Iterable[Presented], *, at: datetime) -> dict[Presented, Refusal]:
    """Those of the presented certificates that open nothing, and why; in a few queries, whatever their number.

    Whether the account is there and enabled is the caller's part.
    """
    asked = set(presented)
    trusted: dict[str, set[str | None]] = {}
    for known in _authorities(tx, certificate_authorities.c.removed_at.is_(None)):
        trusted.setdefault(known.fingerprint, set()).add(known.account)
    revoked = _held(tx, {value for one in asked for _, value in _names(one.certificate)})
    found: dict[Presented, Refusal] = {}
    for one in asked:
        if not trusted.get(one.certificate.authority, set()) & {None, one.account}:
            found[one] = Refusal.UNKNOWN_AUTHORITY
        elif any(name in revoked for name in _revocable(one.certificate)):
            found[one] = Refusal.CERTIFICATE_REVOKED
        elif refusal := one.certificate.closed(one.account, address=one.address, at=at):
            found[one] = refusal
    return found


def note_use(tx: sa.Connection, one: Presented, *, client: str, at: datetime) -> None:
    """Note that a certificate of its authority has opened an account."""
    table = certificate_authorities
    account = sa.select(accounts.c.id).where(accounts.c.name == one.account).scalar_subquery()
    mine = sa.and_(
        table.c.fingerprint == one.certificate.authority,
        table.c.removed_at.is_(None),
        sa.or_(table.c.account_id.is_(None), table.c.account_id == account),
    )
    used = {"last_used_at": iso(at), "last_used_from": (one.address or "")[:64], "last_used_client": client[:255]}
    tx.execute(table.update().where(mine).values(used))


def _names(certificate: Certificate) -> Iterable[tuple[Revoked, str]]:
    yield Revoked.FINGERPRINT, certificate.fingerprint
    if certificate.serial:
        yield Revoked.SERIAL, str(certificate.serial)
    if certificate.key_id:
        yield Revoked.KEY_ID, certificate.key_id


def _revocable(certificate: Certificate) -> Iterable[tuple[Revoked, str, str]]:
    for kind, value in _names(certificate):
        yield kind, value, "" if kind is Revoked.FINGERPRINT else certificate.authority


def _held(tx: sa.Connection, values: set[str]) -> set[tuple[Revoked, str, str]]:
    """The revocations of these values that hold: kind, value, and the authority where it matters."""
    table, listed = certificate_revocations, sorted(values)
    held: set[tuple[Revoked, str, str]] = set()
    for start in range(0, len(listed), _AT_ONCE):
        some = table.c.value.in_(listed[start : start + _AT_ONCE])
        for one in _revocations(tx, some, table.c.lifted_at.is_(None)):
            held.add((one.kind, one.value, "" if one.kind is Revoked.FINGERPRINT else one.ca_fingerprint))
    return held


def _authorities(tx: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Authority]:
    table = certificate_authorities
    names = Authority.__dataclass_fields__
    columns = [accounts.c.name.label("account") if name == "account" else table.c[name] for name in names]
    query = sa.select(*columns).select_from(table).outerjoin(accounts, accounts.c.id == table.c.account_id)
    return [Authority(*row) for row in tx.execute(query.where(*where).order_by(table.c.id))]


def _revocations(tx: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Revocation]:
    table = certificate_revocations
    query = sa.select(*(table.c[name] for name in Revocation.__dataclass_fields__)).where(*where).order_by(table.c.id)
    return [Revocation(**{**row, "kind": Revoked(row["kind"])}) for row in tx.execute(query).mappings()]


def _pick(tx: sa.Connection, which: str) -> Authority:
    wanted, table = which.strip(), certificate_authorities
    is_number = re.fullmatch(r"[0-9]{1,9}", wanted) is not None
    by = table.c.id == int(wanted) if is_number else table.c.fingerprint == wanted
    found = _authorities(tx, by)
    if not found:
        raise KeyStoreError("There is no such authority. `landingzone keys ca list` shows all.")
    return next((one for one in found if one.removed_at is None), found[-1])


def _check(reason: str) -> None:
    if len(reason) > _LONGEST:
        raise KeyStoreError(f"The reason may have {_LONGEST} characters.")


def _check_serial(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and 0 < int(text) < 2**64):  # noqa: PLR2004 - 64 bits
        raise KeyStoreError("A serial is a number from 1 on. Revoke certificates without one by --key-id or --key.")
    return str(int(text))
