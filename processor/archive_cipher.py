"""Encryption of the archive to the operator's age recipients (age-encryption.org, by pyrage).

Who holds the identity can read; the installation needs the recipients only, and cannot read what it has kept.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyrage

from landingzone.errors import LandingZoneError

ENDING = ".age"


class IdentityMissing(LandingZoneError):
    """The archive's copy is encrypted, and there is no identity to open it with.

    Name its file: `age_identity` under [archive], or --identity where a command has it.
    """


class CipherError(LandingZoneError):
    """A recipient or an identity cannot be used."""

    exit_code = 2


class Readable(Protocol):
    """What can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes."""
        ...


class Cipher:
    """Encrypts to recipients, and decrypts with identities; where there are none of the first, nothing is encrypted.

    Args:
        recipients: `age1...`, or SSH public keys (`ssh-ed25519 ...`, `ssh-rsa ...`).
        identity: a file of identities, one a line; None where nothing has to be read.
    """

    def __init__(self, recipients: Sequence[str] = (), identity: Path | None = None) -> None:
        self._recipients = [_recipient(one) for one in recipients]
        self._identity = identity

    @property
    def ending(self) -> str:
        """What is added to the name of a file that is kept."""
        return ENDING if self._recipients else ""

    @property
    def can_read(self) -> bool:
        """Whether there is an identity, or what is kept now needs none."""
        return self._identity is not None or not self._recipients

    def encrypt(self, plain: Readable, to: BinaryIO) -> None:
        """Write what is read, encrypted, piece by piece."""
        pyrage.encrypt_io(plain, to, self._recipients)

    def encrypted(self, content: bytes) -> bytes:
        """The same for what is small; as it is, where nothing is encrypted."""
        return bytes(pyrage.encrypt(content, self._recipients)) if self._recipients else content

    def decrypt(self, kept: BinaryIO, to: Any) -> None:  # noqa: ANN401 - whatever has a write()
        """Write what is read, decrypted; raises IdentityMissing if no identity fits."""
        if self._identity is None:
            raise IdentityMissing
        identities = identities_in(self._identity)
        try:
            pyrage.decrypt_io(kept, to, identities)
        except pyrage.DecryptError as error:
            raise IdentityMissing(
                "The archive's copy cannot be opened with this identity: it is another one's, or the copy is damaged."
            ) from error


def identities_in(file: Path) -> list[Any]:
    """The identities in a file that nobody else may read; raises CipherError without repeating what stands there."""
    try:
        with file.open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise CipherError(f"{file} can be read by others; make it yours alone (chmod 600).")
            text = opened.read(1 << 20)
    except OSError as error:
        raise CipherError(f"{file} cannot be read: {error.strerror}.") from None
    try:
        if text.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text)]
        lines = [line.strip() for line in text.decode("ascii", "replace").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, ValueError):
        raise CipherError(f"{file} holds no identity that age can use; `age-keygen` makes one.") from None
    if not found:
        raise CipherError(f"{file} holds no identity; `age-keygen` makes one.")
    return found


def _recipient(text: str) -> Any:  # noqa: ANN401 - of pyrage, which has no types
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except (pyrage.RecipientError, ValueError):
        raise CipherError(
            f"[archive] age_recipients: {text[:16]}... is no recipient; one begins with `age1` or `ssh-`."
        ) from None
