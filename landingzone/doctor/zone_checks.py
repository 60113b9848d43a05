"""Checks of the zone itself: folders, owner, filesystem, room, clock."""

import ctypes
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from landingzone.clock import iso, now
from landingzone.doctor.finding import Finding, Severity
from landingzone.landing import Landing
from landingzone.settings import FILE_NAME, Settings
from landingzone.zone import FOLDERS, RESERVE, Zone

NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "lustre")
_SANE_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_LITTLE_ROOM = 0.10
_AHEAD = timedelta(seconds=5)
_NOT_SYNCHRONISED = 5
_TIMEX_BYTES = 512
"""More than any architecture's struct timex."""
_MOST_NAMED = 3


def folders(settings: Settings) -> Iterator[Finding]:
    """Folders and files are there, ours, and nobody else's to read."""
    root = settings.root
    if not root.is_dir():
        advice = "Make it with `landingzone init`, or let LANDINGZONE_ROOT point at the right one."
        yield Finding("folders", Severity.PROBLEM, f"There is no folder {root}.", advice)
        return
    owner = root.stat().st_uid
    if owner != os.geteuid():
        advice = f"Run this, and every command, as {_user(owner)}: `sudo -u {_user(owner)} landingzone doctor`."
        yield Finding(
            "owner", Severity.WARNING, f"{root} belongs to {_user(owner)}, you are {_user(os.geteuid())}.", advice
        )
    missing = [name for name in FOLDERS if not (root / name).is_dir()]
    if missing:
        advice = "Run `landingzone init`: it makes what is missing and leaves the rest."
        yield Finding("folders", Severity.PROBLEM, f"Missing under {root}: {', '.join(missing)}.", advice)
    wrong = list(_wrongly_owned(root, owner))
    yield from wrong
    if not missing and not wrong:
        yield Finding("folders", Severity.OK, "All folders are there, and nobody else's to read.")


def _wrongly_owned(root: Path, owner: int) -> Iterator[Finding]:
    """What others can get at, what belongs to somebody else, and what is a link."""
    known = [(path, path.lstat()) for path in _of_the_zone(root)]
    links = [path for path, info in known if stat.S_ISLNK(info.st_mode)]
    lax = [p for p, info in known if info.st_mode & 0o077 and p.suffix != ".pub" and not stat.S_ISLNK(info.st_mode)]
    foreign = [path for path, info in known if info.st_uid != owner]
    if lax:
        yield Finding("permissions", Severity.PROBLEM, f"Others can get at {_named(lax)}.", f"chmod -R go= {root}")
    if foreign:
        advice = f"chown -R {_user(owner)}: {root}   (somebody ran a command as another user, perhaps as root)"
        yield Finding("owner", Severity.PROBLEM, f"Not {_user(owner)}'s: {_named(foreign)}.", advice)
    if links:
        advice = "Nothing here follows links: put the folder itself in its place, on the same filesystem."
        yield Finding("folders", Severity.PROBLEM, f"Symbolic links: {_named(links)}.", advice)


def filesystem(settings: Settings) -> Iterator[Finding]:
    """One local filesystem: every move is a rename, and SQLite's locks hold."""
    root = settings.root
    device = root.stat().st_dev
    apart = [path for path in _of_the_zone(root) if path.is_dir() and path.stat().st_dev != device]
    if apart:
        advice = "Every move must be a rename: unmount it, and let the whole root lie on one filesystem."
        yield Finding("filesystem", Severity.PROBLEM, f"On another filesystem: {_named(apart)}.", advice)
    kind = _filesystem_of(root)
    if kind in NETWORK_FILESYSTEMS and not settings.database_url:
        advice = "SQLite's locks do not hold there: move the zone to a local disk, or set `database_url`."
        yield Finding("filesystem", Severity.PROBLEM, f"The zone lies on a network filesystem ({kind}).", advice)
    elif kind in NETWORK_FILESYSTEMS and settings.processor.watch == "native":
        advice = 'It sends no events: set `watch = "polling"` in [processor].'
        yield Finding("filesystem", Severity.WARNING, f"The zone lies on a network filesystem ({kind}).", advice)
    elif not apart:
        yield Finding("filesystem", Severity.OK, f"The whole zone lies on one filesystem ({kind or 'unknown'}).")


