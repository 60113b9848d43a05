"""Ids that must differ: those of students and of their guardians, within one file. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

_IDS_KEPT: Final = 4_000_000
"""Different ids of one column up to which they are compared: 16 bytes each."""


class DistinctIds:
    """Collects the ids of a file by column, and tells which stand in columns of different people.

    Args:
        groups: names of columns, those of one kind of person together.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self._groups = groups if len(groups) > 1 else []
        self._seen: dict[str, tuple[_Hashes, _Lines]] = {
            name: (np.zeros(0, np.uint64), np.zeros(0, np.int64)) for group in self._groups for name in group
        }

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows: `line` and the columns."""
        for name, (hashes, lines) in self._seen.items():
            named = rows.filter(pl.col(name) != "").unique(name, keep="first")
            every = np.concatenate((hashes, named[name].hash(0).to_numpy()))
            kept, first = np.unique(every, return_index=True)
            if len(kept) > _IDS_KEPT:
                self._groups, self._seen = [], {}
                return
            self._seen[name] = (kept, np.concatenate((lines, named["line"].to_numpy()))[first])

    def clashes(self) -> dict[str, tuple[int, list[int]]]:
        """By column: how many of its ids stand in a column of an earlier group, too, and the lines of the first."""
        found = {}
        for at, group in enumerate(self._groups):
            others = [self._seen[name][0] for earlier in self._groups[:at] for name in earlier]
            for name in group if others else ():
                hashes, lines = self._seen[name]
                shared = lines[np.isin(hashes, np.concatenate(others))]
                if len(shared):
                    found[name] = (len(shared), sorted(shared.tolist()))
        return found


_Hashes = npt.NDArray[np.uint64]
_Lines = npt.NDArray[np.int64]
