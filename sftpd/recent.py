"""What landed in the last minutes: clients look back after an upload, when the processor may have taken it already."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from landingzone.landing import Landing

MAX_PER_ACCOUNT = 5000
"""More than that within some minutes is no client that looks back at each file."""


@dataclass(frozen=True, slots=True)
class Landed:
    """One landing that is remembered.

    Attributes:
        landing: the landing.
        size: in bytes.
        mtime: seconds since 1970; what the client set, else the time of its last write.
        until: on the monotonic clock; forgotten then.
    """

    landing: Landing
    size: int
    mtime: float
    until: float


class Recent:
    """The memory of all accounts, in this process. Of equal names the newest is meant."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60
        self._by_account: dict[str, OrderedDict[str, Landed]] = {}

    def use(self, minutes: float) -> None:
        """What is remembered from now on is remembered for so long."""
        self._seconds = minutes * 60

    def remember(self, landing: Landing, *, size: int, mtime: float) -> None:
        """Remember a landing from now on."""
        known = self._by_account.setdefault(landing.account, OrderedDict())
        known.pop(landing.name, None)
        known[landing.name] = Landed(landing, size, mtime, time.monotonic() + self._seconds)
        if len(known) > MAX_PER_ACCOUNT:
            known.popitem(last=False)

    def find(self, account: str, name: str) -> Landed | None:
        """What landed last under that name, if it is remembered."""
        found = self._of(account).get(name)
        return found if found and found.until > time.monotonic() else None

    def of(self, account: str) -> list[Landed]:
        """All that is remembered of an account."""
        at = time.monotonic()
        return [landed for landed in self._of(account).values() if landed.until > at]

    def set_mtime(self, landed: Landed, mtime: float) -> None:
        """Remember the time that the client gives the file."""
        self._by_account[landed.landing.account][landed.landing.name] = replace(landed, mtime=mtime)

    def forget(self, landing: Landing) -> None:
        """Forget a landing: the customer took it back."""
        known = self._of(landing.account)
        found = known.get(landing.name)
        if found and found.landing == landing:
            del known[landing.name]

    def _of(self, account: str) -> OrderedDict[str, Landed]:
        return self._by_account.get(account, OrderedDict())

    def tidy(self) -> None:
        """Free what is no longer remembered."""
        at = time.monotonic()
        for account, known in list(self._by_account.items()):
            while known and next(iter(known.values())).until <= at:
                known.popitem(last=False)
            if not known:
                del self._by_account[account]