def room(settings: Settings) -> Iterator[Finding]:
    """Bytes and inodes are left, and the reserve is taken."""
    info = os.statvfs(settings.root)
    free, size = info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize
    told = f"{free >> 20:,} of {size >> 20:,} MiB are free"
    more = "Make room: old days of archive/ are what can be moved elsewhere."
    if free < 1.25 * (settings.limits.free_mebibytes << 20):
        found = f"{told}; new uploads are refused below {settings.limits.free_mebibytes * 1.25:,.0f} MiB."
        yield Finding("disk", Severity.PROBLEM, found, more)
    elif free < size * _LITTLE_ROOM:
        yield Finding("disk", Severity.WARNING, f"{told}.", more)
    else:
        yield Finding("disk", Severity.OK, f"{told}.")
    if info.f_files and info.f_favail < info.f_files * _LITTLE_ROOM:
        severity = Severity.WARNING if info.f_favail > info.f_files * _LITTLE_ROOM / 10 else Severity.PROBLEM
        found = f"{info.f_favail:,} of {info.f_files:,} inodes are free."
        yield Finding("inodes", severity, found, "Each file takes some five in archive/: move old days elsewhere.")
    if settings.reserve_mebibytes and not (settings.root / RESERVE).exists():
        found = "The reserve is not taken: it was given free on a full disk, or the import has never run."
        yield Finding(
            "reserve", Severity.WARNING, found, "Once there is room for twice of it, the import takes it again."
        )


def clock(settings: Settings, newest_known: Iterable[str]) -> Iterator[Finding]:
    """The clock is sane, has not stepped back behind the newest landing, and is kept right.

    `newest_known`: ids of landings, the newest among them.
    """
    present = now()
    waiting = [landing for name in _accounts(settings.root) for landing in Zone(settings.root).waiting(name)]
    landed = [Landing(id_, "", "").landed_at for id_ in newest_known] + [one.landed_at for one in waiting]
    right = "Set the clock, and let NTP keep it: `timedatectl set-ntp true`."
    if present < _SANE_FROM:
        yield Finding("clock", Severity.PROBLEM, f"The clock says {iso(present)}.", right)
    elif landed and max(landed) > present + _AHEAD:
        found = f"The newest landing is of {iso(max(landed))}, the clock says {iso(present)}: it has stepped back."
        advice = f"{right} Until it has passed that time, files of one source may be taken in the wrong order."
        yield Finding("clock", Severity.PROBLEM, found, advice)
    elif _synchronised() is False:
        found = f"The clock says {iso(present)}; the system does not know whether that is right."
        yield Finding("clock", Severity.WARNING, found, right)
    else:
        yield Finding("clock", Severity.OK, f"The clock says {iso(present)}.")


def private_files(settings: Settings) -> Iterator[Finding]:
    """What may hold a password is nobody else's to read."""
    path = settings.root / FILE_NAME
    if path.exists() and path.stat().st_mode & 0o077:
        yield Finding("settings", Severity.PROBLEM, f"Others can read {FILE_NAME}.", f"chmod 600 {path}")


def _of_the_zone(root: Path) -> Iterator[Path]:
    """The root, its folders and files, and the folders of accounts."""
    yield root
    for entry in sorted(root.iterdir()):
        yield entry
        if entry.name in (*FOLDERS, "hostkeys") and entry.is_dir() and not entry.is_symlink():
            yield from sorted(entry.iterdir())


def _accounts(root: Path) -> list[str]:
    return Zone(root).accounts_with("inbox")


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(map(str, paths[:_MOST_NAMED])) + more


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _filesystem_of(path: Path) -> str:
    """The type of the filesystem, as the system names it; empty if it does not say."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == wanted), "")


def _synchronised() -> bool | None:
    """Whether the kernel is told that its clock is right (adjtimex(2)); None if it cannot be asked."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _NOT_SYNCHRONISED
