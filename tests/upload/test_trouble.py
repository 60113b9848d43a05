"""The network is cut at random moments: an upload arrives exactly once, or its exit code and its log say why not."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from upload.outcome import Ending, worst

SERVICE = "_shared_whole"

SEED = 6
ACCOUNTS = 10
FILES = 20
"""Of each account: 200 uploads in all."""

FATES = ("pass", "drop", "drop", "reset", "reset", "stall", "deafen", "deafen")
"""Of a connection. deafen: what the client sends arrives, and no answer comes back."""


class Trouble:
    """A proxy on the way to the server, in a thread of its own, whose connections meet with trouble by a seed."""

    def __init__(self, port: int, seed: int, fates: tuple[str, ...] = FATES) -> None:
        self.met: Counter[str] = Counter()
        self.fates = fates
        self._target = port
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        assert self._server
        self.port = self._server.sockets[0].getsockname()[1]

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._met, "127.0.0.1", 0))
        ready.set()
        self._loop.run_forever()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert self._server
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the test is over
            await self._meet(reader, writer)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fate, upstream = self._random.choice(self.fates), self._random.random() < 0.6
        left = int(2 ** (self._random.uniform(11, 15.5) if upstream else self._random.uniform(10, 14)))
        if fate == "pass":
            left = 1 << 62
        to, back = await asyncio.open_connection("127.0.0.1", self._target)
        met = _Met(fate, left)
        both = [
            asyncio.ensure_future(met.carry(reader, back, counts=upstream, answers=False)),
            asyncio.ensure_future(met.carry(to, writer, counts=not upstream, answers=True)),
        ]
        await met.over.wait()
        self.met[fate] += 1
        for end in (writer, back):
            if fate == "reset":
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.transport.abort()
            else:
                end.close()
        for one in both:
            one.cancel()


class _Met:
    """One connection, and how many bytes of the counted direction it has left."""

    def __init__(self, fate: str, left: int) -> None:
        self.over = asyncio.Event()
        self._fate = fate
        self._left = left
        self._deaf = False

    async def carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counts: bool, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 14):
                if counts and len(data) >= self._left > 0:
                    data = data if self._fate == "deafen" else data[: self._left]
                    self._meets_it()
                if counts:
                    self._left -= len(data)
                if not (answers and self._deaf):
                    target.write(data)
                    await target.drain()
                if counts and self._left <= 0 and self._fate != "deafen":
                    break
        if self._fate == "stall" and counts and self._left <= 0:
            await asyncio.sleep(4)
        self.over.set()

    def _meets_it(self) -> None:
        if self._fate == "deafen":
            self._deaf = True
            asyncio.get_running_loop().call_later(0.4, self.over.set)


@pytest.fixture
def make_trouble(service: Any) -> Iterator[Callable[..., Trouble]]:
    made: list[Trouble] = []

    def make(*arguments: Any, **options: Any) -> Trouble:
        made.append(Trouble(service.port, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def students(random_: random.Random, start: int, count: int) -> str:
    head = '"Student ID","First Name","Last Name","Phone Number","School ID"\r\n'
    names = ["".join(random_.choices("abcdefghijklmnopqrstuvwxyz", k=12)).title() for _ in range(2 * count)]
    people = zip(names[::2], names[1::2], strict=True)
    rows = (
        f'"{start + n}","{first}","{last}","20655501{n % 100:02}","001"\r\n' for n, (first, last) in enumerate(people)
    )
    return head + "".join(rows)


def test_200_uploads_arrive_exactly_once_or_say_why_not(
    here: Any, service: Any, make_uploader: Callable[..., Any], make_trouble: Callable[..., Trouble], account: str
) -> None:
    trouble, chance, feed = make_trouble(SEED), random.Random(SEED), here.catalogue.get("students")
    uploaders = []
    for number in range(ACCOUNTS):
        uploader = make_uploader(service, f"{account}-{number}", port=trouble.port)
        uploader.extra = f'compress = "{"never" if number % 2 else "auto"}"'
        sources = ""
        for at in range(FILES):
            here.sources.expect(uploader.account, f"roll{at}.csv", feed=feed, actor="test")
            uploader.file(f"roll{at}.csv", students(chance, at * 10_000, int(2 ** chance.uniform(3, 11))))
            sources += (
                f'[[source]]\nname = "roll{at}"\nfeed = "students"\nfile = "roll{at}.csv"\nsend_as = "roll{at}.csv"\n'
            )
        uploader.extra += f"\n{sources}"
        uploader.settle()
        uploaders.append(uploader)
    with ThreadPoolExecutor(ACCOUNTS) as threads:
        runs = list(threads.map(lambda one: one.run(75, silence=2.0, first=0.05, longest=0.5), uploaders))
    endings, seen = Counter[str](), Counter[str]()
    for uploader, attempts in zip(uploaders, runs, strict=True):
        landed = Counter(one.sha256 for one in service.landed(uploader.account))
        assert len(attempts) == FILES
        for attempt in attempts:
            endings[attempt.ending.name] += 1
            if attempt.ending in {Ending.IMPORTED, Ending.IMPORTED_WITH_REJECTS, Ending.HELD}:
                assert landed[attempt.sha256] == 1, (attempt, uploader.log())
            else:
                assert landed[attempt.sha256] <= 1, (attempt, uploader.log())
                assert attempt.why
                assert worst(one.ending for one in attempts) != 0
        assert set(landed) <= {one.sha256 for one in attempts}
        events = [json.loads(line) for line in uploader.log().splitlines()]
        seen.update(event["event"] for event in events)
        ended = {event["source"]: event["ending"] for event in events if event["event"] == "source.ended"}
        assert ended == {one.key: one.ending.name for one in attempts}
    assert endings["IMPORTED"] >= 150, endings
    assert all(trouble.met[fate] >= 2 for fate in set(FATES)), trouble.met
    assert seen["attempt.failed"] >= 40, seen
    assert seen["upload.resumed"], seen
