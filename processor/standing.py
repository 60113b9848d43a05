"""What a source stands at: the newest run that was applied to it, the hash of its file, and how that was read."""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

from landingzone.feed import Feed
from landingzone.source import Source
from landingzone.tables import sources
from processor.account_reading import Reading


@dataclass(frozen=True, slots=True)
class Standing:
    """What a source stands at; all None before its first file.

    Attributes:
        run: id of the run, `<landing-id>:<attempt>`.
        sha256: of the file as it arrived, hexadecimal.
        form: hash of how it was read (declaration, mode, rules): other rules make the same bytes another file.
    """

    run: str | None
    sha256: str | None
    form: str | None

    @property
    def landing_id(self) -> str | None:
        """The landing of that run."""
        return self.run.partition(":")[0] if self.run else None


_RULES_VERSION = "2"
"""Part of how a file is read: raise it when the rules change, so that the same bytes are read again."""


def form(feed: Feed, source: Source, reading: Reading) -> str:
    """A hash of how a source's file is read: the declaration, the mode, the mapping, the options, the rules.

    Where a row without a date means the day of landing, also that day: tomorrow it is another file.
    """
    day = reading.effective_date if feed.depends_on_landing_day else None
    parts = (_RULES_VERSION, source.mode, reading.kept, reading.options, day, feed)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def of(tx: sa.Connection, source_id: int) -> Standing:
    """What a source stands at now."""
    return Standing(*tx.execute(_OF, {"of_source": source_id}).one())


def rows_run(tx: sa.Connection, source_id: int) -> int | None:
    """The serial of the run that has changed a source's rows last; None before anything was applied to it."""
    serial: int | None = tx.execute(_ROWS_RUN, {"of_source": source_id}).scalar_one()
    return serial


class SourceMoved(Exception):
    """Something else has been applied to the source since it was looked at: what was found holds no longer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a source stood at, and which run had changed its rows last, when a run looked at it."""

    standing: Standing
    rows_run: int | None


def seen(tx: sa.Connection, source_id: int) -> Seen:
    """What a source stands at now, and which run has changed its rows last."""
    return Seen(of(tx, source_id), rows_run(tx, source_id))


def require(tx: sa.Connection, source_id: int, before: Seen) -> None:
    """Keep a source for the caller's write transaction. Raises SourceMoved if it is not as it was seen."""
    tx.execute(_KEPT, {"of_source": source_id})
    if seen(tx, source_id) != before:
        raise SourceMoved


def set_to(tx: sa.Connection, source_id: int, standing: Standing, *, rows_run: int | None = None) -> None:
    """Note what a source stands at from now on, and which run has changed its rows, in the transaction that applies it.

    Without `rows_run` the rows are as they were.
    """
    values: dict[str, str | int | None] = {
        "standing_run": standing.run,
        "standing_sha256": standing.sha256,
        "standing_form": standing.form,
    }
    if rows_run is not None:
        values["rows_run"] = rows_run
    tx.execute(sources.update().where(sources.c.id == source_id).values(**values))


_IS_SOURCE = sources.c.id == sa.bindparam("of_source")
_OF = sa.select(sources.c.standing_run, sources.c.standing_sha256, sources.c.standing_form).where(_IS_SOURCE)
_ROWS_RUN = sa.select(sources.c.rows_run).where(_IS_SOURCE)
_KEPT = sa.select(sources.c.id).where(_IS_SOURCE).with_for_update(key_share=True)
