"""Preparing: a source's rows become a finished file in the work folder, which is then looked at as the server will.

A damaged line is never mended on the way: where the source has one, its bytes go as they are, and the check says so.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from python_calamine import CalamineError, CalamineWorkbook

from landingzone.clock import iso, now
from landingzone.feed import Feed
from processor.examination import Examined, UnreadableFile, examine
from processor.mapping import looks_like_header
from processor.reading import Limits, OpenedFile, open_file
from upload import last_time, query, suspicion
from upload.arrangement import arrange
from upload.command import Setup
from upload.errors import NotExtracted, SettingsError
from upload.found_file import FoundFile, find_files, form_of, wait_until_written
from upload.ideal_file import IdealFile, copy
from upload.last_time import Difference, Sent
from upload.outgoing import Outgoing
from upload.settings import SourceSettings, resolved

LIMITS: Final = Limits(batch_bytes=512 * 1024)
"""A district's machine has other things to do with its memory."""
_TRIES: Final = 5
"""How often a file is read because it has changed under the reading."""
_DAMAGED: Final = (
    "It has damaged lines. They are not mended here, so that nothing is hidden: the file goes as it is, with its own "
    "columns, and those lines are rejected."
)


@dataclass(frozen=True)
class Prepared:
    """A file that is ready, and what the look at it has found.

    Attributes:
        outgoing: the file.
        key: what the state folder calls it: the source, and its school where each has a file.
        origin: what it was made of, for people: a path, or what was asked.
        found: what it holds; None if it cannot be read at all.
        refusal: why it should not be sent, in sentences; empty if nothing speaks against it.
        remarks: what else is worth knowing, in sentences.
        as_it_is: the source's bytes were taken as they are.
        before: what was sent last time.
        differences: what it lists otherwise than last time, by feed.
        rejects: the reject file, if it was asked for and rows would be rejected.
    """

    outgoing: Outgoing
    key: str
    origin: str
    found: Examined | None
    refusal: str
    remarks: tuple[str, ...]
    as_it_is: bool
    before: Sent | None
    differences: dict[str, Difference]
    rejects: Path | None
    _hashes: Path | None

    def remember(self, state: Path) -> None:
        """Keep its hashes as those of what was sent last: call it once a receipt says that it was imported."""
        if self._hashes is not None:
            last_time.keep(self._hashes, state, self.key)

    def discard(self) -> None:
        """Remove what was made for it."""
        shutil.rmtree(self.outgoing.path.parent, ignore_errors=True)


def prepare(setup: Setup, source: SourceSettings, *, with_rejects: bool = False) -> Iterator[Prepared]:
    """Extract, format and look at a source's file; of a pattern with {school} one after another.

    The caller sends it unless `refusal` says something, calls `remember`, and `discard` in any case.

    Raises SettingsError, or NotExtracted if the source cannot be read.
    """
    feed = setup.catalogue.get(source.feed)
    if feed is None:
        raise SettingsError(
            f"{source.called}: there is no feed {source.feed!r}. There are: {', '.join(setup.catalogue)}."
        )
    _check_mapping(source, feed)
    wanted = resolved(setup.folder, source.file or source.spreadsheet) if not source.is_query else None
    for found in [None] if wanted is None else find_files(wanted):
        school = found.school if found is not None else ""
        folder = Path(tempfile.mkdtemp(prefix=f"{source.called}-", dir=setup.folder.work))
        try:
            made = _from_query(source, feed, folder) if found is None else _from_file(source, feed, folder, found)
            yield _looked_at(setup, source, feed, made, school=school, with_rejects=with_rejects)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@dataclass(frozen=True, slots=True)
class _Made:
    """A file that was made, not yet looked at; `rows` is None where nobody has counted them."""

    path: Path
    origin: str
    bytes: int
    sha256: str
    rows: int | None
    as_it_is: bool = False
    remark: str = ""


def _check_mapping(source: SourceSettings, feed: Feed) -> None:
    for name, wanted in source.mapping.items():
        try:
            feed.field(wanted)
        except KeyError:
            raise SettingsError(
                f"mapping of {source.called}: {name!r} goes to {wanted!r}, which is no field of {feed.name}. "
                f"There are: {', '.join(feed.column_names)}."
            ) from None


def _from_query(source: SourceSettings, feed: Feed, folder: Path) -> _Made:
    answer = query.ask(source)
    arrangement = arrange(feed, answer.header, len(answer.header), source.kept_mapping)
    path = folder / "data.csv"
    with IdealFile(path, arrangement.header) as ideal:
        for frame in answer.frames():
            ideal.add(frame.select(f"c{at}" for at in arrangement.positions))
        sha256 = ideal.finish()
    return _Made(path, source.view or "the query", ideal.bytes, sha256, ideal.rows)


