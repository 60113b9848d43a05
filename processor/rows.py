"""Rows that may be more than memory should hold: anything that gives frames of a bounded size, as often as asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import polars as pl


class Rows(Protocol):
    """A frame, or what can be gone through like one, slice by slice. `polars.DataFrame` is one."""

    @property
    def height(self) -> int:
        """How many rows."""

    def iter_slices(self, n_rows: int = ...) -> Iterator[pl.DataFrame]:
        """The rows, at most `n_rows` at once."""


class Placed:
    """Rows that are where they are to be already: they can be counted, and there is nothing to go through."""

    def __init__(self, height: int) -> None:
        self.height = height

    def iter_slices(self, n_rows: int = 0) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - as Rows asks
        """Nothing."""
        yield from ()


class Loaded(Placed):
    """Rows that the database itself knows: all that a source's first file brought.

    Args:
        height: how many.
        run: the serial of the run that listed them first.
    """

    def __init__(self, height: int, run: int) -> None:
        super().__init__(height)
        self.run = run


def apart(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of text with memory of their own: those that were filtered out of others keep the text of all of these."""
    return rows.select(pl.all() + "")


class Spool:
    """Collects rows: in memory, and what goes beyond a bound in files.

    Args:
        folder: where its files go; whoever gives it removes it.
        name: what they are called.
    """

    _IN_MEMORY: Final = 250_000
    """Rows."""

    def __init__(self, folder: Path, name: str) -> None:
        self.height = 0
        self._folder, self._name = folder, name
        self._held: list[pl.DataFrame] = []
        self._rows_held = 0
        self._files: list[Path] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows, behind those that are there."""
        if not rows.height:
            return
        self.height += rows.height
        self._held.append(apart(rows))
        self._rows_held += rows.height
        if self._rows_held > self._IN_MEMORY:
            path = self._folder / f"{self._name}.{len(self._files)}.arrow"
            pl.concat(self._held).write_ipc(path, compression="lz4")
            self._files.append(path)
            self._held, self._rows_held = [], 0

    def iter_slices(self, n_rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """The rows, in the order in which they came."""
        for path in self._files:
            yield from pl.read_ipc(path).iter_slices(n_rows)
        if self._held:
            yield from pl.concat(self._held).iter_slices(n_rows)
