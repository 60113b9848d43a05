"""The token by which the district is known over HTTPS: in a file for its owner alone, a variable, or the keyring."""

import re
import stat
import sys
from pathlib import Path

from upload.errors import KeyUnusable, SettingsError
from upload.secret import secret_of
from upload.settings import ServerSettings

_TOKEN = re.compile(r"lzu_[A-Za-z0-9_-]{43}")
_MOST_BYTES = 4096


def read_token(server: ServerSettings, file: Path) -> str:
    """The token, from where the settings say it lies; `file` is the settings' own. Raises KeyUnusable."""
    try:
        found = secret_of(server.token_env, server.token_keyring, what="token")
    except SettingsError as wrong:
        raise KeyUnusable(str(wrong)) from None
    return check_token(found) if found is not None else _of_file(file)


def check_token(text: str) -> str:
    """A token without what stands around it; raises KeyUnusable for what is none."""
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise KeyUnusable("This is no token: the vendor's begin with lzu_ and have 47 characters.")
    return token


def _of_file(path: Path) -> str:
    try:
        if sys.platform != "win32" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyUnusable(f"Others may read the token {path}: take that from them with `chmod 600 {path}`.")
        with path.open("rb") as file:
            return check_token(file.read(_MOST_BYTES).decode("ascii", "replace"))
    except FileNotFoundError:
        raise KeyUnusable(f"There is no token {path}: ask the vendor for one, and save it there.") from None
    except OSError as wrong:
        raise KeyUnusable(f"The token {path} cannot be read: {wrong.strerror}.") from None
