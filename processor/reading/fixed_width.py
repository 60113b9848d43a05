"""Columns of fixed width, by widths that the account has declared: no separator, no quotes, blanks fill each column.

Widths count characters. A line may lack blanks at its end, as many programs trim them, if it reaches its last column;
any other length is damage.
"""

from collections.abc import Sequence
from itertools import accumulate

import polars as pl

from processor.reading.container import Container
from processor.reading.encoding import MARK
from processor.reading.header import HasHeader
from processor.reading.table import Batch, Damage, Limits, UnreadableFile, column_names
from processor.reading.text import Text, TextFile, open_text, shown

_BLANKS = " \t\x1a"


class FixedWidthFile(TextFile):
    """A file with columns of fixed width. See `OpenedFile`; values come without the blanks that fill their column."""

    def __init__(self, text: Text, widths: Sequence[int], *, has_header: HasHeader, limits: Limits) -> None:
        self._widths = tuple(widths)
        self._starts = (0, *accumulate(widths))[: len(widths)]
        lines = text.first_lines().decode().split(text.line_end.decode())
        at = next((at for at, line in enumerate(lines) if line.strip()), None)
        if at is None:
            raise UnreadableFile("empty_file")
        names = tuple(
            lines[at][start : start + width].strip() for start, width in zip(self._starts, self._widths, strict=True)
        )
        with_header = has_header(names)
        skipped = at + 1 if with_header else at
        start = len("".join(line + "\n" for line in lines[:skipped]).encode())
        super().__init__(
            text,
            start=start,
            header=names if with_header else None,
            width=len(self._widths),
            limits=limits,
            has_header=has_header,
        )
        self.line_count = skipped
        self._note("fixed_width")
        if at:
            self._note("blank_lines")
        if not with_header:
            self._note("no_header")

    def _batch(self, data: bytes, *, at_end: bool) -> tuple[Batch, int]:  # noqa: ARG002 - every line decides itself
        end = self._line_end.decode()
        lines = pl.Series("text", data.decode()[:-1].split(end), dtype=pl.String)
        text = pl.col("text")
        frame = lines.str.strip_chars_end("\r").to_frame().with_row_index("line", offset=self.line_count + 1)
        frame = frame.with_columns(pl.col("line").cast(pl.Int64))
        self.line_count += len(lines)
        filled = frame.filter(text.str.strip_chars(_BLANKS) != "")
        if filled.height < frame.height:
            self._note("blank_lines")
        if end == "\r":
            self._note("line_end_cr")
        elif not lines.str.ends_with("\r").all():
            self._note("line_end_lf")
        length = text.str.len_chars()
        filled = filled.with_columns(
            pl.when(text.str.contains("\0", literal=True))
            .then(pl.lit("damaged_nul"))
            .when(text.str.contains(MARK, literal=True))
            .then(pl.lit("damaged_encoding"))
            .when((length > sum(self._widths)) | (length <= self._starts[-1]))
            .then(pl.lit("damaged_fields"))
            .alias("damage")
        )
        damaged = filled.filter(pl.col("damage").is_not_null()).select("line", "damage", "text")
        good = filled.filter(pl.col("damage").is_null()).select(
            "line",
            *(
                text.str.slice(start, width).str.strip_chars(" ").alias(name)
                for name, start, width in zip(column_names(self.width), self._starts, self._widths, strict=True)
            ),
        )
        damages = tuple(Damage(line, code, shown(raw.encode())) for line, code, raw in damaged.iter_rows())
        return Batch(good, damages), len(data)


def open_fixed_width(
    container: Container, widths: Sequence[int], *, has_header: HasHeader, limits: Limits
) -> FixedWidthFile:
    """Look at the whole file once, and be ready to read it by its declared widths.

    Raises UnreadableFile; ValueError if the widths are none.
    """
    if not widths or min(widths) < 1:
        raise ValueError("Widths are numbers of characters, at least one each.")
    text = open_text(container)
    try:
        return FixedWidthFile(text, widths, has_header=has_header, limits=limits)
    except UnreadableFile:
        text.open_files.close()
        raise
