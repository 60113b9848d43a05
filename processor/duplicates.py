"""Keys seen so far in a file: which rows repeat an earlier one, to the letter or with other details. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

NEW: Final = 0
IDENTICAL: Final = 1
DIFFERENT: Final = 2


@dataclass(frozen=True, slots=True)
class Repeats:
    """For each row: new, identical to an earlier one, or different with the same key; and the line of the first."""

    status: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]


class Seen:
    """The keys seen so far: a hash table over numpy arrays, 24 bytes a row and 7 to 14 for the table.

    Two rows count as one key where 96 bits of two independent hashes agree: over 35 million rows the chance that two
    different keys do so is 1 in 10^14. Rows of one key count as identical where 64 further bits agree.
    """

    _FIRST_BITS: Final = 10
    _FULL: Final = 0.6
    _AT_ONCE: Final = 1 << 17
    _REHASHED_AT_ONCE: Final = 1 << 20

    def __init__(self) -> None:
        self._count = 0
        self._key = np.zeros(0, dtype=np.uint64)
        self._check = np.zeros(0, dtype=np.uint32)
        self._row = np.zeros(0, dtype=np.uint64)
        self._line = np.zeros(0, dtype=np.uint32)
        self._bits = self._FIRST_BITS
        self._table = self._empty_table()

    def add(
        self,
        *,
        key: npt.NDArray[np.uint64],
        check: npt.NDArray[np.uint64],
        row: npt.NDArray[np.uint64],
        line: npt.NDArray[np.int64],
    ) -> Repeats | None:
        """Take in rows; gives which of them repeat an earlier key, None if none does."""
        start, stop = self._count, self._count + len(key)
        self._store(start, stop, key, check, row, line)
        ids = np.arange(start, stop, dtype=np.int64)
        if stop > self._FULL * len(self._table):
            self._grow(start, stop)
        owners = self._owners(ids)
        repeated = owners != ids
        if not repeated.any():
            return None
        status = np.zeros(len(key), dtype=np.uint8)
        status[repeated] = np.where(self._row[owners[repeated]] == row[repeated], IDENTICAL, DIFFERENT)
        return Repeats(status, self._line[owners].astype(np.int64))

    def _owners(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each stored row the first one with its key, entering those that are the first themselves.

        Linear probing, all rows at once, one slot a round. Of rows that want one free slot the first gets it. The
        rows go in the order of their slots, roughly, so that memory is walked and not jumped about in.
        """
        owners = ids.copy()
        near = np.argsort((self._key[ids] >> np.uint64(48)).astype(np.uint16), kind="stable")
        for first in range(0, len(ids), self._AT_ONCE):
            self._enter(ids[near[first : first + self._AT_ONCE]], owners, int(ids[0]))
        return owners

    def _enter(self, pending: npt.NDArray[np.int64], owners: npt.NDArray[np.int64], start: int) -> None:
        """Enter some rows; where another has their key, note it in `owners`, which begins with row `start`."""
        slots = (self._key[pending] >> np.uint64(64 - self._bits)).astype(np.int64)
        while len(pending):
            found = self._table[slots]
            free = found < 0
            wanting, wanted = pending[free], slots[free]
            self._table[wanted[::-1]] = wanting[::-1]
            lost = np.flatnonzero(self._table[wanted] != wanting)
            taken = np.flatnonzero(~free)
            found = np.concatenate((found[taken], self._table[wanted[lost]])).astype(np.int64)
            pending = np.concatenate((pending[taken], wanting[lost]))
            slots = np.concatenate((slots[taken], wanted[lost]))
            same = (self._key[found] == self._key[pending]) & (self._check[found] == self._check[pending])
            owners[pending[same] - start] = found[same]
            pending, slots = pending[~same], (slots[~same] + 1) & (len(self._table) - 1)

    def _store(
        self,
        start: int,
        stop: int,
        key: npt.NDArray[np.uint64],
        check: npt.NDArray[np.uint64],
        row: npt.NDArray[np.uint64],
        line: npt.NDArray[np.int64],
    ) -> None:
        if stop > len(self._key):
            room = stop + (stop >> 3)
            for array in (self._key, self._check, self._row, self._line):
                array.resize(room, refcheck=False)
        self._key[start:stop], self._row[start:stop] = key, row
        self._check[start:stop], self._line[start:stop] = check >> np.uint64(32), line
        self._count = stop

    def _grow(self, entered: int, stop: int) -> None:
        """Double the table, as often as needed, and enter again what had been entered."""
        self._bits = int(stop / self._FULL).bit_length()
        del self._table  # so that the two never take room at once
        self._table = self._empty_table()
        for first in range(0, entered, self._REHASHED_AT_ONCE):
            self._owners(np.arange(first, min(first + self._REHASHED_AT_ONCE, entered), dtype=np.int64))

    def _empty_table(self) -> npt.NDArray[np.int32]:
        return np.full(1 << self._bits, -1, dtype=np.int32)
