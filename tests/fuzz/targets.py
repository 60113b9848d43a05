"""What is fuzzed: each target takes any bytes, and raises if what it tries breaks its promise.

A target is a function and the inputs that it begins with. `run.py` drives one by its coverage; `test_fuzz.py` tries
every input that is kept, and each target for some seconds.
"""

import base64
import importlib.util
import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from keys.authorized_keys import ALWAYS_SO, AuthorizedKey, AuthorizedKeysError, RefusedLine, read_file, write_line
from keys.certificate import Certificate, CertificateError, is_certificate
from keys.key import Key, comes_from
from keys.public_key import PublicKey, PublicKeyError, holds_private_key
from landingzone.landing import MAX_NAME_BYTES, IdMaker, Landing, NameRefused, check_name
from landingzone.pattern import PatternError, check_pattern, is_temporary, overlap
from landingzone.zone import Mark, Upload
from sftpd.proxy_header import MAX_BLOCK, SIGNATURE, ProxyHeaderError, parse_proxy_header
from sftpd.refusal import Missing
from sftpd.view import Place, normalise

_spec = importlib.util.spec_from_file_location("sftp_session", Path(__file__).with_name("sftp_session.py"))
assert _spec
assert _spec.loader
sftp_session = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sftp_session)

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPwzrVBS2xw0BnIfHGkKBxVmFHkWVwVtPTNkkLIkFMG1 lisa@school"
P256 = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKYu/CHm9w3U2kuEIliBDEu7hHeyripauAajLV"
    "6NqWh5pBOhYDDvBYKvCgwEht9QuHrJ4ssHrkUwZ6H7QmB9XRE="
)
LONGEST_TEXT = 600
_CHICAGO = ZoneInfo("America/Chicago")
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_make_id = IdMaker()


def key_line(data: bytes) -> None:
    """Gives a key whose line gives the same key, or one clear error; never lets a private key pass."""
    try:
        key = PublicKey.parse(data)
    except PublicKeyError as refused:
        _check_told(str(refused), data)
        return
    assert not holds_private_key(data.decode("utf-8", "replace")), "a private key has passed"
    assert PublicKey.parse(f"{key.line} {key.comment}") == key
    assert key.comment.isprintable()
    assert len(key.comment) <= 255


def authorized_keys(data: bytes) -> None:
    """Each line is honoured whole or refused; what is written of it is read the same."""
    try:
        lines = list(read_file(data, zone=_CHICAGO))
    except AuthorizedKeysError as refused:
        _check_told(str(refused), data)
        return
    assert all(one.line < other.line for one, other in pairwise(lines))
    for line in lines:
        if isinstance(line, RefusedLine):
            _check_told(line.reason, data)
        else:
            _check_honoured(line, data)


def certificate(data: bytes) -> None:
    """Gives what it says, or one clear error; what is no certificate's name is none."""
    try:
        found = Certificate.parse(data)
    except CertificateError as refused:
        _check_told(str(refused), data)
        return
    assert is_certificate(data)
    assert found.principals
    assert found.key_id.isprintable()
    for account in found.principals:
        found.closed(account, address="192.0.2.7", at=_NOW)
    assert found.closed("\0", address=None, at=_NOW) is not None or "\0" in found.principals


def file_name(data: bytes) -> None:
    """A name is taken whole or refused; it is read back from what it is stored under; a path never leaves the view."""
    try:
        name = check_name(data)
    except NameRefused as refused:
        _check_told(str(refused), data)
    else:
        assert name.encode("utf-8") == data
        assert 1 <= len(data) <= MAX_NAME_BYTES
        assert not any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} for char in name)
        landing = Landing(_make_id(), "a", name)
        assert Landing.parse("a", landing.stored_name) == landing
        for marks in (frozenset[Mark](), frozenset(Mark)):
            upload = Upload(_make_id(), "a", name, marks)
            assert Upload.parse("a", upload.stored_name) == upload
        is_temporary(name)
    path = normalise(data)
    assert path.startswith(b"/")
    assert not {b"", b".", b".."} & set(path.split(b"/")[1:]) or path == b"/"
    assert normalise(path) == path
    try:
        place = Place.of(data)
    except Missing:
        return
    assert place.folder in {"", "receipts"}
    assert b"/" not in place.name


