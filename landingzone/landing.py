"""A landing: one file that has arrived whole. Its id, and the names that files may have."""

import os
import re
import threading
import time
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from landingzone.errors import LandingZoneError

MAX_NAME_BYTES = 150
"""The id and the receipts' endings must fit the filesystem's 255 bytes beside the name."""


#: Unicode categories: control characters, and the two separators that end a line or paragraph.
_CONTROL = ("Cc", "Zl", "Zp")


class NameRefused(LandingZoneError):
    """This file name is not accepted."""


def check_name(name: str | bytes) -> str:
    """The file name as text, if it is one that may land.

    UTF-8, 1 to 150 bytes, no control characters, no slash, not `.` or `..`; raises NameRefused, saying which.

    >>> check_name(b"students.csv")
    'students.csv'
    """
    try:
        text = name.decode("utf-8") if isinstance(name, bytes) else name
        size = len(text.encode("utf-8"))
    except UnicodeError:
        raise NameRefused("The file name is not UTF-8. Use letters, digits, '-', '_' and '.'.") from None
    if text in {"", ".", ".."} or "/" in text:
        raise NameRefused("This is not a file name.")
    if any(unicodedata.category(char) in _CONTROL for char in text):
        raise NameRefused("The file name holds control characters. Use letters, digits, '-', '_' and '.'.")
    if size > MAX_NAME_BYTES:
        raise NameRefused(f"The file name has {size} bytes; at most {MAX_NAME_BYTES} are accepted. Use a shorter one.")
    return text


_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_LANDED_NAME = re.compile(rf"({_ID})\.(.+)", re.DOTALL)


def _ticks(id_: str) -> int:
    """An id's milliseconds and its count within them, as one number."""
    value = UUID(id_).int
    return (value >> 80) << 12 | (value >> 64) & 0xFFF


class IdMaker:
    """Makes UUIDv7 ids (RFC 9562) that rise strictly within a process, even when the clock steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        """The next id: 48 bits of milliseconds, 12 bits that count within one, 62 random bits."""
        return self.above("")

    def above(self, id_: str) -> str:
        """The next id, or, where another host's clock is ahead, the least above one of its ids.

        Ids that do not have to be above that one are not raised with it: a clock that is wrong stays its own matter.
        """
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1_000_000 << 12)
            ticks = max(self._last, _ticks(id_) + 1 if id_ else 0)
        random = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
        value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | random
        return str(UUID(int=value))


def least_id_of(moment: datetime) -> str:
    """What every id that is made from a moment on is not less than."""
    return str(UUID(int=int(moment.timestamp() * 1000) << 80))


def moment_of(id_: str) -> datetime:
    """The moment at which an id was made, in UTC, with milliseconds."""
    return datetime.fromtimestamp((UUID(id_).int >> 80) / 1000, UTC)


@dataclass(frozen=True, slots=True, order=True)
class Landing:
    """One file that has landed: `<landing-id>.<name>` in an account's inbox.

    Orders by id, which is the order of landing.
    """

    id: str
    account: str
    name: str

    @property
    def stored_name(self) -> str:
        """Its name in the inbox."""
        return f"{self.id}.{self.name}"

    @property
    def landed_at(self) -> datetime:
        """When it landed, in UTC; the id says so."""
        return moment_of(self.id)

    @classmethod
    def parse(cls, account: str, stored_name: str) -> "Landing | None":
        """The landing that an inbox entry's name stands for; None for a file dropped in by hand."""
        found = _LANDED_NAME.fullmatch(stored_name)
        return cls(found[1], account, found[2]) if found else None