def _from_file(source: SourceSettings, feed: Feed, folder: Path, found: FoundFile) -> _Made:
    """The file once more from the start, if it changes while it is read."""
    for _ in range(_TRIES):
        form = wait_until_written(found.path, minutes=source.wait_minutes)
        path = folder / "data.csv"
        path.unlink(missing_ok=True)
        try:
            made = _formatted(source, feed, found.path, path)
        except OSError as wrong:
            raise NotExtracted(f"{found.path} cannot be read: {wrong.strerror or type(wrong).__name__}.") from None
        if form_of(found.path) == form:
            return made
    raise NotExtracted(f"{found.path} changes all the time. Run when the export has finished.")


class _Damaged(Exception):
    """A line cannot be read as a record."""


def _formatted(source: SourceSettings, feed: Feed, origin: Path, path: Path) -> _Made:
    _check_sheet(source, origin)
    try:
        with open_file(
            origin,
            name=origin.name,
            has_header=partial(looks_like_header, feed, kept=source.kept_mapping),
            limits=LIMITS,
            sheet=source.sheet,
        ) as opened:
            return _written(source, feed, opened, origin, path)
    except (UnreadableFile, _Damaged) as wrong:
        path.unlink(missing_ok=True)
        size, sha256 = copy(origin, path)
        remark = _DAMAGED if isinstance(wrong, _Damaged) else ""
        return _Made(path, str(origin), size, sha256, None, as_it_is=True, remark=remark)


def _written(source: SourceSettings, feed: Feed, opened: OpenedFile, origin: Path, path: Path) -> _Made:
    """The ideal file of what was opened; raises _Damaged at the first line that is no record."""
    arrangement = arrange(feed, opened.header, opened.width, source.kept_mapping)
    with IdealFile(path, arrangement.header) as ideal:
        for batch in opened.batches():
            if batch.damaged:
                raise _Damaged
            ideal.add(batch.frame.select(f"c{at}" for at in arrangement.positions))
        if opened.open_quote_at_end:
            raise _Damaged
        sha256 = ideal.finish(ends=not opened.ends_without_line_end)
    return _Made(path, str(origin), ideal.bytes, sha256, ideal.rows)


def _check_sheet(source: SourceSettings, origin: Path) -> None:
    if not source.sheet:
        return
    try:
        with CalamineWorkbook.from_path(origin) as workbook:
            names = workbook.sheet_names
    except (CalamineError, OSError, ValueError):
        raise NotExtracted(f"{origin} cannot be read as a workbook.") from None
    if source.sheet not in names:
        raise NotExtracted(f"{origin} has no sheet {source.sheet!r}. There are: {', '.join(names)}.")


def _looked_at(
    setup: Setup, source: SourceSettings, feed: Feed, made: _Made, *, school: str, with_rejects: bool
) -> Prepared:
    key = f"{source.called}.{school}" if school else source.called
    name = source.sent_as.replace("{school}", school)
    lister = last_time.Lister()
    rejects = made.path.with_name("rejects.csv") if with_rejects else None
    found, unreadable = None, ""
    try:
        found = examine(made.path, name=name, feed=feed, rejects_to=rejects, on_rows=lister.add, limits=LIMITS)
    except UnreadableFile as wrong:
        unreadable = str(wrong)
    before = last_time.load(setup.folder.state, key)
    hashes, differences, refusal, remarks = None, dict[str, Difference](), unreadable, list[str]()
    if found is not None:
        listed = lister.listed()
        hashes = made.path.with_name("listed.npz")
        sent = Sent(iso(now()), made.sha256, (found.read,), found.header, listed)
        last_time.write(hashes, sent, before)
        if before is not None:
            differences = {
                one: last_time.compare(before.listed[one], listed[one]) for one in listed if one in before.listed
            }
        refusal = suspicion.refusal(feed, found, before, may_be_empty=source.may_be_empty)
        remarks += suspicion.remarks(feed, found)
    rows = made.rows if made.rows is not None else found.read if found is not None else 0
    if found is not None and not found.missing and found.read != rows:
        refusal = f"{rows:,} rows were extracted, and {found.read:,} are read again. {refusal}".strip()
    return Prepared(
        outgoing=Outgoing(source.called, feed.name, made.path, name, rows, made.bytes, made.sha256),
        key=key,
        origin=made.origin,
        found=found,
        refusal=refusal,
        remarks=tuple(filter(None, (made.remark, *remarks))),
        as_it_is=made.as_it_is,
        before=before.without_hashes() if before else None,
        differences=differences,
        rejects=rejects if rejects is not None and rejects.exists() else None,
        _hashes=hashes,
    )