def pattern(data: bytes) -> None:
    """Two patterns that match one name are said to overlap, so that a file never belongs to two sources."""
    texts = data.decode("utf-8", "replace").split("\n", 2)
    try:
        first, second = (check_pattern(text) for text in texts[:2])
        name = check_name(texts[2])
    except (PatternError, NameRefused, ValueError, IndexError):
        return
    assert overlap(first, second) == overlap(second, first)
    assert overlap(first, first)
    if first.match(name) is not None and second.match(name) is not None:
        assert overlap(first, second), (first, second, name)


def proxy_header(data: bytes) -> None:
    """A header is read whole or refused, never waited for without end; what follows it changes nothing."""
    try:
        found = parse_proxy_header(data)
    except ProxyHeaderError:
        return
    if found is None:
        assert len(data) < MAX_BLOCK
        return
    assert 0 < found.length <= min(len(data), MAX_BLOCK)
    assert 0 <= found.port <= 65535
    if found.address:
        ip_address(found.address)
    assert parse_proxy_header(data[: found.length]) == found
    assert parse_proxy_header(data[: found.length - 1]) is None


def _check_told(text: str, data: bytes) -> None:
    """A refusal is a sentence, and repeats nothing of what may be a key."""
    assert 10 < len(text) < LONGEST_TEXT, text
    assert text.isprintable(), text
    for part in data.split():
        if len(part) > 60:
            assert part[:61].decode("utf-8", "replace") not in text, text


def _check_honoured(line: AuthorizedKey, data: bytes) -> None:
    text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")[line.line - 1].lower()
    before = text.partition(line.key.line.split()[0])[0].strip()
    assert "cert-authority" not in before
    if "expiry-time" in before:
        assert line.expires_at is not None
    assert not any(option in before for option in ("environment", "permitopen", "tunnel"))
    assert not before or any(option in before for option in (*ALWAYS_SO, "from", "expiry-time", "command"))
    comes_from("192.0.2.7", line.networks)
    none = dict.fromkeys(Key.__dataclass_fields__)
    expires_at = line.expires_at.strftime("%Y-%m-%dT%H:%M:%S.000Z") if line.expires_at else None
    if expires_at is not None:
        expires_at = expires_at.rjust(24, "0")
    own = {"public_key": line.key.line, "label": line.key.comment, "networks": line.networks, "expires_at": expires_at}
    written = write_line(Key(**{**none, **own}))  # type: ignore[arg-type]
    (again,) = read_file(written.encode(), zone=_CHICAGO)
    assert isinstance(again, AuthorizedKey), (written, again)
    assert (again.key.line, again.networks, again.expires_at) == (line.key.line, line.networks, line.expires_at)


def _lines(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


@dataclass(frozen=True)
class Target:
    """A function, the inputs that it begins with, and words that help to find the way in."""

    function: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[str, ...] = ()


_BLOB = base64.b64decode(ED25519.split()[1])
_BLOCK = '---- BEGIN SSH2 PUBLIC KEY ----\nComment: "a\\\nb"\n{}\n---- END SSH2 PUBLIC KEY ----\n'
_PPK = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 1\n{}\n"
_PEM = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEA/DOtUFLbHDQGch8caQoHFWYUeRZXBW09M2SQsiQUwbU=\n"
    "-----END PUBLIC KEY-----\n"
)


def sftp_packets(data: bytes) -> None:
    """A session answers in whole packets of known kinds, fails at nothing of its own, and tells no path."""
    answered = sftp_session.talk(data)
    assert b"The server failed" not in answered, "an error that nobody expected"
    assert tempfile.gettempdir().encode() not in answered
    while answered:
        length = int.from_bytes(answered[:4])
        assert 1 <= length <= len(answered) - 4
        assert answered[4] in {2, 101, 102, 103, 104, 105, 201}
        answered = answered[4 + length :]


