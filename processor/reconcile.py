"""Reconciling: what a file's accepted rows change in what its source stands at. Pure; frames in, frames out."""

import polars as pl

from landingzone.feed import Feed, Kind, Mode
from processor.changes import Changes
from processor.records import Records


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
