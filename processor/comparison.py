"""Comparing what a file says with what its source stands at: at once, or, for a large file, while it is being read.

- `AtOnce`: both are frames in memory (reconcile.py).
- `FirstLoad`: nothing has been applied to the source yet, so every row is new: it is written while the file is read
  (bulk_load.py), and counts from the commit on.
- `NextDay`: hashes are compared, batch by batch (listing.py); only rows that differ are kept and read back.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import polars as pl
import sqlalchemy as sa
import structlog

from landingzone.feed import Feed, Kind, Mode
from landingzone.zone import FOLDER_MODE
from processor import account_data, staging
from processor import standing as standings
from processor.bulk_load import BulkLoad
from processor.changes import Changes, note_loaded
from processor.context import Context
from processor.copy_load import CopyLoad
from processor.duplicates import Entering
from processor.examination import OnRows
from processor.listing import Listing, ListingDiffers
from processor.reading import Limits
from processor.reconcile import reconcile
from processor.records import Records
from processor.rows import Placed, Spool
from processor.run import Run

log = structlog.get_logger()


class Comparison(Protocol):
    """A way of comparing."""

    @property
    def on_rows(self) -> OnRows | None:
        """Takes each batch's rows, where they are not to be held; see `examine`."""

    def entering(self, feed: Feed) -> Entering | None:
        """Who tells which rows of a file of this feed repeat a key, while it finds them; see `examine`."""

    def changes(self, said: Sequence[Records]) -> tuple[Changes, ...]:
        """What the file would change, by feed, once it has been read; saved in the run's staging, too."""

    def applying(self, serial: int, *, changed: bool) -> None:
        """The changes are being applied, by the run with this number; `changed`: they are any. Called in a thread."""

    def applied(self) -> None:
        """The changes are committed."""

    def distrust(self) -> bool:
        """What is kept of the source does not agree with the database: False if nothing was, else it is removed."""


@dataclass(frozen=True)
class Subject:
    """What is compared: a run's file, for a source.

    Attributes:
        here: what every step works with.
        run: the run.
        source_id: the source.
        mode: what the file says about records that it does not list.
        staging: where the run's files go before its outcome is committed.
        bytes: how large the file is.
    """

    here: Context
    run: Run
    source_id: int
    mode: Mode
    staging: Path
    bytes: int


@contextlib.contextmanager
def comparison(subject: Subject, feeds: Sequence[Feed], *, large: bool) -> Iterator[Comparison]:
    """How a file that gives records of these feeds is compared; a large one while it is being read."""
    here = subject.here
    with here.db.read() as tx:
        shows = standings.rows_run(tx, subject.source_id)
    if shows is None:
        _discard_load(subject, feeds)
    if not large or subject.mode is Mode.EVENTS:
        yield AtOnce(subject)
        return
    with _spool_folder(subject) as folder:
        if shows is None:
            yield from _first_load(subject, feeds)
        else:
            yield NextDay(subject, feeds, folder, shows=shows)


class AtOnce:
    """Both sides are held in memory."""

    on_rows: OnRows | None = None

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def entering(self, feed: Feed) -> Entering | None:
        """See Comparison."""

    def changes(self, said: Sequence[Records]) -> tuple[Changes, ...]:
        """See Comparison."""
        subject = self._subject
        with subject.here.db.read() as tx:
            rows = [account_data.rows_of(tx, records.feed, subject.source_id) for records in said]
        changes = tuple(
            reconcile(records, mode=subject.mode, standing=standing)
            for records, standing in zip(said, rows, strict=True)
        )
        for one in changes:
            one.save(subject.staging)
        return changes

    def applying(self, serial: int, *, changed: bool) -> None:
        """See Comparison."""

    def applied(self) -> None:
        """See Comparison."""

    def distrust(self) -> bool:
        """See Comparison."""
        return False


