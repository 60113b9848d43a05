"""The console's own secret: second factors are kept under it, and what a browser holds for a moment is sealed with it.

It lies in the zone, not in the database: who gets hold of the database alone makes no one-time codes of it.
"""

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from landingzone.errors import LandingZoneError
from landingzone.zone import FILE_MODE, FOLDER_MODE, fsync_folder

FOLDER, _FILE = "console", "secret"


class SecretError(LandingZoneError):
    """What the console had sealed cannot be opened: its secret has changed. Invite the user again."""


class Secret:
    """Seals, opens, and derives.

    Args:
        key: as Fernet makes it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._fernet = Fernet(key)

    @classmethod
    def of(cls, root: Path) -> "Secret":
        """The secret of a zone, made at its first use; several consoles that begin at once agree on one."""
        folder = root / FOLDER
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path = folder / _FILE
        if not path.exists():
            part = folder / f".{_FILE}.{os.getpid()}"
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            try:
                path.hardlink_to(part)
            except FileExistsError:  # another one was faster: that one counts
                pass
            finally:
                part.unlink()
            fsync_folder(folder)
        return cls(path.read_bytes().strip())

    def seal(self, content: dict[str, Any]) -> str:
        """JSON that nobody else can read or make."""
        return self._fernet.encrypt(json.dumps(content).encode()).decode("ascii")

    def open(self, sealed: str, *, seconds: int | None = None) -> dict[str, Any]:
        """What was sealed, at most so long ago. Raises SecretError."""
        try:
            opened: dict[str, Any] = json.loads(self._fernet.decrypt(sealed.encode(), ttl=seconds))
        except (InvalidToken, ValueError):
            raise SecretError from None
        return opened

    def derived(self, purpose: str, of: str) -> bytes:
        """32 bytes that follow from this secret, a purpose and a text; the same each time."""
        return hmac.new(self._key, f"{purpose}\0{of}".encode(), hashlib.sha256).digest()


def digest(secret: str) -> str:
    """SHA-256 in hex: all that is kept of a secret that somebody else holds."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
