"""Clients: each district's script sends one file after the other, and each again until it has seen success."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import asyncssh
from district import Upload

_PATIENCE = 90.0
"""Seconds until a client gives up an answer: longer than a door is ever stopped, as OpenSSH's, which waits for ever."""
_AT_ONCE = 100


@dataclass
class Sent:
    """What clients saw.

    Attributes:
        succeeded: files for which a client saw success.
        maybe: how many further tries of a file came as far as its close: those may have landed, or not.
        refusals: what clients were told or saw instead of success.
    """

    succeeded: set[Upload] = field(default_factory=set)
    maybe: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    longest: float = 0


class Clients:
    """All districts, with one key; `ports` are the doors'."""

    def __init__(self, key: asyncssh.SSHKey, ports: list[int], seed: int) -> None:
        self._key = key
        self._ports = ports
        self._rng = random.Random(f"clients {seed}")
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.sent = Sent()

    async def send(self, uploads: list[Upload], *, seconds: float) -> None:
        """Send a district's files in their order, spread over a time."""
        pause = seconds / len(uploads)
        await asyncio.sleep(self._rng.uniform(0, pause))
        for upload in uploads:
            began = time.monotonic()
            await self._send(upload)
            took = time.monotonic() - began
            self.sent.longest = max(self.sent.longest, took)
            await asyncio.sleep(max(0.0, self._rng.uniform(0.5, 1.2) * pause - took))

    async def _send(self, upload: Upload) -> None:
        while True:
            if await self._try(upload):
                return
            await asyncio.sleep(self._rng.uniform(0.2, 1.5))

    async def _try(self, upload: Upload) -> bool:
        closing = False
        try:
            async with self._room, asyncio.timeout(_PATIENCE):
                port = self._rng.choice(self._ports)
                async with (
                    asyncssh.connect(
                        "127.0.0.1",
                        port,
                        username=upload.account,
                        client_keys=[self._key],
                        known_hosts=None,
                        config=None,
                        agent_path=None,
                    ) as connection,
                    connection.start_sftp_client() as sftp,
                ):
                    file = await sftp.open(upload.name, "wb")
                    await file.write(upload.content)
                    closing = True
                    await file.close()
                    self.sent.succeeded.add(upload)  # also if the connection ends badly from here on
        except (OSError, asyncssh.Error, TimeoutError) as error:
            if upload in self.sent.succeeded:
                return True
            self.sent.maybe[upload.sha256] += closing
            said = str(error) if isinstance(error, asyncssh.SFTPError | asyncssh.DisconnectError) else ""
            self.sent.refusals[f"{type(error).__name__}: {said}".rstrip(": ")] += 1
            return False
        return True
