"""The listing of a source: a hash of each of its records of one feed, kept in files beside the database.

What a file changes is told by comparing hashes, so that only rows which differ are read from the database and written
to it. It is a cache: it says which run's state it shows, and is made anew from the database where that is another one.

<folder>/listing               a line of JSON, then numpy arrays: the key table, the rows' hashes, which are active
<folder>/keys.<run>.<n>.arrow  the keys themselves, in the order of their numbers
"""

import contextlib
import json
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from landingzone.feed import Feed
from landingzone.zone import FOLDER_MODE, create_file
from processor import hashing
from processor.duplicates import DIFFERENT, IDENTICAL, Entering, Repeats, Seen
from processor.hashing import Hasher, Placed, RowHashes
from processor.key_table import Hashes, KeyTable, Numbers
from processor.rows import apart

_SEGMENT: Final = 250_000
"""Keys that are held until they go into a file of their own."""
_SMALL: Final = 50_000
_WRITTEN: Final = ".listing.part"
_SMALL_FILES: Final = 16
"""Files of few keys, one for each day, until they become one."""


class ListingDiffers(Exception):
    """The listing does not show what the database holds: it is to be made anew."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What one batch of a file's rows is beside the listing.

    Attributes:
        added: rows of keys that are not listed.
        changed: rows whose active records have other values.
        reactivated: rows whose records are not active.
        unchanged: how many rows are listed as they are.
    """

    added: pl.DataFrame
    changed: pl.DataFrame
    reactivated: pl.DataFrame
    unchanged: int


