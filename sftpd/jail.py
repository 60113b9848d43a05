"""The jail: what a customer can do over SFTP. Each request is looked up in the view and carried out by receiving.

Nothing here follows a link, leaves the account's own folders, or believes a path: names are taken apart by letters.
"""

import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncssh
from asyncssh.constants import FXF_APPEND, FXF_CREAT, FXF_EXCL, FXF_TRUNC, FXF_WRITE
from asyncssh.sftp import SFTPAttrs, SFTPName, SFTPServer

from landingzone.landing import Landing, check_name
from landingzone.refusal import Refused
from sftpd.arrival import READ_MOST, Arrival
from sftpd.receiving import Receiving
from sftpd.refusal import Denied, Missing
from sftpd.transport import Transport
from sftpd.view import RECEIPTS, Entry, Place, View, normalise, open_regular
from sftpd.visitor import Visitor

_T = TypeVar("_T")
_FILE = stat.S_IFREG | 0o600
_RECEIPT = stat.S_IFREG | 0o400
_FOLDER = stat.S_IFDIR | 0o700
_READ_ONLY_FOLDER = stat.S_IFDIR | 0o500


@dataclass(eq=False, slots=True)
class Reading:
    """A file that is open for reading only; its size and time as they are shown."""

    descriptor: int
    entry: Entry
    mode: int


