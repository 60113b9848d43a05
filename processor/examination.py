"""Examining a file: open, map, validate. Pure: from the file's bytes to accepted rows, rejects and what to say of them.

No database and no server, so that a dry run, the real run and the district's own program find the same.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from landingzone.feed import Feed
from processor import mapping
from processor.reading import OpenedFile, UnreadableFile, open_file
from processor.receipt import REJECTS_SHOWN, Report
from processor.records import Records
from processor.reject_file import RejectFile
from processor.validation import Checked, Options, Validator

__all__ = ["Examined", "UnreadableFile", "examine"]


@dataclass(frozen=True)
class Examined:
    """What a file holds.

    Attributes:
        header: the header line's names; None if the file has none.
        missing: required fields that no column gives; then no row was looked at.
        records: what the accepted rows give, by feed; the first is what the file's rows are counted as.
        read: data rows in the file, damaged ones included; read = accepted + rejected, always.
        rejected: rows rejected.
        collapsed: accepted rows that repeat another one to the letter, and give no row of their own.
        rejects: the first ones, by line: {line, field, value, code, message}.
        reject_counts: rejected rows by code.
        warnings: {code, field, count, message, lines}.
        tolerated: {code, message}.
        ends_without_line_end: the last line is not ended.
        open_quote_at_end: the file ends inside a quoted value.
    """

    header: tuple[str, ...] | None
    missing: tuple[str, ...]
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

    def tell(self, report: Report) -> None:
        """Put what was found into a receipt's report."""
        report.rows["read"] = self.read
        report.rows["accepted"] = self.read - self.rejected
        report.rows["rejected"] = self.rejected
        report.rows["collapsed"] = self.collapsed
        report.rejects = list(self.rejects)
        report.reject_counts = dict(self.reject_counts)
        report.warnings = list(self.warnings)
        report.tolerated = list(self.tolerated)


def examine(path: Path, *, name: str, feed: Feed, rejects_to: Path | None = None) -> Examined:
    """Read and validate a whole file.

    Args:
        path: where its bytes are.
        name: its plain name, a hint at what it is packed in.
        feed: what it holds.
        rejects_to: where the reject file goes; it is made only if a row is rejected.

    Raises UnreadableFile if the file as a whole cannot be read; its message is for the customer.
    """
    with open_file(path, name=name, has_header=partial(mapping.looks_like_header, feed)) as opened:
        columns = mapping.resolve(feed, opened.header, opened.width)
        validator = Validator(feed, columns, Options(reject_limit=REJECTS_SHOWN))
        checked = [] if columns.missing else _check(opened, validator, rejects_to)
        return Examined(
            header=opened.header,
            missing=columns.missing,
            records=(
                Records(
                    feed,
                    rows=_joined([one.accepted for one in checked], feed.field_names),
                    kept=_joined([one.rejected_keys for one in checked], feed.key),
                    keep_all=validator.unreadable_keys > 0,
                ),
            ),
            read=validator.read,
            rejected=validator.rejected,
            collapsed=validator.collapsed,
            rejects=[asdict(reject) for reject in validator.rejects()],
            reject_counts=validator.reject_counts(),
            warnings=[asdict(warning) for warning in validator.warnings()],
            tolerated=[asdict(note) for note in opened.tolerated],
            ends_without_line_end=opened.ends_without_line_end,
            open_quote_at_end=opened.open_quote_at_end,
        )


def _check(opened: OpenedFile, validator: Validator, rejects_to: Path | None) -> list[Checked]:
    found = []
    if rejects_to is None:
        return [validator.check(batch) for batch in opened.batches()]
    with RejectFile(rejects_to, opened.header, opened.width) as file:
        for batch in opened.batches():
            checked = validator.check(batch)
            file.add(checked.rejects)
            found.append(checked)
    return found


def _joined(frames: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return pl.concat([frame.select(names) for frame in frames])
