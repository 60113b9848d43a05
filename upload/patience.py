"""Patience: how long is waited, and until when everything must be over."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        until: when everything must be over, on the monotonic clock.
        silence: a connection on which nothing has come for so long is given up.
        first: before the second try; each wait is longer than the one before, and varies by chance.
        longest: between two tries.
        look: between two looks for receipts.
    """

    until: float
    silence: float = 60
    first: float = 1
    longest: float = 30
    look: float = 1

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.until - time.monotonic()
