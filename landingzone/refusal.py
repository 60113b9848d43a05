"""What is refused of a file that somebody sends, in words for the customer: no path, no inner detail."""

from landingzone.errors import LandingZoneError


class Refused(LandingZoneError):
    """The server does not do this."""


class NoRoom(Refused):
    """The server's disk is full. Nothing of this file was kept: please send it again later."""


class Busy(Refused):
    """Too many files wait to be imported. Nothing of this file was kept: please send it again in some minutes."""


class TooMuch(Refused):
    """This is more than the account may send."""


class TooLarge(TooMuch):
    """This file is larger than a file may be."""