class Jail(SFTPServer):
    """One SFTP session of one account."""

    def __init__(self, channel: Any, visitor: Visitor, view: View, receiving: Receiving) -> None:  # noqa: ANN401 - asyncssh's
        super().__init__(channel)
        self.visitor = visitor
        self.limits = receiving.rooms.limits
        self._room = receiving.rooms.of(visitor.account)
        self._view = view
        self._receiving = receiving
        self.transport: Transport | None = channel.get_connection() if channel else None
        """The connection, which says whether the client reads its answers."""
        self.active = time.monotonic()
        """When the client last asked for something, on the monotonic clock; sftpd.handler sets it."""
        self.left = False
        """Whether the session is over."""
        self.expelled = False
        """Whether it was ended by the server: sftpd.handler answers nothing more."""
        self._gone = False
        self._open: set[Arrival | Reading] = set()

    def client_gone(self) -> None:
        """From now on a close is not the client's own: sftpd.handler calls this before it closes what is still open."""
        self._gone = True

    def expel(self, why: Denied, *, discard: bool) -> list[str]:
        """End the session: nothing that the client has sent, or still sends, lands; the ids of its open uploads.

        With `discard` they are dropped, else they are cut and can be resumed. What the client itself has closed before
        is on its way.
        """
        self._gone = self.expelled = True
        arrivals = [one for one in self._open if isinstance(one, Arrival) and not one.closing]
        for arrival in arrivals:
            if discard:
                arrival.discard(why)
            self.close(arrival)
            arrival.broken = why
        return sorted(arrival.upload.id for arrival in arrivals)

    def pause_seconds(self) -> float:
        """How long the client has to wait before its next request, by the upload rate; not above 0: not at all."""
        ready_at = self._room.ready_at
        return ready_at - time.monotonic() if ready_at else 0

    # Files

    def open(
        self,
        path: bytes,
        pflags: int,
        attrs: SFTPAttrs,  # noqa: ARG002 - modes are ours
    ) -> "Arrival | Reading | Awaitable[Arrival | Reading]":
        """Open a file: for reading, as a new upload, or an upload that goes on where it was cut."""
        if pflags & FXF_TRUNC and not pflags & FXF_EXCL:  # whatever is there, it begins anew
            return self._open_now(path, pflags)
        return self._looking_back(path, lambda: self._open_now(path, pflags))

    def _open_now(self, path: bytes, pflags: int) -> "Arrival | Reading":
        if self._gone:
            raise Refused("This session is over.")
        if len(self._open) >= self.limits.handles_per_session:
            raise Refused("Too many files are open in this session: close some.")
        place = Place.of(path)
        if not place.name:
            raise Refused("This is a folder.")
        if not pflags & (FXF_WRITE | FXF_APPEND | FXF_CREAT | FXF_TRUNC):
            opened: Arrival | Reading = self._open_for_reading(place)
        elif place.folder:
            raise Denied("Receipts are read-only.")
        else:
            opened = self._open_for_writing(check_name(place.name), pflags)
        self._open.add(opened)
        return opened

    def _open_for_reading(self, place: Place) -> Reading:
        entry = self._find(place)
        if not place.folder and not self._receiving.settings.read_back:
            raise Denied("What was sent cannot be read here. Its receipt will be in /receipts.")
        if entry.path is None:
            raise Denied("This file has already been taken into the import. Its receipt will be in /receipts.")
        return Reading(open_regular(entry.path), entry, _RECEIPT if place.folder else _FILE)

    def _open_for_writing(self, name: str, pflags: int) -> Arrival:
        if pflags & FXF_TRUNC and not pflags & FXF_EXCL:
            return self._receiving.begin(self.visitor, name)
        known = self._view.find(self.visitor.account, name)
        if pflags & FXF_EXCL and known and known.path:
            raise asyncssh.SFTPFileAlreadyExists("There is a file of this name already.")
        if pflags & FXF_TRUNC or (known is None and pflags & FXF_CREAT):
            return self._receiving.begin(self.visitor, name)
        if known is None:
            raise Missing
        if known.upload:
            arrival = self._receiving.resume(self.visitor, known.upload, appends=bool(pflags & FXF_APPEND))
            if arrival is None and not pflags & FXF_CREAT:
                raise Refused("This upload cannot be resumed any more: send the whole file again.")
            return arrival or self._receiving.begin(self.visitor, name)
        if pflags & FXF_APPEND or not pflags & FXF_CREAT:
            raise Denied("This file has already landed; nothing can be added to it. Send the whole file again.")
        return self._receiving.begin(self.visitor, name)

    def close(self, file_obj: object) -> Awaitable[None] | None:
        """The client's own close, or, once it is gone, the end of what it left open."""
        assert isinstance(file_obj, Arrival | Reading)
        if file_obj not in self._open:  # the session was ended meanwhile, and it with it
            return None
        self._open.discard(file_obj)
        if isinstance(file_obj, Reading):
            os.close(file_obj.descriptor)
            return None
        if self._gone:
            self._receiving.cut(file_obj)
            return None
        return self._receiving.finish(file_obj)

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """Bytes of a file, at most READ_MOST at once; of an own upload what has come without a gap."""
        if offset >= 1 << 63:
            return b""
        if isinstance(file_obj, Arrival):
            return file_obj.read(offset, size)
        assert isinstance(file_obj, Reading)
        return os.pread(file_obj.descriptor, min(size, READ_MOST), offset)

    def write(self, file_obj: object, offset: int, data: bytes | memoryview) -> int:
        """Write all of the data."""
        written = _writable(file_obj).write(offset, data)
        self._receiving.received_bytes += written
        return written

    async def fsync(self, file_obj: object) -> None:
        """Put on the disk what has come (OpenSSH's put -f)."""
        if isinstance(file_obj, Arrival):
            await self._receiving.sync(file_obj)

    # Attributes

    def stat(self, path: bytes) -> SFTPAttrs | Awaitable[SFTPAttrs]:
        """Size, time and kind of a file or folder."""
        return self._looking_back(path, lambda: self._stat_now(path))

    def _stat_now(self, path: bytes) -> SFTPAttrs:
        place = Place.of(path)
        if not place.name:
            return _attrs(_READ_ONLY_FOLDER if place.folder else _FOLDER)
        return self._shown(self._find(place), _RECEIPT if place.folder else _FILE)

    def lstat(self, path: bytes) -> SFTPAttrs | Awaitable[SFTPAttrs]:
        """The same: there are no links."""
        return self.stat(path)

    def fstat(self, file_obj: object) -> SFTPAttrs:
        """Size and time of an open file."""
        if isinstance(file_obj, Reading):
            return self._shown(file_obj.entry, file_obj.mode)
        arrival = _writable(file_obj)
        mtime = self._receiving.mtime(arrival.upload)
        return _attrs(_FILE, arrival.coverage.end, os.fstat(arrival.descriptor).st_mtime if mtime is None else mtime)

    def setstat(self, path: bytes, attrs: SFTPAttrs) -> Awaitable[None] | None:
        """Remember a time; accept and ignore modes and owners; a size only as far as an upload can be cut to it."""
        if not self._receiving.neighbours.there:
            self._setstat_now(path, attrs)
            return None
        return self._setstat_everywhere(path, attrs)

    async def _setstat_everywhere(self, path: bytes, attrs: SFTPAttrs) -> None:
        landed = await self._recalled(path, lambda: self._setstat_now(path, attrs))
        if landed is not None and attrs.mtime is not None:
            await self._receiving.set_landed_mtime(landed, attrs.mtime)

    def _setstat_now(self, path: bytes, attrs: SFTPAttrs) -> Landing | None:
        """What has landed already, if that is what it is about."""
        place = Place.of(path)
        if not place.name:
            return None
        if place.folder:
            raise Denied("Receipts are read-only.")
        entry = self._find(place)
        if attrs.size is not None and attrs.size != entry.size:
            arrival = self._receiving.live(entry.upload, self.visitor) if entry.upload else None
            if arrival is None:
                raise Denied("The size of a file cannot be changed: send the whole file again.")
            arrival.set_size(attrs.size)
        if attrs.mtime is not None:
            if entry.upload:
                self._receiving.set_mtime(entry.upload, attrs.mtime)
            elif entry.landed:
                self._receiving.recent.set_mtime(entry.landed, attrs.mtime)
        return entry.landed.landing if entry.landed else None

    def lsetstat(self, path: bytes, attrs: SFTPAttrs) -> Awaitable[None] | None:
        """The same: there are no links."""
        return self.setstat(path, attrs)

    def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        """The same for an open file."""
        if isinstance(file_obj, Reading):
            return
        arrival = _writable(file_obj)
        if attrs.size is not None:
            arrival.set_size(attrs.size)
        if attrs.mtime is not None:
            self._receiving.set_mtime(arrival.upload, attrs.mtime)

    # Folders

    def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        """What a folder holds. Raises Missing if it is none."""
        place = Place.of(path)
        if not place.name:
            return self._listing(place.folder)
        self._find(place)
        raise Refused("This is not a folder.")

    async def _listing(self, folder: str) -> AsyncIterator[SFTPName]:
        for name in (b".", b".."):
            yield SFTPName(name, attrs=_attrs(_FOLDER))
        if folder:
            for entry in self._view.receipts(self.visitor.account):
                yield SFTPName(os.fsencode(entry.name), attrs=self._shown(entry, _RECEIPT))
            return
        yield SFTPName(RECEIPTS.encode(), attrs=_attrs(_READ_ONLY_FOLDER))
        if self._receiving.neighbours.there:
            await self._receiving.recall(self.visitor.account)
        for entry in self._view.entries(self.visitor.account):
            yield SFTPName(entry.name.encode(), attrs=self._shown(entry, _FILE))

    def realpath(self, path: bytes) -> bytes:
        """The absolute path, by its letters alone."""
        return normalise(path)

    def format_user(self, uid: int | None) -> str:  # noqa: ARG002 - asyncssh's signature
        """What a listing shows as the owner."""
        return self.visitor.account

    def format_group(self, gid: int | None) -> str:  # noqa: ARG002 - asyncssh's signature
        """What a listing shows as the group."""
        return self.visitor.account

    # Changes

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename an upload; one that was closed under a temporary name lands if its new name is expected."""
        old, new = Place.of(oldpath), Place.of(newpath)
        if old.folder or new.folder or not old.name or not new.name:
            raise Denied("Folders and receipts cannot be renamed, and nothing can be put among them.")
        entry = await self._recalled(oldpath, lambda: self._find(old))
        name = check_name(new.name)
        if entry.upload is None:
            raise Denied("This file has landed; it cannot be renamed any more.")
        await self._receiving.rename(self.visitor, entry.upload, name)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """The same: a landing never overwrites another."""
        await self.rename(oldpath, newpath)

    async def remove(self, path: bytes) -> None:
        """Delete an upload, or take back what waits."""
        place = Place.of(path)
        if place.folder or not place.name:
            raise Denied("Receipts and folders cannot be deleted.")
        entry = await self._recalled(path, lambda: self._find(place))
        if not self._receiving.settings.delete:
            raise Denied("What was sent cannot be deleted here: send a newer file, or call the operator.")
        if entry.upload:
            self._receiving.discard(self.visitor, entry.upload)
        elif entry.landing:
            await self._receiving.withdraw(self.visitor, entry.landing)

    def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:  # noqa: ARG002 - asyncssh's signature
        """Refused, or ignored; the folders that are there are there already."""
        if normalise(path) in {b"/", b"/receipts"}:
            raise asyncssh.SFTPFileAlreadyExists("This folder is there already.")
        if self._receiving.settings.mkdir == "ignore":
            return
        raise Denied("Folders cannot be made here: put files into the top folder.")

    def rmdir(self, path: bytes) -> None:  # noqa: ARG002 - asyncssh's signature
        """Refused."""
        raise Denied("Folders cannot be deleted here.")

    def readlink(self, path: bytes) -> bytes:  # noqa: ARG002 - asyncssh's signature
        """Refused."""
        raise Denied("There are no links here.")

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:  # noqa: ARG002 - asyncssh's signature
        """Refused."""
        raise Denied("Links cannot be made here.")

    def link(self, oldpath: bytes, newpath: bytes) -> None:  # noqa: ARG002 - asyncssh's signature
        """Refused."""
        raise Denied("Links cannot be made here.")

    def exit(self) -> None:
        """The session is over: nothing stays open."""
        self._gone = self.left = True
        for left in list(self._open):
            self.close(left)

    # Looking up

    def _looking_back(self, path: bytes, then: Callable[[], _T]) -> _T | Awaitable[_T]:
        """What `then` gives; where there are other doors, once it is known what has landed there under that name."""
        return self._recalled(path, then) if self._receiving.neighbours.there else then()

    async def _recalled(self, path: bytes, then: Callable[[], _T]) -> _T:
        place = Place.of(path)
        if self._receiving.neighbours.there and place.name and not place.folder:
            await self._receiving.recall(self.visitor.account, place.name.decode("utf-8", "replace"))
        return then()

    def _find(self, place: Place) -> Entry:
        try:
            name = os.fsdecode(place.name) if place.folder else place.name.decode()
        except UnicodeDecodeError:
            raise Missing from None
        look = self._view.receipt if place.folder else self._view.find
        entry = look(self.visitor.account, name)
        if entry is None:
            raise Missing
        return entry

    def _shown(self, entry: Entry, mode: int) -> SFTPAttrs:
        given = self._receiving.mtime(entry.upload) if entry.upload else None
        return _attrs(mode, entry.size, entry.mtime if given is None else given)


def _writable(file_obj: object) -> Arrival:
    if not isinstance(file_obj, Arrival):
        raise Denied("This file was opened for reading.")
    return file_obj


def _attrs(mode: int, size: int = 0, mtime: float | None = None) -> SFTPAttrs:
    seconds = min(max(0, int(time.time() if mtime is None else mtime)), 0xFFFF_FFFF)
    return SFTPAttrs(size=size, permissions=mode, atime=seconds, mtime=seconds, nlink=1)
