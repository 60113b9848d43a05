"""One encoding for the whole file, found by looking at all of it, and its bytes as UTF-8.

A byte order mark decides; else strict UTF-8; else Windows-1252 (docs/design.md). The survey reads the file to its
end, so that a damaged archive or binary content is known before the first row is given out.
"""

import codecs
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.reading.container import Stream, refuse_strange
from processor.reading.table import UnreadableFile

MARK: Final = "\ufdd0"
"""Stands for bytes that are no characters: a code point that Unicode has set aside for such use, so that no text
holds it."""

MARK_BYTES: Final = MARK.encode()

_BLOCK = 1024 * 1024
_SAMPLE = 4096
_LONE = re.compile("[\ud800-\udfff]")

#: Windows-1252 as a table: the five bytes without a meaning become the mark.
_CP1252 = "".join(bytes([code]).decode("cp1252", "replace").replace("\ufffd", MARK) for code in range(256))

#: Bytes that text does not hold: control characters other than tab, line ends, form feed and the DOS end of file.
_CONTROL = bytes(code for code in range(1, 32) if code not in b"\t\n\r\x0c\x1a")
_MAX_CONTROL_SHARE = 0.05
_MAX_NUL_SHARE = 0.5
_MIN_UTF16_SHARE = 0.3
_MAX_STRAY_SHARE = 0.3


class Encoding(StrEnum):
    """The encodings that are read, by the names that Python gives them."""

    ASCII = "ascii"
    UTF8 = "utf-8"
    UTF16_LE = "utf-16-le"
    UTF16_BE = "utf-16-be"
    CP1252 = "cp1252"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look at the whole file found.

    Attributes:
        encoding: of the whole file.
        mark_length: bytes of the byte order mark, to be skipped.
        faulty: some bytes mean nothing in this encoding.
        has_line_feed: there is an LF somewhere.
        note: the code of the departure from ASCII, empty if there is none.
    """

    encoding: Encoding
    mark_length: int
    faulty: bool
    has_line_feed: bool
    note: str


_MARKS = (
    (codecs.BOM_UTF8, Encoding.UTF8),
    (codecs.BOM_UTF16_LE, Encoding.UTF16_LE),
    (codecs.BOM_UTF16_BE, Encoding.UTF16_BE),
)


def survey(stream: Stream) -> Survey:
    """Read the stream to its end and decide its encoding.

    Raises UnreadableFile for binary content, and whatever the stream raises when it cannot be unpacked.
    """
    block = stream.read(_BLOCK)
    if not block:
        raise UnreadableFile("empty_file")
    refuse_strange(block, unpacked=True)
    if block.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise UnreadableFile("not_text")
    mark, encoding = next(((mark, each) for mark, each in _MARKS if block.startswith(mark)), (b"", None))
    encoding = encoding or _unmarked_utf16(block[:_SAMPLE])
    if encoding in {Encoding.UTF16_LE, Encoding.UTF16_BE}:
        return _survey_utf16(stream, block, encoding, len(mark))
    _refuse_binary(block[: 16 * _SAMPLE])
    return _survey_bytes(stream, block, len(mark))


def _survey_bytes(stream: Stream, block: bytes, mark_length: int) -> Survey:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    plain, strict, wide, has_line_feed, empty = True, True, False, False, True
    block = block[mark_length:]
    while block:
        empty = False
        has_line_feed = has_line_feed or b"\n" in block
        plain = plain and block.isascii()
        if strict and not plain:
            try:
                wide = not decoder.decode(block).isascii() or wide
            except UnicodeDecodeError:
                strict = False
        block = stream.read(_BLOCK)
    if empty:
        raise UnreadableFile("empty_file")
    cut = strict and bool(decoder.getstate()[0])
    if mark_length:
        return Survey(Encoding.UTF8, mark_length, not strict or cut, has_line_feed, "encoding_utf8_bom")
    if plain:
        return Survey(Encoding.ASCII, 0, False, has_line_feed, "")
    # A character cut off at the very end of a file with whole ones is a sign of a cut file, not of another encoding.
    if strict and (wide or not cut):
        return Survey(Encoding.UTF8, 0, cut, has_line_feed, "encoding_utf8")
    return Survey(Encoding.CP1252, 0, True, has_line_feed, "encoding_cp1252")


def _survey_utf16(stream: Stream, block: bytes, encoding: Encoding, mark_length: int) -> Survey:
    decoder = codecs.getincrementaldecoder(encoding.value)("surrogatepass")
    has_line_feed, empty = False, True
    block = block[mark_length:]
    while block:
        text = decoder.decode(block)
        empty = empty and not text
        has_line_feed = has_line_feed or "\n" in text
        block = stream.read(_BLOCK)
    if empty:
        raise UnreadableFile("empty_file")
    return Survey(encoding, mark_length, True, has_line_feed, "encoding_utf16")


def _unmarked_utf16(sample: bytes) -> Encoding | None:
    """UTF-16 without its mark: every other byte of mostly Latin text is NUL."""
    half = len(sample) // 2
    if half < len("a,b"):
        return None
    first, second = sample[0 : 2 * half : 2].count(0), sample[1 : 2 * half : 2].count(0)
    if second > _MIN_UTF16_SHARE * half and first < _MAX_STRAY_SHARE * second:
        return Encoding.UTF16_LE
    if first > _MIN_UTF16_SHARE * half and second < _MAX_STRAY_SHARE * first:
        return Encoding.UTF16_BE
    return None


def _refuse_binary(sample: bytes) -> None:
    nuls = sample.count(0)
    control = len(sample) - len(sample.translate(None, _CONTROL))
    if nuls > _MAX_NUL_SHARE * len(sample) or control > max(_MAX_CONTROL_SHARE * len(sample), 2):
        raise UnreadableFile("not_text")


class Utf8Stream:
    """The text of a file as UTF-8 without its mark; what is no character comes as `MARK`.

    `faulty` becomes true with the first mark, so that nobody needs to look for marks before; `ended` when all is read.
    """

    def __init__(self, stream: Stream, found: Survey) -> None:
        self._stream = stream
        self._encoding = found.encoding
        self._skip = found.mark_length
        self._faulty_file = found.faulty
        self._decoder = codecs.getincrementaldecoder(found.encoding.value)(
            "surrogateescape" if found.encoding is Encoding.UTF8 else "surrogatepass"
        )
        self.faulty = False
        self.ended = False

    def read(self, size: int) -> bytes:
        """What `size` bytes of the file stand for: about as many, none or twice as many at times. See `ended`."""
        parts: list[bytes] = []
        wanted = size
        while wanted > 0:
            raw = self._stream.read(wanted)
            if not raw:
                self.ended = True
                parts.append(self._end())
                break
            wanted -= len(raw)
            if self._skip:
                raw, self._skip = raw[self._skip :], max(self._skip - len(raw), 0)
            parts.append(self._transcode(raw))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _transcode(self, raw: bytes) -> bytes:
        if self._encoding is Encoding.CP1252:
            if raw.isascii():
                return raw
            text, _ = codecs.charmap_decode(raw, "strict", _CP1252)
            self.faulty = self.faulty or MARK in text
            return text.encode()
        if not self._faulty_file:
            return raw
        return self._mark(self._decoder.decode(raw))

    def _end(self) -> bytes:
        if self._encoding is Encoding.CP1252 or not self._faulty_file:
            return b""
        rest = self._decoder.getstate()[0]
        self._decoder.reset()
        if not rest:
            return b""
        self.faulty = True
        return MARK_BYTES

    def _mark(self, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError:
            self.faulty = True
            return _LONE.sub(MARK, text).encode()
