"""What the door refuses, in words for the customer. No path, no other account's name, no inner detail."""

from landingzone.errors import LandingZoneError


class Refused(LandingZoneError):
    """The server does not do this."""


class Missing(Refused):
    """There is no such file."""


class Denied(Refused):
    """This is not allowed here."""


class NoRoom(Refused):
    """The server's disk is full. Nothing of this file was kept: please send it again later."""


class Busy(Refused):
    """Too many files wait to be imported. Nothing of this file was kept: please send it again in some minutes."""


class TooMuch(Refused):
    """This is more than the account may send."""
