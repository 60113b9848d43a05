"""Undoing: a source goes back to its state before a run, from the changes that the archive has kept."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from landingzone.feed import Catalogue, Feed
from processor import run as runs
from processor.archive import Archive
from processor.changes import Changes, loaded
from processor.rows import Loaded, Placed
from processor.run import Run, RunError


def undone_by(tx: sa.Connection, run: Run, *, through: bool) -> list[Run]:
    """The runs that undoing a run undoes, newest first: itself, and with `through` all that were applied since.

    Raises RunError if the run was not applied, is undone already, or is not the newest one and `through` is not given.
    """
    applied = runs.applied_to(tx, run.source_id) if run.source_id is not None else []
    since = [one for one in applied if one.landing_id >= run.landing_id]
    if not since or since[-1].id != run.id:
        raise RunError(f"Run {run.id} is not among those that its source stands on; it changes nothing, or is undone.")
    if len(since) > 1 and not through:
        raise RunError(
            f"{len(since) - 1} newer runs were applied since {run.id}, the newest is {since[0].id}. "
            "Undo that one, or all of them with --through."
        )
    return since


def standing_before(tx: sa.Connection, run: Run) -> str | None:
    """Id of the run that the source stood at before a run; None if that was its first."""
    assert run.source_id is not None
    return next((one.id for one in runs.applied_to(tx, run.source_id) if one.landing_id < run.landing_id), None)


def undo(archive: Archive, catalogue: Catalogue, undone: list[Run]) -> list[Changes]:
    """The changes that undo these runs, in the order in which they are to be applied."""
    return [one for run in undone for one in _inverse_of(archive, catalogue, run)]


def _inverse_of(archive: Archive, catalogue: Catalogue, run: Run) -> Iterator[Changes]:
    with archive.files(run.landing, f"{run.attempt}.changes.") as kept:
        for path in kept:
            feed, added = catalogue[path.name.split(".")[2]], loaded(path)
            yield _inverse(feed, path) if added is None else _inverse_of_load(feed, Loaded(added, run.serial))


def _inverse_of_load(feed: Feed, added: Loaded) -> Changes:
    nothing = Placed(0)
    return Changes(
        feed, added=nothing, changed=nothing, reactivated=nothing, deactivated=added, unchanged=0, standing=0, kept=0
    )


def _inverse(feed: Feed, path: Path) -> Changes:
    """Added rows end; changed and reactivated ones get their old values, the latter end again; ended ones come back."""
    rows = pl.read_parquet(path)
    fields = list(feed.field_names)
    others = [name for name in fields if name not in feed.key]
    old = [pl.col(f"old_{name}").alias(name) for name in others]
    new = [pl.col(name).alias(f"old_{name}") for name in others]
    for name in others:
        if f"old_{name}" not in rows.columns:  # nothing was changed: only added and ended rows are in the file
            rows = rows.with_columns(pl.lit("", dtype=pl.String).alias(f"old_{name}"))
    by = {name: rows.filter(pl.col("change") == name) for name in ("added", "changed", "reactivated", "deactivated")}
    restored = [by[name].select(*feed.key, *old, *new) for name in ("changed", "reactivated")]
    return Changes(
        feed=feed,
        added=rows.clear().select(fields),
        changed=pl.concat(restored),
        reactivated=by["deactivated"].select(*fields, *(pl.col(name).alias(f"old_{name}") for name in others)),
        deactivated=pl.concat([by["added"].select(fields), by["reactivated"].select(*feed.key, *old).select(fields)]),
        unchanged=0,
        standing=0,
        kept=0,
    )
