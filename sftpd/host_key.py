"""The server's own key: made once, 0600, and loaded as an object (given by name it would be parsed per connection)."""

import os
import secrets
from pathlib import Path

import asyncssh

from landingzone.errors import LandingZoneError
from landingzone.zone import FOLDER_MODE, fsync_folder

FOLDER = "hostkeys"
FILE = "ssh_host_ed25519_key"


class HostKeyError(LandingZoneError):
    """There is no usable host key: make one with `landingzone init`."""


def ensure_host_key(root: Path) -> Path:
    """The path of the server's ed25519 key; it is made if it is not there, and never replaced.

    Whole or not at all, also when two processes start at once: the first one's key stays.
    """
    folder = root / FOLDER
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    path = folder / FILE
    if path.exists():
        path.chmod(0o600)
        return path
    key = asyncssh.generate_private_key("ssh-ed25519", comment="landingzone")
    part = folder / f".{FILE}.{secrets.token_hex(4)}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.export_private_key("openssh"))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return path
        public = key.export_public_key("openssh")
        path.with_suffix(".pub").write_bytes(public)
    finally:
        part.unlink(missing_ok=True)
    fsync_folder(folder)
    return path


def load_host_keys(root: Path) -> list[asyncssh.SSHKey]:
    """Every host key under the root (`ssh_host_*_key`), ed25519 first. Raises HostKeyError if there is none."""
    found = []
    for path in sorted((root / FOLDER).glob("ssh_host_*_key"), key=lambda path: (path.name != FILE, path.name)):
        try:
            found.append(asyncssh.read_private_key(path))
        except (asyncssh.KeyImportError, OSError):
            raise HostKeyError(f"The host key {path.name} cannot be read: restore it from the backup.") from None
    if not found:
        raise HostKeyError
    return found
