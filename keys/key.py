"""A key that was given to an account: until when, from where, and why it opens no more."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from landingzone.clock import iso
from landingzone.errors import LandingZoneError

ROTATION = "(rotation)"
"""Who revokes a key whose rotation is over."""


class KeyStoreError(LandingZoneError):
    """The key is not as the command needs it."""


class Refusal(StrEnum):
    """Why a key or certificate does not open an account; stands in the log as the reason."""

    UNKNOWN_ACCOUNT = "unknown_account"
    ACCOUNT_DISABLED = "account_disabled"
    UNKNOWN_KEY = "unknown_key"
    REVOKED = "key_revoked"
    EXPIRED = "key_expired"
    RETIRED = "key_retired"
    WRONG_NETWORK = "wrong_network"
    CERTIFICATE_UNUSABLE = "certificate_unusable"
    UNKNOWN_AUTHORITY = "unknown_authority"
    WRONG_PRINCIPAL = "wrong_principal"
    CERTIFICATE_NOT_YET = "certificate_not_yet_valid"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"


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
        networks: where it may come from, in CIDR notation; one that begins with `!` is shut; empty: anywhere.
        expires_at: the moment from which it no longer opens, UTC, ISO 8601; None: never.
        added_at: UTC, ISO 8601.
        added_by: who added it.
        revoked_at: UTC, ISO 8601; None while it opens.
        revoked_by: who revoked it; `ROTATION` when a new key has taken its place.
        revoked_reason: why.
        last_used_at: UTC, ISO 8601, to the minute; None: never.
        last_used_from: the address of its last use.
        last_used_client: the client's version string of its last use.
        new_in_rotation: number of the rotation that is under way and brought it; None: there is none.
        old_in_rotation: number of the rotation that is under way and replaces it; None: there is none.
        retires_at: when at the latest that rotation ends, UTC, ISO 8601; None: it is not being replaced.
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
    revoked_reason: str
    last_used_at: str | None
    last_used_from: str | None
    last_used_client: str | None
    new_in_rotation: int | None = None
    old_in_rotation: int | None = None
    retires_at: str | None = None

    @property
    def opens_until(self) -> str | None:
        """The moment from which it no longer opens, as far as that is known now, UTC, ISO 8601; None: never."""
        return min(filter(None, (self.expires_at, self.retires_at)), default=None)

    def closed(self, at: datetime) -> Refusal | None:
        """Why it opens nothing at that moment, wherever it comes from; None: it opens."""
        if self.revoked_at is not None:
            return Refusal.RETIRED if self.revoked_by == ROTATION else Refusal.REVOKED
        if self.expires_at is not None and self.expires_at <= iso(at):
            return Refusal.EXPIRED
        if self.retires_at is not None and self.retires_at <= iso(at):
            return Refusal.RETIRED
        return None

    def state(self, at: datetime) -> str:
        """`active`, `replaced` (while a rotation is under way), `revoked`, `retired` or `expired` at that moment."""
        closed = self.closed(at)
        if closed is not None:
            return closed.value.removeprefix("key_")
        return "replaced" if self.old_in_rotation is not None else "active"

    def may_come_from(self, address: str) -> bool:
        """Whether the key opens from that address (IPv4, IPv6, or IPv4 mapped into IPv6)."""
        return comes_from(address, self.networks)


def comes_from(address: str, networks: Iterable[str]) -> bool:
    """Whether an address lies in one of the networks and in none that begins with `!`; in any, if there are none.

    >>> [comes_from(address, ("192.0.2.0/24", "!192.0.2.7/32")) for address in ("192.0.2.1", "192.0.2.7")]
    [True, False]
    """
    opened = [network for network in networks if not network.startswith("!")]
    shut = [network[1:] for network in networks if network.startswith("!")]
    if not opened and not shut:
        return True
    try:
        source = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(source, IPv6Address) and source.ipv4_mapped is not None:
        source = source.ipv4_mapped
    return any(source in ip_network(one) for one in opened) and not any(source in ip_network(one) for one in shut)


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """A network in CIDR notation, or one address; raises KeyStoreError, saying what is wrong.

    >>> str(parse_network("192.0.2.7"))
    '192.0.2.7/32'
    """
    try:
        return ip_network(text.strip())
    except ValueError as wrong:
        raise KeyStoreError(f"Not a network: {wrong}. Write it like 192.0.2.0/24 or 2001:db8::/32.") from None


def parse_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Networks as they are kept; one after `!` is shut. Raises KeyStoreError for what is none, or if all are shut.

    >>> parse_networks(["192.0.2.0/24", "!192.0.2.7"])
    ('192.0.2.0/24', '!192.0.2.7/32')
    """
    found = []
    for text in texts:
        shut, _, network = text.strip().rpartition("!")
        if shut:
            raise KeyStoreError(f"Not a network: {text!r}.")
        found.append(("!" if text.strip().startswith("!") else "") + str(parse_network(network)))
    if found and all(network.startswith("!") for network in found):
        raise KeyStoreError("Networks that are shut need one that is open beside them, such as 0.0.0.0/0.")
    return tuple(found)
