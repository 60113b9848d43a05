"""Passwords: kept as argon2id, and none that falls to the first guesses."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from landingzone.errors import LandingZoneError

LEAST, MOST = 12, 256
_LEAST_DIFFERENT = 5
_AT_ONCE = 4
"""Each takes 64 MiB for a moment; those who come together wait for each other."""


class PasswordRefused(LandingZoneError):
    """This password cannot be used."""


class Passwords:
    """Makes and proves the hashes of passwords."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turns = threading.Semaphore(_AT_ONCE)
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str, *, name: str) -> str:
        """The hash of a new password of a user's; raises PasswordRefused with what to do."""
        check(password, name=name)
        with self._turns:
            return self._hasher.hash(password)

    def holds(self, kept: str | None, password: str) -> bool:
        """Whether it is the password whose hash is kept. Takes as long where there is none, so that nobody can tell."""
        if len(password) > MOST:
            return False
        with self._turns:
            try:
                self._hasher.verify(kept or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None


def check(password: str, *, name: str) -> None:
    """Raise PasswordRefused for a password that is too short, or too easily guessed."""
    if not LEAST <= len(password) <= MOST:
        raise PasswordRefused(
            f"A password has {LEAST} to {MOST} characters. Four words that do not belong together do."
        )
    lowered, own = password.lower(), name.lower().partition("@")[0]
    if len(set(lowered)) < _LEAST_DIFFERENT or (len(own) > 3 and own in lowered) or _is_a_run(lowered):  # noqa: PLR2004 - "ann" stands in many a word
        raise PasswordRefused("That password is too easy to guess. Four words that do not belong together do.")


def _is_a_run(text: str) -> bool:
    """Whether it only counts up or down, or goes along the keyboard.

    >>> _is_a_run("123456789012"), _is_a_run("qwertyuiopas"), _is_a_run("correct horse battery")
    (True, True, False)
    """
    rows = "01234567890123456789 abcdefghijklmnopqrstuvwxyz qwertyuiopasdfghjklzxcvbnm"
    return text in rows or text[::-1] in rows
