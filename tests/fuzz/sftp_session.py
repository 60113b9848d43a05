"""One SFTP session without SSH around it: bytes in, bytes out, through the door's real handler, jail and folders."""

import asyncio
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from asyncssh.logging import logger

from landingzone.room import Rooms
from landingzone.settings import DoorSettings, LimitSettings
from landingzone.zone import Zone
from sftpd.expectation import Expectation
from sftpd.handler import Handler
from sftpd.jail import Jail
from sftpd.receiving import Receiving
from sftpd.view import View
from sftpd.visitor import Visitor

ACCOUNT = "springfield"


class Wire(asyncio.StreamReader):
    """What the client sends, and where the answers go: asyncssh's reader, writer and channel in one."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.logger = logger
        self.channel = self
        self.answered = bytearray()
        self._conn = self._recv_chan = None
        self.feed_data(data)
        self.feed_eof()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def write(self, data: bytes) -> None:
        self.answered += data

    def is_closing(self) -> bool:
        return False

    def exit(self, code: int) -> None:
        assert code == 0

    def close(self) -> None:
        pass

    async def drain(self) -> None:
        pass


def talk(data: bytes) -> bytes:
    """What a session answers that gets these bytes, its greeting before them."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        return asyncio.run(_talk(root, data))
    finally:
        shutil.rmtree(root)


async def _talk(root: Path, data: bytes) -> bytes:
    zone = Zone(root)
    zone.prepare()
    zone.prepare_account(ACCOUNT)
    with ThreadPoolExecutor(1) as threads:
        nowhere: Any = None  # nothing lands: no name is expected, and nothing settles so soon
        receiving = Receiving(
            zone,
            nowhere,
            nowhere,
            Expectation(lambda _: (), threads),
            DoorSettings(),
            threads,
            Rooms(zone, LimitSettings(free_mebibytes=0, file_mebibytes=4, handles_per_session=8)),
        )
        jail = Jail(None, Visitor(ACCOUNT, "s", "192.0.2.1", "SHA256:x"), View(zone, receiving.recent), receiving)
        wire = Wire(b"\x00\x00\x00\x05\x01\x00\x00\x00\x03" + data)
        await Handler(jail, wire, wire, 3).run()
        assert not receiving.busy
        assert zone.waiting(ACCOUNT) == []
    return bytes(wire.answered)
