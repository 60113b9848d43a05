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


class AnotherRun(UploadError):
    """Another run is under way in this folder; wait for its end."""

    exit_code = Ending.ANOTHER_RUN
