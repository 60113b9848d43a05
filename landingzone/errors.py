"""The root of all errors that are told to a person, and what the command line makes of them."""

from typing import ClassVar


class LandingZoneError(Exception):
    """The command was refused or failed."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or "")


class UsageError(LandingZoneError):
    """The command's words do not fit together."""

    exit_code = 2


class DatabaseAway(LandingZoneError):
    """The database is away or busy: nothing was changed, or the end was not heard of. Look, and try again."""


class DiskFull(LandingZoneError):
    """The server's disk is full: nothing was changed. It was logged; try again later."""


class NotInitialised(LandingZoneError):
    """There is no landing zone here: make one with `landingzone init --root DIR`, or point LANDINGZONE_ROOT at one."""


class DatabaseMoved(LandingZoneError):
    """This database was copied to another server, and that is the one that counts."""
