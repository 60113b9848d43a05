"""The identity: the key pair by which the district is known, made here; the private half never leaves the machine."""

import os
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from upload.errors import SettingsError
from upload.private_file import create


def make(path: Path, comment: str) -> str:
    """Make an ed25519 key pair, the private key for its owner alone and without a passphrase; the public line.

    Raises SettingsError if there is a file already: a key is never replaced.
    """
    key = Ed25519PrivateKey.generate()
    public = f"{key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} {comment}"
    try:
        file = create(path)
    except FileExistsError:
        raise SettingsError(f"There is a file {path} already: name another with --key, or use it as it is.") from None
    with file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    Path(f"{path}.pub").write_text(f"{public}\n", encoding="ascii")
    return public


def public_line(key: paramiko.PKey, comment: str) -> str:
    """A key's public half, as authorized_keys and the vendor take it."""
    return f"{key.get_name()} {key.get_base64()} {comment}"
