"""The keys in the database: which key opens which account, from where, until when. Every change leaves an audit record.

The same key may open several accounts (one vendor often serves several districts): the account is the SSH user name, so
nothing is mixed up. But who loses it loses all of them, so adding it says where else it is in use.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import sqlalchemy as sa

from keys.public_key import PublicKey
from landingzone import audit
from landingzone.account import AccountError
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.tables import accounts
from landingzone.tables import keys as table

#: How old the note of a key's last use may become before a login renews it: a login should rarely have to write.
_USE_NOTED_FOR = timedelta(minutes=1)


class KeyStoreError(LandingZoneError):
    """The key is not as the command needs it."""


class Refusal(StrEnum):
    """Why a key does not open an account; stands in the log as the reason."""

    UNKNOWN_ACCOUNT = "unknown_account"
    ACCOUNT_DISABLED = "account_disabled"
    UNKNOWN_KEY = "unknown_key"
    REVOKED = "key_revoked"
    EXPIRED = "key_expired"
    WRONG_NETWORK = "wrong_network"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was given to an account.

    Attributes:
        id: the database's number.
        account: the account's name.
        fingerprint: SHA256:...
        algorithm: its SSH name.
        bits: the size of its modulus or curve.
        public_key: the canonical OpenSSH line.
        label: what a person calls it.
        networks: where it may come from, in CIDR notation; empty: anywhere.
        expires_at: the moment from which it no longer opens, UTC, ISO 8601; None: never.
        added_at: UTC, ISO 8601.
        added_by: who added it.
        revoked_at: UTC, ISO 8601; None while it opens.
        revoked_by: who revoked it.
        last_used_at: UTC, ISO 8601, to the minute; None: never.
        last_used_from: the address of its last use.
        last_used_client: the client's version string of its last use.
    """

    id: int
    account: str
    fingerprint: str
    algorithm: str
    bits: int
    public_key: str
    label: str
    networks: tuple[str, ...]
    expires_at: str | None
    added_at: str
    added_by: str
    revoked_at: str | None
    revoked_by: str | None
    last_used_at: str | None
    last_used_from: str | None
    last_used_client: str | None

    def state(self, at: datetime) -> str:
        """`active`, `revoked` or `expired` at that moment."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= iso(at):
            return "expired"
        return "active"

    def may_come_from(self, address: str) -> bool:
        """Whether the key opens from that address (IPv4, IPv6, or IPv4 mapped into IPv6)."""
        if not self.networks:
            return True
        try:
            source = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(source, IPv6Address) and source.ipv4_mapped is not None:
            source = source.ipv4_mapped
        return any(source in ip_network(network) for network in self.networks)


@dataclass(frozen=True, slots=True)
class Admission:
    """What the door is told about an offered key: `key` if it opens the account, else the `refusal`."""

    key: Key | None = None
    refusal: Refusal | None = None


class Keys:
    """The keys of every account."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # For the operator

    def add(
        self,
        account: str,
        key: PublicKey,
        *,
        label: str = "",
        expires_at: datetime | None = None,
        networks: tuple[str, ...] = (),
        again: bool = False,
        actor: str,
    ) -> Key:
        """Let a key open an account.

        Raises KeyStoreError if it does so already, if it was revoked there (unless `again`), or if its end lies
        behind us; AccountError if there is no such account.
        """
        at = now()
        if expires_at is not None and expires_at <= at:
            raise KeyStoreError("This expiry lies in the past.")
        wanted = tuple(str(parse_network(network)) for network in networks)
        with self._db.write() as tx:
            account_id = _account_id(tx, account)
            for known in _select(tx, table.c.account_id == account_id, table.c.fingerprint == key.fingerprint):
                if known.revoked_at is None:
                    raise KeyStoreError(f"{key.fingerprint} opens {account} already (key {known.id}).")
                if not again:
                    raise KeyStoreError(
                        f"{key.fingerprint} was revoked for {account} on {known.revoked_at} by {known.revoked_by}. "
                        "Ask for a new pair, or add it with --again if it was revoked by mistake."
                    )
            row = table.insert().values(
                account_id=account_id,
                fingerprint=key.fingerprint,
                algorithm=key.algorithm,
                bits=key.bits,
                public_key=key.line,
                label=label or key.comment,
                networks=" ".join(wanted),
                expires_at=iso(expires_at) if expires_at else None,
                added_at=iso(at),
                added_by=actor,
            )
            key_id = tx.execute(row.returning(table.c.id)).scalar_one()
            audit.record(
                tx,
                actor=actor,
                action="key.added",
                account=account,
                key=key_id,
                fingerprint=key.fingerprint,
                algorithm=key.algorithm,
                networks=list(wanted),
                expires_at=iso(expires_at) if expires_at else None,
            )
        return self.get(account, str(key_id))

    def of(self, account: str | None = None) -> list[Key]:
        """Every key, revoked ones too, in order of account and age; of one account if named."""
        with self._db.read() as tx:
            if account is None:
                return _select(tx)
            return _select(tx, table.c.account_id == _account_id(tx, account))

    def get(self, account: str, which: str) -> Key:
        """The key of an account by number or SHA-256 fingerprint; raises KeyStoreError if it has none such."""
        with self._db.read() as tx:
            return _pick(tx, account, which)

    def others_with(self, key: Key) -> list[str]:
        """The names of the other accounts that the same key opens."""
        same = (table.c.fingerprint == key.fingerprint, table.c.revoked_at.is_(None), accounts.c.name != key.account)
        with self._db.read() as tx:
            return [other.account for other in _select(tx, *same)]

    def revoke(self, account: str, which: str, *, actor: str) -> Key:
        """Close the door for a key of an account, by number or fingerprint; raises KeyStoreError if it is closed."""
        with self._db.write() as tx:
            key = _pick(tx, account, which)
            if key.revoked_at is not None:
                raise KeyStoreError(f"Key {key.id} was revoked on {key.revoked_at} by {key.revoked_by}.")
            tx.execute(table.update().where(table.c.id == key.id).values(revoked_at=iso(now()), revoked_by=actor))
            audit.record(
                tx, actor=actor, action="key.revoked", account=account, key=key.id, fingerprint=key.fingerprint
            )
        return self.get(account, str(key.id))

    # For the door

    def admit(self, account: str, fingerprint: str, *, address: str) -> Admission:
        """Whether a key, offered from an address, opens an account now."""
        at = now()
        with self._db.read() as tx:
            known = tx.execute(
                sa.select(accounts.c.id, accounts.c.disabled_at).where(accounts.c.name == account)
            ).first()
            if known is None:
                return Admission(refusal=Refusal.UNKNOWN_ACCOUNT)
            found = _select(tx, table.c.account_id == known.id, table.c.fingerprint == fingerprint)
        if known.disabled_at is not None:
            return Admission(refusal=Refusal.ACCOUNT_DISABLED)
        if not found:
            return Admission(refusal=Refusal.UNKNOWN_KEY)
        key = next((key for key in found if key.revoked_at is None), None)
        if key is None:
            return Admission(refusal=Refusal.REVOKED)
        if key.state(at) == "expired":
            return Admission(refusal=Refusal.EXPIRED)
        if not key.may_come_from(address):
            return Admission(refusal=Refusal.WRONG_NETWORK)
        return Admission(key=key)

    def note_use(self, key: Key, *, address: str, client: str) -> None:
        """Note that a key opened its account, unless that was noted within the last minute from the same place."""
        at = now()
        recent = key.last_used_at is not None and key.last_used_at > iso(at - _USE_NOTED_FOR)
        if recent and (key.last_used_from, key.last_used_client) == (address, client[:255]):
            return
        used = {"last_used_at": iso(at), "last_used_from": address[:64], "last_used_client": client[:255]}
        with self._db.write() as tx:
            tx.execute(table.update().where(table.c.id == key.id).values(used))


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """A network in CIDR notation, or one address; raises KeyStoreError, saying what is wrong.

    >>> str(parse_network("192.0.2.7"))
    '192.0.2.7/32'
    """
    try:
        return ip_network(text.strip())
    except ValueError as wrong:
        raise KeyStoreError(f"Not a network: {wrong}. Write it like 192.0.2.0/24 or 2001:db8::/32.") from None


def _account_id(tx: sa.Connection, account: str) -> int:
    found = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
    if found is None:
        raise AccountError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
    return int(found)


def _pick(tx: sa.Connection, account: str, which: str) -> Key:
    account_id = _account_id(tx, account)
    wanted = which.strip()
    by = table.c.id == int(wanted) if wanted.isascii() and wanted.isdigit() else table.c.fingerprint == wanted
    found = _select(tx, table.c.account_id == account_id, by)
    if not found:
        raise KeyStoreError(f"{account} has no such key. `landingzone keys list {account}` shows all.")
    return next((key for key in found if key.revoked_at is None), found[-1])


def _select(tx: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Key]:
    query = sa.select(*_COLUMNS).join(accounts, accounts.c.id == table.c.account_id).where(*where)
    rows = tx.execute(query.order_by(accounts.c.name, table.c.id)).mappings()
    return [Key(**{**row, "networks": tuple(row["networks"].split())}) for row in rows]


_COLUMNS = [
    accounts.c.name.label("account") if name == "account" else table.c[name] for name in Key.__dataclass_fields__
]
