"""Text with separators, batch by batch: the fast pass, the careful way for what it doubts, both in order again."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from processor.reading.container import Container
from processor.reading.dialect import Dialect, decide
from processor.reading.header import HasHeader
from processor.reading.record import Damaged, Record, Undecided, is_blank, read_parts, read_record
from processor.reading.scan import Mask, Offsets, Scan, scan
from processor.reading.table import Batch, Damage, Limits, UnreadableFile, column_names
from processor.reading.text import Text, TextFile, open_text, shown

_COMBINING: Final = (b"\xcc", b"\xcd")
"""With one of these bytes an accent begins that is a character of its own (U+0300 to U+037F), and hardly any other."""


class DelimitedFile(TextFile):
    """A file of text with separators. See `OpenedFile`."""

    def __init__(self, text: Text, dialect: Dialect, limits: Limits, has_header: HasHeader) -> None:
        super().__init__(
            text,
            start=dialect.start,
            header=dialect.header,
            width=dialect.form.width,
            limits=limits,
            has_header=has_header,
        )
        self._names_again = dialect.names_again
        self._form = dialect.form
        self._schema = pl.Schema(dict.fromkeys(column_names(self.width), pl.String))
        self.line_count = dialect.lines_before
        for note in dialect.notes:
            self._note(note)

    def _batch(self, data: bytes, *, at_end: bool) -> tuple[Batch, int]:
        """The rows of a stretch of whole lines, and how many of its bytes are used up."""
        found = scan(data, self._form, marked=self._stream.faulty)
        careful = _Careful()
        lines = len(found.doubtful)
        if found.doubtful.any():
            lines = self._read_carefully(data, found, careful, at_end=at_end)
        clean = ~found.doubtful[:lines]
        clean[careful.consumed] = False
        numbers = np.arange(lines, dtype=np.int64) + (self.line_count + 1)
        if careful.divided:
            more_lines = np.zeros(lines + 1, dtype=np.int64)
            more_lines[np.array(list(careful.divided)) + 1] = list(careful.divided.values())
            numbers += np.cumsum(more_lines[:lines])
        frame = self._parse(data, found, clean)
        frame = frame.insert_column(0, pl.Series("line", numbers[clean], dtype=pl.Int64))
        if careful.rows:
            frame = pl.concat([frame, self._careful_frame(careful, numbers)]).sort("line", maintain_order=True)
        damaged = [Damage(int(numbers[line]) + part, code, value) for line, part, code, value in careful.damaged]
        frame, more = self._check_frame(frame, data, found, numbers)
        if self._names_again is not None:
            line, raw = self._names_again
            more.append(Damage(line, "damaged_header", shown(raw)))
            self._names_again = None
        self.line_count += lines + sum(careful.divided.values())
        self._remember(found, careful, clean)
        damages = tuple(sorted([*damaged, *more], key=lambda each: each.line))
        plain = data.isascii()
        apart = not plain and any(first in data for first in _COMBINING)
        tidy = plain and found.tidy and not careful.rows
        return Batch(frame, damages, plain=plain, tidy=tidy, accents_apart=apart), int(found.starts[lines])

    def _parse(self, data: bytes, found: Scan, clean: Mask) -> pl.DataFrame:
        """Lines beyond doubt, by Polars, which is fast and right on them (and on nothing else)."""
        count = int(np.count_nonzero(clean))
        if not count:
            return pl.DataFrame(schema=self._schema)
        if count == len(found.doubtful):
            text = data
        else:
            edges = np.flatnonzero(np.diff(np.concatenate(([False], clean, [False]))))
            view = memoryview(data)
            text = b"".join(
                view[found.starts[first] : found.starts[after]] for first, after in edges.reshape(-1, 2).tolist()
            )
        try:
            frame = pl.read_csv(
                text,
                has_header=False,
                schema=self._schema,
                separator=self._form.delimiter.decode(),
                eol_char=self._form.line_end.decode(),
                empty_string_is_null=False,
                extra_columns="raise",
                missing_columns="raise",
            )
        except pl.exceptions.PolarsError as error:
            # Its text may quote the file, which is nothing for a log.
            raise AssertionError(f"Lines beyond doubt were refused: {type(error).__name__}") from None
        if frame.height != count:
            raise AssertionError(f"{count} lines beyond doubt gave {frame.height} rows")
        return frame

    def _read_carefully(self, data: bytes, found: Scan, careful: "_Careful", *, at_end: bool) -> int:
        """Go through the doubtful lines; gives the number of lines that are decided (all, but for an open end)."""
        starts, after = found.starts, 0
        for line in np.flatnonzero(found.doubtful).tolist():
            if line < after:
                continue
            start, line_end = int(starts[line]), int(starts[line + 1]) - 1
            raw = data[start:line_end]
            if is_blank(raw, self._form):
                self._note("blank_lines")
                continue
            record = read_record(data, start, line_end, self._form, at_end=at_end)
            if isinstance(record, Undecided):
                return line
            if isinstance(record, Damaged):
                self._damage(record, data, line, start, line_end, careful)
            else:
                careful.take(line, record)
                after = line + record.lines
        return len(found.doubtful)

    def _damage(self, damaged: Damaged, data: bytes, line: int, start: int, line_end: int, careful: "_Careful") -> None:
        if damaged.code == "damaged_line_end" and (parts := read_parts(data, start, line_end, self._form)):
            self._note("line_end_mixed")
            careful.divide(line, parts)
            return
        careful.damage(line, damaged, data[start:line_end])

    def _careful_frame(self, careful: "_Careful", numbers: Offsets) -> pl.DataFrame:
        columns = list(zip(*(fields for _, _, fields in careful.rows), strict=True))
        lines = [int(numbers[line]) + part for line, part, _ in careful.rows]
        return pl.DataFrame(
            {"line": pl.Series(lines, dtype=pl.Int64)}
            | {name: pl.Series(values, dtype=pl.String) for name, values in zip(self._schema, columns, strict=True)}
        )

    def _check_frame(
        self, frame: pl.DataFrame, data: bytes, found: Scan, numbers: Offsets
    ) -> tuple[pl.DataFrame, list[Damage]]:
        """Set aside lines that have a value after the separator that ends every line."""
        if not self._form.trailing:
            return frame, []
        last = pl.col(f"c{self.width - 1}") != ""
        beyond = frame.filter(last)["line"]
        if not len(beyond):
            return frame, []
        damages = []
        for number in beyond:
            line = int(np.searchsorted(numbers, number))
            raw = data[int(found.starts[line]) : int(found.starts[line + 1]) - 1]
            damages.append(Damage(number, "damaged_fields", shown(raw)))
        return frame.filter(~last), damages

    def _remember(self, found: Scan, careful: "_Careful", clean: Mask) -> None:
        """What the stretch says about the whole file."""
        count = int(np.count_nonzero(clean))
        if self._form.line_end == b"\r":
            self._note("line_end_cr")
        elif count > found.with_cr:
            self._note("line_end_lf")
        if (found.unquoted and count) or careful.unquoted:
            self._note("unquoted")
        if careful.spaced:
            self._note("space_around_quotes")
        if careful.formulas:
            self._note("formula_text")
        last_row = max([*np.flatnonzero(clean)[-1:].tolist(), *(line for line, _, _ in careful.rows[-1:])], default=-1)
        if careful.open_from >= 0 or last_row >= 0:
            self.open_quote_at_end = careful.open_from > last_row


@dataclass(slots=True)
class _Careful:
    """What the careful way found in one stretch; `line` is an index into its lines, `part` counts within one."""

    rows: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    damaged: list[tuple[int, int, str, str]] = field(default_factory=list)
    consumed: list[int] = field(default_factory=list)
    divided: dict[int, int] = field(default_factory=dict)
    spaced: bool = False
    unquoted: bool = False
    formulas: bool = False
    open_from: int = -1

    def take(self, line: int, record: Record) -> None:
        self.rows.append((line, 0, record.fields))
        self.consumed.extend(range(line, line + record.lines))
        self.spaced |= record.spaced
        self.unquoted |= not record.quoted
        self.formulas |= record.formulas

    def divide(self, line: int, parts: list[Record]) -> None:
        self.rows.extend((line, part, record.fields) for part, record in enumerate(parts))
        self.divided[line] = len(parts) - 1
        self.unquoted |= not all(record.quoted for record in parts)

    def damage(self, line: int, damaged: Damaged, raw: bytes) -> None:
        self.damaged.append((line, 0, damaged.code, shown(raw)))
        if damaged.open_to_end:
            self.open_from = line


def open_delimited(container: Container, *, has_header: HasHeader, limits: Limits) -> DelimitedFile:
    """Look at the whole file once, decide how it is written, and be ready to read it.

    Raises UnreadableFile.
    """
    text = open_text(container)
    try:
        dialect = decide(
            text.first_lines(), line_end=text.line_end, whole=text.whole, has_header=has_header, limits=limits
        )
    except UnreadableFile:
        text.open_files.close()
        raise
    return DelimitedFile(text, dialect, limits, has_header)
