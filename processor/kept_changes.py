"""What a run has changed, or would have: read back from the archive, counted first, rows some at a time."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from landingzone.feed import Catalogue
from processor.archive import Archive
from processor.changes import loaded
from processor.run import Run

KINDS = ("deactivated", "changed", "added", "reactivated")
"""What can happen to a row; what somebody should look at first comes first."""


@dataclass(frozen=True, slots=True)
class Value:
    """One field of a row: what it is now, and what it was; `before` is None where it was the same, or nothing."""

    field: str
    now: str
    before: str | None


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """One row: its key, and its other fields."""

    key: tuple[Value, ...]
    values: tuple[Value, ...]


def counts(archive: Archive, run: Run) -> dict[str, dict[str, int]]:
    """How many rows of each feed a run has changed in each way. Raises IdentityMissing, ArchiveAway, OSError."""
    found: dict[str, Counter[str]] = {}
    with archive.files(run.landing, f"{run.attempt}.changes.") as kept:
        for path in kept:
            if (added := loaded(path)) is not None:
                found.setdefault(_feed_of(path), Counter())["added"] += added
                continue
            by_kind = pl.scan_parquet(path).group_by("change").len().collect()
            found.setdefault(_feed_of(path), Counter()).update(dict(by_kind.iter_rows()))
    return {feed: {kind: number[kind] for kind in KINDS if number[kind]} for feed, number in found.items()}


def rows(
    archive: Archive, catalogue: Catalogue, run: Run, *, feed: str, kind: str, skip: int, most: int
) -> list[ChangedRow]:
    """Some of the rows of a feed that a run has changed in one way. Raises what `counts` raises.

    None of a large first load: of that every row of the file was added, and only their number is kept.
    """
    found: list[ChangedRow] = []
    with archive.files(run.landing, f"{run.attempt}.changes.{feed}.") as kept:
        for path in kept:
            if loaded(path) is not None:
                continue
            these = pl.scan_parquet(path).filter(pl.col("change") == kind)
            there = these.select(pl.len()).collect().item()
            if skip < there:
                piece = these.slice(skip, most - len(found)).collect()
                found += _rows(piece, catalogue[feed].key, catalogue[feed].field_names, kind)
            skip = max(0, skip - there)
            if len(found) >= most:
                break
    return found


def _rows(frame: pl.DataFrame, key: tuple[str, ...], fields: tuple[str, ...], kind: str) -> Iterator[ChangedRow]:
    others = [name for name in fields if name not in key and name in frame.columns]
    compared = kind in {"changed", "reactivated"}
    for row in frame.iter_rows(named=True):
        values = []
        for name in others:
            value, before = row[name] or "", row.get(f"old_{name}") or ""
            values.append(Value(name, value, before if compared and before != value else None))
        yield ChangedRow(tuple(Value(name, row[name] or "", None) for name in key), tuple(values))


def _feed_of(path: Path) -> str:
    return path.name.split(".")[2]
