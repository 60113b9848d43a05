"""From the bytes of a file, however a district wrote them, to rows with their exact physical line numbers.

Pure: no database, no server. `open_file` looks at a file (what it is packed in, its encoding, its separator, its
header) and gives an `OpenedFile`, whose `batches()` stream the rows. Nothing is padded, cut or quoted anew: a
damaged line costs itself and is reported as `Damage`; each departure from the ideal that was tolerated is a `Note`.

    container.py   what the file is packed in: plain, gzip, zip, zstd
    encoding.py    one encoding for the whole file, and the bytes as UTF-8
    header.py      titles above a header, headers further down
    dialect.py     separator, line end, header, number of columns: decided from the first lines
    scan.py        the fast pass over the bytes: which lines are beyond doubt
    record.py      the careful way for all others, one record at a time
    text.py        files of text, stretch by stretch
    delimited.py   the two together, batch by batch
    fixed_width.py columns of declared widths
    spreadsheet.py workbooks, by their cells
"""

from processor.reading.opening import open_file
from processor.reading.table import Batch, Damage, Limits, Note, OpenedFile, UnreadableFile

__all__ = ["Batch", "Damage", "Limits", "Note", "OpenedFile", "UnreadableFile", "open_file"]
