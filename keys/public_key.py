"""Public keys as people send them, read strictly: one key, of a kind that opens a door today, or one clear reason.

What is pasted may be anything: a private key, a certificate, a whole authorized_keys file, a web page. Nothing of it is
ever repeated in an error, so that a private key pasted by mistake reaches no log and no screen.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from keys.weakness import weakness_of
from landingzone.errors import LandingZoneError

MAX_INPUT_BYTES = 16 * 1024
"""A 16384-bit RSA key with a long comment has a fifth of this."""
MIN_RSA_BITS = 3072
MAX_RSA_BITS = 16384

_ADVICE = "Make a new pair with: ssh-keygen -t ed25519"


class PublicKeyError(LandingZoneError):
    """This is not a public key that can open an account."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key.

    Attributes:
        algorithm: its SSH name, such as `ssh-ed25519`.
        bits: the size of its modulus or curve.
        fingerprint: `SHA256:` and 43 characters, as ssh-keygen -l prints it.
        comment: what followed the key, without control characters; at most 255 characters; may be empty.
        line: the canonical OpenSSH line, without the comment.
    """

    algorithm: str
    bits: int
    fingerprint: str
    comment: str
    line: str

    @classmethod
    def parse(cls, text: str | bytes) -> "PublicKey":
        """The one key in the text. Raises PublicKeyError for anything else.

        It may be an OpenSSH line, an RFC 4716 block (PuTTYgen's "Save public key" writes one), a PEM public key (PKCS#8
        or PKCS#1), or the public part of a PuTTY .ppk file without its private part.

        >>> PublicKey.parse("ssh-dss AAAAB3NzaC1kc3M= old@school")
        Traceback (most recent call last):
        keys.public_key.PublicKeyError: DSA keys are no longer safe. Make a new pair with: ssh-keygen -t ed25519
        """
        lines = _lines(text)
        if lines[0].startswith("PuTTY-User-Key-File-"):
            blob, comment = _from_putty(lines)
        elif lines[0].startswith("-----BEGIN "):
            blob, comment = _from_pem(lines), ""
        else:
            blob, comment = _from_block(lines) if lines[0].startswith("----") else _from_line(lines)
        key = cls.from_blob(blob, comment)
        if key.algorithm == "ssh-rsa":
            exponent, modulus = (int.from_bytes(part) for part in strings(blob)[1:])
            if weakness := weakness_of(exponent, modulus):
                raise PublicKeyError(f"This RSA key can be broken: {weakness}. {_ADVICE}")
        return key

    @classmethod
    def from_blob(cls, blob: bytes, comment: str = "") -> "PublicKey":
        """The key in its wire form (RFC 4253, section 6.6). Raises PublicKeyError if it may not open an account."""
        algorithm, bits = _check_blob(blob)
        encoded = base64.b64encode(blob).decode("ascii")
        shown = "".join(char for char in comment if char.isprintable()).strip()[:255]
        return cls(algorithm, bits, fingerprint_of(blob), shown, f"{algorithm} {encoded}")


def holds_private_key(text: str) -> bool:
    """Whether a private key, of any of the forms that people send, stands in the text."""
    folded = text.casefold()
    return "PRIVATE KEY" in text or any(sign in folded for sign in ("private-lines:", "private-mac:", "private-hash:"))


def fingerprint_of(blob: bytes) -> str:
    """The SHA-256 fingerprint of a key in its wire form, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


# The text around the key


def _lines(text: str | bytes) -> list[str]:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_INPUT_BYTES:
        raise PublicKeyError(f"This is larger than {MAX_INPUT_BYTES} bytes: send the one file that ends in .pub.")
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"  # PowerShell's > writes UTF-16
    try:
        decoded = raw.decode(encoding)
    except UnicodeDecodeError:
        raise PublicKeyError("This is not text: send the file that ends in .pub, as it is.") from None
    if holds_private_key(decoded):
        raise PublicKeyError(
            "This is a private key, which must never leave its owner: treat it as lost and make a new pair. "
            "Send the public half only (the file that ends in .pub; in PuTTYgen the text at the top)."
        )
    lines = [line.strip() for line in decoded.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise PublicKeyError("There is no key in this: send the file that ends in .pub.")
    return lines


def _from_line(lines: list[str]) -> tuple[bytes, str]:
    """The wire form and the comment of `algorithm base64 comment`."""
    if len(lines) > 1:
        if sum(1 for line in lines if is_key_type(line.split()[0])) > 1:
            raise PublicKeyError("There are several keys in this: add them one at a time.")
        raise PublicKeyError(
            "A public key is one line: this one is broken into several. Send the file that ends in .pub."
        )
    words = lines[0].split(None, 2)
    if not is_key_type(words[0]):
        found = next((index for index, word in enumerate(lines[0].split()) if is_key_type(word)), None)
        if found:
            raise PublicKeyError(
                f"The line begins with options ({_option_names(lines[0])}), which are not honoured here: remove them. "
                "Use --from for networks and --expires for an end."
            )
        raise PublicKeyError("This is not a public key: it begins like `ssh-ed25519 AAAA...`, on one line.")
    if len(words) == 1:
        raise PublicKeyError("The line ends after the key's type: send the whole line of the .pub file.")
    return _decode(words[1]), words[2] if len(words) > 2 else ""  # noqa: PLR2004 - type, key, comment


def _from_block(lines: list[str]) -> tuple[bytes, str]:
    """The wire form and the comment of an RFC 4716 block."""
    first, last = "---- BEGIN SSH2 PUBLIC KEY ----", "---- END SSH2 PUBLIC KEY ----"
    if lines[0] != first:
        raise PublicKeyError("This is not a public key: neither an OpenSSH line nor an SSH2 PUBLIC KEY block.")
    if lines.count(first) > 1:
        raise PublicKeyError("There are several keys in this: add them one at a time.")
    if lines[-1] != last or lines.count(last) > 1:
        raise PublicKeyError(f"The key's last line ({last}) is missing: send the whole file.")
    comment, body, rest = "", [], iter(lines[1:-1])
    for line in rest:
        if ":" not in line:
            body.append(line)
            continue
        header = line
        while header.endswith("\\"):
            header = header[:-1] + next(rest, "")
        name, _, value = header.partition(":")
        if name.strip().lower() == "comment":
            comment = value.strip().strip('"')
    return _decode("".join(body)), comment


def _from_pem(lines: list[str]) -> bytes:
    """The wire form of a PEM public key: PKCS#8 (SubjectPublicKeyInfo), or PKCS#1 for RSA."""
    kind = next((kind for kind in _PEM_KINDS if lines[0] == f"-----BEGIN {kind}-----"), None)
    if kind is None:
        raise PublicKeyError("This is not a public key: neither an OpenSSH line nor a PUBLIC KEY block.")
    if lines.count(lines[0]) > 1:
        raise PublicKeyError("There are several keys in this: add them one at a time.")
    if lines[-1] != f"-----END {kind}-----":
        raise PublicKeyError(f"The key's last line (-----END {kind}-----) is missing: send the whole file.")
    try:
        found = load_pem_public_key("\n".join([*lines, ""]).encode("utf-8"))
        if not isinstance(found, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
            raise PublicKeyError(f"Keys of this type are not accepted. {_ADVICE}")
        line = found.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm):
        raise PublicKeyError(
            "The key is damaged, or of a kind that SSH does not know. Send an OpenSSH .pub file."
        ) from None
    return _decode(line.split()[1].decode("ascii"))


def _from_putty(lines: list[str]) -> tuple[bytes, str]:
    """The wire form and the comment of the public part of a .ppk file."""
    headers: dict[str, str] = {}
    rest = iter(lines)
    while "public-lines" not in headers:
        name, colon, value = next(rest, "end").partition(":")
        if not colon:
            raise PublicKeyError("This PuTTY file has no public part: in PuTTYgen, send the text at the top.")
        headers[name.strip().lower()] = value.strip()
    count, body = headers["public-lines"], list(rest)
    if not (count.isascii() and count.isdigit() and len(count) < 4 and len(body) == int(count)):  # noqa: PLR2004 - lines
        raise PublicKeyError("This PuTTY file is cut or damaged: in PuTTYgen, send the text at the top.")
    return _decode("".join(body)), headers.get("comment", "")


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise PublicKeyError("The key's text is damaged or cut: send the .pub file again, as it is.") from None


def is_key_type(word: str) -> bool:
    """Whether a word is the name of a key's type, accepted or not."""
    return word in _CHECKS or word in _REFUSED or word.endswith(_CERTIFICATE)


def _option_names(line: str) -> str:
    names = re.findall(r'(?:^|,)([A-Za-z][A-Za-z-]{0,40})(?:="(?:[^"\\]|\\.)*")?(?=[, \t])', line[:2000])
    return ", ".join(dict.fromkeys(names)) or "unreadable ones"


# The key itself, in its wire form (RFC 4253, section 6.6): strings, each after its length in four bytes


def _check_blob(blob: bytes) -> tuple[str, int]:
    """Algorithm and bits of a key, if it is one that may open an account."""
    name, *parts = _strings(blob)
    algorithm = name.decode("ascii", "replace")
    if algorithm.endswith(_CERTIFICATE):
        raise PublicKeyError(
            "This is a certificate: send the plain public key (the .pub file without -cert in its name)."
        )
    if algorithm in _REFUSED:
        raise PublicKeyError(_REFUSED[algorithm])
    check = _CHECKS.get(algorithm)
    if check is None:
        raise PublicKeyError(f"Keys of this type are not accepted. {_ADVICE}")
    try:
        bits = check(parts)
    except (ValueError, IndexError, UnsupportedAlgorithm):
        raise PublicKeyError("The key is damaged: its numbers do not make a key. Send the .pub file again.") from None
    return algorithm, bits


def strings(blob: bytes) -> list[bytes]:
    """The strings of which a piece of SSH's wire form is made, each after its length in four bytes.

    Raises ValueError if the last one is cut.
    """
    parts, at = [], 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4])
        if len(blob) < max(end, at + 4):
            raise ValueError("cut")
        parts.append(blob[at + 4 : end])
        at = end
    return parts


