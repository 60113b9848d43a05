"""Receiving over HTTPS: bytes go to the disk as they come, in constant memory; what blocks goes to threads.

One request at a time adds to an upload. A client whose line broke may be back before this side has noticed: then the
older request gives way, with what it has received written down. One that another console has in hand is waited for a
little, then the client is told to come again; a console that is killed holds nothing any more. What came before a cut
is kept, unless a checksum was announced for it, which cannot be proven any more.
"""

import asyncio
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from console.web_uploads import InUse, Landed, Sender, Sending, WebUploads
from landingzone.backpressure import Backpressure
from landingzone.db import DISK_FULL
from landingzone.refusal import NoRoom, Refused, TooMuch
from landingzone.room import Room, Rooms
from landingzone.zone import Zone

BATCH = 1 << 20
"""Bytes that are written at once."""
BATCH_SECONDS = 1.0
"""How long bytes wait for others, at most."""
SILENT_SECONDS = 60.0
"""A request of which nothing comes for so long is over."""
WAY_SECONDS = 10.0
"""How long a request that is to give way may take to write down what it has."""
OTHER_SECONDS, OTHER_LOOK_SECONDS = 2.0, 0.05
"""How long, and how often, it is looked whether another console lets go of an upload."""
WELCOME_SECONDS = 2.0
"""How often it is asked whether the sender still may."""
LOOK_SECONDS = 1.0
SWEEP_SECONDS = 60.0

ALGORITHMS = ("sha256", "sha1")
"""How what is sent can be proven; the protocol asks for sha1."""

Held = AbstractContextManager[tuple[Sending, int]]
"""An upload in hand, with its descriptor."""
Welcome = Callable[[], None]
"""Raises Refused if the sender may send no more; blocks."""

_log = structlog.get_logger("console")
_T = TypeVar("_T")


