"""The archive: what is kept of each landing. Every call can be repeated.

    <account>/YYYY/MM/DD/<landing-id>/<name>.zst              the file as it arrived
    <account>/.../<attempt>.receipt.json, <attempt>.receipt.txt         what the customer was told
    <account>/.../<attempt>.rejects.csv, <attempt>.changes.<feed>.parquet   what each attempt rejected and changed
    <account>/.../<attempt>.changes.<feed>.loaded.json   of a large first file, whose every row was new: how many

It lies in a store (processor.archive_store): in archive/ under the root, or in object storage. Encrypted files end in
`.age` (processor.archive_cipher).
"""

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import zstandard

from landingzone.landing import Landing, moment_of
from landingzone.settings import Settings
from landingzone.zone import FOLDER_MODE, Zone, create_file, link_file
from processor.archive_cipher import ENDING, Cipher
from processor.archive_store import ArchiveAway, Store, store_of
from processor.run import Run
from processor.staging import staging_folder


class DamagedCopy(Exception):
    """What was read back is not what arrived."""


def folder_of(landing: Landing) -> str:
    """The key of a landing's folder in the store; the day is that of its landing, in UTC."""
    return f"{landing.account}/{moment_of(landing.id):%Y/%m/%d}/{landing.id}"


class Archive:
    """What is kept of each landing, in a store.

    Args:
        zone: the folders from which it is filled.
        store: where it lies.
        cipher: encrypts it, and opens it again.
    """

    def __init__(self, zone: Zone, store: Store, cipher: Cipher) -> None:
        self._zone, self.store, self.cipher = zone, store, cipher

    # Filling it

    def keep(self, run: Run, *, sha256: str | None) -> None:
        """Move a landing's file and what the attempt staged into the archive.

        The original is removed from the work folder only when its compressed copy is safe and proven the same. The
        reject file is handed to the customer's view on its way: from here on it may be encrypted. `sha256` is None
        where the run failed before it could hash the file. Raises DamagedCopy if what lies in the work folder is not
        what was hashed before; OSError on a full disk; ArchiveAway.
        """
        landing, zone = run.landing, self._zone
        claimed, files = zone.claimed_path(landing), dict[str, Path | bytes]()
        if claimed.is_file() and self._find(landing, f"{landing.name}.zst") is None:
            if not sha256 or not self._packed(landing, sha256).is_file():
                sha256 = self._pack(landing, sha256=sha256 or None)
            packed = self._packed(landing, sha256)
            files[f"{landing.name}.zst{self.cipher.ending}"] = packed
        files |= self._staged(run)
        if files:
            self.store.put(folder_of(landing), files)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(zone.work_folder(landing))

    def _staged(self, run: Run) -> dict[str, Path | bytes]:
        """What the attempt staged, as it is to be kept, by the names in the archive."""
        files: dict[str, Path | bytes] = {}
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(staging_folder(self._zone, run).iterdir()):
                if path.name.startswith("."):
                    continue  # half of an encrypted copy
                if path.name == "rejects.csv" and run.report is not None and run.report["rows"]["rejected"]:
                    receipts = self._zone.receipts_folder(run.account)
                    link_file(path, receipts / f"{run.landing_id}-{run.file}.rejects.csv")
                files[f"{run.attempt}.{path.name}{self.cipher.ending}"] = self._sealed(path)
        return files

    def _sealed(self, path: Path) -> Path:
        if not self.cipher.ending:
            return path
        sealed = path.with_name(f".{path.name}{ENDING}")
        with path.open("rb") as plain, create_file(sealed) as to:
            self.cipher.encrypt(plain, to)
            to.flush()
            os.fsync(to.fileno())
        return sealed

    @contextlib.contextmanager
    def packing_ahead(self, landing: Landing, *, sha256: str | None) -> Iterator[Callable[[], str | None]]:
        """While something else is done with a claimed file, pack it beside, for `keep`; what fails here, that does.

        Gives a function that waits until it is packed, and returns the SHA-256 of what was packed; None if that has
        failed. `sha256` is None where the file has not been hashed yet.
        """

        def pack() -> str | None:
            try:
                return self._pack(landing, sha256=sha256, level=1)
            except (OSError, DamagedCopy):
                return None

        with ThreadPoolExecutor(1, thread_name_prefix="pack") as thread:
            yield thread.submit(pack).result

    def add(self, landing: Landing, files: Mapping[str, bytes]) -> None:
        """Keep small files, in place of what has their names."""
        sealed = {f"{name}{self.cipher.ending}": self.cipher.encrypted(content) for name, content in files.items()}
        self.store.put(folder_of(landing), sealed)

    def path(self, landing: Landing, name: str) -> Path | None:
        """Where a file lies on the zone's own filesystem as it was given; None if it lies elsewhere or encrypted."""
        return None if self.cipher.ending else self.store.path(f"{folder_of(landing)}/{name}")

    # Reading it

    def has(self, landing: Landing) -> bool:
        """Whether anything is kept of a landing."""
        return bool(self.store.names(folder_of(landing)))

    def restore(self, landing: Landing) -> bool:
        """Bring an archived file back into its work folder, for another attempt; False if the archive has none.

        Raises IdentityMissing if it is encrypted and cannot be opened here, ArchiveAway, OSError.
        """
        claimed = self._zone.claimed_path(landing)
        if claimed.is_file():
            return True
        kept = self._find(landing, f"{landing.name}.zst")
        if kept is None:
            return False
        claimed.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        part = claimed.with_name(f".{landing.id}.part")
        try:
            with create_file(part) as plain:
                self._unpack(kept, plain)
                plain.flush()
                os.fsync(plain.fileno())
            part.rename(claimed)
        except BaseException:
            part.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                claimed.parent.rmdir()
            raise
        return True

    def copy_out(self, landing: Landing, to: BinaryIO) -> tuple[str, int]:
        """Write the file as it arrived; returns its SHA-256 and its size.

        Raises FileNotFoundError if the archive has none, and what `restore` raises.
        """
        kept = self._find(landing, f"{landing.name}.zst")
        if kept is None:
            raise FileNotFoundError
        hashed = _Hashed(to)
        self._unpack(kept, hashed)
        return hashed.sha256.hexdigest(), hashed.bytes

    def stream(self, landing: Landing, *, sha256: str | None) -> Iterator[bytes]:
        """The file as it arrived, piece by piece, in bounded memory; proven by its hash before the last piece is given.

        Raises FileNotFoundError if the archive has none, DamagedCopy if it is not what was hashed (None: it never was),
        and what `restore` raises. All of it is raised by the first `next` where the beginning tells.
        """
        reading, writing = os.pipe()
        with ThreadPoolExecutor(1, thread_name_prefix="unpack") as thread, os.fdopen(reading, "rb") as pieces:
            unpacked = thread.submit(self._copy_into, writing, landing)
            try:
                before = b""
                while piece := pieces.read(1 << 18):
                    if before:
                        yield before
                    before = piece
                found, _ = unpacked.result()
                if sha256 is not None and found != sha256:
                    raise DamagedCopy
                yield before
            finally:
                pieces.close()  # who unpacks for nobody ends with a broken pipe

    def _copy_into(self, descriptor: int, landing: Landing) -> tuple[str, int]:
        with os.fdopen(descriptor, "wb") as to:
            return self.copy_out(landing, to)

    @contextlib.contextmanager
    def files(self, landing: Landing, beginning: str) -> Iterator[list[Path]]:
        """The kept files of a landing whose names begin so, as they were given, sorted; only within the block.

        Raises IdentityMissing, ArchiveAway, OSError.
        """
        folder = folder_of(landing)
        names = [name for name in self.store.names(folder) if name.startswith(beginning)]
        paths = [self.store.path(f"{folder}/{name}") for name in names]
        if all(path is not None and path.suffix != ENDING for path in paths):
            yield [path for path in paths if path is not None]
            return
        with tempfile.TemporaryDirectory(prefix=".archived-", dir=self._zone.root / "work") as spool:
            found = []
            for name in names:
                path = Path(spool) / name.removesuffix(ENDING)
                with self.store.open(f"{folder}/{name}") as kept, create_file(path) as plain:
                    if name.endswith(ENDING):
                        self.cipher.decrypt(kept, plain)
                    else:
                        shutil.copyfileobj(kept, plain)
                found.append(path)
            yield found

    # What these are made of

    def _find(self, landing: Landing, name: str) -> str | None:
        """The key under which a file is kept, encrypted or not: archives from before recipients were named stay."""
        keys = (f"{folder_of(landing)}/{name}{ending}" for ending in (self.cipher.ending, ENDING, ""))
        return next((key for key in dict.fromkeys(keys) if self.store.size(key) is not None), None)

    def _packed(self, landing: Landing, sha256: str) -> Path:
        """Where a landing's file lies once it is packed; `sha256` of the file as it arrived."""
        return self._zone.work_folder(landing) / f".{sha256}.zst{self.cipher.ending}"

    def _pack(self, landing: Landing, *, sha256: str | None, level: int = 3) -> str:
        """Compress (and encrypt) a landing's file, piece by piece; the copy is there whole or not at all.

        Returns its SHA-256. Raises DamagedCopy if that is another one than `sha256`.
        """
        source = self._zone.claimed_path(landing)
        part = source.with_name(f".{landing.id}.zst{self.cipher.ending}.part")
        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as plain, create_file(part) as packed:
                read = _Read(plain)
                compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
                if self.cipher.ending:
                    self.cipher.encrypt(compressor.stream_reader(cast(IO[bytes], read)), packed)
                else:
                    compressor.copy_stream(cast(IO[bytes], read), packed)
                packed.flush()
                os.fsync(packed.fileno())
            found = _same(read.sha256.hexdigest(), sha256)
            part.rename(self._packed(landing, found))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return found

    def _unpack(self, key: str, to: "BinaryIO | _Hashed") -> None:
        with self.store.open(key) as kept:
            unpacked = zstandard.ZstdDecompressor().stream_writer(cast(IO[bytes], to), closefd=False)
            if key.endswith(ENDING):
                self.cipher.decrypt(kept, unpacked)
            else:
                shutil.copyfileobj(kept, unpacked, 1 << 20)
            unpacked.flush()  # type: ignore[no-untyped-call]


def archive_of(settings: Settings, zone: Zone, *, identity: Path | None = None) -> Archive:
    """The archive that the settings describe; with another identity if one is given. Raises CipherError."""
    own = settings.archive.age_identity
    cipher = Cipher(settings.archive.age_recipients, identity or (Path(own) if own else None))
    return Archive(zone, store_of(settings.archive, settings.root), cipher)


def _same(found: str, sha256: str | None) -> str:
    if sha256 is not None and found != sha256:
        raise DamagedCopy
    return found


class _Read(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        piece = self._file.read(size)
        self.sha256.update(piece)
        return piece


class _Hashed(io.RawIOBase):
    """A file that is hashed and measured while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, piece: Any) -> int:  # noqa: ANN401 - any buffer
        """Write some bytes."""
        self.sha256.update(piece)
        self.bytes += len(piece)
        return self._file.write(piece)


__all__ = ["Archive", "ArchiveAway", "DamagedCopy", "archive_of", "folder_of"]
