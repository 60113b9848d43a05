"""The folder of an upload: the settings, and beside them what the program keeps for itself, readable by nobody else."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SETTINGS_NAME = "landingzone-upload.toml"
VARIABLE = "LANDINGZONE_UPLOAD_FOLDER"


@dataclass(frozen=True)
class Folder:
    """One folder with one settings file.

    Attributes:
        path: absolute.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings."""
        return self.path / SETTINGS_NAME

    @property
    def work(self) -> Path:
        """Files being made and sent; whatever lies here when no run is under way is left over."""
        return self._private("work")

    @property
    def state(self) -> Path:
        """What is known of earlier uploads: hashes and counts, no data."""
        return self._private("state")

    @property
    def logs(self) -> Path:
        """One file for each attempt."""
        return self._private("logs")

    def prepare(self) -> None:
        """Make the folder itself, for its owner alone."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _private(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path


def find_folder(given: Path | None, *, current: Path, environment: Mapping[str, str] = os.environ) -> Folder:
    """The folder that is meant: the one that was given, else the variable's, else here if settings lie here, else the
    user's own (see `users_folder`).
    """
    if given is None and environment.get(VARIABLE):
        given = Path(environment[VARIABLE])
    if given is None:
        given = current if (current / SETTINGS_NAME).is_file() else users_folder(sys.platform, Path.home(), environment)
    return Folder(given.absolute())


def users_folder(platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    """Where a user's folder is, by the habit of the system.

    >>> users_folder("linux", Path("/home/eve"), {}).as_posix()
    '/home/eve/.config/landingzone-upload'
    >>> users_folder("darwin", Path("/Users/eve"), {}).as_posix()
    '/Users/eve/Library/Application Support/landingzone-upload'
    >>> users_folder("win32", Path("C:/Users/eve"), {"LOCALAPPDATA": "C:/Users/eve/AppData/Local"}).as_posix()
    'C:/Users/eve/AppData/Local/landingzone-upload'
    """
    if platform == "win32":
        above = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        above = home / "Library" / "Application Support"
    else:
        above = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return above / "landingzone-upload"
