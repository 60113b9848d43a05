"""Many rows into PostgreSQL: COPY, in the text form, made by Polars."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import polars as pl
import sqlalchemy as sa

_ESCAPED: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TO_ESCAPE: Final = r"[\\\n\r\t]"


def copy_in(tx: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[pl.DataFrame]) -> None:
    """Append rows (String and integers, no nulls), whose columns are in that order, in the caller's transaction.

    Raises sqlalchemy's IntegrityError where the table has a row of such a key, psycopg's errors for all else.
    """
    import psycopg  # noqa: PLC0415 - with SQLite nobody needs it

    names = ", ".join(f'"{name}"' for name in columns)
    driver = tx.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with (
            driver.cursor() as cursor,
            cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy,
        ):  # names of declarations
            for piece in rows:
                copy.write(copied(piece))
    except psycopg.IntegrityError as error:
        raise sa.exc.IntegrityError(None, None, error, hide_parameters=True) from None


def copied(rows: pl.DataFrame) -> bytes:
    r"""Rows in COPY's text form.

    >>> copied(pl.DataFrame({"name": ["a\tb", "", "c\\"], "run": [1, 2, 3]}))
    b'a\\tb\t1\n\t2\nc\\\\\t3\n'
    """
    escaped = rows.with_columns(*_with_escapes(rows))
    text = escaped.write_csv(include_header=False, separator="\t", line_terminator="\n", quote_style="never")
    return text.encode()


def _with_escapes(rows: pl.DataFrame) -> Iterator[pl.Expr]:
    for name, kind in rows.schema.items():
        if kind == pl.String and rows[name].str.contains(_TO_ESCAPE).any():
            column = pl.col(name)
            for char, escape in _ESCAPED.items():
                column = column.str.replace_all(char, escape, literal=True)
            yield column
