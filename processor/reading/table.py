"""What reading gives, whatever the file was: batches of rows, damages, notes."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import polars as pl

from landingzone.errors import LandingZoneError
from processor import codes

_MiB = 1024 * 1024
_SHOWN = 200


class UnreadableFile(LandingZoneError):
    """The whole file could not be read; `code` says why, the message what the customer can do."""

    def __init__(self, code: str) -> None:
        super().__init__(codes.message(code))
        self.code = code


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep memory and time finite, whatever was sent.

    Attributes:
        max_unpacked_bytes: of a packed file; beyond it the file is unreadable.
        max_ratio: unpacked to packed size; from `ratio_grace_bytes` unpacked on.
        ratio_grace_bytes: below this a high ratio harms nobody.
        max_line_bytes: a longer physical line makes the file unreadable.
        max_record_bytes: a record whose quoted value spans lines may have at most this many bytes,
        max_record_lines: and at most this many physical lines; beyond it the quote counts as never closed.
        max_spreadsheet_bytes: unpacked size of a workbook, which has to be read whole.
        max_spreadsheet_cells: between the corners of a sheet.
        batch_bytes: read at a time; memory is some twenty times this.
        damages_kept: entries in `OpenedFile.damaged`; the batches name them all.
    """

    max_unpacked_bytes: int = 8 * 1024 * _MiB
    max_ratio: int = 200
    ratio_grace_bytes: int = 64 * _MiB
    max_line_bytes: int = 16 * _MiB
    max_record_bytes: int = 64 * 1024
    max_record_lines: int = 200
    max_spreadsheet_bytes: int = 512 * _MiB
    max_spreadsheet_cells: int = 20_000_000
    batch_bytes: int = 8 * _MiB
    damages_kept: int = 1000


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that could not be read as a record.

    Attributes:
        line: physical line in the customer's own file, from 1.
        code: `damaged_...`, see `processor.codes`.
        value: the line as it stands, shortened to 200 characters, what cannot be decoded replaced.
    """

    line: int
    code: str
    value: str


@dataclass(frozen=True, slots=True)
class Note:
    """A departure from the ideal that was tolerated."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, in the order of the file.

    Attributes:
        frame: `line` (Int64: the physical line on which the record starts, from 1, rising) and one String column per
            position, `c0`, `c1`, ...: the value as it stands between separators, without its quotes. Never null.
        damaged: the lines within this stretch of the file that could not be read, in order.
        plain: the stretch holds nothing beyond ASCII, so that much need not be looked for.
        tidy: it is plain, no value begins or ends with white space, and none holds a control character.
        accents_apart: letters and their accents may stand apart in it, as characters of their own.
    """

    frame: pl.DataFrame
    damaged: tuple[Damage, ...] = ()
    plain: bool = False
    tidy: bool = False
    accents_apart: bool = True


class OpenedFile(ABC):
    """A file that has been looked at and can be read, once, from start to end.

    Attributes:
        header: the names of the first record, trimmed, if it is a header; None if the first record is data.
        width: number of columns; every batch has `c0` to `c{width-1}`.

    After `batches()` is exhausted:
        rows_read: data records, damaged ones included; header, blank lines and repeated headers not counted.
        damaged_count, damaged_counts: damaged lines, in all and by code.
        damaged: the first of them (`Limits.damages_kept`).
        line_count: physical lines of the file.
        ends_without_line_end: the last line is not ended.
        open_quote_at_end: the file ends inside a quoted value.
        tolerated: a note for each departure from the ideal.
    """

    header: tuple[str, ...] | None
    width: int

    def __init__(
        self,
        *,
        header: tuple[str, ...] | None,
        width: int,
        limits: Limits,
        without_headers: Callable[[pl.DataFrame], pl.DataFrame],
    ) -> None:
        self.header = header
        self._without_headers = without_headers
        self.width = width
        self.limits = limits
        self.rows_read = 0
        self.line_count = 0
        self.ends_without_line_end = False
        self.open_quote_at_end = False
        self.damaged: list[Damage] = []
        self.damaged_counts: Counter[str] = Counter()
        self._noted: dict[str, None] = {}

    @property
    def damaged_count(self) -> int:
        """Damaged lines so far."""
        return self.damaged_counts.total()

    @property
    def tolerated(self) -> list[Note]:
        """Departures from the ideal, in the order in which they were met."""
        return [Note(code, codes.message(code)) for code in self._noted]

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """The rows, in order; empty batches do not come unless they hold damages.

        Raises UnreadableFile where the file turns out to be unreadable further down.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; harmless when done twice."""

    def __enter__(self) -> Self:
        """The file itself, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _note(self, code: str) -> None:
        self._noted[code] = None

    def _count(self, batch: Batch) -> Batch:
        """The batch without headers that come again; it is counted."""
        rows = self._without_headers(batch.frame)
        if rows.height < batch.frame.height:
            self._note("header_repeated")
            batch = replace(batch, frame=rows)
        self.rows_read += batch.frame.height + len(batch.damaged)
        self.damaged_counts.update(each.code for each in batch.damaged)
        room = self.limits.damages_kept - len(self.damaged)
        self.damaged.extend(batch.damaged[: max(room, 0)])
        return batch


def column_names(width: int) -> list[str]:
    """The names of the columns by position.

    >>> column_names(2)
    ['c0', 'c1']
    """
    return [f"c{position}" for position in range(width)]


def shorten(text: str) -> str:
    """At most 200 characters of a value, for a receipt."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
