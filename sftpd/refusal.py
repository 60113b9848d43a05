"""What the door refuses beside what every way in refuses (landingzone.refusal), in words for the customer."""

from landingzone.refusal import Refused


class Missing(Refused):
    """There is no such file."""


class Denied(Refused):
    """This is not allowed here."""
