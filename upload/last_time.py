"""What was sent last time, as hashes and counts: no data. One file for each source, readable by its owner only."""

import contextlib
import json
import os
import statistics
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from processor.hashing import VERSION, Hasher
from processor.records import Records
from upload.private_file import create

Hashes = npt.NDArray[np.uint64]

_KEPT_COUNTS: Final = 10
_AT_ONCE: Final = 100_000


@dataclass(frozen=True, slots=True)
class Listed:
    """The rows of one feed that a file lists: of each the hash of its key and of all its values, by rising key."""

    keys: Hashes
    rows: Hashes

    @property
    def count(self) -> int:
        """How many."""
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a file lists otherwise than the one before it, by key."""

    added: int
    changed: int
    gone: int
    same: int


@dataclass(frozen=True)
class Sent:
    """What was sent, of one source.

    Attributes:
        when: ISO 8601, UTC.
        sha256: of the file.
        rows: data rows of the last files, the newest last.
        header: of the file; None if it had none.
        listed: by feed.
    """

    when: str
    sha256: str
    rows: tuple[int, ...]
    header: tuple[str, ...] | None
    listed: Mapping[str, Listed] = field(repr=False)

    @property
    def usual_rows(self) -> int:
        """The median of what the last files had."""
        return int(statistics.median(self.rows))

    def without_hashes(self) -> "Sent":
        """The same without what takes memory."""
        return replace(self, listed={})


class Lister:
    """Collects what a file lists, batch by batch (see `processor.examination.OnRows`)."""

    def __init__(self) -> None:
        self._hashers: dict[str, Hasher] = {}
        self._found: dict[str, _Growing] = {}

    def add(self, records: Records) -> None:
        """Take in a batch's rows of one feed."""
        name = records.feed.name
        hasher = self._hashers.setdefault(name, Hasher(records.feed.field_names, records.feed.key))
        hashes = hasher.rows(records.rows)
        self._found.setdefault(name, _Growing()).add(hashes.key, hashes.row)

    def listed(self) -> dict[str, Listed]:
        """What was collected, which is given out of hand; of two rows of one key the first."""
        return {name: self._found.pop(name).listed() for name in list(self._found)}


class _Growing:
    """Two columns of numbers in one piece of memory: many small pieces would leave holes behind."""

    def __init__(self) -> None:
        self._numbers: npt.NDArray[np.uint64] = np.empty((2, 65_536), dtype=np.uint64)
        self._count = 0

    def add(self, keys: Hashes, rows: Hashes) -> None:
        needed = self._count + len(keys)
        if needed > self._numbers.shape[1]:
            wider = np.empty((2, max(needed, self._numbers.shape[1] * 3 // 2)), dtype=np.uint64)
            wider[:, : self._count] = self._numbers[:, : self._count]
            self._numbers = wider
        self._numbers[0, self._count : needed] = keys
        self._numbers[1, self._count : needed] = rows
        self._count = needed

    def listed(self) -> Listed:
        order = np.argsort(self._numbers[0, : self._count], kind="stable").astype(np.uint32)
        keys = self._numbers[0][order]
        rows = self._numbers[1][order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        return Listed(keys, rows) if first.all() else Listed(keys[first], rows[first])


def compare(before: Listed, after: Listed) -> Difference:
    """What differs, by key.

    >>> one = Listed(np.array([1, 2, 3], dtype=np.uint64), np.array([10, 20, 30], dtype=np.uint64))
    >>> two = Listed(np.array([2, 3, 4], dtype=np.uint64), np.array([20, 31, 40], dtype=np.uint64))
    >>> compare(one, two)
    Difference(added=1, changed=1, gone=1, same=1)
    """
    both = same = 0
    for at in range(0, after.count if before.count else 0, _AT_ONCE):
        keys, rows = after.keys[at : at + _AT_ONCE], after.rows[at : at + _AT_ONCE]
        places = np.minimum(np.searchsorted(before.keys, keys), before.count - 1)
        there = before.keys[places] == keys
        both += int(there.sum())
        same += int((there & (before.rows[places] == rows)).sum())
    return Difference(after.count - both, both - same, before.count - both, same)


def load(folder: Path, source: str) -> Sent | None:
    """What was sent last time; None if nothing was, or if what is kept cannot be read or compared any more."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        with np.load(_path(folder, source), allow_pickle=False) as kept:
            about: dict[str, Any] = json.loads(kept["about"].tobytes())
            comparable = about["version"] == VERSION
            feeds: Sequence[str] = about["feeds"] if comparable else ()
            listed = {name: Listed(kept[f"{name}.keys"], kept[f"{name}.rows"]) for name in feeds}
        header = tuple(about["header"]) if about["header"] is not None else None
        return Sent(about["when"], about["sha256"], tuple(about["rows"]), header, listed)
    return None


def write(path: Path, sent: Sent, before: Sent | None) -> None:
    """Write what is about to be sent into a new file, from where `keep` takes it."""
    rows = [*(before.rows if before else ()), *sent.rows][-_KEPT_COUNTS:]
    about = {name: value for name, value in asdict(sent.without_hashes()).items() if name != "listed"}
    about |= {"rows": rows, "version": VERSION, "feeds": list(sent.listed)}
    arrays: dict[str, npt.NDArray[Any]] = {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    for name, one in sent.listed.items():
        arrays |= {f"{name}.keys": one.keys, f"{name}.rows": one.rows}
    with create(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())


def keep(path: Path, folder: Path, source: str) -> None:
    """From now on that file says what was sent last."""
    path.replace(_path(folder, source))


def _path(folder: Path, source: str) -> Path:
    return folder / f"{source}.npz"
