"""Examining a file: open, map, validate. Pure: from the file's bytes to accepted rows, rejects and what to say of them.

No database and no server, so that a dry run, the real run and the district's own program find the same.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from landingzone.feed import Feed
from landingzone.kept_mapping import KeptMapping
from processor import mapping
from processor.columns import notes as column_notes
from processor.duplicates import Entering
from processor.pipeline import ahead, behind
from processor.reading import Batch, Limits, OpenedFile, UnreadableFile, open_file
from processor.records import Records
from processor.reject_file import RejectFile
from processor.report import REJECTS_SHOWN, Report
from processor.validation import Options, Validator

__all__ = ["Examined", "OnRows", "Options", "UnreadableFile", "examine"]

OnRows = Callable[[Records], None]
"""Gets what one batch says of one feed, and keeps its rows; batch by batch, in the order of the file."""


@dataclass(frozen=True)
class Examined:
    """What a file holds.

    Attributes:
        header: the header line's names; None if the file has none.
        missing: required fields that no column gives; then no row was looked at.
        columns: canonical field name to the position of its column, from 0.
        ignored: header names that no field took.
        twice: header names that stand more than once, so that no field took one of them.
        by_position: the fields in the order of the columns, where only their place says what they are.
        records: what the accepted rows give, by feed; the first is what the file's rows are counted as. Without rows
            where these were handed to `on_rows`.
        read: data rows in the file, damaged ones included; read = accepted + rejected, always.
        rejected: rows rejected.
        collapsed: accepted rows that repeat another one to the letter, and give no row of their own.
        rejects: the first ones, by line: {line, field, value, code, message}.
        reject_counts: rejected rows by code.
        warnings: {code, field, count, message, lines}.
        tolerated: {code, message}.
        ends_without_line_end: the last line is not ended; together with another sign the file was cut off.
        open_quote_at_end: the file ends inside a quoted value: it was cut off.
        last_line_damaged: the last line could not be read as a record.
    """

    header: tuple[str, ...] | None
    missing: tuple[str, ...]
    columns: dict[str, int]
    ignored: tuple[str, ...]
    twice: tuple[str, ...]
    by_position: tuple[str, ...]
    records: tuple[Records, ...]
    read: int
    rejected: int
    collapsed: int
    rejects: Sequence[dict[str, Any]]
    reject_counts: dict[str, int]
    warnings: Sequence[dict[str, Any]]
    tolerated: Sequence[dict[str, str]]
    ends_without_line_end: bool
    open_quote_at_end: bool
    last_line_damaged: bool

    def tell(self, report: Report, *, last_header: Sequence[str] | None = None) -> None:
        """Put what was found into a receipt's report; `last_header` is that of the file that the source stands at."""
        report.rows["read"] = self.read
        report.rows["accepted"] = self.read - self.rejected
        report.rows["rejected"] = self.rejected
        report.rows["collapsed"] = self.collapsed
        report.rejects = list(self.rejects)
        report.reject_counts = dict(self.reject_counts)
        report.warnings = list(self.warnings)
        report.tolerated = [*self.tolerated, *column_notes(self.header, last_header, self.ignored, self.twice)]
        report.by_position = list(self.by_position)
        report.header = list(self.header) if self.header is not None else None


