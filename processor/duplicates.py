"""Keys seen so far in a file: which rows repeat an earlier one, to the letter or with other details. Pure."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from processor.hashing import RowHashes
from processor.key_table import Hashes, KeyTable, Numbers

NEW: Final = 0
IDENTICAL: Final = 1
DIFFERENT: Final = 2


@dataclass(frozen=True, slots=True)
class Repeats:
    """For each row: new, identical to an earlier one, or different with the same key; and the line of the first."""

    status: npt.NDArray[np.uint8]
    first: Numbers


class Entering(Protocol):
    """Takes in the rows of a file, batch by batch, and tells which repeat an earlier one."""

    def enter(self, hashes: RowHashes, line: Numbers) -> tuple[Repeats | None, Numbers | None]:
        """Take in rows with rising lines: which of them repeat an earlier key (None if none does); their places in a
        listing, where there is one (see `hashing.Placed`).
        """


class Seen:
    """The rows seen so far, by key: a key table, and 8 bytes a row.

    Two different keys that are taken for one (see KeyTable) cost the later row, which is rejected, not lost in
    silence. Rows of one key count as identical where 64 further bits agree.

    Args:
        batches: how many times as many rows as come at first may come in all: a guess, so that room is made at once.
    """

    def __init__(self, batches: float = 1) -> None:
        self._batches = batches
        self._keys = KeyTable()
        self._row = np.zeros(0, dtype=np.uint64)
        self._lines = _Lines()
        self._repeated: list[Numbers] = []

    def enter(self, hashes: RowHashes, line: Numbers) -> tuple[Repeats | None, None]:
        """See Entering."""
        return self.add(key=hashes.key, check=hashes.check, row=hashes.row, line=line), None

    def taken(self) -> tuple[KeyTable, Hashes]:
        """The keys that came, each once, numbered in the order of coming, and the hashes of their rows.

        They are the caller's from now on: nothing is added after this.
        """
        self._row.resize(len(self._keys), refcheck=False)
        if not self._repeated:
            return self._keys, self._row
        kept = np.ones(len(self._keys), dtype=np.bool_)
        kept[np.concatenate(self._repeated)] = False
        key, check, _ = self._keys.arrays
        once = KeyTable()
        once.enter_new(key[kept], check[kept])
        return once, self._row[kept]

    def add(self, *, key: Hashes, check: Hashes, row: Hashes, line: Numbers) -> Repeats | None:
        """Take in rows; gives which of them repeat an earlier key, None if none does."""
        start, stop = len(self._keys), len(self._keys) + len(key)
        if stop > len(self._row):
            self._row.resize(stop + (stop >> 5), refcheck=False)
        self._row[start:stop] = row
        self._lines.add(start, line)
        if not start:
            self._keys.expect(int(len(key) * self._batches))
        owners = self._keys.enter(key, check)
        ids = np.arange(start, stop, dtype=np.int64)
        repeated = owners != ids
        if not repeated.any():
            return None
        self._repeated.append(ids[repeated])
        status = np.zeros(len(key), dtype=np.uint8)
        status[repeated] = np.where(self._row[owners[repeated]] == self._row[ids[repeated]], IDENTICAL, DIFFERENT)
        return Repeats(status, self._lines.of(owners))


class _Lines:
    """The line of each row, by the row's number: kept only where it does not simply follow the one before."""

    def __init__(self) -> None:
        self._count = 0
        self._from = np.zeros(0, dtype=np.int32)
        self._offset = np.zeros(0, dtype=np.int32)

    def add(self, start: int, line: Numbers) -> None:
        """The lines of the rows from number `start` on."""
        offset = line - np.arange(start, start + len(line))
        before = self._offset[self._count - 1] if self._count else -1
        changed = np.flatnonzero(np.diff(offset, prepend=before))
        stop = self._count + len(changed)
        if stop > len(self._from):
            for array in (self._from, self._offset):
                array.resize(stop + (stop >> 3), refcheck=False)
        self._from[self._count : stop] = changed + start
        self._offset[self._count : stop] = offset[changed]
        self._count = stop

    def of(self, rows: Numbers) -> Numbers:
        """Their lines."""
        if not self._count:
            return rows - 1
        at = np.searchsorted(self._from[: self._count], rows, side="right") - 1
        lines: Numbers = rows + np.where(at < 0, -1, self._offset[at])
        return lines
