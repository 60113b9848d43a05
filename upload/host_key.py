"""The server's host key: told beforehand and pinned, never added by itself. A changed one stops everything."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import paramiko

from upload.errors import ServerChanged, UploadError
from upload.outcome import Ending

SSH_PORT = 22
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa": ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""A kind of host key -> what it signs with; no SHA-1. The first kind is asked for first."""

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")


class PinRefused(UploadError):
    """This is neither a fingerprint (SHA256:...) nor a line of known_hosts."""

    exit_code = Ending.WRONG_SETTINGS


class HostKeyChanged(ServerChanged):
    """The server shows a host key that is not the pinned one."""


def known_hosts_line(host: str, port: int, key: paramiko.PKey) -> str:
    """The line for known_hosts, and for the settings."""
    return f"{host_name(host, port)} {key.get_name()} {key.get_base64()}"


def host_name(host: str, port: int) -> str:
    """How known_hosts names a server.

    >>> host_name("sftp.example.org", 2222)
    '[sftp.example.org]:2222'
    """
    return host if port == SSH_PORT else f"[{host}]:{port}"


@dataclass(frozen=True)
class Pins:
    """The host keys that the server may show.

    Attributes:
        host: the server's name or address, as the settings write it.
        port: its port.
        fingerprints: of every key that is taken.
        kinds: the kinds of those keys that are known whole; asked for first.
    """

    host: str
    port: int
    fingerprints: frozenset[str]
    kinds: tuple[str, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str], host: str, port: int) -> "Pins":
        """From fingerprints and lines of known_hosts; raises PinRefused, also where none is left for this server."""
        fingerprints: set[str] = set()
        known = paramiko.HostKeys()
        for entry in (text.strip() for text in entries):
            if _FINGERPRINT.fullmatch(entry):
                fingerprints.add(entry.rstrip("="))
                continue
            for name, key in _line(entry):
                known.add(name, key.get_name(), key)
        found = known.lookup(host_name(host, port)) or {}
        keys = [found[kind] for kind in found.keys()]  # noqa: SIM118 - paramiko's mapping has no __iter__
        if not fingerprints and not keys:
            raise PinRefused(
                f"No host key is pinned for {host_name(host, port)}. Ask for the fingerprint of the server's host key "
                "and run `landingzone-upload init`, or write it into host_keys."
            )
        kinds = tuple(kind for kind in ALGORITHMS if any(_kind(key) == kind for key in keys))
        return cls(host, port, frozenset(fingerprints | {key.fingerprint for key in keys}), kinds)

    def attempts(self) -> Iterator[tuple[str, ...]]:
        """The algorithms of each attempt to meet a pinned key: those of known keys together, then kind by kind."""
        if self.kinds:
            yield tuple(name for kind in self.kinds for name in ALGORITHMS[kind])
        yield from (names for kind, names in ALGORITHMS.items() if kind not in self.kinds)

    def hold(self, key: paramiko.PKey) -> bool:
        """Whether the key is one of the pinned ones."""
        return key.fingerprint in self.fingerprints

    def changed(self, shown: Iterable[paramiko.PKey]) -> HostKeyChanged:
        """What is told when the server showed only others."""
        pinned = "".join(f"\n  pinned: {one}" for one in sorted(self.fingerprints))
        seen = "".join(f"\n  shown:  {key.fingerprint} ({key.get_name()})" for key in shown)
        return HostKeyChanged(
            f"The host key of {host_name(self.host, self.port)} is not the pinned one. Nothing was sent.{pinned}"
            f"{seen or chr(10) + '  shown:  none of a kind that is known here'}\n"
            "Either the server has a new key, or somebody stands between you and it. Ask whoever gave you the account, "
            "by telephone and not by answering a mail, for the fingerprint of the host key. Only if it is the one "
            "shown, replace host_keys in the settings: `landingzone-upload init --repin` does that."
        )


def _line(entry: str) -> Iterator[tuple[str, paramiko.PKey]]:
    """Each name of a line of known_hosts with its key. Raises PinRefused."""
    if entry.startswith("@"):
        raise PinRefused(
            f"Lines with {entry.split(maxsplit=1)[0]} are not understood in host_keys: give the host key itself."
        )
    try:
        parsed = paramiko.hostkeys.HostKeyEntry.from_line(entry)
    except (paramiko.hostkeys.InvalidHostKey, paramiko.SSHException, ValueError):
        parsed = None
    if parsed is None or parsed.key is None:
        raise PinRefused(
            f"host_keys: {entry[:60]!r} is neither a fingerprint (SHA256: and 43 letters) nor a line of known_hosts."
        )
    for name in parsed.hostnames:
        yield name, parsed.key


def _kind(key: paramiko.PKey) -> str:
    name = str(key.get_name())
    return "ecdsa" if name.startswith("ecdsa-") else name
