"""The lobby: connections that have not logged in yet, and how many there may be.

A newcomer always gets in. When the lobby is full it is the one that got least far, and of those the one that has waited
longest, that has to go: silent connections never keep somebody out who knows what he wants.
"""

from dataclasses import dataclass, field
from typing import Protocol

from landingzone.address import is_exempt
from landingzone.settings import LimitSettings


class Waiting(Protocol):
    """A connection that has not logged in yet."""

    network: str
    """Where it comes from, see network_of."""
    began: float
    """When it came, on the monotonic clock."""

    @property
    def progress(self) -> int:
        """How far it has come; more is further."""

    def leave_lobby(self) -> None:
        """Somebody else needs the place: go."""


@dataclass
class Lobby:
    """Who waits, by network."""

    _by_network: dict[str, set[Waiting]] = field(default_factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def enter(self, one: Waiting, limits: LimitSettings) -> None:
        """Somebody came. Where there are too many, another one has to go."""
        here = self._by_network.setdefault(one.network, set())
        here.add(one)
        self._count += 1
        if len(here) > limits.unauthenticated_per_address and not is_exempt(one.network, limits.exempt_networks):
            self._send_away(here, but=one)
        elif self._count > limits.unauthenticated:
            self._send_away(max(self._by_network.values(), key=len), but=one)

    def leave(self, one: Waiting) -> None:
        """Somebody has logged in, or is gone."""
        here = self._by_network.get(one.network)
        if here is None or one not in here:
            return
        here.remove(one)
        self._count -= 1
        if not here:
            del self._by_network[one.network]

    def _send_away(self, among: set[Waiting], *, but: Waiting) -> None:
        others = [other for other in among if other is not but] or [but]
        gone = min(others, key=lambda other: (other.progress, other.began))
        self.leave(gone)
        gone.leave_lobby()
