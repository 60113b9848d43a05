"""Reconciling: what a file's accepted rows change in what its source stands at. Pure; frames in, frames out."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from landingzone.feed import Feed, Mode
from processor.examination import Examined
from processor.receipt import Report


@dataclass(frozen=True)
class Changes:
    """What applying a file would do to its source's rows.

    Attributes:
        added: rows never listed before; the feed's fields.
        changed: active rows whose values differ; the feed's fields with their new values, and beside each that is not
            of the key `old_<field>`.
        reactivated: rows that had been deactivated and are listed again; the feed's fields.
        deactivated: active rows that the file no longer lists; the feed's fields, last values.
        unchanged: how many active rows are listed as they are.
        standing: how many rows of the source are active before.
        kept: how many rows stay active although they are not listed among the accepted: a row that names them was
            rejected, or the key of some rejected row could not be read.
    """

    added: pl.DataFrame
    changed: pl.DataFrame
    reactivated: pl.DataFrame
    deactivated: pl.DataFrame
    unchanged: int
    standing: int
    kept: int

    @property
    def empty(self) -> bool:
        """Whether applying would change nothing."""
        return not (self.added.height or self.changed.height or self.reactivated.height or self.deactivated.height)

    def tell(self, report: Report) -> None:
        """Put the counts into a receipt's report; a reactivated row counts as added, too."""
        report.rows["added"] = self.added.height + self.reactivated.height
        report.rows["reactivated"] = self.reactivated.height
        report.rows["changed"] = self.changed.height
        report.rows["unchanged"] = self.unchanged
        report.rows["deactivated"] = self.deactivated.height

    def save(self, path: Path) -> None:
        """Write every changed row as Parquet (zstd): `change` says what happened to it, `old_*` what it was before."""
        frames = [
            frame.with_columns(pl.lit(name).alias("change"))
            for name, frame in (
                ("added", self.added),
                ("changed", self.changed),
                ("reactivated", self.reactivated),
                ("deactivated", self.deactivated),
            )
        ]
        pl.concat(frames, how="diagonal").write_parquet(path, compression="zstd")


def reconcile(
    feed: Feed,
    *,
    mode: Mode,
    standing: pl.DataFrame,
    found: Examined,
) -> Changes:
    """Compare a file with its source's rows.

    A rejected row is not a removed row: the record that it names keeps its last good state, and if some rejected row's
    key could not be read, nothing is deactivated (design, Feeds).

    Args:
        feed: declares fields and key.
        mode: what the file says about rows that it does not list; `events` has its own way.
        standing: every row of the source: the feed's fields and `active`.
        found: what the file holds.
    """
    key, fields = list(feed.key), list(feed.field_names)
    others = [name for name in fields if name not in feed.key]
    rows = found.accepted.select(fields)
    old = standing.rename({name: f"old_{name}" for name in others})
    listed = rows.join(old, on=key, how="inner")
    differs = (
        pl.any_horizontal([pl.col(name) != pl.col(f"old_{name}") for name in others]) if others else pl.lit(value=False)
    )
    active = standing.filter(pl.col("active"))
    missing = active.join(rows, on=key, how="anti")
    removed = missing.join(found.rejected_keys.select(key).unique(), on=key, how="anti")
    if found.some_key_unreadable or mode is not Mode.FULL:
        removed = removed.clear()
    return Changes(
        added=rows.join(standing, on=key, how="anti"),
        changed=listed.filter(pl.col("active") & differs).drop("active"),
        reactivated=listed.filter(~pl.col("active")).select(fields),
        deactivated=removed.select(fields),
        unchanged=listed.filter(pl.col("active") & ~differs).height,
        standing=active.height,
        kept=missing.height - removed.height if mode is Mode.FULL else 0,
    )
