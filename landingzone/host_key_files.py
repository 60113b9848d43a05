"""The files of the server's host keys, and their public halves as people compare them.

The public halves lie beside the private ones, so that whoever only shows a fingerprint never reads a private key.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = "hostkeys"
KINDS = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}
"""Our short name -> the algorithm of the key, in order of preference."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A host key as a client shows it.

    Attributes:
        kind: `ed25519`, `ecdsa` or `rsa`.
        state: `current`, or `next`: it will take the place of the one in use.
        fingerprint: SHA256:...
    """

    kind: str
    state: str
    fingerprint: str


def path_of(root: Path, kind: str, state: str = "current") -> Path:
    """Where the private key lies; the public one has the same name and ends in `.pub`."""
    ending = "" if state == "current" else f"_{state}"
    return root / FOLDER / f"ssh_host_{kind}_key{ending}"


def public_path(path: Path) -> Path:
    """Where the public half of a private key lies."""
    return path.with_name(f"{path.name}.pub")


def fingerprints(root: Path) -> list[Fingerprint]:
    """The fingerprints of all host keys whose public halves can be read, those in use first."""
    found = []
    for state in ("current", "next"):
        for kind in KINDS:
            try:
                words = public_path(path_of(root, kind, state)).read_bytes().split()
                key = base64.b64decode(words[1], validate=True)
            except (OSError, IndexError, binascii.Error):
                continue
            digest = base64.b64encode(hashlib.sha256(key).digest()).rstrip(b"=").decode()
            found.append(Fingerprint(kind, state, f"SHA256:{digest}"))
    return found
