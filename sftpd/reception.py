"""The reception: what all connections of this process share: keys, limits, who waits, who is inside."""

import asyncio
import functools
from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass, field

from keys.certificate import Certificate
from keys.store import Admission, Keys
from landingzone.address import is_exempt
from landingzone.login_attempt import LoginAttempt
from landingzone.penalty import Penalties
from landingzone.refused_logins import RefusedLogins
from landingzone.settings import LimitSettings
from sftpd.lobby import Lobby

MAX_ATTEMPTS = 500
"""Login attempts that wait to be written down; of a flood the rest is only summed, with the refused logins."""


@dataclass
class Reception:
    """What is shared by all connections.

    Attributes:
        keys: which key opens what.
        refused: sums the refused logins, for the database.
        readers: threads for questions to the database; apart from `writers`: a login never waits for a write.
        writers: threads for what is written.
        limits: replaced as a whole when the settings are read again.
        lobby: who has not logged in yet.
        penalties: who has to wait.
        inside: how many are logged in, by account.
    """

    keys: Keys
    refused: RefusedLogins
    readers: Executor
    writers: Executor
    limits: LimitSettings
    lobby: Lobby = field(default_factory=Lobby)
    penalties: Penalties = field(default_factory=Penalties)
    inside: Counter[str] = field(default_factory=Counter)
    _attempts: list[LoginAttempt] = field(default_factory=list)

    async def admit(self, account: str, shown: str | Certificate, address: str) -> Admission:
        """Whether a key (its fingerprint) or a certificate opens an account; asked in a thread."""
        keys = self.keys
        if isinstance(shown, Certificate):
            ask = functools.partial(keys.admit_certificate, account, shown, address=address)
        else:
            ask = functools.partial(keys.admit, account, shown, address=address)
        return await asyncio.get_running_loop().run_in_executor(self.readers, ask)

    def no_room_for(self, account: str) -> str | None:
        """Which limit keeps a further session of an account out; None: there is room."""
        if self.inside[account] >= self.limits.sessions_per_account:
            return "sessions_per_account"
        return "sessions" if self.inside.total() >= self.limits.sessions else None

    def came_in(self, account: str, network: str) -> None:
        """Somebody is inside."""
        self.inside[account] += 1
        self.penalties.opened(network, account)

    def went_out(self, account: str) -> None:
        """Somebody has left."""
        self.inside[account] -= 1
        if self.inside[account] <= 0:
            del self.inside[account]

    def failed(self, network: str, account: str = "") -> None:
        """A login failed; `account` only if there is one of that name."""
        if not is_exempt(network, self.limits.exempt_networks):
            self.penalties.failed(network, account)

    def note(self, attempt: LoginAttempt) -> None:
        """Keep an attempt, to be written down with others."""
        if len(self._attempts) < MAX_ATTEMPTS:
            self._attempts.append(attempt)

    def take_attempts(self) -> list[LoginAttempt]:
        """The attempts since this was last asked."""
        attempts, self._attempts = self._attempts, []
        return attempts
