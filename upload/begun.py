"""Uploads over HTTPS that were begun: where each goes on if this program is killed. Kept in the state folder."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from upload.parcel import Parcel
from upload.private_file import create

FILE = "begun.json"


@dataclass(frozen=True)
class BegunUploads:
    """Addresses by the SHA-256 of what goes there: other bytes never go on with them.

    Attributes:
        state: the state folder.
    """

    state: Path

    def find(self, parcel: Parcel) -> str:
        """Where a parcel goes on; empty if it has not been begun, or that cannot be read."""
        name, url = self._load().get(parcel.sha256, ("", ""))
        return url if name == parcel.name else ""

    def note(self, parcel: Parcel, url: str) -> None:
        """A parcel goes there; an earlier one of its name goes nowhere any more."""
        known = {sha256: one for sha256, one in self._load().items() if one[0] != parcel.name}
        self._save({**known, parcel.sha256: (parcel.name, url)})

    def forget(self, parcel: Parcel) -> None:
        """A parcel has arrived."""
        known = self._load()
        if known.pop(parcel.sha256, None) is not None:
            self._save(known)

    def _load(self) -> dict[str, tuple[str, str]]:
        try:
            found = json.loads((self.state / FILE).read_bytes())
            return {str(sha256): (str(name), str(url)) for sha256, (name, url) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _save(self, known: dict[str, tuple[str, str]]) -> None:
        part = self.state / f".{FILE}.{secrets.token_hex(4)}"
        with create(part) as file:
            file.write(json.dumps(known, indent=1).encode())
        part.replace(self.state / FILE)