class FirstLoad:
    """Every row is new, and written while the file is still being read."""

    def __init__(self, subject: Subject, feeds: Sequence[Feed], load: BulkLoad | CopyLoad) -> None:
        self._load, self._staging, self._serial = load, subject.staging, subject.run.serial
        batches = subject.bytes / Limits().batch_bytes
        self._listings = {feed.name: _listing(subject, feed, batches=batches) for feed in feeds}
        self._heights = dict.fromkeys(self._listings, 0)
        self.committed = False

    def on_rows(self, records: Records) -> None:
        """Write a batch, and list it."""
        name = records.feed.name
        self._load.add(records.feed, records.rows)
        self._heights[name] += records.rows.height
        self._listings[name].compare(records.rows, records.placed)

    def entering(self, feed: Feed) -> Entering | None:
        """See Comparison."""
        return self._listings[feed.name].entering() if feed.name in self._listings else None

    def changes(self, said: Sequence[Records]) -> tuple[Changes, ...]:
        """See Comparison."""
        for records in said:
            note_loaded(self._staging, records.feed, self._heights[records.feed.name])
        for listing in self._listings.values():
            _write(listing, self._serial)  # while the last rows are being written
        self._load.finish()
        nothing = Placed(0)
        return tuple(
            Changes(
                feed=records.feed,
                added=Placed(self._heights[records.feed.name]),
                changed=nothing,
                reactivated=nothing,
                deactivated=nothing,
                unchanged=0,
                standing=0,
                kept=0,
            )
            for records in said
        )

    def applying(self, serial: int, *, changed: bool) -> None:
        """See Comparison."""

    def applied(self) -> None:
        """See Comparison."""
        self.committed = True
        for listing in self._listings.values():
            _keep(listing)

    def distrust(self) -> bool:
        """See Comparison."""
        return False


class NextDay:
    """Hashes are compared while the file is being read; what differs is few."""

    def __init__(self, subject: Subject, feeds: Sequence[Feed], folder: Path, *, shows: int | None) -> None:
        self._subject, self._shows = subject, shows
        self._compared = {feed.name: _ByHash(subject, feed, folder, shows=shows) for feed in feeds}

    def on_rows(self, records: Records) -> None:
        """Compare a batch."""
        with self._distrusting():
            self._compared[records.feed.name].add(records)

    def entering(self, feed: Feed) -> Entering | None:
        """See Comparison."""
        return self._compared[feed.name].listing.entering() if feed.name in self._compared else None

    def changes(self, said: Sequence[Records]) -> tuple[Changes, ...]:
        """See Comparison."""
        with self._distrusting(), self._subject.here.db.read() as tx:
            changes = tuple(self._compared[records.feed.name].changes(tx, records) for records in said)
        for one in changes:
            one.save(self._subject.staging)
        return changes

    def applying(self, serial: int, *, changed: bool) -> None:
        """See Comparison."""
        for one in self._compared.values():
            if changed or one.listing.new:
                _write(one.listing, serial if changed or self._shows is None else self._shows)

    def applied(self) -> None:
        """See Comparison."""
        for one in self._compared.values():
            _keep(one.listing)

    def distrust(self) -> bool:
        """See Comparison."""
        kept = [one.listing for one in self._compared.values() if not one.listing.new]
        for listing in kept:
            listing.discard()
        return bool(kept)

    @contextlib.contextmanager
    def _distrusting(self) -> Iterator[None]:
        try:
            yield
        except ListingDiffers:
            self.distrust()
            raise


