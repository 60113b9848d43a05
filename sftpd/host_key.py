"""The server's own keys: made once, 0600, loaded as objects (given by name they would be parsed per connection).

Of each kind one is in use; a next one may lie beside it. Clients that understand it (hostkeys-00@openssh.com) are told
of both, and store what the server has proven to own: some weeks later the next one can take the place of the first.
A kind that is not in use is never added by itself: clients would meet a key that they do not know.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from landingzone.errors import LandingZoneError
from landingzone.host_key_files import FOLDER, KINDS, path_of, public_path
from landingzone.zone import FOLDER_MODE, fsync_folder

RSA_BITS = 3072
RSA_SIGNATURES = (b"rsa-sha2-512", b"rsa-sha2-256")
LEGACY_RSA_SIGNATURES = (*RSA_SIGNATURES, b"ssh-rsa")


class HostKeyError(LandingZoneError):
    """There is no usable host key: make one with `landingzone init`."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """One key of the server.

    Attributes:
        kind: `ed25519`, `ecdsa` or `rsa`.
        state: `current`, or `next`: offered to clients, not used yet.
        fingerprint: SHA256:...
        bits: 256 for the curves.
        public_key: its OpenSSH line without a comment.
    """

    kind: str
    state: str
    fingerprint: str
    bits: int
    public_key: str

    def known_hosts_line(self, host: str, port: int) -> str:
        """The line for a client's known_hosts file."""
        name = host if port == 22 else f"[{host}]:{port}"  # noqa: PLR2004 - SSH's own port
        return f"{name} {self.public_key}"


def ensure_host_keys(root: Path) -> None:
    """Make a key of each kind, unless there are keys already: those are never replaced, and none is added to them.

    Each is there whole or not at all, also when two processes start at once: the first one's keys stay.
    """
    folder = root / FOLDER
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    found = list(folder.glob("ssh_host_*_key"))
    for path in found:
        path.chmod(0o600)
    if not found:
        for kind in reversed(KINDS):  # ed25519 last: while it is missing another process makes them, too
            _make(path_of(root, kind), kind)


def add_next(root: Path, kind: str) -> HostKey:
    """Make a key that will take the place of the one in use. Raises HostKeyError if there is one already."""
    path = path_of(root, kind, "next")
    if path.exists():
        raise HostKeyError(f"There is a next {kind} key already: `landingzone hostkeys promote` puts it to use.")
    _make(path, kind)
    return _described(kind, "next", _read(path))


def promote(root: Path, kind: str) -> HostKey:
    """Put the next key to use; the one before is kept beside it as `..._previous`, unused. Raises HostKeyError."""
    path, coming, previous = (path_of(root, kind, state) for state in ("current", "next", "previous"))
    if not coming.exists():
        raise HostKeyError(f"There is no next {kind} key: make one with `landingzone hostkeys add-next {kind}`.")
    key = _read(coming)
    for old, new in ((path, previous), (coming, path)):
        for one, other in ((old, new), (public_path(old), public_path(new))):
            if one.exists():
                one.replace(other)
    fsync_folder(path.parent)
    return _described(kind, "current", key)


def host_keys(root: Path) -> list[HostKey]:
    """All keys, those in use first. Raises HostKeyError if there is none, or one cannot be read."""
    return [_described(kind, state, key) for kind, state, key in _load(root)]


def load_host_keys(root: Path, *, legacy: bool = False) -> list[asyncssh.SSHKeyPair]:
    """Every key, those in use first, as asyncssh offers them. Raises HostKeyError if there is none.

    An RSA key stands there once for each kind of signature: asyncssh notes in the object which one a connection has
    asked for, and connections would disturb each other. With `legacy` it signs with SHA-1, too, and the ECDSA key is
    there.
    """
    pairs: list[asyncssh.SSHKeyPair] = []
    for kind, _, key in _load(root):
        if kind == "ecdsa" and not legacy:
            continue  # NIST's curves are offered to old systems only
        if kind != "rsa":
            pairs += asyncssh.load_keypairs([key])
            continue
        for signature in LEGACY_RSA_SIGNATURES if legacy else RSA_SIGNATURES:
            (pair,) = asyncssh.load_keypairs([key])
            pair.set_sig_algorithm(signature)
            pair.host_key_algorithms = (signature,)
            pairs.append(pair)
    return pairs


def _load(root: Path) -> list[tuple[str, str, asyncssh.SSHKey]]:
    found = []
    for state in ("current", "next"):
        for kind in KINDS:
            path = path_of(root, kind, state)
            if path.exists():
                found.append((kind, state, _read(path)))
    if not any(state == "current" for _, state, _ in found):
        raise HostKeyError
    return found


def _read(path: Path) -> asyncssh.SSHKey:
    try:
        return asyncssh.read_private_key(path)
    except (asyncssh.KeyImportError, OSError):
        raise HostKeyError(f"The host key {path.name} cannot be read: restore it from the backup.") from None


def _described(kind: str, state: str, key: asyncssh.SSHKey) -> HostKey:
    algorithm, data = key.export_public_key("openssh").decode().split()[:2]
    bits = key.pyca_key.key_size if isinstance(key.pyca_key, RSAPrivateKey) else 256
    return HostKey(kind, state, key.get_fingerprint("sha256"), bits, f"{algorithm} {data}")


def _make(path: Path, kind: str) -> None:
    """Make a key, whole or not at all; one that is there stays."""
    options = {"key_size": RSA_BITS} if kind == "rsa" else {}
    key = asyncssh.generate_private_key(KINDS[kind], comment="landingzone", **options)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.export_private_key("openssh"))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return
        public_path(path).write_bytes(key.export_public_key("openssh"))
    finally:
        part.unlink(missing_ok=True)
    fsync_folder(path.parent)
