"""The zone: where things lie, and how a file lands. One root folder on one filesystem, so that every move is a rename.

    <root>/uploads/<account>/<upload-id>.<name>         bytes still arriving; never seen by the processor
    <root>/uploads/<account>/<upload-id>~<name>         the same over HTTPS; never seen by a door
    <root>/uploads/<account>/<upload-id>=<name>         chosen in the console, and not sent yet; never seen by a door
    <root>/inbox/<account>/<landing-id>.<name>          landed: whole, fsynced, renamed in; the queue
    <root>/work/<account>/<landing-id>/                 claimed by one run
    <root>/archive/<account>/YYYY/MM/DD/<landing-id>/   the original file, receipt, rejects, changes
    <root>/receipts/<account>/                          what the customer can fetch

Facts about a file that must outlive a crash stand in its name: an upload's id carries marks (see Mark), a landing's id
its time. So what lies on the disk explains itself, on every filesystem, without the database.
Files are 0600, folders 0700. Nothing here follows a symbolic link.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, ClassVar, Self, TypeVar

from landingzone.landing import IdMaker, Landing, check_name

FILE_MODE = 0o600
FOLDER_MODE = 0o700
FOLDERS = ("uploads", "inbox", "work", "archive", "receipts", "listings")
RESERVE = ".reserve"
_UNLINKED = ".nfs"
"""What NFS calls a file that was removed while a process of the same host had it open."""


class Mark(StrEnum):
    """What a crash must not make us forget about an upload; stands in its file's name."""

    CLOSED = "c"
    """The client closed it itself: it may land at a rename, or when it has settled."""
    RESUMED = "r"
    """It was continued after a cut."""
    HOLES = "h"
    """Bytes came out of order and some in between are still missing: it cannot be resumed."""