class _ByHash:
    """The rows of one feed, beside its listing."""

    def __init__(self, subject: Subject, feed: Feed, folder: Path, *, shows: int | None) -> None:
        self._subject, self._feed = subject, feed
        self.listing = self._load(shows)
        self._standing = self.listing.standing
        self._spools = {name: Spool(folder, f"{feed.name}.{name}") for name in ("added", *_BESIDE_OLD)}
        self._unchanged = 0
        self._phone = next((one.name for one in feed.fields if one.kind is Kind.PHONE and one.required), None)
        self._phones: list[pl.Series] = []
        self._folder = folder

    def _load(self, shows: int | None) -> Listing:
        subject = self._subject
        folder = _listing_folder(subject, self._feed)
        if shows is not None:
            kept = Listing.load(folder, self._feed, run=subject.run.serial, shows=shows)
            if kept is not None:
                return kept
        listing = _listing(subject, self._feed)
        with subject.here.db.read() as tx:
            if standings.rows_run(tx, subject.source_id) is not None:
                listing.fill(account_data.pieces_of(tx, self._feed, subject.source_id))
        return listing

    def add(self, records: Records) -> None:
        rows = records.rows
        found = self.listing.compare(rows, records.placed)
        self._unchanged += found.unchanged
        self._spools["added"].add(found.added)
        for name, active in _BESIDE_OLD.items():
            self._add_beside_old(name, getattr(found, name), active=active)
        if self._phone is not None and self._standing:
            given = rows[self._phone]
            self._phones.append(given.cast(pl.UInt64, strict=False).drop_nulls())

    def changes(self, tx: sa.Connection, records: Records) -> Changes:
        kept = self.listing.keep(records.kept)
        spool = Spool(self._folder, f"{self._feed.name}.deactivated")
        if records.keep_all:
            kept += self.listing.missing
        elif self._subject.mode is not Mode.DELTA:
            for keys in self.listing.end_missing():
                spool.add(self._at(tx, keys).filter("active").drop("active"))
            if spool.height != self.listing.missing:
                raise ListingDiffers
        return Changes(
            feed=self._feed,
            added=self._spools["added"],
            changed=self._spools["changed"],
            reactivated=self._spools["reactivated"],
            deactivated=spool,
            unchanged=self._unchanged,
            standing=self._standing,
            kept=kept if self._subject.mode is not Mode.DELTA else 0,
            busiest=self._busiest(tx),
        )

    def _at(self, tx: sa.Connection, keys: pl.DataFrame) -> pl.DataFrame:
        return account_data.rows_at(tx, self._feed, self._subject.source_id, keys)

    def _add_beside_old(self, name: str, rows: pl.DataFrame, *, active: bool) -> None:
        """Keep rows beside what the database holds of them: read while the file still is, in a transaction of its own.

        What is applied in the end is applied only if the source still stands where it did.
        """
        key, others = list(self._feed.key), [name for name in self._feed.field_names if name not in self._feed.key]
        for some in rows.iter_slices(_READ_AT_ONCE):
            with self._subject.here.db.read() as tx:
                old = self._at(tx, some).filter(pl.col("active") == active).drop("active")
            joined = some.join(old.rename({other: f"old_{other}" for other in others}), on=key)
            if joined.height != some.height:
                raise ListingDiffers
            self._spools[name].add(joined)

    def _busiest(self, tx: sa.Connection) -> tuple[int, int]:
        if self._phone is None or not self._phones:
            return 0, 0
        numbers, counts = np.unique(pl.concat(self._phones).to_numpy(), return_counts=True)
        self._phones = []
        if not len(numbers):
            return 0, 0
        most = int(counts.argmax())
        phone = f"{numbers[most]:010d}"
        return int(counts[most]), account_data.active_with(tx, self._feed, self._subject.source_id, self._phone, phone)


_BESIDE_OLD: Final = {"changed": True, "reactivated": False}
"""Changes of rows that the database holds, and whether these are active there."""
_READ_AT_ONCE: Final = 50_000
"""Rows."""


def _first_load(subject: Subject, feeds: Sequence[Feed]) -> Iterator[Comparison]:
    with _load(subject, feeds) as load:
        first = FirstLoad(subject, feeds, load)
        yield first
    if not first.committed:
        _discard_load(subject, feeds)


def _load(subject: Subject, feeds: Sequence[Feed]) -> BulkLoad | CopyLoad:
    here, run, source_id = subject.here, subject.run, subject.source_id
    if here.db.file is None:
        return CopyLoad(here.db, run, owner=here.owner, source_id=source_id)
    return BulkLoad(here.db.file, run, owner=here.owner, source_id=source_id, feeds=feeds)


def _discard_load(subject: Subject, feeds: Sequence[Feed]) -> None:
    for feed in feeds:
        account_data.discard_load(subject.here.db, feed, subject.source_id)


def _listing_folder(subject: Subject, feed: Feed) -> Path:
    return subject.here.zone.folder("listings", subject.run.account) / f"{subject.source_id}.{feed.name}"


def _listing(subject: Subject, feed: Feed, *, batches: float = 1) -> Listing:
    """An empty one, whatever was kept before; see Listing."""
    listing = Listing(_listing_folder(subject, feed), feed, subject.run.serial, batches=batches)
    listing.discard()
    return listing


def _write(listing: Listing, shows: int) -> None:
    """Write a listing for the next file; without it that one takes longer, so its failure is nobody's but the log's."""
    with _not_needed(listing):
        listing.write(shows)


def _keep(listing: Listing) -> None:
    """Keep it, if it was written."""
    with _not_needed(listing):
        listing.keep_written()


@contextlib.contextmanager
def _not_needed(listing: Listing) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.warning("listing.not_kept", exc_info=error)
        listing.discard()


@contextlib.contextmanager
def _spool_folder(subject: Subject) -> Iterator[Path]:
    folder = staging.spool_folder(subject.here.zone, subject.run)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(mode=FOLDER_MODE, parents=True)
    try:
        yield folder
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
