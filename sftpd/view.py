"""The view: what an account sees. `/` holds what waits and what is still arriving, `/receipts` the reports.

Nothing else is there. Names are plain ones; where several files have one name, the newest is meant. Only regular files
are shown, and none is ever opened through a symbolic link.
"""

import posixpath
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from landingzone.landing import Landing
from landingzone.zone import Upload, Zone, open_plain
from sftpd.recent import Landed, Recent
from sftpd.refusal import Missing

RECEIPTS = "receipts"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path stands for: a folder (`name` is empty) or a name in it. Folders are `""` (the root), `receipts`."""

    folder: str
    name: bytes

    @classmethod
    def of(cls, path: bytes) -> "Place":
        """The place that a path stands for, by its letters alone: nothing on the disk is asked. Raises Missing.

        >>> Place.of(b"/a/../students.csv")
        Place(folder='', name=b'students.csv')
        """
        match normalise(path).split(b"/")[1:]:
            case [b""]:
                return cls("", b"")
            case [b"receipts"]:
                return cls(RECEIPTS, b"")
            case [name]:
                return cls("", name)
            case [b"receipts", name]:
                return cls(RECEIPTS, name)
        raise Missing


def normalise(path: bytes) -> bytes:
    """The absolute path, without `.`, `..` and double slashes; a relative one counts from the root.

    >>> normalise(b"../..//etc/passwd")
    b'/etc/passwd'
    """
    return posixpath.normpath(b"/" + path.lstrip(b"/"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in the view.

    Attributes:
        name: its plain name.
        size: in bytes.
        mtime: seconds since 1970.
        path: where it lies; None if it is only remembered.
        upload: set if it is still arriving.
        landing: set if it has landed.
        landed: set if its landing is remembered.
        id: of the upload or landing; sorts entries of one name by when they came.
    """

    name: str
    size: int
    mtime: float
    path: Path | None = None
    upload: Upload | None = None
    landing: Landing | None = None
    landed: Landed | None = None
    id: str = ""


class View:
    """The views of all accounts."""

    def __init__(self, zone: Zone, recent: Recent) -> None:
        self._zone = zone
        self._recent = recent

    def find(self, account: str, name: str) -> Entry | None:
        """The newest file of that name in the root: still arriving, waiting, or landed some minutes ago."""
        found = [self._of_upload(upload) for upload in self._zone.uploads(account, name)]
        if landed := self._recent.find(account, name):
            found.append(self._of_landed(landed))
        else:
            found += [self._of_waiting(one) for one in self._zone.waiting(account, name)]
        return max((entry for entry in found if entry), key=lambda entry: entry.id, default=None)

    def entries(self, account: str) -> list[Entry]:
        """Every file in the root, by name."""
        by_name: dict[str, Entry] = {}
        remembered = self._recent.of(account)
        known = {landed.landing for landed in remembered}
        found = [self._of_upload(upload) for upload in self._zone.uploads(account)]
        found += [self._of_waiting(landing) for landing in self._zone.waiting(account) if landing not in known]
        found += [self._of_landed(landed) for landed in remembered]
        for entry in found:
            if entry and (entry.name not in by_name or by_name[entry.name].id < entry.id):
                by_name[entry.name] = entry
        return sorted(by_name.values(), key=lambda entry: entry.name)

    def receipts(self, account: str) -> list[Entry]:
        """Every receipt, by name."""
        folder = self._zone.receipts_folder(account)
        try:
            names = sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return []
        found = (self.receipt(account, name) for name in names)
        return [entry for entry in found if entry]

    def receipt(self, account: str, name: str) -> Entry | None:
        """The receipt of that name; those still being written (they begin with a dot) are not there yet."""
        if name.startswith(".") or "/" in name or "\0" in name:
            return None
        path = self._zone.receipts_folder(account) / name
        return _entry(path, name)

    def _of_upload(self, upload: Upload) -> Entry | None:
        entry = _entry(self._zone.upload_path(upload), upload.name, links=1)
        return replace(entry, upload=upload, id=upload.id) if entry else None

    def _of_waiting(self, landing: Landing) -> Entry | None:
        entry = _entry(self._zone.inbox_path(landing), landing.name, links=1)
        return replace(entry, landing=landing, id=landing.id) if entry else None

    def _of_landed(self, landed: Landed) -> Entry:
        path = self._zone.inbox_path(landed.landing)
        entry = _entry(path, landed.landing.name, links=1) or Entry(landed.landing.name, landed.size, landed.mtime)
        return replace(entry, mtime=landed.mtime, landing=landed.landing, landed=landed, id=landed.landing.id)


def open_regular(path: Path) -> int:
    """The descriptor of a regular file, for reading; anything else is missing."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Missing
        return open_plain(path)
    except OSError:
        raise Missing from None


def _entry(path: Path, name: str, *, links: int | None = None) -> Entry | None:
    """The entry of a regular file (with that many links); None if it is gone, or anything else."""
    try:
        info = path.lstat()
    except (OSError, ValueError):  # the second: a name that no file system can hold
        return None
    plain = stat.S_ISREG(info.st_mode) and links in {None, info.st_nlink}
    return Entry(name, info.st_size, info.st_mtime, path) if plain else None
