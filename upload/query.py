"""Rows of a database through ODBC: streamed, as text, over a connection that cannot write.

Everything is fetched as the text that the driver makes of it, so that neither leading zeros nor digits are lost,
whatever the driver thinks a column is; only dates, times and `.0` are then put into the form that the files have. A
value that is longer than the buffer is an error of the driver, never cut.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from upload import statement
from upload.errors import NotExtracted, SettingsError
from upload.secret import secret_of
from upload.settings import SourceSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from arrow_odbc import BatchReader, Connection

_READ_ONLY: Final = {
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "UseDeclareFetch=1;Fetch=5000",
    "SET SESSION TRANSACTION READ ONLY": "",
    "PRAGMA query_only = ON": "StepAPI=1",
}
"""How PostgreSQL, MySQL and MariaDB, and SQLite are told that a session writes nothing (others have no such words), and
what makes the driver stream, which would otherwise hold all rows in memory."""
_TEXT_BYTES: Final = 16 * 1024
_BUFFER_BYTES: Final = 4 * 1024 * 1024
_ROWS_AT_ONCE: Final = 10_000
_LOGIN_SECONDS: Final = 30
_DATE: Final = r"^(\d{4})-(\d{2})-(\d{2})$"
_MOMENT: Final = r"^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.\d+)?$"
_MIDNIGHT: Final = r"^(\d{4})-(\d{2})-(\d{2})[ T]00:00:00(?:\.0+)?$"


@dataclass
class Answer:
    """What a query answers.

    Attributes:
        header: the columns' names.
        kinds: of each column: `text`, `number`, `date`, `moment`.
    """

    header: tuple[str, ...]
    kinds: tuple[str, ...]
    _reader: "BatchReader" = field(repr=False)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows, some thousand at once: String columns `c0`, `c1`, ...; null where the database says NULL."""
        held: list[pl.DataFrame] = []
        rows = 0
        names = [f"c{at}" for at in range(len(self.header))]
        with _told("The query broke off"):
            for batch in self._reader:
                frame = pl.DataFrame(
                    [pl.Series(name, batch.column(at), dtype=pl.String) for at, name in enumerate(names)]
                )
                held.append(frame)
                rows += frame.height
                if rows >= _ROWS_AT_ONCE:
                    yield self._formed(pl.concat(held))
                    held, rows = [], 0
        if held:
            yield self._formed(pl.concat(held))

    def _formed(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            _form(pl.col(f"c{at}"), kind).alias(f"c{at}") for at, kind in enumerate(self.kinds) if kind != "text"
        )


def _form(value: pl.Expr, kind: str) -> pl.Expr:
    """Dates as mm/dd/yyyy, moments likewise with their time unless it is midnight, whole numbers without `.0`."""
    if kind == "number":
        return value.str.replace(r"^(-?\d+)\.0+$", "${1}")
    day = "${2}/${3}/${1}"
    if kind == "date":
        return value.str.replace(_DATE, day).str.replace(_MIDNIGHT, day)
    return value.str.replace(_MIDNIGHT, day).str.replace(_MOMENT, f"{day} ${{4}}")


def ask(source: SourceSettings) -> Answer:
    """Ask a source's query. Raises SettingsError if it may not be asked, NotExtracted if the database refuses."""
    asked = statement.of_view(source.view) if source.view else statement.checked(source.query)
    connection = source.connection if "=" in source.connection else f"DSN={source.connection}"
    connection = connection.rstrip("; ") + ";"  # the password is put behind it as it is
    secret = password(source)
    opened, streaming = _connect(connection, secret)
    if streaming:
        opened, _ = _connect(f"{connection}{streaming};", secret)
    kinds: list[str] = []
    header: list[str] = []

    def as_text(schema: "pa.Schema") -> "pa.Schema":
        import pyarrow as pa  # noqa: PLC0415 - of the extra `odbc`

        header.extend(schema.names)
        kinds.extend(_kind(one) for one in schema)
        return pa.schema([pa.field(str(at), pa.string()) for at in range(len(schema.names))])

    with _told("The database refused the query"):
        reader = opened.read_arrow_batches(
            asked,
            batch_size=_ROWS_AT_ONCE,
            max_bytes_per_batch=_BUFFER_BYTES,
            max_text_size=_TEXT_BYTES,
            map_schema=as_text,
            fetch_concurrently=False,
        )
    if not header:
        raise NotExtracted("The query gives no columns.")
    return Answer(tuple(header), tuple(kinds), reader)


def _kind(column: "pa.Field") -> str:
    import pyarrow.types as of  # noqa: PLC0415 - of the extra `odbc`

    kind = column.type
    if of.is_binary(kind) or of.is_large_binary(kind) or of.is_fixed_size_binary(kind):
        raise NotExtracted(f"The column {column.name} holds bytes, not text: turn it into text in the query.")
    if of.is_date(kind):
        return "date"
    if of.is_timestamp(kind):
        return "moment"
    return "number" if of.is_floating(kind) or of.is_decimal(kind) else "text"


def _connect(connection: str, secret: str | None) -> tuple["Connection", str]:
    """A connection that is told to write nothing, and what its driver needs to stream."""
    try:
        import arrow_odbc  # noqa: PLC0415 - of the extra `odbc`
    except (ImportError, OSError):
        raise SettingsError(
            "ODBC is not installed here: run pip install 'landingzone[odbc]'; on Linux and macOS install unixODBC, too."
        ) from None
    with _told("The database cannot be reached", secret):
        opened = arrow_odbc.connect(connection, password=secret, login_timeout_sec=_LOGIN_SECONDS)
    for words, streaming in _READ_ONLY.items():
        with contextlib.suppress(arrow_odbc.Error):
            opened.read_arrow_batches(words)
            return opened, streaming
    return opened, ""


@contextlib.contextmanager
def _told(what: str, secret: str | None = None) -> Iterator[None]:
    """What the driver says, as an error for a person; a driver may repeat the password."""
    import arrow_odbc  # noqa: PLC0415 - of the extra `odbc`

    try:
        yield
    except arrow_odbc.Error as wrong:
        said = " ".join(str(wrong).split())
        if secret:
            said = said.replace(secret, "...")
        raise NotExtracted(f"{what}: {said}") from None


def password(source: SourceSettings) -> str | None:
    """The database's password, from where the settings say it lies; None if they say nothing. Raises SettingsError."""
    return secret_of(source.password_env, source.password_keyring, what="password")
