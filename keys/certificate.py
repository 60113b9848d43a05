"""SSH user certificates, read strictly: a key that an authority has signed for a time, for accounts that it names.

The form is that of OpenSSH's PROTOCOL.certkeys. What a certificate demands and we do not know closes the door. The
authority's signature is proven by the SSH library, before anything here counts.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network

from keys.key import Refusal, comes_from
from keys.public_key import PublicKey, PublicKeyError, strings
from landingzone.clock import iso
from landingzone.errors import LandingZoneError

SUFFIX = b"-cert-v01@openssh.com"
MAX_BYTES = 32 * 1024
MAX_PRINCIPALS = 256  # as in OpenSSH
_USER = 1
_FOREVER = 2**64 - 1
_SIGNATURES = {
    "ssh-ed25519": (b"ssh-ed25519",),
    "ecdsa-sha2-nistp256": (b"ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": (b"ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": (b"ecdsa-sha2-nistp521",),
    "ssh-rsa": (b"rsa-sha2-512", b"rsa-sha2-256"),  # not ssh-rsa: that is SHA-1
    "sk-ssh-ed25519@openssh.com": (b"sk-ssh-ed25519@openssh.com",),
    "sk-ecdsa-sha2-nistp256@openssh.com": (b"sk-ecdsa-sha2-nistp256@openssh.com",),
}
_KEY_STRINGS = {
    b"ssh-ed25519": 1,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"ssh-rsa": 2,
    b"sk-ssh-ed25519@openssh.com": 2,
    b"sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
"""How many strings a key of a kind has, in a certificate of it."""


class CertificateError(LandingZoneError):
    """This certificate cannot open an account."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says.

    Attributes:
        fingerprint: SHA-256 fingerprint of the key that it certifies.
        algorithm: that key's SSH name.
        serial: the authority's number for it; 0: it gave none.
        key_id: the authority's name for it, without control characters; at most 255 characters.
        principals: the accounts that it opens.
        valid_from: UTC, ISO 8601; None: always.
        valid_until: the moment from which it no longer opens, UTC, ISO 8601; None: never.
        networks: where it may come from, in CIDR notation; empty: anywhere.
        authority: SHA-256 fingerprint of the key that signed it.
    """

    fingerprint: str
    algorithm: str
    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_from: str | None
    valid_until: str | None
    networks: tuple[str, ...]
    authority: str

    @classmethod
    def parse(cls, blob: bytes) -> "Certificate":
        """The certificate in its wire form. Raises CertificateError, saying why it cannot open an account.

        That is so of host certificates, of those without principals, with a critical option other than
        `source-address`, of or signed by a key that could not open an account itself, or signed with SHA-1.
        """
        if len(blob) > MAX_BYTES:
            raise CertificateError(f"The certificate is larger than {MAX_BYTES} bytes.")
        try:
            return _read(_Wire(blob))
        except PublicKeyError as wrong:
            raise CertificateError(f"A key in the certificate is not accepted: {wrong}") from None
        except (ValueError, UnicodeDecodeError):
            raise CertificateError("The certificate is damaged.") from None

    def closed(self, account: str, *, address: str | None, at: datetime) -> Refusal | None:
        """Why it does not open an account from an address (None: from anywhere) at a moment; None: it says it does."""
        if account not in self.principals:
            return Refusal.WRONG_PRINCIPAL
        if self.valid_from is not None and self.valid_from > iso(at):
            return Refusal.CERTIFICATE_NOT_YET
        if self.valid_until is not None and self.valid_until <= iso(at):
            return Refusal.CERTIFICATE_EXPIRED
        if address is not None and not comes_from(address, self.networks):
            return Refusal.WRONG_NETWORK
        return None


def is_certificate(blob: bytes) -> bool:
    """Whether a key in its wire form is a certificate, of whatever use."""
    size = int.from_bytes(blob[:4])
    return size <= 64 and blob[4 : 4 + size].endswith(SUFFIX)  # noqa: PLR2004 - the longest name has 41


class _Wire:
    """Takes one value after the other out of bytes; ValueError where they end too soon."""

    def __init__(self, blob: bytes) -> None:
        self._blob, self._at = blob, 0

    def take(self, size: int) -> bytes:
        part = self._blob[self._at : self._at + size]
        if len(part) != size:
            raise ValueError("cut")
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def string(self) -> bytes:
        return self.take(self.number(4))

    def end(self) -> None:
        if self._at != len(self._blob):
            raise ValueError("more follows")


def _read(wire: _Wire) -> Certificate:
    name = wire.string()
    kind = name.removesuffix(SUFFIX)
    if kind == name or kind.removesuffix(b"@openssh.com") not in _plain_kinds():
        raise CertificateError("Certificates of this kind are not accepted.")
    kind = _plain_kinds()[kind.removesuffix(b"@openssh.com")]
    wire.string()  # the nonce
    parts = [kind, *(wire.string() for _ in range(_KEY_STRINGS[kind]))]
    key = PublicKey.from_blob(b"".join(len(part).to_bytes(4) + part for part in parts))
    serial, use = wire.number(8), wire.number(4)
    key_id, principals = wire.string().decode("utf-8"), strings(wire.string())
    valid_from, valid_until = wire.number(8), wire.number(8)
    critical, extensions, _ = strings(wire.string()), strings(wire.string()), wire.string()
    signer, signature = wire.string(), strings(wire.string())
    wire.end()
    if use != _USER:
        raise CertificateError("This is not a user certificate.")
    if not principals:
        raise CertificateError("The certificate names no account: sign it with -n ACCOUNT.")
    if len(principals) > MAX_PRINCIPALS:
        raise CertificateError(f"The certificate names more than {MAX_PRINCIPALS} accounts.")
    _options(extensions)
    authority = PublicKey.from_blob(signer)
    if not signature or signature[0] not in _SIGNATURES[authority.algorithm]:
        raise CertificateError("The certificate is signed with an algorithm that is no longer safe: sign it again.")
    return Certificate(
        fingerprint=key.fingerprint,
        algorithm=key.algorithm,
        serial=serial,
        key_id="".join(char for char in key_id if char.isprintable())[:255],
        principals=tuple(principal.decode("utf-8") for principal in principals),
        valid_from=_moment(valid_from) if valid_from else None,
        valid_until=None if valid_until == _FOREVER else _moment(valid_until),
        networks=_source_addresses(_options(critical)),
        authority=authority.fingerprint,
    )


def _plain_kinds() -> dict[bytes, bytes]:
    """The name of a key's kind in the name of its certificates -> its own name: sk-... lose their @openssh.com."""
    return {kind.removesuffix(b"@openssh.com"): kind for kind in _KEY_STRINGS}


def _options(parts: list[bytes]) -> dict[bytes, bytes]:
    """Names and values, which stand in turn, each name once and in order."""
    names = parts[::2]
    if len(parts) % 2 or names != sorted(set(names)):
        raise ValueError("options out of order")
    return dict(zip(names, parts[1::2], strict=True))


def _source_addresses(critical: dict[bytes, bytes]) -> tuple[str, ...]:
    networks: tuple[str, ...] = ()
    for name, value in critical.items():
        if name != b"source-address":
            shown = "".join(char for char in name.decode("ascii", "replace")[:60] if char.isprintable())
            raise CertificateError(f"The certificate demands {shown}, which is not honoured here.")
        (listed,) = strings(value)
        networks = tuple(str(ip_network(one)) for one in listed.decode("ascii").split(","))
    return networks


def _moment(seconds: int) -> str:
    """Seconds since 1970 as we write moments; what lies beyond the year 9999 is its end."""
    return iso(datetime.fromtimestamp(min(seconds, 253402300799), UTC))
