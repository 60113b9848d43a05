"""A district's folder, with the program as a process of its own or its run in this one, at the real service."""

import asyncio
import contextlib
import os
import random
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sftpd import host_key
from upload.attempts import Attempt
from upload.command import Setup
from upload.folder import Folder
from upload.parcel import Parcel
from upload.patience import Patience
from upload.run import Run


class Heard:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def at(self, parcel: Parcel, confirmed: int) -> None:
        pass

    def done(self, parcel: Parcel) -> None:
        pass


@dataclass
class Uploader:
    """A folder with settings and files, and the ways to run what is in it."""

    folder: Path
    port: int
    account: str
    key: Path
    host_keys: list[str]
    heard: Heard = field(default_factory=Heard)
    extra: str = ""
    server: str = ""
    """What stands in [server] in place of a host's lines."""

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def settle(self, *feeds: str) -> None:
        """Write the settings: a file of each feed's name."""
        lines = "".join(f'[[source]]\nfeed = "{feed}"\nfile = "{feed}.csv"\n' for feed in feeds)
        keys = ", ".join(f'"{key}"' for key in self.host_keys)
        server = self.server or (
            f'host = "127.0.0.1"\nport = {self.port}\naccount = "{self.account}"\nkey = "{self.key}"\n'
            f"host_keys = [{keys}]\n"
        )
        (self.folder / "landingzone-upload.toml").write_text(f"[server]\n{server}{self.extra}\n{lines}")

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, newline="")
        old = time.time() - 60
        os.utime(path, (old, old))
        return path

    def run(self, seconds: float = 30, *, send_anyway: bool = False, **patience: float) -> list[Attempt]:
        """The run, in this process."""
        here = Setup(Folder(self.folder))
        waits = {"silence": 10.0, "first": 0.1, "longest": 1.0, "look": 0.2, **patience}
        going = Run(here, self.heard, patience=lambda: Patience(time.monotonic() + seconds, **waits))
        return going.go(here.settings.named(()), send_anyway=send_anyway)

    def program(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """The program itself."""
        command = [sys.executable, "-m", "upload.cli", "--folder", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, **options)

    def log(self) -> str:
        """All that was logged."""
        return "".join(path.read_text() for path in sorted((self.folder / "logs").glob("*.log")))

    def modes(self) -> set[int]:
        """The modes of every file of the program's own."""
        own = [path for name in ("logs", "state", "work") for path in (self.folder / name).rglob("*")]
        return {stat.S_IMODE(path.stat().st_mode) for path in own if path.is_file()}


MakeUploader = Callable[..., Uploader]


@pytest.fixture
def make_uploader(root: Path, account: str, make_account: Callable[..., Path], tmp_path: Path) -> MakeUploader:
    """Makes a district's folder; its account is made with it."""

    def make(service: Any, name: str = account, *, port: int = 0, key: Path | None = None) -> Uploader:
        keys = [f"127.0.0.1 {key.public_key}" for key in host_key.host_keys(root)]
        at = port or service.port
        lines = [line.replace("127.0.0.1 ", f"[127.0.0.1]:{at} ", 1) for line in keys]
        return Uploader(tmp_path / f"upload-{name}", at, name, key or make_account(name), lines)

    return make


@pytest.fixture
def uploader(service: Any, make_uploader: MakeUploader) -> Uploader:
    """The district's folder of the test's account, at its service."""
    return make_uploader(service)


# Trouble on the way

FATES = ("pass", "drop", "drop", "reset", "reset", "stall", "deafen", "deafen")
"""Of a connection. deafen: what the client sends arrives, and no answer comes back."""


class Trouble:
    """A proxy on the way to the server, in a thread of its own, whose connections meet with trouble by a seed."""

    def __init__(
        self,
        port: int,
        seed: int,
        fates: tuple[str, ...] = FATES,
        *,
        upstream: float = 0.6,
        powers: tuple[float, float] = (11, 15.5),
    ) -> None:
        """`upstream`: the share of connections whose sent bytes count; of those 2 to one of the `powers` go through."""
        self.met: Counter[str] = Counter()
        self.fates = fates
        self._upstream, self._powers = upstream, powers
        self._target = port
        self._now: _Met | None = None
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

    def deafen(self) -> None:
        """Let the newest connection go deaf, from another thread; it is when this returns."""
        done = threading.Event()

        def deafen() -> None:
            assert self._now
            self._now.deafen()
            done.set()

        self._loop.call_soon_threadsafe(deafen)
        assert done.wait(10)

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
        fate, upstream = self._random.choice(self.fates), self._random.random() < self._upstream
        left = int(2 ** (self._random.uniform(*self._powers) if upstream else self._random.uniform(10, 14)))
        if fate == "pass":
            left = 1 << 62
        to, back = await asyncio.open_connection("127.0.0.1", self._target)
        met = self._now = _Met(fate, left)
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

    def deafen(self) -> None:
        """From now on no answer comes back; a moment later it breaks."""
        self._deaf = True
        asyncio.get_running_loop().call_later(1.0, self.over.set)

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
            self.deafen()


class Gate:
    """A proxy that speaks SOCKS5 or HTTP CONNECT, in threads; `closed`: it lets nobody through any more."""

    def __init__(self, scheme: str) -> None:
        self.asked: list[tuple[str, int]] = []
        self.closed = False
        self._greet = self._socks if scheme == "socks5" else self._http
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._meet, args=(client,), daemon=True).start()

    def _meet(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as words:
            if self.closed:
                return
            where, answer = self._greet(client, words)
            self.asked.append(where)
            with socket.create_connection(where) as server:
                client.sendall(answer)
                threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
                while data := words.read1(1 << 16):
                    server.sendall(data)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)

    @staticmethod
    def _socks(client: socket.socket, words: Any) -> tuple[tuple[str, int], bytes]:
        words.read(words.read(2)[1])
        client.sendall(b"\5\0")
        kind = words.read(4)[3]
        host = socket.inet_ntoa(words.read(4)) if kind == 1 else words.read(words.read(1)[0]).decode()
        return (host, int.from_bytes(words.read(2))), b"\5\0\0\1" + bytes(6)

    @staticmethod
    def _http(client: socket.socket, words: Any) -> tuple[tuple[str, int], bytes]:
        method, where, _ = words.readline().split()
        assert method == b"CONNECT"
        while words.readline().strip():
            pass
        host, _, port = where.decode().rpartition(":")
        return (host, int(port)), b"HTTP/1.1 200 OK\r\n\r\n"

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def make_gate() -> Iterator[Callable[[str], Gate]]:
    made: list[Gate] = []

    def make(scheme: str) -> Gate:
        made.append(Gate(scheme))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def trouble_port(service: Any) -> int:
    """The port that trouble leads to."""
    port: int = service.port
    return port


@pytest.fixture
def make_trouble(trouble_port: int) -> Iterator[Callable[..., Trouble]]:
    made: list[Trouble] = []

    def make(*arguments: Any, **options: Any) -> Trouble:
        made.append(Trouble(trouble_port, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
