"""Reconciling: what a file's accepted rows change in what its source stands at. Pure; frames in, frames out."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from landingzone.feed import Feed, Kind, Mode
from processor.receipt import Report
from processor.records import Records


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
    added: pl.DataFrame
    changed: pl.DataFrame
    reactivated: pl.DataFrame
    deactivated: pl.DataFrame
    unchanged: int
    standing: int
    kept: int
    busiest: tuple[int, int] = (0, 0)

    @property
    def empty(self) -> bool:
        """Whether applying would change nothing."""
        return not (self.added.height or self.changed.height or self.reactivated.height or self.deactivated.height)

    def tell(self, report: Report) -> None:
        """Add the counts to a receipt's report; a reactivated row counts as added, too."""
        report.rows["added"] += self.added.height + self.reactivated.height
        report.rows["reactivated"] += self.reactivated.height
        report.rows["changed"] += self.changed.height
        report.rows["unchanged"] += self.unchanged
        report.rows["deactivated"] += self.deactivated.height

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


def reconcile(records: Records, *, mode: Mode, standing: pl.DataFrame) -> Changes:
    """Compare what a file says with its source's records.

    Args:
        records: what the file says, of one feed.
        mode: what the file says about records that it does not list.
        standing: every record of the source: the feed's fields and `active`.
    """
    key, fields = list(records.feed.key), list(records.feed.field_names)
    others = [name for name in fields if name not in key]
    rows = records.rows.select(fields)
    old = standing.rename({name: f"old_{name}" for name in others})
    listed = rows.join(old, on=key, how="inner")
    same = [pl.col(name) == pl.col(f"old_{name}") for name in others]
    differs = ~pl.all_horizontal(same) if same else pl.lit(value=False)
    active = standing.filter(pl.col("active"))
    missing = active.join(rows, on=key, how="anti")
    if records.covers is not None and mode is Mode.EVENTS:
        missing = missing.join(records.covers.unique(), on=records.covers.columns, how="semi")
    removed = missing.join(records.kept.select(key).unique(), on=key, how="anti")
    if records.keep_all or mode is Mode.DELTA:
        removed = removed.clear()
    return Changes(
        feed=records.feed,
        added=rows.join(standing, on=key, how="anti"),
        changed=listed.filter(pl.col("active") & differs).drop("active"),
        reactivated=listed.filter(~pl.col("active")).drop("active"),
        deactivated=removed.select(fields),
        unchanged=listed.filter(pl.col("active") & ~differs).height,
        standing=active.height,
        kept=missing.height - removed.height if mode is not Mode.DELTA else 0,
        busiest=_busiest_phone(records.feed, rows, active),
    )


def _busiest_phone(feed: Feed, rows: pl.DataFrame, active: pl.DataFrame) -> tuple[int, int]:
    for field in feed.fields:
        if field.kind is Kind.PHONE and field.required and active.height:
            given = rows.filter(pl.col(field.name) != "")[field.name].value_counts(sort=True)[:1]
            if given.height:
                return given["count"][0], active.filter(pl.col(field.name) == given[field.name][0]).height
    return 0, 0
