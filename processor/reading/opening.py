"""Opening a file: what it is packed in decides who reads it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from processor.reading.container import Container, Kind, look_at
from processor.reading.delimited import open_delimited
from processor.reading.fixed_width import open_fixed_width
from processor.reading.spreadsheet import open_spreadsheet
from processor.reading.table import Limits, OpenedFile

_PACKED = {Kind.GZIP: "compressed_gzip", Kind.ZIP: "compressed_zip", Kind.ZSTD: "compressed_zstd"}


def open_file(
    path: Path,
    *,
    name: str,  # noqa: ARG001 - a hint only; what the file is, its bytes say
    has_header: Callable[[tuple[str, ...]], bool],
    limits: Limits | None = None,
    widths: Sequence[int] | None = None,
    sheet: str = "",
) -> OpenedFile:
    """Look at a file and be ready to read its rows; use it as a context manager.

    `has_header` gets the trimmed fields of the first record and says whether they are column names. The whole file
    is read once to know its encoding and that it unpacks to its end; rows come by `OpenedFile.batches()`.

    `widths` (characters a column) are declared for files with columns of fixed width; a workbook ignores them. `sheet`
    names the sheet of a workbook; by default it is looked for.

    Raises UnreadableFile if the file as a whole cannot be read; its message is for the customer.
    """
    limits = limits or Limits()
    container: Container = look_at(path, limits)
    if container.kind is Kind.WORKBOOK:
        return open_spreadsheet(container, has_header=has_header, limits=limits, sheet=sheet)
    opened: OpenedFile
    if widths is None:
        opened = open_delimited(container, has_header=has_header, limits=limits)
    else:
        opened = open_fixed_width(container, widths, has_header=has_header, limits=limits)
    if container.kind in _PACKED:
        opened._note(_PACKED[container.kind])  # noqa: SLF001 - within the package
    return opened