_UPLOAD_NAME = re.compile(r"([0-9a-f-]{36})(?:\+([a-z]+))?\.(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in uploads/: bytes that are still arriving, were cut, or wait under a temporary or unexpected name."""

    id: str
    account: str
    name: str
    marks: frozenset[Mark] = field(default_factory=frozenset)

    @property
    def stored_name(self) -> str:
        """Its name in uploads/."""
        marks = "".join(sorted(self.marks))
        return f"{self.id}{'+' if marks else ''}{marks}.{self.name}"

    @classmethod
    def parse(cls, account: str, stored_name: str) -> "Upload | None":
        """The upload that an entry's name stands for; None for anything else."""
        found = _UPLOAD_NAME.fullmatch(stored_name)
        if not found:
            return None
        known = {mark.value for mark in Mark}
        return cls(found[1], account, found[3], frozenset(Mark(char) for char in found[2] or "" if char in known))


@dataclass(frozen=True, slots=True)
class Aside:
    """A file in uploads/ that no door takes for one of its own, none of an older version either.

    Attributes:
        MARK: stands between its id and its name, and says of which kind it is.
    """

    MARK: ClassVar[str]

    id: str
    account: str
    name: str

    @property
    def stored_name(self) -> str:
        """Its name in uploads/."""
        return f"{self.id}{self.MARK}{self.name}"

    @classmethod
    def parse(cls, account: str, stored_name: str) -> Self | None:
        """The file that an entry's name stands for; None for anything else."""
        found = re.fullmatch(rf"([0-9a-f-]{{36}}){cls.MARK}(.+)", stored_name, re.DOTALL)
        return cls(found[1], account, found[2]) if found else None


class WebUpload(Aside):
    """A file whose bytes come over HTTPS."""

    __slots__ = ()
    MARK = "~"


class Draft(Aside):
    """A file that somebody has chosen in the console: it lands when that person says so."""

    __slots__ = ()
    MARK = "="


_Kind = TypeVar("_Kind", bound=Aside)


class Zone:
    """The folders under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.make_id = IdMaker()
        self._folders: dict[tuple[str, str], Path] = {}

    # Folders

    def prepare(self) -> None:
        """Make the folders, readable by nobody else; those that exist are put right."""
        self.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for name in FOLDERS:
            folder = self.root / name
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            folder.chmod(FOLDER_MODE)

    def prepare_account(self, account: str) -> None:
        """Make an account's folders."""
        for name in FOLDERS:
            self.folder(name, account).mkdir(mode=FOLDER_MODE, exist_ok=True)

    def folder(self, kind: str, account: str) -> Path:
        """An account's folder of one kind (one of FOLDERS)."""
        known = self._folders.get((kind, account))
        if known is None:
            known = self._folders[kind, account] = self.root / kind / account
        return known

    def accounts_with(self, kind: str) -> list[str]:
        """The names of the accounts that have a folder of that kind."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root / kind) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return []

    # Uploads

    def begin_upload(self, account: str, name: str) -> tuple[Upload, int]:
        """A new, empty upload and its open descriptor."""
        upload = Upload(self.make_id(), account, check_name(name))
        return upload, self._create_upload(upload)

    def begin_web_upload(self, account: str, name: str) -> tuple[WebUpload, int]:
        """The same for one whose bytes come over HTTPS."""
        upload = WebUpload(self.make_id(), account, check_name(name))
        return upload, self._create_upload(upload)

    def begin_draft(self, account: str, name: str) -> tuple[Draft, int]:
        """The same for one that is chosen in the console."""
        draft = Draft(self.make_id(), account, check_name(name))
        return draft, self._create_upload(draft)

    def _create_upload(self, upload: Upload | Aside) -> int:
        path = self.upload_path(upload)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(path, flags, FILE_MODE)
        except FileNotFoundError:
            self.prepare_account(upload.account)
            return os.open(path, flags, FILE_MODE)

    def reopen_upload(self, upload: Upload | Aside) -> int:
        """The open descriptor of an upload that is there already; FileNotFoundError if it is gone."""
        return open_again(self.upload_path(upload), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def upload_path(self, upload: Upload | Aside) -> Path:
        """Where an upload's bytes lie."""
        return self.folder("uploads", upload.account) / upload.stored_name

    def uploads(self, account: str, name: str = "") -> list[Upload]:
        """Every upload of an account, oldest first; only those of a name if one is given."""
        stored = _names(self.folder("uploads", account), name)
        found = (Upload.parse(account, one) for one in stored)
        return sorted(
            (upload for upload in found if upload and name in {"", upload.name}), key=lambda upload: upload.id
        )

    def web_uploads(self, account: str) -> list[WebUpload]:
        """Every upload of an account whose bytes come over HTTPS, oldest first."""
        return self._aside(WebUpload, account)

    def drafts(self, account: str) -> list[Draft]:
        """Every file of an account that was chosen in the console and not sent, oldest first."""
        return self._aside(Draft, account)

    def _aside(self, kind: type[_Kind], account: str) -> list[_Kind]:
        found = (kind.parse(account, one) for one in _names(self.folder("uploads", account)))
        return sorted((file for file in found if file), key=lambda file: file.id)

    def remark(self, upload: Upload, *, add: Mark | None = None, drop: Mark | None = None) -> Upload:
        """The upload with a mark added or dropped; its file is renamed, open descriptors stay valid."""
        marks = (upload.marks | {add} if add else upload.marks) - ({drop} if drop else set())
        return self._move_upload(upload, replace(upload, marks=marks))

    def rename_upload(self, upload: Upload, name: str) -> Upload:
        """The upload under another plain name."""
        return self._move_upload(upload, replace(upload, name=check_name(name)))

    def discard_upload(self, upload: Upload | Aside) -> None:
        """Remove an upload; nothing happens if it is gone."""
        self.upload_path(upload).unlink(missing_ok=True)

    def _move_upload(self, old: Upload, new: Upload) -> Upload:
        if old != new:
            self.upload_path(old).rename(self.upload_path(new))
        return new

    # Landing

    def land(
        self,
        upload: Upload | Aside,
        landing: Landing,
        descriptor: int | None = None,
        *,
        synced: bool = False,
    ) -> None:
        """Make an upload a landing: its bytes on the disk, then renamed into the inbox, then the folder on the disk.

        Blocks for an fsync or two, so not for the event loop. After it returns the file is safe. `synced` says that its
        bytes are on the disk already.
        """
        if not synced:
            path = self.upload_path(upload)
            opened = open_again(path, os.O_RDONLY | os.O_NOFOLLOW) if descriptor is None else descriptor
            try:
                os.fsync(opened)
            finally:
                if descriptor is None:
                    os.close(opened)
        self.upload_path(upload).rename(self.inbox_path(landing))
        fsync_folder(self.folder("inbox", landing.account))

    def new_landing(self, account: str, name: str, *, above: str = "") -> Landing:
        """A landing with a fresh id, above another one; nothing is moved yet."""
        return Landing(self.make_id.above(above), account, check_name(name))

    def inbox_path(self, landing: Landing) -> Path:
        """Where a landing waits."""
        return self.folder("inbox", landing.account) / landing.stored_name

    def inbox_is_empty(self, account: str) -> bool:
        """Whether no file waits in an account's inbox, landed or put there by hand."""
        return not _names(self.folder("inbox", account))

    def waiting(self, account: str, name: str = "") -> list[Landing]:
        """What waits in an account's inbox under a landing id, in order of landing; only of a name if one is given."""
        found = (Landing.parse(account, one) for one in _names(self.folder("inbox", account), name))
        return sorted(landing for landing in found if landing and name in {"", landing.name})

    def dropped_by_hand(self, account: str) -> list[str]:
        """Names of plain files in an inbox that have no landing id: an operator put them there."""
        names = _names(self.folder("inbox", account))
        return sorted(name for name in names if Landing.parse(account, name) is None)

    def adopt(self, account: str, name: str) -> Landing:
        """Give a file that was dropped in by hand its landing id.

        Raises NameRefused for a name that may not land, OSError if the file is gone or not a plain one with one link.
        """
        path = self.folder("inbox", account) / name
        landing = self.new_landing(account, name)
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
            raise OSError(f"not a plain file with one link: mode {info.st_mode:o}, {info.st_nlink} links")
        path.rename(self.inbox_path(landing))
        return landing

    def withdraw(self, landing: Landing) -> None:
        """Remove what waits; FileNotFoundError if it was claimed or withdrawn meanwhile."""
        self.inbox_path(landing).unlink()

    # Work

    def work_folder(self, landing: Landing) -> Path:
        """The folder of a claimed landing."""
        return self.folder("work", landing.account) / landing.id

    def claimed_path(self, landing: Landing) -> Path:
        """Where a claimed landing's bytes lie."""
        return self.work_folder(landing) / landing.name

    def claim(self, landing: Landing) -> bool:
        """Move a landing from the inbox into its work folder; True also if that is where it is already.

        False if it is in neither: it was withdrawn, or it has been archived.
        """
        claimed = self.claimed_path(landing)
        claimed.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        try:
            self.inbox_path(landing).rename(claimed)
        except FileNotFoundError:
            if claimed.is_file():
                return True
            claimed.parent.rmdir()
            return False
        fsync_folder(claimed.parent)
        return True

    # Receipts

    def receipts_folder(self, account: str) -> Path:
        """What the customer can fetch."""
        return self.folder("receipts", account)

    # The reserve: room kept back, so that a full disk can still be recorded and recovered from

    def take_reserve(self, mebibytes: int) -> None:
        """Occupy the reserve, unless it is there; does nothing while the disk has no room for it twice over."""
        path, size = self.root / RESERVE, mebibytes << 20
        if path.exists() or not size or free_bytes(self.root) < 2 * size:
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)

    def release_reserve(self) -> bool:
        """Give the reserve's room free; False if it was free already."""
        try:
            (self.root / RESERVE).unlink()
        except FileNotFoundError:
            return False
        return True


