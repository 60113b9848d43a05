"""What every command shares: the folder and its settings."""

from functools import cached_property
from pathlib import Path

import typer

from landingzone.feed import Catalogue, load_catalogue
from upload.folder import Folder, find_folder
from upload.settings import Settings, load_settings


class Setup:
    """One folder with its settings, which are read when they are first asked for."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @classmethod
    def given(cls, folder: Path | None) -> "Setup":
        """The one that the command line speaks of."""
        return cls(find_folder(folder, current=Path.cwd()))

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises SettingsError."""
        return load_settings(self.folder)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The feeds, those of the settings included; raises FeedError."""
        return load_catalogue(extra=self.settings.feeds)


def setup(context: typer.Context) -> Setup:
    """The setup that the command line speaks of."""
    found = context.find_object(Setup)
    assert found is not None
    return found
