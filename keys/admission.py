"""Who may come in, and who may no longer be inside: what the door asks, each in a few queries that only read."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from keys import authority, key_rows
from keys.authority import Presented
from keys.certificate import Certificate
from keys.key import ROTATION, Key, Refusal
from landingzone.tables import accounts
from landingzone.tables import keys as table

_AT_ONCE = 500
"""So many names go into one query."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a live session was opened with.

    Attributes:
        account: the account's name.
        fingerprint: the SHA-256 fingerprint of the key.
        address: the client's address; empty: it does not matter.
        certificate: what opened, if it was not the key itself.
    """

    account: str
    fingerprint: str
    address: str = ""
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A key that opens an account because a certificate says so."""

    account: str
    certificate: Certificate

    @property
    def fingerprint(self) -> str:
        """SHA256:... of the key itself."""
        return self.certificate.fingerprint

    @property
    def opens_until(self) -> str | None:
        """The moment from which it no longer opens, UTC, ISO 8601; None: never."""
        return self.certificate.valid_until


@dataclass(frozen=True, slots=True)
class Admission:
    """What the door is told about an offered key: `key` if it opens the account, else the `refusal`."""

    key: Key | CertifiedKey | None = None
    refusal: Refusal | None = None


def admit(tx: sa.Connection, account: str, fingerprint: str, *, address: str, at: datetime) -> Admission:
    """Whether a key, offered from an address, opens an account."""
    if refusal := _shut(tx, account):
        return Admission(refusal=refusal)
    found = key_rows.of_fingerprint(tx, account, fingerprint)
    key = next((key for key in found if key.revoked_at is None), found[-1] if found else None)
    refusal = _refusal(key, address=address, at=at)
    return Admission(refusal=refusal) if refusal else Admission(key=key)


def admit_certificate(
    tx: sa.Connection, account: str, certificate: Certificate, *, address: str, at: datetime
) -> Admission:
    """Whether a certificate, offered from an address, opens an account, if its authority did sign it."""
    if refusal := _shut(tx, account):
        return Admission(refusal=refusal)
    shown = Presented(account, certificate, address)
    refusal = authority.refusals(tx, [shown], at=at).get(shown) or _revoked(
        key_rows.of_fingerprint(tx, account, certificate.fingerprint)
    )
    return Admission(refusal=refusal) if refusal else Admission(key=CertifiedKey(account, certificate))


def no_longer_open(tx: sa.Connection, sessions: set[Opened], *, at: datetime) -> dict[Opened, Refusal]:
    """Those of the live sessions that would be refused now, and why."""
    shut = _all_shut(tx, {one.account for one in sessions})
    keys: dict[tuple[str, str], list[Key]] = {}
    for some in _chunks({one.fingerprint for one in sessions}):
        for key in key_rows.select(tx, table.c.fingerprint.in_(some)):
            keys.setdefault((key.account, key.fingerprint), []).append(key)
    shown = {one: Presented(one.account, one.certificate, one.address or None) for one in sessions if one.certificate}
    certificates = authority.refusals(tx, shown.values(), at=at) if shown else {}

    def refusal_of(one: Opened) -> Refusal | None:
        if refusal := shut.get(one.account):
            return refusal
        same = keys.get((one.account, one.fingerprint), [])
        if one in shown:
            return certificates.get(shown[one]) or _revoked(same)
        key = next((key for key in same if key.revoked_at is None), same[-1] if same else None)
        return _refusal(key, address=one.address or None, at=at)

    told = ((one, refusal_of(one)) for one in sessions)
    return {one: refusal for one, refusal in told if refusal is not None}


def _shut(tx: sa.Connection, account: str) -> Refusal | None:
    known = tx.execute(_ACCOUNT, {"of_account": account}).first()
    if known is None:
        return Refusal.UNKNOWN_ACCOUNT
    return Refusal.ACCOUNT_DISABLED if known.disabled_at is not None else None


def _all_shut(tx: sa.Connection, names: set[str]) -> dict[str, Refusal]:
    """Those of the accounts that nothing opens, and why."""
    shut = dict.fromkeys(names, Refusal.UNKNOWN_ACCOUNT)
    for some in _chunks(names):
        query = sa.select(accounts.c.name, accounts.c.disabled_at).where(accounts.c.name.in_(some))
        for name, disabled_at in tx.execute(query):
            if disabled_at is None:
                del shut[name]
            else:
                shut[name] = Refusal.ACCOUNT_DISABLED
    return shut


def _refusal(key: Key | None, *, address: str | None, at: datetime) -> Refusal | None:
    """Why a key opens nothing, from an address (None: that does not matter)."""
    if key is None:
        return Refusal.UNKNOWN_KEY
    refusal = key.closed(at)
    if refusal is None and address is not None and not key.may_come_from(address):
        return Refusal.WRONG_NETWORK
    return refusal


def _revoked(keys: list[Key]) -> Refusal | None:
    """Whether an operator has revoked a key for its account: then a certificate of it opens nothing either."""
    open_ones = any(key.revoked_at is None for key in keys)
    gone = any(key.revoked_at is not None and key.revoked_by != ROTATION for key in keys)
    return Refusal.REVOKED if gone and not open_ones else None


def _chunks(values: set[str]) -> Iterable[list[str]]:
    listed = sorted(values)
    return (listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE))


_ACCOUNT = sa.select(accounts.c.disabled_at).where(accounts.c.name == sa.bindparam("of_account"))
