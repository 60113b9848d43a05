"""What stops an upload and is told to a person. Each class bears its exit code; the command line maps once."""

from typing import ClassVar

from landingzone.errors import LandingZoneError
from upload.outcome import Ending


class UploadError(LandingZoneError):
    """The upload failed."""

    exit_code: ClassVar[int] = Ending.FAILED


class SettingsError(UploadError):
    """The settings cannot be used."""

    exit_code = Ending.WRONG_SETTINGS


class NotExtracted(UploadError):
    """The source could not be read: nothing of it was sent."""

    exit_code = Ending.NOT_DELIVERED


class RefusedByCheck(UploadError):
    """The file is clearly broken and was not sent. `--send-anyway` sends it all the same."""

    exit_code = Ending.REFUSED


class ConnectionLost(UploadError):
    """The server cannot be reached, or the connection broke. It is tried again until the deadline."""

    exit_code = Ending.NOT_DELIVERED


class LoginRefused(UploadError):
    """The server does not take this key, or this token, for this account."""

    exit_code = Ending.NOT_DELIVERED


class KeyUnusable(UploadError):
    """The private key, or the token, cannot be used."""

    exit_code = Ending.WRONG_SETTINGS


class ServerChanged(UploadError):
    """The server is not the one that it should be."""

    exit_code = Ending.HOST_KEY_CHANGED


class ServerRefused(UploadError):
    """The server refused a request."""

    final: bool = False
    """Whether asking again is of no use."""


class NotDelivered(UploadError):
    """The file did not arrive."""

    exit_code = Ending.NOT_DELIVERED


class AnotherRun(UploadError):
    """Another run is under way in this folder; wait for its end."""

    exit_code = Ending.ANOTHER_RUN


TEXT_SHOWN = 300


def plain(text: str) -> str:
    """A text of the server on one line, without what could steer a terminal, and bounded."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:TEXT_SHOWN]
