"""Changes: what applying a file would do to its source's records of one feed, and the file that keeps them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from landingzone.feed import Feed, Kind
from processor.report import Report
from processor.rows import Rows

CONTACTS: Final = (Kind.PHONE, Kind.EMAIL)


@dataclass(frozen=True)
class Changes:
    """What applying a file would do to its source's records of one feed.

    Attributes:
        feed: whose records these are.
        added: rows never listed before; the feed's fields.
        changed: active rows whose values differ; the feed's fields with their new values, and beside each that is not
            of the key `old_<field>`.
        reactivated: rows that had been deactivated and are listed again; like `changed`.
        deactivated: active rows that the file no longer lists; the feed's fields, last values.
        unchanged: how many active rows are listed as they are.
        standing: how many rows of the source are active before.
        kept: how many rows stay active although they are not listed among the accepted: a row that names them was
            rejected, or the key of some rejected row could not be read.
        busiest: how many rows the file gives to the phone number that it gives most rows, and how many active rows
            that number had before.
    """

    feed: Feed
    added: Rows
    changed: Rows
    reactivated: Rows
    deactivated: Rows
    unchanged: int
    standing: int
    kept: int
    busiest: tuple[int, int] = (0, 0)

    @property
    def empty(self) -> bool:
        """Whether applying would change nothing."""
        return not (self.added.height or self.changed.height or self.reactivated.height or self.deactivated.height)

    @property
    def contacts_changed(self) -> Mapping[str, int]:
        """How many active rows would get another value, by field of a phone or an e-mail address."""
        contacts = [one.name for one in self.feed.fields if one.kind in CONTACTS and one.name not in self.feed.key]
        differ = dict.fromkeys(contacts, 0)
        for rows in self.changed.iter_slices(50_000) if contacts else ():
            counted = rows.select((pl.col(name) != pl.col(f"old_{name}")).sum() for name in contacts).row(0)
            differ = {name: differ[name] + more for name, more in zip(contacts, counted, strict=True)}
        return differ

    def tell(self, report: Report) -> None:
        """Add the counts to a receipt's report; a reactivated row counts as added, too."""
        report.rows["added"] += self.added.height + self.reactivated.height
        report.rows["reactivated"] += self.reactivated.height
        report.rows["changed"] += self.changed.height
        report.rows["unchanged"] += self.unchanged
        report.rows["deactivated"] += self.deactivated.height

    def save(self, folder: Path) -> None:
        """Write every changed row into a folder (see ChangesFile)."""
        file = ChangesFile(folder, self.feed)
        for name, rows in (
            ("added", self.added),
            ("changed", self.changed),
            ("reactivated", self.reactivated),
            ("deactivated", self.deactivated),
        ):
            for piece in rows.iter_slices(_ROWS_AT_ONCE):
                file.add(name, piece)
        file.close()


_ROWS_AT_ONCE: Final = 250_000
_ROWS_OF_A_FILE: Final = 1_000_000


@dataclass
class ChangesFile:
    """Writes changed rows as Parquet (zstd): `changes.<feed>.parquet`, and, where they are many, further ones
    `changes.<feed>.<n>.parquet`.

    The column `change` says what happened to a row (added, changed, reactivated, deactivated), `old_*` what it was
    before. Without any row there is no file.
    """

    folder: Path
    feed: Feed
    _held: list[pl.DataFrame] = field(default_factory=list)
    _files: int = 0

    def add(self, change: str, rows: pl.DataFrame) -> None:
        """Take in rows to which the same has happened."""
        if not rows.height:
            return
        self._held.append(rows.with_columns(pl.lit(change).alias("change")))
        if sum(frame.height for frame in self._held) >= _ROWS_OF_A_FILE:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        if self._held:
            self._write()

    def _write(self) -> None:
        number = f".{self._files}" if self._files else ""
        rows = pl.concat(self._held, how="diagonal")
        rows.write_parquet(
            self.folder / f"changes.{self.feed.name}{number}.parquet", compression="zstd", compression_level=1
        )
        self._held = []
        self._files += 1


_LOADED: Final = ".loaded.json"


def note_loaded(folder: Path, feed: Feed, rows: int) -> None:
    """Note in `changes.<feed>.loaded.json` how many rows a first load added: which, their column `first_run` says."""
    if rows:
        (folder / f"changes.{feed.name}{_LOADED}").write_text(json.dumps({"added": rows}) + "\n", encoding="ascii")


def loaded(path: Path) -> int | None:
    """How many rows were added, if a file of changes is such a note; else None."""
    if not path.name.endswith(_LOADED):
        return None
    added: int = json.loads(path.read_text(encoding="ascii"))["added"]
    return added
