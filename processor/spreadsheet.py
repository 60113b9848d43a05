"""What makes a file safe to open in a spreadsheet: a cell that would be computed is marked as text."""

import polars as pl

_FORMULA = "^[=+\\-@\t\r\n|%\uff1d\uff0b\uff0d\uff20]"
"""A cell that begins so would be computed by a spreadsheet (OWASP, CSV injection); the full-width forms count too."""


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows; each text that a spreadsheet would compute begins with an apostrophe."""
    return rows.with_columns(
        pl.when(pl.col(pl.String).str.contains(_FORMULA))
        .then("'" + pl.col(pl.String))
        .otherwise(pl.col(pl.String))
        .name.keep()
    )