def examine(
    path: Path,
    *,
    name: str,
    feed: Feed,
    kept: KeptMapping | None = None,
    options: Options | None = None,
    effective_date: dt.date | None = None,
    rejects_to: Path | None = None,
    on_rows: OnRows | None = None,
    entering: Entering | None = None,
    limits: Limits | None = None,
) -> Examined:
    """Read and validate a whole file.

    Args:
        path: where its bytes are.
        name: its plain name, a hint at what it is packed in.
        feed: what it holds.
        kept: the account's own mapping of the source.
        options: what the account has chosen.
        effective_date: the day of the landing in the account's time zone; by default today.
        rejects_to: where the reject file goes; it is made only if a row is rejected.
        on_rows: takes the rows batch by batch, so that memory does not grow with the file (but for the keys). It is
            called in a thread, while the next batch is checked and the one after that is read.
        entering: tells which rows repeat a key, see `Validator`.
        limits: bounds of what is read.

    Raises UnreadableFile if the file as a whole cannot be read; its message is for the customer.
    """
    has_header = partial(mapping.looks_like_header, feed, kept=kept)
    widths = kept.widths or None if kept else None
    with (
        open_file(path, name=name, has_header=has_header, widths=widths, limits=limits) as opened,
        contextlib.ExitStack() as held,
    ):
        columns = mapping.resolve(feed, opened.header, opened.width, kept)
        options = replace(options or Options(), reject_limit=REJECTS_SHOWN)
        validator = Validator(feed, columns, options, effective_date=effective_date, entering=entering)
        said = _Said(validator.feeds, None if on_rows is None else held.enter_context(behind(on_rows)))
        if not columns.missing:
            _check(opened, validator, rejects_to, said, large=on_rows is not None)
            held.close()
        return Examined(
            header=opened.header,
            missing=columns.missing,
            columns=columns.columns,
            ignored=columns.ignored,
            twice=columns.twice,
            by_position=tuple(columns.columns) if "position" in columns.how.values() else (),
            records=said.records(validator),
            read=validator.read,
            rejected=validator.rejected,
            collapsed=validator.collapsed,
            rejects=[asdict(reject) for reject in validator.rejects()],
            reject_counts=validator.reject_counts(),
            warnings=[asdict(warning) for warning in validator.warnings()],
            tolerated=[asdict(note) for note in opened.tolerated],
            ends_without_line_end=opened.ends_without_line_end,
            open_quote_at_end=opened.open_quote_at_end,
            last_line_damaged=any(damage.line == opened.line_count for damage in opened.damaged),
        )


class _Said:
    """What the batches say, put together by feed."""

    def __init__(self, feeds: Sequence[Feed], on_rows: OnRows | None) -> None:
        self._on_rows = on_rows
        self._by_feed: dict[Feed, list[Records]] = {feed: [] for feed in feeds}

    def add(self, records: Sequence[Records]) -> None:
        for one in records:
            said = one
            if self._on_rows is not None:
                if one.rows.height:
                    self._on_rows(one)
                said = replace(one, rows=one.rows.clear(), placed=None)
            self._by_feed[one.feed].append(said)

    def records(self, validator: Validator) -> tuple[Records, ...]:
        return tuple(
            Records(
                feed,
                rows=_joined([one.rows for one in said], feed.field_names),
                kept=_joined([one.kept for one in said], feed.key),
                keep_all=any(one.keep_all for one in said),
                covers=_covered(feed, said, validator),
            )
            for feed, said in self._by_feed.items()
        )


def _covered(feed: Feed, said: Sequence[Records], validator: Validator) -> pl.DataFrame | None:
    """The days that the file names; a file without rows speaks of the day of its landing."""
    if not feed.days:
        return None
    named = _joined([one.covers for one in said if one.covers is not None], feed.days).unique()
    if validator.read:
        return named
    return pl.DataFrame({name: [validator.effective_date.isoformat()] for name in feed.days})


def _check(opened: OpenedFile, validator: Validator, rejects_to: Path | None, said: _Said, *, large: bool) -> None:
    with contextlib.ExitStack() as open_ones:
        batches: Iterator[Batch] = opened.batches()
        if large:
            batches = open_ones.enter_context(contextlib.closing(ahead(batches)))
        file = None
        if rejects_to is not None:
            file = open_ones.enter_context(RejectFile(rejects_to, opened.header, opened.width))
        for batch in batches:
            checked = validator.check(batch)
            if file is not None:
                file.add(checked.rejects)
            said.add(checked.records)


def _joined(frames: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return pl.concat([frame.select(names) for frame in frames])