class WrongOffset(Refused):
    """The server has another number of bytes of this upload: ask for it, and go on from there."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class TooMany(Refused):
    """More bytes came than this upload is to have. Nothing of this request was kept."""


class NotAsProven(Refused):
    """The bytes are not those of the checksum. Nothing of this request was kept: send it again."""


class Cut(Refused):
    """The request ended before its body did. What came was kept."""


class Overtaken(Refused):
    """Another request goes on with this upload."""


class Crowded(Refused):
    """Too many uploads of this account are under way at once. Send it again in some seconds."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request are to give.

    Attributes:
        algorithm: one of ALGORITHMS.
        digest: of exactly the request's bytes.
    """

    algorithm: str
    digest: bytes


@dataclass(eq=False)
class _Hand:
    """A request that has an upload in hand."""

    account: str
    overtaken: asyncio.Event = field(default_factory=asyncio.Event)
    patience: asyncio.Timeout | None = None
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def give_way(self) -> None:
        """Stop waiting for bytes; what was received is still written."""
        self.overtaken.set()
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time())


class WebReceiving:
    """All uploads over HTTPS that this process receives.

    Args:
        zone: where they lie.
        uploads: what is known of them.
        rooms: how much each account may take; asked on the event loop only.
        threads: for what blocks.
    """

    def __init__(self, zone: Zone, uploads: WebUploads, rooms: Rooms, threads: Executor) -> None:
        self.rooms = rooms
        self._zone = zone
        self._uploads = uploads
        self._threads = threads
        self._hands: dict[str, _Hand] = {}

    @property
    def under_way(self) -> int:
        """How many uploads requests have in hand."""
        return len(self._hands)

    async def begin(self, sender: Sender, name: str, length: int, *, metadata: str = "") -> Sending:
        """A new upload; one without bytes lands at once. Raises Refused, NameRefused."""
        room = self.rooms.of(sender.account)
        try:
            room.check_size(length)
            room.begin_file()
        except Refused as refused:
            sender.log.warning("upload.refused", reason=_reason(refused))
            raise
        sending = await self.in_thread(lambda: self._uploads.begin(sender, name, length, metadata=metadata))
        return sending if length else await self._finished(sending)

    async def find(self, account: str, upload_id: str) -> Sending:
        """An account's upload; one whose bytes are all here lands first, if it has not. Raises Refused."""
        sending = await self.in_thread(lambda: self._uploads.find(account, upload_id))
        if sending.size < sending.length or sending.landing_id:
            return sending
        return await self._finished(sending)

    async def add(
        self,
        sending: Sending,
        offset: int,
        body: AsyncIterator[bytes],
        *,
        size: int | None = None,
        checksum: Checksum | None = None,
        welcome: Welcome,
    ) -> Sending:
        """Add what comes, from an offset on; the upload as it stands then. If that was all, it has landed.

        `size` is what the request says it will bring. Raises Refused: WrongOffset, TooMany, NotAsProven, Cut,
        Overtaken; NoRoom and TooMuch, after which the upload is gone; and what `welcome` raises.
        """
        try:
            async with self._in_hand(sending) as (standing, descriptor, hand):
                if standing.size != offset:
                    raise WrongOffset(standing.size)
                if offset + (size or 0) > standing.length:
                    raise TooMany
                room = self.rooms.of(standing.file.account)
                coming = _Incoming(self._uploads, self.in_thread, standing, descriptor, hand, room, welcome)
                added = await coming.take(body, checksum, self._zone.folder("uploads", standing.file.account))
                if added.size < added.length:
                    return added
                await self.in_thread(welcome)
                return await self.in_thread(lambda: self._uploads.land(added, descriptor))
        except Landed:
            landed = await self.find(sending.file.account, sending.file.id)
            if offset != landed.length or size:
                raise WrongOffset(landed.length) from None
            return landed

    async def discard(self, sending: Sending) -> None:
        """Give an upload up. Raises Landed if it is too late for that, Gone, InUse."""
        async with self._in_hand(sending) as (standing, descriptor, _):
            if standing.size == standing.length:
                await self.in_thread(lambda: self._uploads.land(standing, descriptor))
                raise Landed
            await self.in_thread(lambda: self._uploads.discard(standing, descriptor))
        sending.log.info("upload.discarded")

    async def keep_house(self) -> None:
        """Look at the disk and the queue, let what is whole land, discard what has expired; for ever and ever."""
        swept = -SWEEP_SECONDS
        while True:
            try:
                await self.in_thread(self.rooms.look_at_disk)
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    swept = time.monotonic()
                    await self.in_thread(self._uploads.sweep)
            except (OSError, sa.exc.SQLAlchemyError):  # the next look may find it better
                _log.exception("console.error", request="keep_house")
            await asyncio.sleep(LOOK_SECONDS)

    def give_way(self) -> None:
        """The server stops: every request that adds to an upload ends, with what has come written down."""
        for hand in self._hands.values():
            hand.give_way()

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Do what blocks in a thread; it is done when this returns, also if whoever waits is cancelled."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            raise

    async def _finished(self, sending: Sending) -> Sending:
        try:
            async with self._in_hand(sending) as (standing, descriptor, _):
                return await self.in_thread(lambda: self._uploads.land(standing, descriptor))
        except Landed:
            return await self.in_thread(lambda: self._uploads.find(sending.file.account, sending.file.id))

    @asynccontextmanager
    async def _in_hand(self, sending: Sending) -> AsyncIterator[tuple[Sending, int, _Hand]]:
        """The upload in this request's hand alone: an older request that still waits for bytes gives way."""
        upload_id, account, limits = sending.file.id, sending.file.account, self.rooms.limits
        while other := self._hands.get(upload_id):
            other.give_way()
            try:
                await asyncio.wait_for(other.free.wait(), WAY_SECONDS)
            except TimeoutError:
                raise InUse from None
        of_account = sum(hand.account == account for hand in self._hands.values())
        if of_account >= limits.sessions_per_account or len(self._hands) >= limits.sessions:
            raise Crowded
        hand = self._hands[upload_id] = _Hand(account)
        try:
            held, standing, descriptor = await self._taken(sending, hand)
            try:
                yield standing, descriptor, hand
            finally:
                await self.in_thread(lambda: held.__exit__(None, None, None))
        finally:
            del self._hands[upload_id]
            hand.free.set()

    async def _taken(self, sending: Sending, hand: _Hand) -> tuple[Held, Sending, int]:
        """The upload once no other process has it in hand: one that is dying, or has just lost its client, lets go."""
        until = time.monotonic() + OTHER_SECONDS
        while True:
            held = self._uploads.in_hand(sending)
            try:
                return held, *await self.in_thread(held.__enter__)
            except InUse:
                if time.monotonic() > until or hand.overtaken.is_set():
                    raise
            await asyncio.sleep(OTHER_LOOK_SECONDS)