def _strings(blob: bytes) -> list[bytes]:
    try:
        parts = strings(blob)
    except ValueError:
        raise PublicKeyError("The key is cut: send the whole line of the .pub file.") from None
    if not parts:
        raise PublicKeyError("There is no key in this: send the file that ends in .pub.")
    return parts


def _ed25519(parts: list[bytes]) -> int:
    (point,) = parts
    Ed25519PublicKey.from_public_bytes(point)
    return 256


def _ecdsa(curve: EllipticCurve) -> Callable[[list[bytes]], int]:
    def check(parts: list[bytes]) -> int:
        name, point = parts
        if name != _CURVES[curve.name] or not point.startswith(b"\x04"):
            raise ValueError(curve.name)
        EllipticCurvePublicKey.from_encoded_point(curve, point)
        return curve.key_size

    return check


def _rsa(parts: list[bytes]) -> int:
    exponent, modulus = (int.from_bytes(part) for part in parts)
    if any(part != _mpint(int.from_bytes(part)) for part in parts):
        raise ValueError("not in canonical form")  # one key must have one fingerprint
    bits = modulus.bit_length()
    if bits < MIN_RSA_BITS:
        raise PublicKeyError(f"RSA keys need {MIN_RSA_BITS} bits or more; this one has {bits}. {_ADVICE}")
    if bits > MAX_RSA_BITS:
        raise PublicKeyError(f"RSA keys may have up to {MAX_RSA_BITS} bits; this one has {bits}. {_ADVICE}")
    if modulus % 2 == 0 or exponent.bit_length() > 64:  # noqa: PLR2004 - every real one has 2 or 17 bits
        raise ValueError("not an RSA modulus")
    RSAPublicNumbers(exponent, modulus).public_key()
    return bits


