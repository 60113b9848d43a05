"""Keys seen so far in a file: which rows repeat an earlier one, to the letter or with other details. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

NEW: Final = 0
IDENTICAL: Final = 1
DIFFERENT: Final = 2

_Hashes = npt.NDArray[np.uint64]
_Numbers = npt.NDArray[np.int64]
_Ids = npt.NDArray[np.int32] | _Numbers


@dataclass(frozen=True, slots=True)
class Repeats:
    """For each row: new, identical to an earlier one, or different with the same key; and the line of the first."""

    status: npt.NDArray[np.uint8]
    first: _Numbers


class Seen:
    """The keys seen so far: a hash table over numpy arrays, 13 bytes a row and 5 to 7 for a large table.

    Two rows count as one key where 72 bits of two independent hashes agree: over 35 million rows the chance that two
    different keys do so is 1 in 10^7, and the later row would be rejected, not lost in silence. Rows of one key count
    as identical where 32 further bits agree.
    """

    _LARGE: Final = 1 << 24
    """Slots from which on memory counts for more than speed: the table may be fuller, and grows in smaller steps."""
    _FIRST_SLOTS: Final = 1024
    _AT_ONCE: Final = 1 << 17
    _PLACED_AT_ONCE: Final = 1 << 20
    _WENT_ROUND: Final = 1 << 12
    """More entries than ever pile up at the table's start."""

    def __init__(self) -> None:
        self._count = 0
        self._key = np.zeros(0, dtype=np.uint64)
        self._check = np.zeros(0, dtype=np.uint8)
        self._row = np.zeros(0, dtype=np.uint32)
        self._lines = _Lines()
        self._table = self._empty_table(self._FIRST_SLOTS)

    def add(self, *, key: _Hashes, check: _Hashes, row: _Hashes, line: _Numbers) -> Repeats | None:
        """Take in rows; gives which of them repeat an earlier key, None if none does."""
        start, stop = self._count, self._count + len(key)
        self._store(start, stop, key, check, row)
        self._lines.add(start, line)
        ids = np.arange(start, stop, dtype=np.int64)
        if stop > self._full * len(self._table):
            self._grow(stop)
        owners = self._owners(ids)
        repeated = owners != ids
        if not repeated.any():
            return None
        status = np.zeros(len(key), dtype=np.uint8)
        status[repeated] = np.where(self._row[owners[repeated]] == self._row[ids[repeated]], IDENTICAL, DIFFERENT)
        return Repeats(status, self._lines.of(owners))

    def _owners(self, ids: _Numbers) -> _Numbers:
        """For each stored row the first one with its key, entering those that are the first themselves.

        Linear probing, all rows at once, one slot a round. Of rows that want one free slot the first gets it. The
        rows go in the order of their slots, roughly, so that memory is walked and not jumped about in.
        """
        owners = ids.copy()
        near = np.argsort((self._key[ids] >> np.uint64(48)).astype(np.uint16), kind="stable")
        for first in range(0, len(ids), self._AT_ONCE):
            self._enter(ids[near[first : first + self._AT_ONCE]], owners, int(ids[0]))
        return owners

    def _enter(self, pending: _Numbers, owners: _Numbers, start: int) -> None:
        """Enter some rows; where another has their key, note it in `owners`, which begins with row `start`."""
        slots = self._slots(pending)
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
            pending, slots = pending[~same], slots[~same] + 1
            slots[slots == len(self._table)] = 0

    @property
    def _full(self) -> float:
        return 0.6 if len(self._table) < self._LARGE else 0.75

    def _slots(self, ids: _Ids) -> _Numbers:
        """Where the search for each begins: the upper half of its key, scaled to the table's size."""
        size = np.uint64(len(self._table))
        slots: _Numbers = (((self._key[ids] >> np.uint64(32)) * size) >> np.uint64(32)).astype(np.int64)
        return slots

    def _store(self, start: int, stop: int, key: _Hashes, check: _Hashes, row: _Hashes) -> None:
        if stop > len(self._key):
            room = stop + (stop >> 5)
            for array in (self._key, self._check, self._row):
                array.resize(room, refcheck=False)
        self._key[start:stop] = key
        self._check[start:stop] = check >> np.uint64(56)
        self._row[start:stop] = row >> np.uint64(32)
        self._count = stop

    def _grow(self, stop: int) -> None:
        """Make the table larger and place again what it held: all different, so that nothing need be compared.

        In the order of their slots each comes to its own slot, or to the next one after the entry before it. Those
        that had gone round the end to the table's start, and those that would now, are entered one by one.
        """
        size = max(len(self._table) * (2 if len(self._table) < self._LARGE else 1.25), stop / self._full + 1)
        held = self._table[self._table >= 0]
        del self._table  # so that the two never take room at once
        self._table = self._empty_table(int(size))
        start, rest = held[: self._WENT_ROUND], held[self._WENT_ROUND :]
        round_the_end = self._slots(start) > len(self._table) // 2
        singly, last = [start[round_the_end]], -1
        for ids in (
            start[~round_the_end],
            *(rest[at : at + self._PLACED_AT_ONCE] for at in range(0, len(rest), self._PLACED_AT_ONCE)),
        ):
            home = self._slots(ids)
            order = np.argsort(home, kind="stable")
            steps = np.arange(len(ids))
            slots = np.maximum.accumulate(np.maximum(home[order], last + 1 + steps) - steps) + steps
            last = int(slots[-1]) if len(ids) else last
            inside = np.searchsorted(slots, len(self._table))
            self._table[slots[:inside]] = ids[order[:inside]]
            singly.append(ids[order[inside:]])
        left = np.concatenate(singly).astype(np.int64)
        self._enter(left, left.copy(), 0)

    @staticmethod
    def _empty_table(size: int) -> npt.NDArray[np.int32]:
        return np.full(size, -1, dtype=np.int32)


class _Lines:
    """The line of each row, by the row's number: kept only where it does not simply follow the one before."""

    def __init__(self) -> None:
        self._count = 0
        self._from = np.zeros(0, dtype=np.int32)
        self._offset = np.zeros(0, dtype=np.int32)

    def add(self, start: int, line: _Numbers) -> None:
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

    def of(self, rows: _Numbers) -> _Numbers:
        """Their lines."""
        if not self._count:
            return rows - 1
        at = np.searchsorted(self._from[: self._count], rows, side="right") - 1
        lines: _Numbers = rows + np.where(at < 0, -1, self._offset[at])
        return lines