def _packets(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(4) + packet for packet in packets)


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(4) + text


_OPEN = b"\x03" + bytes(4) + _string(b"students.csv") + (0x1A).to_bytes(4) + bytes(4)
_HANDLE = _string(bytes(4))

TARGETS = {
    "proxy_header": Target(
        proxy_header,
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 22\r\nSSH-2.0-x",
            b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 22\r\n",
            b"PROXY UNKNOWN\r\n",
            SIGNATURE + b"\x21\x11\0\x13" + bytes(12) + b"\x04\0\x04abcd",
            SIGNATURE + b"\x21\x21\0\x24" + bytes(36),
            SIGNATURE + b"\x20\0\0\0",
        ),
        ("PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN", "192.0.2.7", " 65535"),
    ),
    "sftp_packets": Target(
        sftp_packets,
        (
            _packets(
                _OPEN, b"\x06" + bytes(4) + _HANDLE + bytes(8) + _string(b"student_id\n"), b"\x04" + bytes(4) + _HANDLE
            ),
            _packets(b"\x0b" + bytes(4) + _string(b"/"), b"\x0c" + bytes(4) + _HANDLE, b"\x0c" + bytes(4) + _HANDLE),
            _packets(_OPEN, b"\x05" + bytes(4) + _HANDLE + bytes(8) + b"\xff" * 4, b"\x08" + bytes(4) + _HANDLE),
            _packets(*(bytes([kind]) + bytes(4) + _string(b"/a") + bytes(4) for kind in range(3, 21))),
            _packets(_OPEN, b"\x12" + bytes(4) + _string(b"students.csv") + _string(b"a.part")),
            _packets(b"\xc8" + bytes(4) + _string(b"limits@openssh.com")),
            _packets(_OPEN, b"\xc8" + bytes(4) + _string(b"fsync@openssh.com") + _HANDLE),
        ),
        ("posix-rename@openssh.com", "lsetstat@openssh.com", "/receipts", "students.csv"),
    ),
    "key_line": Target(
        key_line,
        (
            *_lines(ED25519, P256, f"# ours\n{ED25519}\n", _BLOCK.format(ED25519.split()[1]), _PEM),
            *_lines(_PPK.format(ED25519.split()[1]), f"no-pty {ED25519}"),
            ED25519.encode("utf-16"),
        ),
        ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", "AAAAC3NzaC1lZDI1NTE5AAAAI", "Public-Lines:", "PRIVATE KEY"),
    ),
    "authorized_keys": Target(
        authorized_keys,
        _lines(
            f'restrict,from="192.0.2.0/24,!192.0.2.7,10.*,*",expiry-time="20300101Z" {ED25519}\n# x\n{P256}\n',
            f'command="internal-sftp",no-pty,expiry-time="203001011200" {P256}',
            f'cert-authority,principals="a" {ED25519}\r\n',
        ),
        ("restrict", 'from="', 'expiry-time="', 'command="', "no-pty", '",', '\\"', "ssh-ed25519", "!", "::/0", "2030"),
    ),
    "certificate": Target(
        certificate,
        (_BLOB,),
        ("ssh-ed25519-cert-v01@openssh.com", "source-address", "force-command", "ssh-ed25519", "192.0.2.0/24"),
    ),
    "file_name": Target(
        file_name,
        _lines("students.csv", "Schüler.csv", "a/../b", "/receipts/x.txt", ".x.filepart", "x~", "+c.x", "a" * 150),
        ("..", "/", "receipts", ".part", "\u2028"),
    ),
    "pattern": Target(
        pattern,
        _lines(
            "students_{school}.csv\nstudents_east.csv\nstudents_east.csv",
            "s_{date}.csv\ns_{school}.csv\nS_2026-01-31.CSV.gz",
            "a.txt\na.csv\na.csv",
        ),
        ("{date}", "{school}", ".csv", ".zip", ".gz", "2026-01-31", "20260131", "\n"),
    ),
}
