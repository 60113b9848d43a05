"""An arrival: one upload that a client has open. Bytes only; what becomes of them is decided in receiving.py."""

import errno
import os
from dataclasses import dataclass, field

from landingzone.db import DISK_FULL
from landingzone.refusal import NoRoom, Refused, TooMuch
from landingzone.room import Room
from landingzone.zone import Mark, Upload, Zone
from sftpd.coverage import Coverage
from sftpd.visitor import Visitor

WINDOW = 256 << 20
"""How far ahead, in bytes, a client may write: the widest known (rclone) keeps 16 MiB under way."""
MAX_ISLANDS = 1024
"""How many separate pieces may be waiting for what is missing between them."""
READ_MOST = 1 << 20
"""Bytes of one answer to a read; a client asks again for the rest."""


@dataclass(eq=False, slots=True)
class Arrival:
    """An upload with its open, locked descriptor.

    Attributes:
        zone: where it lies.
        upload: the upload as its file is named now.
        descriptor: open for reading and writing; the lock on it says that this process has the upload in hand.
        visitor: whose it is.
        room: the room of its account.
        appends: the client asked for every write to go to the end.
        coverage: which bytes have come.
        closing: the client has closed it; it is on its way.
        incomplete: a write was refused, so that what is there is not what the client sent.
        broken: why nothing more can be written and nothing will land; None while all is well.
        synced: whether what has come is on the disk.
    """

    zone: Zone
    upload: Upload
    descriptor: int
    visitor: Visitor
    room: Room
    appends: bool = False
    coverage: Coverage = field(default_factory=Coverage)
    closing: bool = False
    incomplete: bool = False
    broken: Refused | None = None
    synced: bool = False
    _written: bool = False

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """Write all of the data, or raise: NoRoom on a full disk, Refused for what cannot be right.

        Some clients send an offset with an append and some send zeros: what would fall before the end goes to the end.
        A first write before the end of a reopened upload sends that part anew: what was there from its offset on goes.
        """
        if self.broken:
            raise self.broken
        if not data:
            return 0
        if offset < self.coverage.prefix:
            if self.appends:
                offset = self.coverage.end
            elif not self._written:
                self.set_size(offset)
        if offset + len(data) > self.coverage.prefix + WINDOW or len(self.coverage.islands) > MAX_ISLANDS:
            self.incomplete = True
            raise Refused(f"The bytes from {self.coverage.prefix} on are missing: send the whole file again.")
        if (grown := offset + len(data) - self.coverage.end) > 0:
            self._take_room(offset + len(data), grown)
        self._written = True
        self.synced = False
        try:
            self._write_all(offset, data)
        except OSError as error:
            self._break(error)
        self.coverage.add(offset, len(data))
        if not self.coverage.whole and Mark.HOLES not in self.upload.marks:
            self.upload = self.zone.remark(self.upload, add=Mark.HOLES)
        return len(data)

    def read(self, offset: int, size: int) -> bytes:
        """What has come, from an offset on, up to the first missing byte."""
        return os.pread(self.descriptor, max(0, min(size, READ_MOST, self.coverage.prefix - offset)), offset)

    def set_size(self, size: int) -> None:
        """Cut the upload to a size, as scp does at the end of a rewritten file. Raises Refused for a larger one."""
        if self.broken:
            raise self.broken
        if size > self.coverage.end:
            raise Refused("A file grows by being written, not by being told its size.")
        if size < self.coverage.end:
            self.synced = False
            os.ftruncate(self.descriptor, size)
            self.coverage.cut(size)
        if size == 0 and Mark.RESUMED in self.upload.marks:
            self.upload = self.zone.remark(self.upload, drop=Mark.RESUMED)

    def sync(self) -> None:
        """Put what has come on the disk; blocks. Raises NoRoom on a full disk."""
        if self.broken:
            raise self.broken
        self.synced = True  # before: what is written meanwhile takes it back
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            self._break(error)

    def keep_prefix(self) -> None:
        """Cut off what lies beyond the first missing byte, so that what stays can be resumed."""
        if not self.coverage.whole:
            os.ftruncate(self.descriptor, self.coverage.prefix)
            self.coverage.cut(self.coverage.prefix)
        if Mark.HOLES in self.upload.marks:
            self.upload = self.zone.remark(self.upload, drop=Mark.HOLES)

    def discard(self, why: Refused) -> None:
        """Give the upload's room free at once, also while the client still has it open."""
        self.broken = why
        self.zone.discard_upload(self.upload)
        try:
            os.ftruncate(self.descriptor, 0)
        except OSError as error:
            if error.errno != errno.ESTALE:  # on a network filesystem it is gone already, and its room with it
                raise
        self.coverage = Coverage()

    def release(self) -> None:
        """Close the descriptor and with it the lock; nothing can be written any more."""
        self.broken = self.broken or Refused("This file is closed.")
        os.close(self.descriptor)

    def _take_room(self, size: int, by: int) -> None:
        try:
            self.room.grow(size, by)
        except Refused as why:
            self.discard(why)
            log = self.visitor.log.bind(upload_id=self.upload.id)
            log.warning("upload.refused", reason="too_much" if isinstance(why, TooMuch) else "disk_floor")
            raise

    def _write_all(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of it: the system may take less at a time, above all while the disk fills up."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            if written == 0:
                raise OSError(errno.ENOSPC, "nothing was written")
            view = view[written:]
            offset += written

    def _break(self, error: OSError) -> None:
        """Discard the upload for an error of the disk, and tell the client."""
        full = error.errno in DISK_FULL
        why = NoRoom() if full else Refused("The server could not store the file. Please send it again later.")
        self.discard(why)
        log = self.visitor.log.bind(upload_id=self.upload.id)
        log.error("upload.refused", reason="disk_full" if full else "disk_error", errno=error.errno)
        raise why from error
