"""Lines of OpenSSH's authorized_keys files: read with their options honoured or refused by name, and written.

Pure: no database. What an option asks for either holds here, or the line is refused; none is passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from ipaddress import ip_network

from keys.key import Key, KeyStoreError, parse_networks
from keys.public_key import PublicKey, PublicKeyError, holds_private_key, is_key_type
from landingzone.errors import LandingZoneError

MAX_FILE_BYTES = 1 << 20

ALWAYS_SO = frozenset(
    {"restrict", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-x11-forwarding"}
)
"""Options that forbid what is never given here."""
_REFUSED = {
    "cert-authority": "trust an authority with `landingzone keys ca add`",
    "command": "only internal-sftp is run here",
    "principals": "trust an authority with `landingzone keys ca add`",
}
_EXPIRY = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)", re.ASCII)
_OPTION = re.compile(r'([A-Za-z0-9][A-Za-z0-9-]{0,63})(?:="((?:[^"\\]|\\.)*)")?(,|$)', re.ASCII)
_ANYWHERE = ("0.0.0.0/0", "::/0")


class AuthorizedKeysError(LandingZoneError):
    """This authorized_keys file cannot be read."""


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """One line that may open an account: the key, from where (as `Key.networks`), until when; None: for ever."""

    line: int
    key: PublicKey
    networks: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """One line that may not, and why. Nothing of the line is repeated but names of options."""

    line: int
    reason: str


def read_file(raw: bytes, *, zone: tzinfo) -> Iterator[AuthorizedKey | RefusedLine]:
    """Every line of a file that is neither empty nor a comment, in order.

    `zone` is for times without one: in OpenSSH they are the server's own. Raises AuthorizedKeysError for what is no
    such file at all, or holds a private key.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise AuthorizedKeysError(f"This is larger than {MAX_FILE_BYTES} bytes: import it in parts.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AuthorizedKeysError("This is not text, so it is no authorized_keys file.") from None
    if holds_private_key(text):
        raise AuthorizedKeysError(
            "A private key stands in this file: treat it as lost. An authorized_keys file holds public keys only."
        )
    return _read_lines(text, zone)


def read_line(text: str, *, number: int = 1, zone: tzinfo) -> AuthorizedKey:
    """One line. Raises PublicKeyError or KeyStoreError, saying why it may not open an account."""
    text = text.strip()
    options, rest = ("", text) if is_key_type(text.split(None, 1)[0]) else _split_options(text)
    networks: tuple[str, ...] = ()
    expires_at: datetime | None = None
    seen: set[str] = set()
    for name, value in _options(options):
        if name in seen:
            raise KeyStoreError(f"The option {name} stands twice.")
        seen.add(name)
        if name == "from" and value is not None:
            networks = _networks(value)
        elif name == "expiry-time" and value is not None:
            expires_at = _moment(value, zone)
        elif not ((name in ALWAYS_SO and value is None) or (name, value) == ("command", "internal-sftp")):
            told = _REFUSED.get(name, "it is not honoured here")
            raise KeyStoreError(f"The option {name} is refused: {told}.")
    return AuthorizedKey(number, PublicKey.parse(rest), networks, expires_at)


def write_line(key: Key) -> str:
    """The line of a key, with all that limits it; for OpenSSH 9.1 or newer where it ends: its time is in UTC."""
    options = ["restrict"]
    if key.networks:
        options.append(f'from="{",".join(key.networks)}"')
    if key.opens_until is not None:
        moment = datetime.fromisoformat(key.opens_until).astimezone(UTC)
        options.append(f'expiry-time="{moment.year:04}{moment:%m%d%H%M%S}Z"')  # %Y gives the year 30 two digits
    label = "".join(char if char.isprintable() else " " for char in key.label).strip()
    return f"{','.join(options)} {key.public_key} {label}".rstrip()


def _read_lines(text: str, zone: tzinfo) -> Iterator[AuthorizedKey | RefusedLine]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield read_line(line, number=number, zone=zone)
        except (PublicKeyError, KeyStoreError) as refused:
            yield RefusedLine(number, str(refused))


def _split_options(text: str) -> tuple[str, str]:
    """The options and what follows them: they end at the first blank outside of quotes."""
    found = re.match(r'((?:[^\s"]|"(?:[^"\\]|\\.)*")+)\s+(\S.*)', text)
    if found is None or not is_key_type(found[2].split(None, 1)[0]):
        raise PublicKeyError("This is not a line with a public key: options, type, key, comment.")
    return found[1], found[2]


def _options(text: str) -> Iterator[tuple[str, str | None]]:
    """Names, in lower case, and values, None where there is none."""
    at = 0
    while at < len(text):
        found = _OPTION.match(text, at)
        if found is None or (found[3] and found.end() == len(text)):
            raise KeyStoreError('The options before the key cannot be read: name or name="value", after commas.')
        value = found[2]
        yield found[1].lower(), value.replace('\\"', '"') if value is not None else None
        at = found.end()


def _networks(patterns: str) -> tuple[str, ...]:
    """What `from=` names, as networks; names of hosts and other patterns are refused."""
    found: list[str] = []
    for pattern in patterns.split(","):
        shut, wanted = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
        found += [shut + network for network in _network(wanted.strip())]
    networks = parse_networks(found)
    return () if set(networks) == set(_ANYWHERE) else tuple(dict.fromkeys(networks))


def _network(pattern: str) -> tuple[str, ...]:
    if pattern == "*":
        return _ANYWHERE
    octets = pattern.split(".")
    known = list(octets)
    while len(known) > 1 and known[-1] == "*":
        known.pop()
    if len(known) < len(octets) <= 4 and all(re.fullmatch(r"\d{1,3}", one, re.ASCII) for one in known):  # noqa: PLR2004 - IPv4
        pattern = ".".join((known + ["0"] * 4)[:4]) + f"/{8 * len(known)}"
    try:
        return (str(ip_network(pattern)),)
    except ValueError:
        raise KeyStoreError("The option from= is refused: only addresses and networks are honoured here.") from None


def _moment(text: str, zone: tzinfo) -> datetime:
    found = _EXPIRY.fullmatch(text)
    try:
        if found is not None:
            numbers = [int(part or 0) for part in found.groups()[:6]]
            own = datetime(*numbers, tzinfo=UTC if found[7] else zone)  # type: ignore[misc, arg-type]
            return own.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # told below: it looks like a moment and is none
    raise KeyStoreError("The option expiry-time= is no moment: YYYYMMDD, or YYYYMMDDHHMM[SS], and Z for UTC.")
