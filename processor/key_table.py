"""A hash table of keys over numpy arrays: which keys are the same, without a Python object for any of them. Pure."""

from typing import Final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int32 | np.int64]


class KeyTable:
    """Keys, numbered from 0 in the order in which they come: 9 bytes each, and 5 to 7 for a large table.

    A key is given as two independent 64 bit hashes. Two count as one where 72 bits of these agree: over 35 million
    keys the chance that two different ones do so is 1 in 10^7.
    """

    _LARGE: Final = 1 << 24
    """Slots from which on memory counts for more than speed: the table may be fuller, and grows in smaller steps."""
    _FIRST_SLOTS: Final = 1024
    _ROOM: Final = 1.05
    """A table that has just been made takes so many more keys before it has to grow: those of the next days."""
    _AT_ONCE: Final = 1 << 17
    _STRETCH: Final = 64
    """Of so many keys that come the first is looked for in the table, the others behind it first."""
    _PLACED_AT_ONCE: Final = 1 << 18
    _WENT_ROUND: Final = 1 << 12
    """More entries than ever pile up at the table's start."""

    def __init__(self) -> None:
        self._count = 0
        self._key = np.zeros(0, dtype=np.uint64)
        self._check = np.zeros(0, dtype=np.uint8)
        self._table = self._empty_table(self._FIRST_SLOTS)

    def __len__(self) -> int:
        """How many have been entered, the same ones included."""
        return self._count

    @classmethod
    def of(cls, arrays: tuple[Hashes, npt.NDArray[np.uint8], npt.NDArray[np.int32]]) -> "KeyTable":
        """The table that once gave these `arrays`, which are its own from now on."""
        table = cls()
        table._key, table._check, table._table = arrays
        table._count = len(table._key)
        return table

    @property
    def arrays(self) -> tuple[Hashes, npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """What the table is made of, to be kept: the keys, their checks, the slots."""
        return self._key[: self._count], self._check[: self._count], self._table

    def expect(self, keys: int) -> None:
        """So many may be entered: as long as there is none, the table is made as large, if that is not very large."""
        size = min(int(self._ROOM * keys / self._full) + 1, self._LARGE - 1)
        if not self._count and size > len(self._table):
            self._table = self._empty_table(size)

    def enter(self, key: Hashes, check: Hashes) -> Numbers:
        """Enter keys; gives for each the number of the first that is the same: its own if it is new."""
        start, stop = self._count, self._count + len(key)
        self._store(start, stop, key, check)
        if stop > self._full * len(self._table):
            self._grow(stop)
        ids = np.arange(start, stop, dtype=np.int64)
        owners = ids.copy()
        for piece in self._in_order_of_slots(key):
            self._enter(ids[piece], owners, start)
        return owners

    def enter_new(self, key: Hashes, check: npt.NDArray[np.uint8]) -> None:
        """Enter keys of which none is there yet, nor comes twice, each with the upper 8 bits of its check."""
        start, stop = self._count, self._count + len(key)
        self._make_room(stop)
        self._key[start:stop], self._check[start:stop] = key, check
        self._count = stop
        ids = np.argsort(self._slots_of(key), kind="stable") + start
        if stop > self._full * len(self._table):
            many = len(key) > start
            self._grow(stop, also=ids if many else None)
            if many:
                return
        self._enter(ids, np.arange(start, stop), start)  # few beside what is held: to sort it all takes much memory

    def find(self, key: Hashes, check: Hashes) -> Numbers:
        """The number of each key; -1 for those that are not there.

        Keys mostly come in the order in which they were entered: each is looked for behind the first of its stretch,
        and in the table only if it is not there.
        """
        found = np.full(len(key), -1, dtype=np.int64)
        small = (check >> np.uint64(56)).astype(np.uint8)
        if not self._count:
            return found
        heads = self._look_up(key[:: self._STRETCH], small[:: self._STRETCH])
        guess = np.repeat(heads, self._STRETCH)[: len(key)] + np.arange(len(key)) % self._STRETCH
        guess[(guess >= self._count) | np.repeat(heads < 0, self._STRETCH)[: len(key)]] = 0
        same = (self._key[guess] == key) & (self._check[guess] == small)
        found[same] = guess[same]
        others = np.flatnonzero(~same)
        found[others] = self._look_up(key[others], small[others])
        return found

    def _look_up(self, key: Hashes, small: npt.NDArray[np.uint8]) -> Numbers:
        found = np.full(len(key), -1, dtype=np.int64)
        for piece in self._in_order_of_slots(key):
            pending, slots = piece, self._slots_of(key[piece])
            while len(pending):
                at = self._table[slots]
                there = at >= 0
                pending, slots, at = pending[there], slots[there], at[there]
                same = (self._key[at] == key[pending]) & (self._check[at] == small[pending])
                found[pending[same]] = at[same]
                pending, slots = pending[~same], slots[~same] + 1
                slots[slots == len(self._table)] = 0
        return found

    def _in_order_of_slots(self, key: Hashes) -> list[Numbers]:
        """Where in the keys to look, piece by piece: in the order of their slots, roughly, so that memory is walked
        and not jumped about in.
        """
        near = np.argsort((key >> np.uint64(48)).astype(np.uint16), kind="stable")
        return [near[first : first + self._AT_ONCE] for first in range(0, len(near), self._AT_ONCE)]

    def _enter(self, pending: Numbers, owners: Numbers, start: int) -> None:
        """Enter stored keys; where another is the same, note it in `owners`, which begins with key `start`.

        Linear probing, all at once, one slot a round. Of keys that want one free slot the first gets it.
        """
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

    def _slots(self, ids: Ids) -> Numbers:
        return self._slots_of(self._key[ids])

    def _slots_of(self, key: Hashes) -> Numbers:
        """Where the search for each begins: the upper half of its key, scaled to the table's size."""
        size = np.uint64(len(self._table))
        slots: Numbers = (((key >> np.uint64(32)) * size) >> np.uint64(32)).astype(np.int64)
        return slots

    def _store(self, start: int, stop: int, key: Hashes, check: Hashes) -> None:
        self._make_room(stop)
        self._key[start:stop] = key
        self._check[start:stop] = check >> np.uint64(56)
        self._count = stop

    def _make_room(self, stop: int) -> None:
        if stop > len(self._key):
            room = stop + (stop >> 5)
            for array in (self._key, self._check):
                array.resize(room, refcheck=False)

    def _grow(self, stop: int, *, also: Ids | None = None) -> None:
        """Make the table larger, and place again what it held, and `also` others: all different, so that nothing need
        be compared. The others are in the order of their slots, roughly, as those held are.

        In the order of their slots each comes to its own slot, or to the next one after the entry before it. Those
        that had gone round the end to the table's start, those that would now, and those whose slot lies before what
        an earlier piece has filled, where free slots may lie between, are entered one by one.
        """
        larger = len(self._table) * (2 if len(self._table) < self._LARGE else 1.25)
        size = max(larger, self._ROOM * stop / self._full + 1)
        held: Ids = self._table[self._table >= 0]
        if also is not None:
            held = np.concatenate((held, also))
            held = held[np.argsort(self._slots(held), kind="stable")] if len(also) < len(held) else held
        del self._table  # so that the two never take room at once
        self._table = self._empty_table(int(size))
        start, rest = held[: self._WENT_ROUND], held[self._WENT_ROUND :]
        round_the_end = self._slots(start) > len(self._table) // 2
        singly, last = [start[round_the_end]], -1
        for ids in (
            start[~round_the_end],
            *(rest[at : at + self._PLACED_AT_ONCE] for at in range(0, len(rest), self._PLACED_AT_ONCE)),
        ):
            behind = self._slots(ids) <= last
            singly.append(ids[behind])
            placed = ids[~behind]
            home = self._slots(placed)
            order = np.argsort(home, kind="stable")
            steps = np.arange(len(placed))
            slots = np.maximum.accumulate(np.maximum(home[order], last + 1 + steps) - steps) + steps
            last = int(slots[-1]) if len(placed) else last
            inside = np.searchsorted(slots, len(self._table))
            self._table[slots[:inside]] = placed[order[:inside]]
            singly.append(placed[order[inside:]])
        left = np.concatenate(singly).astype(np.int64)
        self._enter(left, left.copy(), 0)

    @staticmethod
    def _empty_table(size: int) -> npt.NDArray[np.int32]:
        return np.full(size, -1, dtype=np.int32)
