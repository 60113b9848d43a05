"""Opening a file: what it is packed in decides who reads it."""

from collections.abc import Callable
from pathlib import Path

from processor.reading.container import Container, Kind, look_at
from processor.reading.delimited import open_delimited
from processor.reading.spreadsheet import open_spreadsheet
from processor.reading.table import Limits, OpenedFile

_PACKED = {Kind.GZIP: "compressed_gzip", Kind.ZIP: "compressed_zip", Kind.ZSTD: "compressed_zstd"}


def open_file(
    path: Path,
    *,
    name: str,  # noqa: ARG001 - a hint only; what the file is, its bytes say
    has_header: Callable[[tuple[str, ...]], bool],
    limits: Limits | None = None,
) -> OpenedFile:
    """Look at a file and be ready to read its rows; use it as a context manager.

    `has_header` gets the trimmed fields of the first record and says whether they are column names. The whole file
    is read once to know its encoding and that it unpacks to its end; rows come by `OpenedFile.batches()`.

    Raises UnreadableFile if the file as a whole cannot be read; its message is for the customer.
    """
    limits = limits or Limits()
    container: Container = look_at(path, limits)
    if container.kind is Kind.WORKBOOK:
        return open_spreadsheet(container, has_header=has_header, limits=limits)
    opened = open_delimited(container, has_header=has_header, limits=limits)
    if container.kind in _PACKED:
        opened._note(_PACKED[container.kind])  # noqa: SLF001 - within the package
    return opened
