"""Files of text: opened once their encoding is known, and read stretch by stretch, each of whole lines."""

from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from processor.reading.container import Container
from processor.reading.encoding import MARK, Survey, Utf8Stream, survey
from processor.reading.header import HasHeader, HeaderWatch
from processor.reading.table import Batch, Limits, OpenedFile, UnreadableFile, shorten

HEAD_BYTES: Final = 256 * 1024
"""What is looked at to decide how a file is written."""


@dataclass(frozen=True, slots=True)
class Text:
    """A file whose encoding is known and whose first bytes are read.

    Attributes:
        stream: the bytes after `head`, as UTF-8.
        head: the first bytes, as UTF-8.
        whole: `head` is all.
        line_end: the byte that ends a line: LF, or CR where the file has no LF.
        encoding_note: code of the departure from ASCII, empty if there is none.
        open_files: to be closed at the end.
    """

    stream: Utf8Stream
    head: bytes
    whole: bool
    line_end: bytes
    encoding_note: str
    open_files: ExitStack

    def first_lines(self) -> bytes:
        """The whole lines of the first bytes; the last line of a file counts as whole without its end."""
        if self.whole:
            return self.head if self.head.endswith(self.line_end) else self.head + self.line_end
        lines = self.head[: self.head.rfind(self.line_end) + 1]
        if not lines:
            raise UnreadableFile("line_too_long")
        return lines


def open_text(container: Container) -> Text:
    """Look at the whole file once, decide its encoding, and read its first bytes.

    Raises UnreadableFile.
    """
    with container.open() as looked_at:
        found = survey(looked_at)
    with ExitStack() as open_files:
        stream = Utf8Stream(open_files.enter_context(container.open()), found)
        head = stream.read(HEAD_BYTES)
        return Text(stream, head, stream.ended, _line_end(found, head), found.note, open_files.pop_all())


class TextFile(OpenedFile):
    """A file of text, read stretch by stretch. See `OpenedFile`."""

    def __init__(
        self,
        text: Text,
        *,
        start: int,
        header: tuple[str, ...] | None,
        width: int,
        limits: Limits,
        has_header: HasHeader,
    ) -> None:
        watch = HeaderWatch(header, has_header)
        super().__init__(header=header, width=width, limits=limits, without_headers=watch.without)
        self._stream = text.stream
        self._rest = text.head[start:]
        self._whole = text.whole
        self._line_end = text.line_end
        self._open_files = text.open_files
        if text.encoding_note:
            self._note(text.encoding_note)
        if text.whole and start > len(text.head):
            self._note_missing_end(text.head[-1:])

    @abstractmethod
    def _batch(self, data: bytes, *, at_end: bool) -> tuple[Batch, int]:
        """The rows of a stretch of whole lines, and how many of its bytes are used up.

        All are, but where the file goes on (not `at_end`) and more lines are needed to decide.
        """

    def close(self) -> None:
        """Close the file."""
        self._open_files.close()

    def batches(self) -> Iterator[Batch]:
        """The rows, in order. Raises UnreadableFile where the file turns out to be unreadable further down."""
        return self._batches() if self._whole else _one_ahead(self._batches())

    def _batches(self) -> Iterator[Batch]:
        end, rest, at_end = self._line_end, self._rest, self._whole
        self._rest, wanted = b"", self.limits.batch_bytes
        while rest or not at_end:
            if not at_end and len(rest) < wanted:
                more = self._stream.read(wanted - len(rest))
                at_end, rest = self._stream.ended, rest + more
                if not at_end and len(rest) < wanted:
                    continue
            cut = rest.rfind(end) + 1
            if at_end and cut < len(rest):
                self._note_missing_end(rest[cut:])
                rest += end
                cut = len(rest)
            if len(rest) - cut > self.limits.max_line_bytes:
                raise UnreadableFile("line_too_long")
            if not cut:
                wanted = len(rest) + self.limits.batch_bytes
                continue
            batch, used = self._batch(rest[:cut], at_end=at_end)
            if batch.frame.height or batch.damaged:
                yield self._count(batch)
            rest = rest[used:]
            wanted = self.limits.batch_bytes if used else len(rest) + self.limits.batch_bytes

    def _note_missing_end(self, last_line: bytes) -> None:
        if last_line.strip(b"\x1a"):
            self.ends_without_line_end = True
            self._note("last_line_without_end")


def _one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each read while its taker still works on the one before."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def shown(raw: bytes) -> str:
    """A line as a receipt shows it."""
    return shorten(raw[:2000].decode("utf-8", "replace").replace(MARK, "\ufffd").rstrip("\r"))


def _line_end(found: Survey, head: bytes) -> bytes:
    return b"\n" if found.has_line_feed or b"\r" not in head else b"\r"