def open_again(path: Path, flags: int) -> int:
    """Open a file that should be there; FileNotFoundError if it is gone.

    On a network filesystem another host may just have moved or removed it: then what the name was known to stand for is
    stale (ESTALE), and the name is looked up anew.
    """
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        raise FileNotFoundError(errno.ENOENT, "gone while it was opened", str(path)) from None


def lock(descriptor: int) -> bool:
    """Take an upload in hand; False if another process or session has it. The lock ends with the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_plain(path: Path) -> int:
    """The descriptor of a plain file, for reading; FileNotFoundError for anything else.

    Follows no link, and never waits for a pipe's other end.
    """
    try:
        descriptor = open_again(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # the second: a name that no filesystem can hold
        raise FileNotFoundError(errno.ENOENT, "no plain file", str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "no plain file", str(path))
    return descriptor


def free_bytes(path: Path) -> int:
    """Bytes that may still be written on the filesystem of `path`."""
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def fsync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: Path) -> BinaryIO:
    """Open a file to be written from its beginning, readable by nobody else; never through a symbolic link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, FILE_MODE), "wb")


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under another name, fsynced, renamed over what was there, folder fsynced."""
    put_file(path, content)
    fsync_folder(path.parent)


def put_file(path: Path, content: bytes) -> None:
    """Like `write_file`, of several: the folder is still to be fsynced."""
    part = path.with_name(f".{path.name}.part")
    file = create_file(part)
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def link_file(path: Path, name: Path) -> None:
    """Give a file another name on the same filesystem, in place of what bears it; the folder is not fsynced."""
    part = name.with_name(f".{name.name}.part")
    part.unlink(missing_ok=True)
    part.hardlink_to(path)
    part.rename(name)
    part.unlink(missing_ok=True)  # where both names were the same file already, a rename leaves both


def _names(folder: Path, ending: str = "") -> list[str]:
    """The names of the plain files in a folder, or only of those that end so: thousands may lie beside them."""
    with contextlib.suppress(FileNotFoundError):
        if ending:
            named = [name for name in os.listdir(folder) if name.endswith(ending)]  # noqa: PTH208 - paths take their time
            return [name for name in named if not name.startswith(_UNLINKED) and _is_plain(folder / name)]
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(_UNLINKED) and entry.is_file(follow_symlinks=False)
            ]
    return []


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
