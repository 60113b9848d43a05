"""Receiving: the life of an upload, from its first byte until it has landed, is cut, or is given up.

    begun -> closed by the client -> expected name    -> landed
                                  -> temporary name   -> renamed by the client -> as above
                                  -> unexpected name  -> settled               -> landed
          -> connection lost      -> cut -> resumed by the client -> as begun
                                         -> expired

Runs on the event loop; only what blocks (fsync, the database) goes to threads. What must survive a crash stands in
the name of the upload's file (landingzone.zone.Mark). A file lock says which process has an upload in hand.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from landingzone import landing_record
from landingzone.backpressure import Backpressure
from landingzone.clock import now
from landingzone.db import Database, is_away, is_disk_full
from landingzone.landing import Landing
from landingzone.refusal import NoRoom, Refused, TooMuch
from landingzone.room import Room, Rooms
from landingzone.settings import DoorSettings
from landingzone.source import Source, is_temporary
from landingzone.zone import Mark, Upload, Zone, lock
from sftpd.arrival import Arrival
from sftpd.expectation import Expectation
from sftpd.neighbours import Neighbours
from sftpd.recent import MAX_PER_ACCOUNT, Recent
from sftpd.refusal import Denied, Missing
from sftpd.visitor import Visitor

RETRY_SETTLE_SECONDS = 30.0
"""When a settled file could not be landed (a full disk), it is tried again."""

_log = structlog.get_logger("sftpd")
_T = TypeVar("_T")
_FAILURES = (OSError, sa.exc.SQLAlchemyError, KeyError)


@dataclass(eq=False, slots=True)
class _Waiting:
    """A closed upload whose timer runs: who closed it, and the timer."""

    visitor: Visitor
    timer: asyncio.TimerHandle


class Receiving:
    """All uploads of this process.

    Args:
        zone: where they lie.
        db: the database; a withdrawal must have reached the disk before its file goes.
        notes: the same database with `normal` durability, for the notes on landings.
        expectation: which names are expected.
        settings: the door's.
        threads: for what blocks.
        rooms: how much each account may take.
    """

    def __init__(
        self,
        zone: Zone,
        db: Database,
        notes: Database,
        expectation: Expectation,
        settings: DoorSettings,
        threads: ThreadPoolExecutor,
        rooms: Rooms,
    ) -> None:
        self.zone = zone
        self.rooms = rooms
        self.recent = Recent(settings.remember_minutes)
        self.neighbours = Neighbours(zone.root)
        self.stopping = False
        self.last_change = 0.0
        self.received_bytes = 0
        self._db = db
        self._notes = notes
        self._expectation = expectation
        self._settings = settings
        self._threads = threads
        self._live: dict[str, Arrival] = {}
        self._settling: dict[str, _Waiting] = {}
        self._mtimes: dict[str, float] = {}
        self._work: set[asyncio.Future[None]] = set()

    @property
    def settings(self) -> DoorSettings:
        """Those that hold now."""
        return self._settings

    def use(self, settings: DoorSettings) -> None:
        """From now on these hold."""
        self._settings = settings
        self.recent.use(settings.remember_minutes)

    # Begin and resume

    def begin(self, visitor: Visitor, name: str) -> Arrival:
        """A new upload. One of the same name that was cut, or left under a temporary name, is discarded.

        Raises NoRoom, Refused, NameRefused.
        """
        self._check_open()
        room = self._room_for_a_file(visitor)
        self._make_way(visitor, name)
        try:
            upload, descriptor = self.zone.begin_upload(visitor.account, name)
        except OSError as error:
            if is_disk_full(error):
                visitor.log.exception("upload.refused", reason="disk_full")
                raise NoRoom from None
            raise
        lock(descriptor)
        return self._enter(Arrival(self.zone, upload, descriptor, visitor, room))

    def resume(self, visitor: Visitor, upload: Upload, *, appends: bool) -> Arrival | None:
        """The upload, opened again where it stopped; None if it cannot be resumed (too old, or gone).

        Raises Refused while somebody has it open.
        """
        self._check_open()
        if upload.id in self._live:
            raise Refused("This file is still being uploaded by another session. Wait, or send the whole file again.")
        with self._in_hand(upload) as descriptor:
            if descriptor is None or Mark.HOLES in upload.marks or self._expired(os.fstat(descriptor).st_mtime):
                return None
            self._forget_timer(upload)
            size = os.fstat(descriptor).st_size
            upload = self.zone.remark(upload, add=Mark.RESUMED if size else None, drop=Mark.CLOSED)
            arrival = Arrival(
                self.zone, upload, os.dup(descriptor), visitor, self.rooms.of(visitor.account), appends=appends
            )
            arrival.coverage.prefix = size
        visitor.log.info("upload.resumed", upload_id=upload.id, bytes=size)
        return self._enter(arrival)

    def is_live(self, upload: Upload) -> bool:
        """Whether a session of this process has the upload open."""
        return upload.id in self._live

    def live(self, upload: Upload, visitor: Visitor) -> Arrival | None:
        """The open upload, if it is open in this visitor's session."""
        arrival = self._live.get(upload.id)
        return arrival if arrival and arrival.visitor == visitor else None

    async def sync(self, arrival: Arrival) -> None:
        """Put what has come on the disk. Raises NoRoom, Refused."""
        await self._in_thread(arrival.sync)

    # The end of an open upload

    async def finish(self, arrival: Arrival) -> None:
        """The client closed the upload itself. If its name is expected it has landed when this returns.

        Raises Refused (NoRoom) if nothing was kept, or bytes are missing: the client must see its upload fail.
        """
        await self._finish_what_began(self._finish(arrival))

    def cut(self, arrival: Arrival, *, reason: str = "connection_lost") -> None:
        """The client is gone with the upload open: what came stays, so that it can be resumed."""
        upload = arrival.upload
        try:
            if arrival.broken:
                return
            arrival.keep_prefix()
            size = arrival.coverage.prefix
            if not size:
                self.zone.discard_upload(arrival.upload)
            arrival.visitor.log.warning("upload.cut", upload_id=upload.id, bytes=size, kept=size > 0, reason=reason)
        except OSError:  # nobody is there to be told; the next file that was left open must still be looked after
            arrival.visitor.log.exception("door.error", request="cut", upload_id=upload.id)
        finally:
            self._leave(arrival)

    async def _finish(self, arrival: Arrival) -> None:
        arrival.closing = True
        try:
            if arrival.broken:
                raise arrival.broken
            if not arrival.coverage.whole:
                missing = arrival.coverage.prefix
                self._keep_as_cut(arrival, reason="bytes_missing")
                raise Refused(f"The bytes from {missing} on are missing: resume there, or send the whole file again.")
            if arrival.incomplete:
                self._keep_as_cut(arrival, reason="write_refused")
                raise Refused("A part of this file was refused: send the whole file again.")
            arrival.upload = self.zone.remark(arrival.upload, add=Mark.CLOSED, drop=Mark.HOLES)
            if is_temporary(arrival.upload.name):
                os.utime(arrival.descriptor)  # it expires, and settles, counted from its close
                return
            source = await self._expectation.match(arrival.visitor.account, arrival.upload.name)
            if source is not None:
                await self._land_arrival(arrival, source)
            else:
                os.utime(arrival.descriptor)
                await self._in_thread(arrival.sync)
                self._settle_in(self._settings.settle_seconds, arrival.upload, arrival.visitor)
        finally:
            self._leave(arrival)

    async def _land_arrival(self, arrival: Arrival, source: Source) -> None:
        try:
            upload, visitor = arrival.upload, arrival.visitor
            await self._land(upload, upload.name, arrival.descriptor, visitor, source, synced=arrival.synced)
        except Refused as refused:
            # gone, so that a client that looks back instead of reading the answer (paramiko) sees that it failed
            arrival.discard(refused)
            raise

    def _keep_as_cut(self, arrival: Arrival, *, reason: str) -> None:
        arrival.keep_prefix()
        size = arrival.coverage.prefix
        if not size:
            self.zone.discard_upload(arrival.upload)
        log = arrival.visitor.log.bind(upload_id=arrival.upload.id)
        log.warning("upload.refused", reason=reason, bytes=size, kept=size > 0)

    # Closed uploads

    async def rename(self, visitor: Visitor, upload: Upload, name: str) -> None:
        """Give an upload another name; one that was closed under a temporary name lands if the new one is expected.

        Raises Refused for one that was cut, or that somebody else has open; NameRefused; NoRoom.
        """
        await self._finish_what_began(self._rename(visitor, upload, name))

    async def _rename(self, visitor: Visitor, upload: Upload, name: str) -> None:
        arrival = self._live.get(upload.id)
        if arrival is not None:
            if arrival.visitor != visitor or arrival.closing:
                raise Refused("This file is still being uploaded by another session.")
            arrival.upload = self.zone.rename_upload(arrival.upload, name)
            return
        if Mark.CLOSED not in upload.marks:
            raise Refused("This upload was cut before its end: resume it, or send the whole file again.")
        source = await self._expectation.match(visitor.account, name)
        with self._in_hand(upload) as descriptor:
            if descriptor is None:
                raise Missing
            self._forget_timer(upload)
            await asyncio.gather(*self._make_way(visitor, name, but=upload))
            if source is not None:
                await self._land(upload, name, descriptor, visitor, source)
                return
            os.utime(descriptor)
            renamed = self.zone.rename_upload(upload, name)
            if not is_temporary(name):
                await self._in_thread(lambda: os.fsync(descriptor))
                self._settle_in(self._settings.settle_seconds, renamed, visitor)

    def discard(self, visitor: Visitor, upload: Upload) -> None:
        """The customer deletes an upload; one that is open is given up. Raises Missing if it is gone."""
        arrival = self._live.get(upload.id)
        if arrival is not None and arrival.closing:
            raise Denied("This file is just landing.")
        if arrival is not None:
            arrival.discard(Refused("This file was deleted while it was being uploaded."))
        else:
            with self._in_hand(upload) as descriptor:
                if descriptor is None:
                    raise Missing
                self._forget_timer(upload)
                self.zone.discard_upload(upload)
        visitor.log.info("upload.discarded", upload_id=upload.id)

    async def withdraw(self, visitor: Visitor, landing: Landing) -> None:
        """The customer deletes what waits. Raises Denied if the import has taken it already."""
        try:
            await self._in_thread(lambda: self._withdraw(landing))
        except FileNotFoundError:
            raise Denied(
                "This file has already been taken into the import. Its receipt will be in /receipts."
            ) from None
        self.recent.forget(landing)
        visitor.log.info("file.withdrawn", landing_id=landing.id)

    def _withdraw(self, landing: Landing) -> None:
        self.zone.inbox_path(landing).lstat()
        with self._db.write() as tx:
            landing_record.note_withdrawal(tx, landing)
        try:
            self.zone.withdraw(landing)
        except FileNotFoundError:
            with self._db.write() as tx:
                landing_record.retract_withdrawal(tx, landing)
            raise

    def set_mtime(self, upload: Upload, mtime: float) -> None:
        """Remember the time that the client gives an upload; the file's own says when it was last written."""
        self._mtimes[upload.id] = mtime

    def mtime(self, upload: Upload) -> float | None:
        """The time that the client gave an upload, if it did."""
        return self._mtimes.get(upload.id)

    # Housekeeping

    async def take_up(self) -> None:
        """After a start, before anybody comes in: what a crash left on its way goes on.

        Closed uploads with an expected name land now (a later file of that name must land after them); the others go on
        settling, counted from their close. Those with holes in them can never be whole: they are discarded.
        """
        for upload in self._all():
            if Mark.HOLES in upload.marks:
                self._discard_broken(upload)
            elif Mark.CLOSED in upload.marks and not is_temporary(upload.name) and upload.id not in self._settling:
                try:
                    closed = self.zone.upload_path(upload).lstat().st_mtime
                except FileNotFoundError:
                    continue
                visitor = Visitor(upload.account)
                if await self._expectation.match(upload.account, upload.name):
                    await self._settle(upload, visitor)
                    continue
                left = closed + self._settings.settle_seconds - time.time()
                self._settle_in(min(max(0.0, left), self._settings.settle_seconds), upload, visitor)

    def expire(self, account: str) -> None:
        """Discard what nobody resumed or renamed in time, and what a crash left with holes."""
        for upload in self.zone.uploads(account):
            if upload.id in self._live or (Mark.CLOSED in upload.marks and not is_temporary(upload.name)):
                continue
            with self._in_hand(upload) as descriptor:
                if descriptor is None:
                    continue
                if Mark.HOLES not in upload.marks and not self._expired(os.fstat(descriptor).st_mtime):
                    continue
                size = os.fstat(descriptor).st_size
                self.zone.discard_upload(upload)
            self._mtimes.pop(upload.id, None)
            _log.warning("upload.expired", account=upload.account, upload_id=upload.id, bytes=size)

    async def work_done(self, *, seconds: float) -> None:
        """Wait until what is on its way into the inbox is there."""
        if self._work:
            await asyncio.wait(self._work, timeout=seconds)

    @property
    def busy(self) -> bool:
        """Whether an upload is open or on its way into the inbox."""
        return bool(self._live or self._work)

    @property
    def open_uploads(self) -> int:
        """How many uploads are open."""
        return len(self._live)

    def give_up(self) -> list[str]:
        """The server stops: every open upload is cut and can be resumed later; the ids of those."""
        for waiting in self._settling.values():
            waiting.timer.cancel()
        given_up = [arrival for arrival in self._live.values() if not arrival.closing]
        for arrival in given_up:
            self.cut(arrival, reason="server_stopped")
        return [arrival.upload.id for arrival in given_up]

    # How a file lands

    async def _land(
        self,
        upload: Upload,
        name: str,
        descriptor: int,
        visitor: Visitor,
        source: Source | None,
        *,
        synced: bool = False,
    ) -> None:
        info = os.fstat(descriptor)
        mtime = self._mtimes.get(upload.id, info.st_mtime)
        resumed = Mark.RESUMED in upload.marks
        log = visitor.log.bind(upload_id=upload.id)

        def note_and_land() -> Landing:
            landing = self.zone.new_landing(visitor.account, name)
            try:
                landing = self._note(landing, visitor, size=info.st_size, mtime=mtime, resumed=resumed)
            except sa.exc.OperationalError as error:
                if is_disk_full(error) or is_away(error):
                    raise  # nobody would know who sent it: the client is told that it has not arrived
                # the database is busy: the file is the truth, not the note
                log.warning("landing.not_noted", landing_id=landing.id)
            self.zone.land(upload, landing, descriptor, synced=synced)
            return landing

        began = time.perf_counter()
        try:
            landing = await self._in_thread(note_and_land)
        except _FAILURES as error:
            full = is_disk_full(error)
            log.exception("upload.refused", reason="disk_full" if full else "landing_failed")
            if full:
                raise NoRoom from None
            raise Refused("The server could not store the file. Please send it again later.") from None
        self._mtimes.pop(upload.id, None)
        self.recent.remember(landing, size=info.st_size, mtime=mtime)
        log.info(
            "file.landed",
            landing_id=landing.id,
            source=source.name if source else None,
            bytes=info.st_size,
            resumed=resumed,
            milliseconds=round((time.perf_counter() - began) * 1000, 1),
        )

    def _note(self, landing: Landing, visitor: Visitor, *, size: int, mtime: float, resumed: bool) -> Landing:
        """Note a landing, in a thread; under a new id where another door has just noted a later one."""
        who = {"key_fingerprint": visitor.key_fingerprint, "peer": visitor.peer}
        with self._notes.write() as tx:
            return landing_record.note_in_order(
                tx, landing, self.zone.new_landing, size=size, mtime=mtime, resumed=resumed, **who
            )

    # What other doors have taken in

    async def recall(self, account: str, name: str = "") -> None:
        """Learn what has landed at other doors in the last minutes, where there are any: all, or what bears a name."""
        try:
            found = await self._in_thread(lambda: self._landed_elsewhere(account, name))
        except sa.exc.SQLAlchemyError:
            _log.exception("door.error", request="recall", account=account)
            return
        for shown in reversed(found):
            known = self.recent.find(account, shown.landing.name)
            if known is None or known.landing.id <= shown.landing.id:
                self.recent.remember(shown.landing, size=shown.size, mtime=shown.mtime)

    def _landed_elsewhere(self, account: str, name: str) -> list[landing_record.Shown]:
        since = now() - timedelta(minutes=self._settings.remember_minutes)
        with self._notes.read() as tx:
            noted = landing_record.landed_since(tx, account, since, name=name, most=MAX_PER_ACCOUNT)
        # a note comes before its file: of a door that was killed between the two nothing has landed
        return [one for one in noted if one.taken or self._lies_there(one.landing)]

    def _lies_there(self, landing: Landing) -> bool:
        return self.zone.inbox_path(landing).exists() or self.zone.work_folder(landing).exists()

    async def set_landed_mtime(self, landing: Landing, mtime: float) -> None:
        """Let every door show the time that the client gives what has landed."""

        def note() -> None:
            with self._notes.write() as tx:
                landing_record.note_mtime(tx, landing.id, mtime)

        try:
            await self._in_thread(note)
        except sa.exc.SQLAlchemyError:  # this door remembers it all the same
            _log.exception("door.error", request="set_landed_mtime", account=landing.account)

    def _settle_in(self, seconds: float, upload: Upload, visitor: Visitor) -> None:
        def start() -> None:
            self._settling.pop(upload.id, None)
            self._begin(self._settle(upload, visitor))

        timer = asyncio.get_running_loop().call_later(seconds, start)
        self._settling[upload.id] = _Waiting(visitor, timer)

    async def _settle(self, upload: Upload, visitor: Visitor) -> None:
        source = await self._expectation.match(upload.account, upload.name)
        with self._in_hand(upload) as descriptor:
            if descriptor is None:
                return
            try:
                await self._land(upload, upload.name, descriptor, visitor, source)
            except Refused:
                self._settle_in(RETRY_SETTLE_SECONDS, upload, visitor)

    # Small things

    def _check_open(self) -> None:
        if self.stopping:
            raise Refused("The server is being restarted. Please try again in a minute.")

    def _room_for_a_file(self, visitor: Visitor) -> Room:
        room = self.rooms.of(visitor.account)
        try:
            room.begin_file()
        except Refused as refused:
            reason = "too_much" if isinstance(refused, TooMuch) else Backpressure.reason(refused)
            visitor.log.warning("upload.refused", reason=reason)
            raise
        return room

    def _enter(self, arrival: Arrival) -> Arrival:
        self._live[arrival.upload.id] = arrival
        return arrival

    def _leave(self, arrival: Arrival) -> None:
        if self._live.pop(arrival.upload.id, None) is not None:
            arrival.release()
            self.last_change = time.monotonic()

    def _make_way(self, visitor: Visitor, name: str, *, but: Upload | None = None) -> "list[asyncio.Future[None]]":
        """Prepare for a new file of that name: what was cut, or left under a temporary name, is discarded.

        What was closed and is settling lands now, because it must land before the new one; returned is what is on
        its way. What somebody has open is left alone.
        """
        on_their_way = []
        for old in self.zone.uploads(visitor.account, name):
            if old == but or old.id in self._live:
                continue
            if Mark.CLOSED in old.marks and not is_temporary(old.name):
                waiting = self._settling.get(old.id)
                if waiting:
                    self._forget_timer(old)
                    on_their_way.append(self._begin(self._settle(old, waiting.visitor)))
                continue
            with self._in_hand(old) as descriptor:
                if descriptor is not None:
                    self.zone.discard_upload(old)
                    self._mtimes.pop(old.id, None)
                    visitor.log.info("upload.discarded", upload_id=old.id)
        return on_their_way

    def _discard_broken(self, upload: Upload) -> None:
        with self._in_hand(upload) as descriptor:
            if descriptor is not None:
                self.zone.discard_upload(upload)
                _log.warning("upload.discarded", account=upload.account, upload_id=upload.id, reason="holes")

    def _forget_timer(self, upload: Upload) -> None:
        waiting = self._settling.pop(upload.id, None)
        if waiting:
            waiting.timer.cancel()

    def _expired(self, mtime: float) -> bool:
        return time.time() - mtime > self._settings.resume_hours * 3600

    def _all(self) -> Iterator[Upload]:
        for account in self.zone.accounts_with("uploads"):
            yield from self.zone.uploads(account)

    @contextmanager
    def _in_hand(self, upload: Upload) -> Iterator[int | None]:
        """The descriptor of an upload, locked; None if it is gone, or if somebody else has it in hand."""
        try:
            descriptor = self.zone.reopen_upload(upload)
        except FileNotFoundError:
            yield None
            return
        try:
            yield descriptor if lock(descriptor) else None
        finally:
            os.close(descriptor)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _finish_what_began(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry it through even if the client's connection is torn down meanwhile."""
        await asyncio.shield(self._begin(work))
