"""What whoever watches sees: bars on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from upload.parcel import Parcel


class Lines:
    """Plain lines, one after another; bytes on their way are not told."""

    def begin(self) -> None:
        """The run begins."""

    def end(self) -> None:
        """The run is over."""

    def say(self, line: str) -> None:
        """A line for people."""
        typer.echo(line)

    def at(self, parcel: Parcel, confirmed: int) -> None:
        """So many of its bytes are confirmed by the server."""

    def done(self, parcel: Parcel) -> None:
        """It has arrived, or is given up."""


class Bars(Lines):
    """A bar for each file on its way, below the lines."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            console=Console(markup=False, highlight=False),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def begin(self) -> None:
        """The run begins."""
        self._progress.start()

    def end(self) -> None:
        """The run is over."""
        self._progress.stop()

    def say(self, line: str) -> None:
        """A line for people."""
        self._progress.console.print(line, soft_wrap=True)

    def at(self, parcel: Parcel, confirmed: int) -> None:
        """So many of its bytes are confirmed by the server."""
        if parcel.name not in self._tasks:
            self._tasks[parcel.name] = self._progress.add_task(parcel.name, total=parcel.bytes)
        self._progress.update(self._tasks[parcel.name], completed=confirmed)

    def done(self, parcel: Parcel) -> None:
        """It has arrived, or is given up."""
        if parcel.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(parcel.name))


class Silence(Lines):
    """Says nothing."""

    def say(self, line: str) -> None:
        """A line for people."""


@contextmanager
def display(*, quiet: bool = False) -> Iterator[Lines]:
    """The one that fits where the output goes; quiet: none, for scripts that read JSON."""
    shown = Silence() if quiet else Bars() if sys.stdout.isatty() else Lines()
    shown.begin()
    try:
        yield shown
    finally:
        shown.end()
