"""Files that nobody but their owner may read, from their first byte on."""

import os
from pathlib import Path
from typing import BinaryIO, Literal


def create(path: Path, mode: Literal["xb", "wb"] = "xb") -> BinaryIO:
    """Open a file to write: a new one (FileExistsError if there is one), or with `wb` in place of what is there."""

    def for_its_owner(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    return open(path, mode, opener=for_its_owner)
