"""The PROXY protocol, versions 1 and 2: how a TCP balancer says where a connection comes from, before its first byte.

Hostile until parsed: of bounded length, refused at the first byte that cannot be right, and never guessed at.
https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from landingzone.errors import LandingZoneError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""What version 2 begins with."""
MAX_LINE = 107
"""Bytes of the longest header of version 1, as the protocol says."""
MAX_BLOCK = 2048
"""Bytes of a header of version 2, from its signature on; balancers send some hundreds at most."""
_HEAD = len(SIGNATURE) + 4
_WORD = b"PROXY "
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9a-fA-F:.]{2,39}) ([0-9a-fA-F:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x00: (0, 0), 0x11: (4, 12), 0x21: (16, 36), 0x31: (0, 216)}
"""Unspecified, TCP over IPv4 and IPv6, a socket of the system's: bytes of an address that we can use, and of it all."""
_TYPED = 3
"""Bytes before the value of a further field: its kind and its length."""
_LAST_PORT = 65535


class ProxyHeaderError(LandingZoneError):
    """What a connection begins with is no PROXY header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says.

    Attributes:
        length: bytes that it takes; what follows is the client's.
        address: where the connection comes from; empty: the balancer speaks for itself, or does not know.
        port: likewise.
    """

    length: int
    address: str = ""
    port: int = 0


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    r"""The header that these bytes begin with; None while there are too few of them to tell.

    Raises ProxyHeaderError as soon as they cannot become one.

    >>> parse_proxy_header(b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 22\r\nSSH-2.0-x")
    ProxyHeader(length=41, address='192.0.2.7', port=50000)
    """
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _block(data) if len(data) >= _HEAD else None
    if data[: len(_WORD)] == _WORD[: len(data)]:
        return _line(data)
    raise ProxyHeaderError


def _line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(data) >= MAX_LINE:
            raise ProxyHeaderError
        return None
    line = data[: end + 2]
    if line == b"PROXY UNKNOWN\r\n" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(len(line))
    found = _LINE.fullmatch(line)
    if not found:
        raise ProxyHeaderError
    version, source, target, *ports = (part.decode("ascii") for part in found.groups())
    if any(int(port) > _LAST_PORT or (port[0] == "0" and port != "0") for port in ports):
        raise ProxyHeaderError
    try:
        addresses = [ip_address(source), ip_address(target)]
    except ValueError:
        raise ProxyHeaderError from None
    if {address.version for address in addresses} != {int(version)}:
        raise ProxyHeaderError
    return ProxyHeader(len(line), str(addresses[0]), int(ports[0]))


def _block(data: bytes) -> ProxyHeader | None:
    command, family = data[len(SIGNATURE)], data[len(SIGNATURE) + 1]
    length = _HEAD + int.from_bytes(data[_HEAD - 2 : _HEAD])
    if command not in {_LOCAL, _PROXY} or family not in _FAMILIES or length > MAX_BLOCK:
        raise ProxyHeaderError
    if len(data) < length:
        return None
    if command == _LOCAL:  # the balancer itself: what follows means nothing
        return ProxyHeader(length)
    address_bytes, size = _FAMILIES[family]
    body = data[_HEAD:length]
    if len(body) < size:
        raise ProxyHeaderError
    _check_fields(body[size:])
    if not address_bytes:
        return ProxyHeader(length)
    source = ip_address(body[:address_bytes])
    return ProxyHeader(length, str(source), int.from_bytes(body[2 * address_bytes : 2 * address_bytes + 2]))


def _check_fields(fields: bytes) -> None:
    """What follows the addresses is passed over, but must be what it says."""
    at = 0
    while at < len(fields):
        at += _TYPED + int.from_bytes(fields[at + 1 : at + _TYPED])
        if at > len(fields):
            raise ProxyHeaderError
