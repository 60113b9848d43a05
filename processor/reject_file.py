"""The reject file: every rejected row as it was sent, with its line and why. Safe to open in a spreadsheet."""

from pathlib import Path
from types import TracebackType
from typing import IO, Self

import polars as pl

from processor import spreadsheet

_NOTICE = (
    "These rows were not imported. Correct them in your system and send the whole file again; do not send this file."
)
_OWN = {"line": "line", "field": "field", "value": "value", "code": "code", "message": "what_to_do"}


class RejectFile:
    """Writes the reject file batch by batch; the file is made at the first reject.

    Args:
        path: where to.
        header: names for the columns as sent, by position; those beyond it are numbered.
        width: number of columns as sent.
    """

    def __init__(self, path: Path, header: tuple[str, ...] | None, width: int) -> None:
        self._path = path
        self._sent = {f"c{at}": _name(header, at) for at in range(width)}
        self._file: IO[bytes] | None = None

    def add(self, rejects: pl.DataFrame) -> None:
        """Append rejects: `line`, `field`, `value`, `code`, `message`, and the columns as sent (null: damaged)."""
        if not rejects.height:
            return
        if self._file is None:
            self._file = self._path.open("wb")
            headings = [*_OWN.values(), *self._sent.values()]
            notice = [_NOTICE if heading == "what_to_do" else "" for heading in headings]
            first = pl.DataFrame([notice], schema=[str(at) for at in range(len(headings))], orient="row")
            names = pl.DataFrame([headings], schema=first.columns, orient="row")
            self._write(pl.concat([names, first]), bom=True)
        have = set(rejects.columns)
        columns = [*_OWN, *self._sent]
        self._write(
            rejects.select(
                (pl.col(name).cast(pl.String).fill_null("") if name in have else pl.lit("")).alias(str(at))
                for at, name in enumerate(columns)
            )
        )

    def __enter__(self) -> Self:
        """Nothing is made yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, if it was made."""
        if self._file is not None:
            self._file.close()

    def _write(self, rows: pl.DataFrame, *, bom: bool = False) -> None:
        assert self._file is not None
        safe = spreadsheet.as_text(rows)
        safe.write_csv(self._file, include_header=False, include_bom=bom, quote_style="always", line_terminator="\r\n")


def _name(header: tuple[str, ...] | None, at: int) -> str:
    return header[at] if header and at < len(header) and header[at] else f"column {at + 1}"
