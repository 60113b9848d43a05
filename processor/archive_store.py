"""Where the archive keeps its files: folders under the root, or object storage that speaks S3.

Both keep the same layout, and the same promises (see `Store`); one suite of tests holds them to these.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import stamina

from landingzone.settings import ArchiveSettings
from landingzone.zone import FOLDER_MODE, fsync_folder, put_file, write_file

_TRIES = 4
_TRIED_FOR = 20.0
_PUT_AT_ONCE = 4
T = TypeVar("T")


class ArchiveAway(Exception):
    """The store does not answer, or not as it should: what was to be kept stays where it is, and is tried again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file in a store: its key, from the store's own beginning on, and its size in bytes."""

    key: str
    bytes: int


class Store(Protocol):
    """Keeps files under keys of the form `<account>/YYYY/MM/DD/<landing-id>/<name>`. Safe in any thread.

    Every call can be repeated. A file is there whole or not at all. ArchiveAway means: nothing is known, ask again.
    """

    def put(self, folder: str, files: Mapping[str, Path | bytes]) -> None:
        """Keep files in a folder, in place of what has their names; files given as paths are on the disk, and go.

        After it returns they are safe: on the disk, or told to be whole by the store. Raises OSError on a full disk.
        """
        ...

    def open(self, key: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """A file to be read from its beginning; FileNotFoundError if there is none."""
        ...

    def size(self, key: str) -> int | None:
        """A file's size in bytes; None if there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, sorted; none if there is no such folder."""
        ...

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder, sorted; the empty one is the store's beginning."""
        ...

    def everything(self, folder: str) -> Iterator[Kept]:
        """Every file in a folder and in those below it."""
        ...

    def remove(self, folder: str) -> tuple[int, int]:
        """Remove a folder and all below it; returns how many files went, and their bytes."""
        ...

    def path(self, key: str) -> Path | None:
        """Where a file lies on the zone's own filesystem, so that it can be linked; None if it does not lie there."""
        ...

    def check(self) -> None:
        """Write, read and remove something; raises ArchiveAway or OSError, whose text tells why it cannot."""
        ...


class LocalStore:
    """Folders on the zone's filesystem: what is put is renamed into them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, folder: str, files: Mapping[str, Path | bytes]) -> None:
        """See Store."""
        into = self._root / folder
        _make_folders(into)
        for name, content in files.items():
            if isinstance(content, bytes):
                put_file(into / name, content)
            else:
                content.rename(into / name)
        fsync_folder(into)

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """See Store."""
        with os.fdopen(os.open(self._root / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            yield file

    def size(self, key: str) -> int | None:
        """See Store."""
        try:
            return (self._root / key).lstat().st_size
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """See Store."""
        return sorted(entry.name for entry in self._entries(folder) if entry.is_file(follow_symlinks=False))

    def folders(self, folder: str) -> list[str]:
        """See Store."""
        return sorted(entry.name for entry in self._entries(folder) if entry.is_dir(follow_symlinks=False))

    def everything(self, folder: str) -> Iterator[Kept]:
        """See Store."""
        for path, _folders, names in os.walk(self._root / folder):
            for name in names:
                file = Path(path) / name
                with contextlib.suppress(FileNotFoundError):
                    yield Kept(str(file.relative_to(self._root)), file.lstat().st_size)

    def remove(self, folder: str) -> tuple[int, int]:
        """See Store. What lies above it goes, too, if nothing else lies there."""
        top, files, size = self._root / folder, 0, 0
        for path, folders, names in os.walk(top, topdown=False):
            for name in names:
                file = Path(path) / name
                size, files = size + file.lstat().st_size, files + 1
                file.unlink()
            for name in folders:
                (Path(path) / name).rmdir()
        with contextlib.suppress(OSError):  # it is not there, or not empty: then so are those above it
            while top != self._root:
                top.rmdir()
                top = top.parent
        return files, size

    def path(self, key: str) -> Path | None:
        """See Store."""
        return self._root / key

    def check(self) -> None:
        """See Store."""
        _try_out(self, self._root)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / folder) as entries:
                return [entry for entry in entries if not entry.name.endswith(".part")]
        except FileNotFoundError:
            return []


class ObjectStore:
    """Object storage that speaks S3. What it says of the network is tried again for a while, then it is away.

    Args:
        settings: where it is; credentials come from the environment (AWS_ACCESS_KEY_ID, ...), as with all its clients.
        spool: folder on the zone's filesystem, in which what is read is put down.
    """

    def __init__(self, settings: ArchiveSettings, spool: Path) -> None:
        from obstore.store import S3Store  # noqa: PLC0415 - only where it is used: it takes its time

        # What it would log of a retry are the arguments: names of files.
        stamina.instrumentation.set_on_retry_hooks(())
        where = urlsplit(settings.url)
        self._spool = spool
        self._store = S3Store(
            where.netloc,
            prefix=where.path.strip("/") or None,
            endpoint=settings.endpoint or None,
            region=settings.region,
            checksum_algorithm="SHA256",  # the store itself refuses what was changed on its way
            client_options={
                "allow_http": settings.endpoint.startswith("http://"),
                "connect_timeout": "5s",
                "timeout": "60s",
            },
            retry_config={"max_retries": 0},
        )

    def put(self, folder: str, files: Mapping[str, Path | bytes]) -> None:
        """See Store."""
        with ThreadPoolExecutor(min(_PUT_AT_ONCE, len(files) or 1)) as threads:
            for done in [threads.submit(self._put, f"{folder}/{name}", content) for name, content in files.items()]:
                done.result()
        for content in files.values():
            if isinstance(content, Path):
                content.unlink(missing_ok=True)

    def _put(self, key: str, content: Path | bytes) -> None:
        import obstore  # noqa: PLC0415 - see above

        if isinstance(content, Path) and not content.exists() and self.size(key) is not None:
            return  # a call before this one has put it, and then died
        size = len(content) if isinstance(content, bytes) else content.stat().st_size

        def put() -> None:
            obstore.put(self._store, key, content)
            found = obstore.head(self._store, key)["size"]
            if found != size:
                raise ArchiveAway(f"The archive's store keeps {found} bytes of {size}.")

        _ask(put)

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """See Store. It is read whole before anything of it is given out."""
        import obstore  # noqa: PLC0415 - see above

        with tempfile.TemporaryFile(dir=self._spool) as file:

            def get() -> None:
                file.seek(0)
                file.truncate()
                found = obstore.get(self._store, key)
                for piece in found.stream():
                    file.write(piece)
                if file.tell() != found.meta["size"]:
                    raise ArchiveAway("The archive's store gave half of a file.")

            _ask(get)
            file.seek(0)
            yield file

    def size(self, key: str) -> int | None:
        """See Store."""
        import obstore  # noqa: PLC0415 - see above

        try:
            return _ask(lambda: obstore.head(self._store, key))["size"]
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """See Store."""
        import obstore  # noqa: PLC0415 - see above

        found = _ask(lambda: obstore.list_with_delimiter(self._store, folder or None))
        return sorted(one["path"].rpartition("/")[2] for one in found["objects"])

    def folders(self, folder: str) -> list[str]:
        """See Store."""
        import obstore  # noqa: PLC0415 - see above

        found = _ask(lambda: obstore.list_with_delimiter(self._store, folder or None))
        return sorted(one.rpartition("/")[2] for one in found["common_prefixes"])

    def everything(self, folder: str) -> Iterator[Kept]:
        """See Store."""
        import obstore  # noqa: PLC0415 - see above

        pieces = iter(obstore.list(self._store, folder or None, chunk_size=1000))
        while (piece := _ask(lambda: next(pieces, None), tries=1)) is not None:
            yield from (Kept(one["path"], one["size"]) for one in piece)

    def remove(self, folder: str) -> tuple[int, int]:
        """See Store."""
        import obstore  # noqa: PLC0415 - see above

        found = list(self.everything(folder))
        for at in range(0, len(found), 1000):
            keys = [one.key for one in found[at : at + 1000]]
            _ask(lambda keys=keys: obstore.delete(self._store, keys))  # type: ignore[misc]
        return len(found), sum(one.bytes for one in found)

    def path(self, key: str) -> Path | None:  # noqa: ARG002 - see Store
        """See Store."""
        return None

    def check(self) -> None:
        """See Store."""
        _try_out(self, self._spool)


def store_of(settings: ArchiveSettings, root: Path) -> Store:
    """The store that the settings name, of the zone at `root`."""
    return ObjectStore(settings, root / "work") if settings.url else LocalStore(root / "archive")


def _ask(what: Callable[[], T], *, tries: int = _TRIES) -> T:
    """Do something with the object store, some times if it has to be; FileNotFoundError passes through."""
    from obstore.exceptions import BaseError, NotFoundError  # noqa: PLC0415 - see above

    for attempt in stamina.retry_context(on=ArchiveAway, attempts=tries, timeout=_TRIED_FOR, wait_initial=0.2):
        with attempt:
            try:
                return what()
            except (FileNotFoundError, NotFoundError) as error:
                raise FileNotFoundError("The archive's store has no such file.") from error
            except (BaseError, PermissionError, ConnectionError, TimeoutError) as error:
                raise ArchiveAway(f"The archive's store does not do its work ({type(error).__name__}).") from error
    raise AssertionError("unreachable")


def _try_out(store: Store, spool: Path) -> None:
    """Keep something, read it, remove it."""
    folder, content = f".check/{uuid4().hex}", os.urandom(64)
    file = spool / f".{uuid4().hex}.check"
    try:
        write_file(file, content)
        store.put(folder, {"check": file})
    finally:
        file.unlink(missing_ok=True)
    with store.open(f"{folder}/check") as found:
        if found.read() != content:
            raise ArchiveAway("The archive's store gives back something else than it was given.")
    store.remove(folder)


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing, each on the disk before what lies in it."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        fsync_folder(folder.parent)