def _mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1)


def _on_security_key(check: Callable[[list[bytes]], int]) -> Callable[[list[bytes]], int]:
    def with_application(parts: list[bytes]) -> int:
        application = parts[-1]
        if not application.startswith(b"ssh:"):
            raise ValueError("not made for ssh")
        return check(parts[:-1])

    return with_application


_PEM_KINDS = ("PUBLIC KEY", "RSA PUBLIC KEY")
_CERTIFICATE = "-cert-v01@openssh.com"
_CURVES = {"secp256r1": b"nistp256", "secp384r1": b"nistp384", "secp521r1": b"nistp521"}
_CHECKS: Mapping[str, Callable[[list[bytes]], int]] = {
    "ssh-ed25519": _ed25519,
    "ecdsa-sha2-nistp256": _ecdsa(SECP256R1()),
    "ecdsa-sha2-nistp384": _ecdsa(SECP384R1()),
    "ecdsa-sha2-nistp521": _ecdsa(SECP521R1()),
    "ssh-rsa": _rsa,
    "sk-ssh-ed25519@openssh.com": _on_security_key(_ed25519),
    "sk-ecdsa-sha2-nistp256@openssh.com": _on_security_key(_ecdsa(SECP256R1())),
}
_REFUSED: Mapping[str, str] = {
    "ssh-dss": f"DSA keys are no longer safe. {_ADVICE}",
    "ssh-ed448": f"Ed448 keys are not accepted: few clients can use them. {_ADVICE}",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com": f"This type is for signatures only. {_ADVICE}",
}
