"""The file that an operator names: a key of somebody's, or a list of them."""

import sys
from pathlib import Path

from keys.public_key import MAX_INPUT_BYTES, PublicKeyError


def read_key_file(file: Path, *, limit: int = MAX_INPUT_BYTES) -> bytes:
    """The first bytes of a file, or of standard input for `-`: up to one more than the limit, so that it is noticed.

    Raises PublicKeyError if it cannot be read.
    """
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(limit + 1)
        with file.open("rb") as opened:
            return opened.read(limit + 1)
    except OSError as wrong:
        raise PublicKeyError(f"{file}: {wrong.strerror}.") from None
