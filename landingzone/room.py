"""Room: how much of the disk an account may take, how fast, and how much of it all uploads together leave free.

What an account has is measured on the disk when it begins a file, at most every few seconds, and counted in between:
the import takes files away without telling. Before somebody is refused it is measured anew.
"""

import time
from dataclasses import dataclass, field

from landingzone.backpressure import Backpressure
from landingzone.refusal import NoRoom, TooLarge, TooMuch
from landingzone.settings import LimitSettings
from landingzone.zone import Zone, free_bytes

MEASURED_FOR = 5.0
"""Seconds for which a measurement counts."""
MEASURED_ANEW_AFTER = 0.5
"""Seconds after which it is measured anew before somebody is refused."""
BURST_SECONDS = 0.25
"""What a client that was slow may catch up on, of the upload rate."""


@dataclass(eq=False, slots=True)
class Room:
    """The room of one account, shared by all its uploads.

    Attributes:
        files: how many it has, arriving or waiting for the import.
        bytes: what they take.
        ready_at: when more may be written, by the upload rate; on the monotonic clock.
    """

    rooms: "Rooms"
    account: str
    files: int = 0
    bytes: int = 0
    ready_at: float = 0.0
    _measured: float = 0.0

    def begin_file(self) -> None:
        """A file more. Raises TooMuch if it is one too many, NoRoom or Busy if nothing new is taken."""
        self.rooms.check_disk()
        self.rooms.backpressure.check()
        if time.monotonic() - self._measured > MEASURED_FOR:
            self._measure()
        most = self.rooms.limits.waiting_files
        if self.files >= most and not self._is_fresh():
            self._measure()
        if self.files >= most:
            raise TooMuch(f"{most} files of this account are waiting to be imported: send more when they are done.")
        self.files += 1

    def check_size(self, size: int) -> None:
        """Raise TooLarge for a file that may not become so large."""
        most = self.rooms.limits.file_mebibytes
        if size > most << 20:
            raise TooLarge(f"This file is larger than {most} MiB, which is the most for one file.")

    def grow(self, size: int, by: int) -> None:
        """A file grows to a size, by so many bytes. Raises TooMuch or NoRoom, before anything is written."""
        limits = self.rooms.limits
        self.check_size(size)
        most = limits.waiting_mebibytes << 20
        if self.bytes + by > most and not self._is_fresh():
            self._measure()
        if self.bytes + by > most:
            raise TooMuch(f"The files of this account that wait take {limits.waiting_mebibytes} MiB: send more later.")
        self.rooms.check_disk()
        self.bytes += by
        if rate := limits.upload_mebibytes_per_second * (1 << 20):
            self.ready_at = max(self.ready_at, time.monotonic() - BURST_SECONDS) + by / rate

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._measured < MEASURED_ANEW_AFTER

    def _measure(self) -> None:
        zone = self.rooms.zone
        paths = [zone.upload_path(upload) for upload in zone.uploads(self.account)]
        paths += [zone.upload_path(upload) for upload in zone.web_uploads(self.account)]
        paths += [zone.upload_path(draft) for draft in zone.drafts(self.account)]
        paths += [zone.inbox_path(landing) for landing in zone.waiting(self.account)]
        self.files, self.bytes = len(paths), 0
        for path in paths:
            try:
                self.bytes += path.lstat().st_size
            except FileNotFoundError:  # taken meanwhile
                self.files -= 1
        self._measured = time.monotonic()


@dataclass
class Rooms:
    """The rooms of all accounts.

    Attributes:
        zone: where the files lie.
        limits: replaced as a whole when the settings are read again.
        backpressure: whether anything new is taken.
    """

    zone: Zone
    limits: LimitSettings
    backpressure: Backpressure = field(init=False)
    _short: bool = False
    _rooms: dict[str, Room] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is full before the first look."""
        self.backpressure = Backpressure(self.zone)

    def of(self, account: str) -> Room:
        """An account's room."""
        return self._rooms.setdefault(account, Room(self, account))

    def look_at_disk(self) -> bool:
        """Look how much is free; returns whether it is too little. Asks the system: not for the event loop."""
        self._short = free_bytes(self.zone.root) < self.limits.free_mebibytes << 20
        self.backpressure.look(self.limits)
        return self._short

    def check_disk(self) -> None:
        """Raise NoRoom if the last look found too little."""
        if self._short:
            raise NoRoom