class Listing:
    """A source's records of one feed, as hashes: 18 bytes a record, and 5 to 7 for the table.

    A file is compared batch by batch; its keys must differ. What is kept on disk stays as it is until `keep_written`.

    Args:
        folder: where its files are.
        feed: whose records.
        run: the serial of the run that works on it, for the names of new files.
        batches: how many batches of rows may be entered, see `Seen`.
    """

    def __init__(self, folder: Path, feed: Feed, run: int, *, batches: float = 1) -> None:
        self._folder, self._feed, self._run = folder, feed, run
        self._hasher = Hasher(feed.field_names, feed.key)
        self._keys = KeyTable()
        self._row = np.zeros(0, np.uint64)
        self._active = np.zeros(0, np.bool_)
        self._listed = np.zeros(0, np.bool_)
        self._segments: list[tuple[str, int]] = []
        self._held: list[pl.DataFrame] = []
        self._fresh: list[tuple[Hashes, npt.NDArray[np.uint8], Hashes]] = []
        self._seen, self._entered = Seen(batches), 0
        self._other: list[tuple[Numbers, Hashes]] = []
        self._ended: Numbers = np.zeros(0, np.int64)
        self._made = 0
        self._written = False
        self.new = True

    @classmethod
    def load(cls, folder: Path, feed: Feed, *, run: int, shows: int) -> "Listing | None":
        """The kept listing; None if there is none, it is damaged, or shows another state than after run `shows`."""
        listing = cls(folder, feed, run)
        try:
            with (folder / "listing").open("rb") as file:
                header = json.loads(file.readline())
                if header["identity"] != listing._identity(shows):
                    return None
                arrays = [_read(file, *spec) for spec in header["arrays"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if _checksum(arrays) != header["checksum"]:
            return None
        segments = [(str(name), int(rows)) for name, rows in header["segments"]]
        if any(not (folder / name).is_file() for name, _ in segments):
            return None
        key, check, table, row, active = arrays
        listing._keys = KeyTable.of((key, check, table))
        listing._row, listing._active = row, active
        listing._listed = np.zeros(len(row), np.bool_)
        listing._segments = segments
        listing.new = False
        return listing

    def fill(self, pieces: Iterable[pl.DataFrame]) -> None:
        """Take in what the database holds: the feed's fields and `active`, in pieces of a bounded size."""
        for piece in pieces:
            self._add(piece.select(self._feed.field_names))
            self._active = np.concatenate((self._active, piece["active"].to_numpy()))
        self._write_held()
        self._enter_fresh()
        self._listed = np.zeros(len(self._row), np.bool_)

    @property
    def standing(self) -> int:
        """How many records are active."""
        return int(self._active.sum())

    def entering(self) -> Entering:
        """Tells of a file's rows which repeat an earlier one, by the listing itself: whoever enters rows there gives
        `compare` what was found of those that are left, in their order. To be asked for once.
        """
        return Beside(self._keys, self._row) if len(self._row) else self._seen

    def compare(self, rows: pl.DataFrame, placed: Placed | None = None) -> Compared:
        """What rows (the feed's fields) are beside the listing; `placed`: what is known of them, see `entering`."""
        if not len(self._row):
            self._add(rows, placed)
            return Compared(rows, rows.clear(), rows.clear(), 0)
        hashes = self._placed(rows) if placed is None else placed
        at = self._keys.find(hashes.key, hashes.check) if hashes.at is None else hashes.at
        there = at >= 0
        known = at[there]
        self._listed[known] = True
        differs = self._row[known] != hashes.row[there]
        active = self._active[known]
        other = differs | ~active
        self._other.append((known[other], hashes.row[there][other]))
        added = rows.filter(pl.Series(~there))
        if added.height:
            self._add(added, hashes.only(~there), enter=True)
        listed = rows.filter(pl.Series(there))
        return Compared(
            added=added,
            changed=listed.filter(pl.Series(differs & active)),
            reactivated=listed.filter(pl.Series(~active)),
            unchanged=int((active & ~differs).sum()),
        )

    def keep(self, keys: pl.DataFrame) -> int:
        """Records of these keys stay although they are not listed; how many of those there are."""
        at = np.unique(self._keys.find(*self._hasher.keys(keys)))
        at = at[at >= 0]
        kept = at[self._active[at] & ~self._listed[at]]
        self._listed[kept] = True
        return len(kept)

    @property
    def missing(self) -> int:
        """How many active records have not been listed."""
        return int((self._active & ~self._listed).sum())

    def end_missing(self) -> Iterable[pl.DataFrame]:
        """The keys of the active records that have not been listed, in pieces; they are to end."""
        self._ended = np.flatnonzero(self._active & ~self._listed)
        start = 0
        for name, rows in self._segments:
            first, stop = np.searchsorted(self._ended, (start, start + rows))
            if stop > first:
                yield pl.read_ipc(self._folder / name)[self._ended[first:stop] - start]
            start += rows

    def write(self, shows: int) -> None:
        """Write it with what has been compared, as the state after run `shows`, beside what is kept.

        Nothing is compared after this. Raises OSError on a full disk.
        """
        for at, row in self._other:
            self._row[at] = row
            self._active[at] = True
        self._active[self._ended] = False
        self._active = np.concatenate((self._active, np.ones(self._added, np.bool_)))
        self._enter_fresh()
        self._write_held()
        self._join_small()
        arrays: list[npt.NDArray[Any]] = [*self._keys.arrays, self._row, self._active]
        header = {
            "identity": self._identity(shows),
            "arrays": [(array.dtype.str, len(array)) for array in arrays],
            "checksum": _checksum(arrays),
            "segments": self._segments,
        }
        with create_file(self._folder / _WRITTEN) as file:
            file.write(json.dumps(header).encode() + b"\n")
            for array in arrays:
                array.tofile(file)
        self._written = True

    def keep_written(self) -> None:
        """Keep what was written in place of what is kept, once that is the state; nothing if none was."""
        if not self._written:
            return
        (self._folder / _WRITTEN).rename(self._folder / "listing")
        named = {"listing", *(name for name, _ in self._segments)}
        for path in self._folder.iterdir():
            if path.name not in named:
                path.unlink()

    def discard(self) -> None:
        """Remove its files, those of a listing kept before, too."""
        self._written = False
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder)

    def _identity(self, shows: int) -> list[Any]:
        return [hashing.VERSION, list(self._feed.field_names), list(self._feed.key), shows]

    def _placed(self, rows: pl.DataFrame) -> Placed:
        hashes = self._hasher.rows(rows)
        return Placed(hashes.key, hashes.check, hashes.row, None)

    @property
    def _added(self) -> int:
        return self._entered + sum(len(key) for key, _, _ in self._fresh)

    def _add(self, rows: pl.DataFrame, placed: Placed | None = None, *, enter: bool = False) -> None:
        """Take in new rows; their hashes, too, unless repeated ones were looked for among them (see `entering`)."""
        if enter or placed is None:
            hashes = self._placed(rows) if placed is None else placed
            self._fresh.append((hashes.key, (hashes.check >> np.uint64(56)).astype(np.uint8), hashes.row))
        else:
            self._entered += rows.height
        keys = rows.select(self._feed.key)
        self._held.append(apart(keys) if enter else keys)
        if sum(frame.height for frame in self._held) >= _SEGMENT:
            self._write_held()

    def _enter_fresh(self) -> None:
        if self._entered:
            self._keys, self._row = self._seen.taken()
            self._seen, self._entered = Seen(), 0
        if self._fresh:
            keys, checks, rows = (np.concatenate(parts) for parts in zip(*self._fresh, strict=True))
            self._fresh = []
            self._keys.enter_new(keys, checks)
            before = len(self._row)
            self._row.resize(before + len(rows), refcheck=False)  # in its place: there may be very many
            self._row[before:] = rows
        if len(self._keys) != len(self._row):
            raise AssertionError(f"{len(self._keys)} keys are listed, of {len(self._row)} rows")

    def _write_held(self) -> None:
        if self._held:
            self._segments.append(self._write_keys(pl.concat(self._held)))
            self._held = []

    def _write_keys(self, keys: pl.DataFrame) -> tuple[str, int]:
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        name = f"keys.{self._run}.{self._made}.arrow"
        self._made += 1
        with create_file(self._folder / name) as file:
            keys.write_ipc(file, compression="lz4")
        return name, keys.height

    def _join_small(self) -> None:
        """Make one file of the last ones, where there are many small ones."""
        at = len(self._segments)
        while at and self._segments[at - 1][1] < _SMALL:
            at -= 1
        small = self._segments[at:]
        if len(small) > _SMALL_FILES:
            joined = self._write_keys(pl.concat([pl.read_ipc(self._folder / name) for name, _ in small]))
            self._segments[at:] = [joined]


class Beside:
    """The rows of a file that stands beside a listing, by their places there: 4 bytes a row. Those that it has not are
    seen by themselves.

    Args:
        keys: the listing's.
        row: the hash of each of its rows.
    """

    def __init__(self, keys: KeyTable, row: Hashes) -> None:
        self._keys, self._row = keys, row
        self._line = np.full(len(row), -1, np.int32)
        self._other: list[tuple[Numbers, Hashes]] = []
        self._seen = Seen()

    def enter(self, hashes: RowHashes, line: Numbers) -> tuple[Repeats | None, Numbers]:
        """See Entering."""
        at = self._keys.find(hashes.key, hashes.check)
        there = at >= 0
        known, lines, rows = at[there], line[there], hashes.row[there]
        unseen = self._line[known] < 0
        self._line[known[unseen][::-1]] = lines[unseen][::-1]  # of several rows of one place the first gets it
        first = self._line[known]
        new = first == lines
        other = new & (rows != self._row[known])
        self._other.append((known[other], rows[other]))
        found = None if new.all() else self._repeats(line, hashes.row, there, known, first)
        if len(known) < len(at):
            fresh = ~there
            beyond = self._seen.add(
                key=hashes.key[fresh], check=hashes.check[fresh], row=hashes.row[fresh], line=line[fresh]
            )
            if beyond is not None:
                found = found or Repeats(np.zeros(len(at), np.uint8), line.copy())
                found.status[fresh], found.first[fresh] = beyond.status, beyond.first
        return found, at

    def _repeats(
        self, line: Numbers, row: Hashes, there: npt.NDArray[np.bool_], known: Numbers, first: npt.NDArray[np.int32]
    ) -> Repeats:
        """Of rows of which some repeat a listed key: a row's first one has the listing's hash, but for `_other`."""
        of_first = self._row[known]
        places, rows = (np.concatenate(parts) for parts in zip(*self._other, strict=True))
        order = np.argsort(places)
        places, rows = places[order], rows[order]
        self._other = [(places, rows)]
        if len(places):
            beside = np.minimum(np.searchsorted(places, known), len(places) - 1)
            of_first = np.where(places[beside] == known, rows[beside], of_first)
        found = Repeats(np.zeros(len(line), np.uint8), line.copy())
        same = np.where(of_first == row[there], IDENTICAL, DIFFERENT)
        found.status[there] = np.where(first == line[there], 0, same)
        found.first[there] = first
        return found


def _read(file: BinaryIO, dtype: str, count: int) -> npt.NDArray[Any]:
    array = np.fromfile(file, np.dtype(dtype), count)
    if len(array) != count:
        raise ValueError(count)
    return array


def _checksum(arrays: Iterable[npt.NDArray[Any]]) -> int:
    total = 0
    for array in arrays:
        total = zlib.crc32(array.view(np.uint8).data, total)
    return total
