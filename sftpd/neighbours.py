"""Neighbours: whether other front doors share this zone, on this host or another.

Each door keeps a file in the root whose time it renews. While no other one's is fresh there is nobody whose landings
this door might not know, and nothing is asked of the database for them. A door that was killed leaves its file, which
is fresh for as long as its landings may be asked for; whoever finds it later removes it.
"""

import os
import secrets
import time
from pathlib import Path

from landingzone.zone import FILE_MODE

BEAT_SECONDS = 5.0
GRACE_SECONDS = 60.0
"""How much longer than what is remembered a silent door counts: clocks and beats are not exact."""
_BEGIN = ".door-"


class Neighbours:
    """Looks and beats in one thread.

    Attributes:
        there: whether the last look has found any.
    """

    def __init__(self, root: Path) -> None:
        self.there = False
        self._root = root
        self._own = root / f"{_BEGIN}{secrets.token_hex(8)}"
        self._beaten = 0.0

    def look(self, remember_minutes: float) -> None:
        """Say that this door is there, and find whether others are, or lately were."""
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            descriptor = os.open(self._own, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
            try:
                os.utime(descriptor)
            finally:
                os.close(descriptor)
        known = {}
        with os.scandir(self._root) as entries:
            for entry in entries:
                if entry.name.startswith(_BEGIN):
                    try:
                        known[entry.name] = entry.stat(follow_symlinks=False).st_mtime
                    except FileNotFoundError:
                        continue
        own = known.pop(self._own.name, time.time())  # the file server's clock, as for the others
        old = own - remember_minutes * 60 - GRACE_SECONDS
        for name, beaten in list(known.items()):
            if beaten < old:
                (self._root / name).unlink(missing_ok=True)
                del known[name]
        self.there = bool(known)