@dataclass
class _Incoming:
    """The bytes of one request on their way to the disk."""

    uploads: WebUploads
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    sending: Sending
    descriptor: int
    hand: _Hand
    room: Room
    welcome: Welcome
    came: int = 0
    _batch: list[bytes] = field(default_factory=list)
    _batched: int = 0
    _batch_since: float = 0.0
    _asked: float = field(default_factory=time.monotonic)

    async def take(self, body: AsyncIterator[bytes], checksum: Checksum | None, spools: Path) -> Sending:
        """Take all of it in; the upload as it stands then. Raises Refused."""
        try:
            if checksum is None:
                await self._take(body)
            else:
                await self._take_proven(body, checksum, spools)
        except (NoRoom, TooMuch) as refused:
            await self._discard(_reason(refused))
            raise
        except OSError as error:
            full = error.errno in DISK_FULL
            await self._discard("disk_full" if full else "disk_error")
            raise (NoRoom() if full else Refused("The server could not store the file. Send it again.")) from error
        return self._standing()

    async def _take(self, body: AsyncIterator[bytes]) -> None:
        start = self.sending.size
        try:
            await self._write_all(body, self.descriptor, start)
        except TooMany:
            await self.in_thread(lambda: os.ftruncate(self.descriptor, start))
            raise
        except (Cut, Overtaken, asyncio.CancelledError) as ended:
            await self._flush(self.descriptor, start)
            kept = self._standing()
            self.sending.log.warning("upload.cut", bytes=kept.size, kept=kept.size > 0, reason=_ended(ended))
            if kept.size > start:
                await self.in_thread(lambda: self.uploads.note_resumed(kept))
            raise

    async def _take_proven(self, body: AsyncIterator[bytes], checksum: Checksum, spools: Path) -> None:
        """By way of a file without a name: if this process is killed, nothing is left that was not proven."""
        start = self.sending.size
        spool = await self.in_thread(lambda: tempfile.TemporaryFile(dir=spools, buffering=0))  # noqa: SIM115 - in a thread
        try:
            digest = hashlib.new(checksum.algorithm, usedforsecurity=False)
            await self._write_all(body, spool.fileno(), 0, digest.update)
            if digest.digest() != checksum.digest:
                raise NotAsProven
            await self.in_thread(lambda: _copy(spool.fileno(), self.descriptor, start))
        except (Cut, Overtaken, asyncio.CancelledError) as ended:
            self.sending.log.warning("upload.cut", bytes=start, kept=start > 0, reason=_ended(ended))
            raise
        finally:
            await self.in_thread(spool.close)

    async def _write_all(
        self, body: AsyncIterator[bytes], target: int, start: int, also: Callable[[bytes], object] = lambda _: None
    ) -> None:
        pause = 0.0
        while (piece := await self._next(body, pause)) is not None:
            self.came += len(piece)
            if self.sending.size + self.came > self.sending.length:
                raise TooMany
            if not self._batch:
                self._batch_since = time.monotonic()
            self._batch.append(piece)
            self._batched += len(piece)
            pause = 0.0
            if self._batched >= BATCH or time.monotonic() - self._batch_since > BATCH_SECONDS:
                await self._flush(target, start, also)
                pause = self.room.ready_at - time.monotonic() if self.room.ready_at else 0.0
        await self._flush(target, start, also)

    async def _flush(self, target: int, start: int, also: Callable[[bytes], object] = lambda _: None) -> None:
        """Write what has come since the last time, if the account has room for it and its sender still may."""
        if not self._batched:
            return
        data, self._batch, self._batched = b"".join(self._batch), [], 0
        self.room.grow(self.sending.size + self.came, len(data))
        at = start + self.came - len(data)
        ask = time.monotonic() - self._asked > WELCOME_SECONDS
        self._asked = time.monotonic() if ask else self._asked

        def work() -> None:
            if ask:
                self.welcome()
            also(data)
            _write(target, data, at)

        await self.in_thread(work)

    async def _next(self, body: AsyncIterator[bytes], pause: float) -> bytes | None:
        """The next bytes; None at the end. Raises Cut, Overtaken."""
        if self.hand.overtaken.is_set():
            raise Overtaken
        try:
            async with asyncio.timeout(SILENT_SECONDS + pause) as self.hand.patience:
                if pause > 0:
                    await asyncio.sleep(pause)
                return await anext(body, None)
        except TimeoutError:
            raise (Overtaken if self.hand.overtaken.is_set() else Cut) from None
        finally:
            self.hand.patience = None

    def _standing(self) -> Sending:
        return replace(self.sending, size=os.fstat(self.descriptor).st_size)

    async def _discard(self, reason: str) -> None:
        self.sending.log.warning("upload.refused", reason=reason)
        try:
            await self.in_thread(lambda: self.uploads.discard(self.sending, self.descriptor))
        except (OSError, sa.exc.SQLAlchemyError):  # its room is free; it expires
            self.sending.log.exception("console.error", request="discard")


def _write(target: int, data: bytes, at: int) -> None:
    """Write all of it: the system may take less at a time, above all while the disk fills up."""
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, at)
        if written == 0:
            raise OSError(errno.ENOSPC, "nothing was written")
        view, at = view[written:], at + written


def _copy(source: int, target: int, at: int) -> None:
    """Add a file's bytes to another one, from an offset on."""
    done = 0
    while data := os.pread(source, BATCH, done):
        _write(target, data, at + done)
        done += len(data)


def _ended(error: BaseException) -> str:
    """Why a request ended before its body did, in the log's word."""
    match error:
        case Cut():
            return "connection_lost"
        case Overtaken():
            return "overtaken"
    return "server_stopped"


def _reason(refused: Refused) -> str:
    """Why a file was refused, in the log's word."""
    return "too_much" if isinstance(refused, TooMuch) else Backpressure.reason(refused)
