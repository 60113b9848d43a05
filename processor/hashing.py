"""Rows as hashes: 64 bits for a key, 64 further ones to check it by, 64 for all of its values. Pure.

Polars' hash with given seeds is the same in every process of one version, not in every version: whoever keeps hashes
keeps `VERSION` beside them.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.key_table import Hashes, Numbers

VERSION: Final = f"1 polars {pl.__version__} {platform.machine()}"
"""Of which making the hashes are."""

_SECOND_FAMILY: Final = 1000
"""Seeds from here on give hashes that are independent of the first ones."""


@dataclass(frozen=True, slots=True)
class RowHashes:
    """The hashes of a frame's rows, and of each column."""

    key: Hashes
    check: Hashes
    row: Hashes
    columns: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Placed:
    """The hashes of rows, and their places in the listing of their source: -1 for those that it has not.

    `at` is None where no listing was asked.
    """

    key: Hashes
    check: Hashes
    row: Hashes
    at: Numbers | None

    def only(self, kept: npt.NDArray[np.bool_]) -> "Placed":
        """Those of some rows."""
        return Placed(self.key[kept], self.check[kept], self.row[kept], None if self.at is None else self.at[kept])


class Hasher:
    """Hashes rows.

    Args:
        columns: which columns make a row; each has a hash function of its own, so that their order matters.
        key: which of them make its key.
    """

    def __init__(self, columns: Sequence[str], key: Sequence[str]) -> None:
        self._columns, self._key = list(columns), list(key)
        self._check = [f"+{name}" for name in key]
        self._of_key = [
            *(pl.col(name).hash(self._columns.index(name)).alias(name) for name in key),
            *(pl.col(name).hash(_SECOND_FAMILY + seed).alias(f"+{name}") for seed, name in enumerate(key)),
        ]
        others = [name for name in columns if name not in key]
        self._of_row = [*self._of_key, *(pl.col(name).hash(self._columns.index(name)).alias(name) for name in others)]

    def rows(self, rows: pl.DataFrame) -> RowHashes:
        """The hashes of whole rows."""
        found = rows.select(self._of_row)
        return RowHashes(_sum(found, self._key), _sum(found, self._check), _sum(found, self._columns), found)

    def keys(self, rows: pl.DataFrame) -> tuple[Hashes, Hashes]:
        """The hashes of their keys and the checks."""
        found = rows.select(self._of_key)
        return _sum(found, self._key), _sum(found, self._check)


def _sum(hashes: pl.DataFrame, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    total: npt.NDArray[np.uint64] = hashes[names[0]].to_numpy().copy()
    for name in names[1:]:
        total += hashes[name].to_numpy()
    return total
