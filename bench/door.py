"""The front door beside OpenSSH's sshd (internal-sftp), in pairs that alternate: same client, cipher, key, disk.

    uploads      one large file on a memory filesystem: rate, and the server's CPU time per GiB
    small files  2,000 files of 20 KiB on the disk, each flushed by the client (`put -f`). Ours are landed as well
    sessions     log in, open SFTP, leave; at 1, 8 and 64 clients, with Ed25519 and RSA-3072 keys on both sides
    idle         memory of a session that does nothing

CPU is that of the server's whole process tree, with its children that have ended. As root, sshd runs as it does in the
field: the sessions of an unprivileged user in a chroot. Every figure is the median of its rounds, a ratio the median
of the ratios of the pairs.
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import asyncssh
from processes import cpu_seconds, memory_kib, tree

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.command import Installation

CIPHER = "aes128-gcm@openssh.com"
KEYS = {"ed25519": ("ssh-ed25519", {}), "rsa": ("ssh-rsa", {"key_size": 3072})}
HOST_KEYS = {"ed25519": "ssh-ed25519", "rsa": "rsa-sha2-512"}
ACCOUNTS = [f"district-{number}" for number in range(64)]
SFTP_INIT = b"\0\0\0\x05\x01\0\0\0\x03"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    upload_mebibytes: int
    small_files: int
    sessions: dict[int, int]
    idle: int
    idle_of_sshd: int


FULL = Size(5, 1024, 2000, {1: 40, 8: 160, 64: 256}, 1000, 100)
QUICK = Size(3, 256, 200, {1: 10, 8: 40, 64: 128}, 200, 20)


# Processes


def adopting(command: list[str]) -> list[str]:
    """The command under a parent that adopts and counts what is left of it: sshd's monitor leaves its child behind."""
    return [sys.executable, __file__, "--adopt", *command]


def adopt(command: list[str]) -> None:
    """Be that parent, until the command has ended."""
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    server = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


@dataclass
class Server:
    """One contender, running: where clients reach it, and as whom. `pid` is that of its parent."""

    name: str
    port: int
    pid: int
    users: list[str]
    folder: str

    def rest(self) -> None:
        """Wait until the processes of past sessions have ended."""
        until = time.monotonic() + 10
        while len(tree(self.pid)) > 2 and time.monotonic() < until:
            time.sleep(0.01)


@dataclass
class Place:
    """The folders of a run of the benchmark."""

    base: Path
    ram: Path
    chroot: bool
    key_files: dict[str, Path]

    @property
    def sshd_user(self) -> str:
        return "nobody" if self.chroot else pwd.getpwuid(os.getuid()).pw_name


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Folders on the disk and in memory; as root where sshd accepts them as a chroot."""
    root = os.geteuid() == 0
    base = Path(tempfile.mkdtemp(prefix="landingzone-bench-", dir="/var/lib" if root else None))
    base.chmod(0o755)
    ram = base / "ram"
    ram.mkdir()
    mounted = (
        root and subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", ram], check=False).returncode == 0
    )
    if not mounted:
        ram = Path(tempfile.mkdtemp(prefix="landingzone-bench-", dir="/dev/shm"))
    key_files = {}
    for name, (algorithm, options) in KEYS.items():
        private = asyncssh.generate_private_key(algorithm, **options)
        key_files[name] = base / f"client_{name}"
        private.write_private_key(key_files[name])
        key_files[name].chmod(0o600)
        private.write_public_key(base / f"client_{name}.pub")
        host = asyncssh.generate_private_key(algorithm, **options)
        host.write_private_key(base / f"ssh_host_{name}_key")
        (base / f"ssh_host_{name}_key").chmod(0o600)
    try:
        yield Place(base, ram, mounted, key_files)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", ram], check=False)
        else:
            shutil.rmtree(ram, ignore_errors=True)
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def door(here: Place, folder: Path) -> Iterator[Server]:
    """Our front door, with every key in every account."""
    root = folder / "zone"
    command = [sys.executable, "-m", "landingzone", "--root", str(root)]
    subprocess.run([*command, "init"], check=True, stdout=subprocess.DEVNULL)
    for name in KEYS:
        shutil.copy(here.base / f"ssh_host_{name}_key", root / "hostkeys" / f"ssh_host_{name}_key")
    installation = Installation(root)
    for account in ACCOUNTS:
        installation.accounts.add(account, actor="bench")
        installation.zone.prepare_account(account)
        for key in here.key_files.values():
            public = PublicKey.parse(key.with_name(f"{key.name}.pub").read_bytes())
            Keys(installation.db).add(account, public, actor="bench")
    students = installation.catalogue.get("students")  # files of any date are expected, so that each one lands
    for pattern in ("students.csv", "students_{date}.csv"):
        installation.sources.expect(ACCOUNTS[0], pattern, feed=students, actor="bench")
    installation.db.close()
    log = folder / "door.log"
    environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json"}
    with log.open("wb") as out:
        command = adopting([*command, "sftpd", "--host", "127.0.0.1", "--port", "0"])
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        while "door.opened" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        opened = next(json.loads(line) for line in log.read_text().splitlines() if "door.opened" in line)
        yield Server("door", opened["port"], process.pid, ACCOUNTS, "")
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def sshd(here: Place, folder: Path) -> Iterator[Server]:
    """OpenSSH's server with internal-sftp."""
    files = folder / "sshd"
    files.mkdir(mode=0o755)
    incoming = files / "in"
    incoming.mkdir(mode=0o755)
    user = here.sshd_user
    if here.chroot:
        shutil.chown(incoming, user)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    authorized = folder / "authorized_keys"
    authorized.write_bytes(b"".join(key.with_name(f"{key.name}.pub").read_bytes() for key in here.key_files.values()))
    authorized.chmod(0o644)
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        "\n".join(
            [
                *(
                    "ListenAddress 127.0.0.1",
                    f"Port {port}",
                    "PidFile none",
                    "UsePAM no",
                    "UseDNS no",
                    "StrictModes no",
                ),
                *(f"HostKey {here.base}/ssh_host_{name}_key" for name in KEYS),
                *(f"AuthorizedKeysFile {authorized}", "PasswordAuthentication no", "KbdInteractiveAuthentication no"),
                *("MaxStartups 4096", "LogLevel ERROR", "PermitRootLogin no", "PrintMotd no", "DisableForwarding yes"),
                *("Subsystem sftp internal-sftp", "ForceCommand internal-sftp"),
                *([f"ChrootDirectory {files}"] if here.chroot else []),
            ]
        )
        + "\n"
    )
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
    assert program, "sshd is not installed (apt-get install openssh-server)"
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(adopting([program, "-D", "-e", "-f", str(config)]), stderr=log)
    try:
        wait_for_port(port)
        yield Server("sshd", port, process.pid, [user], "in/" if here.chroot else f"{incoming}/")
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("sshd did not start")


# Clients


def client_options(here: Place, key: str) -> list[str]:
    """What ssh and sftp share: one key, one cipher, nothing of the user's configuration."""
    return [
        *("-F", "none", "-i", str(here.key_files[key]), "-c", CIPHER),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", f"HostKeyAlgorithms={HOST_KEYS[key]}"),
        *("-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
        *("-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"),
    ]


def sftp(here: Place, server: Server, batch: str, key: str = "ed25519") -> None:
    """OpenSSH's sftp with these commands; fails with the first that fails."""
    where = ("-P", str(server.port), "-b", "-", f"{server.users[0]}@127.0.0.1")
    done = subprocess.run(
        ["sftp", *client_options(here, key), *where], input=batch, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, (server.name, done.stderr[-2000:])


def session(here: Place, server: Server, key: str, user: str) -> None:
    """Log in, open SFTP, leave."""
    command = ["ssh", *client_options(here, key), "-p", str(server.port), "-s", f"{user}@127.0.0.1", "sftp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(SFTP_INIT)
        answer = client.stdout.read(5)
        client.stdin.close()
        client.stdout.read()
    assert answer[4:] == b"\x02", (server.name, answer)


# Measurements: each gives its figures by name


def upload(here: Place, server: Server, file: Path) -> dict[str, float]:
    mebibytes = file.stat().st_size / (1 << 20)
    server.rest()
    cpu, began = cpu_seconds(server.pid), time.perf_counter()
    sftp(here, server, f"put {file} {server.folder}students.csv\n")
    elapsed = time.perf_counter() - began
    server.rest()
    used = cpu_seconds(server.pid) - cpu
    return {"rate": mebibytes / elapsed, "cpu": used / mebibytes * 1024}


def small_files(here: Place, server: Server, files: list[Path]) -> dict[str, float]:
    batch = "".join(f"put -f {file} {server.folder}{file.name}\n" for file in files)
    server.rest()
    cpu, began = cpu_seconds(server.pid), time.perf_counter()
    sftp(here, server, batch)
    elapsed = time.perf_counter() - began
    server.rest()
    return {"rate": len(files) / elapsed, "cpu": (cpu_seconds(server.pid) - cpu) / len(files) * 1000}


def sessions(here: Place, server: Server, key: str, clients: int, count: int) -> dict[str, float]:
    server.rest()
    cpu, began = cpu_seconds(server.pid), time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        users = (server.users[number % len(server.users)] for number in range(count))
        list(threads.map(lambda user: session(here, server, key, user), users))
    elapsed = time.perf_counter() - began
    server.rest()
    return {"rate": count / elapsed, "cpu": (cpu_seconds(server.pid) - cpu) / count * 1000}


def idle(here: Place, server: Server, count: int) -> float:
    """KiB of a session that is open and does nothing."""
    for _ in range(2):  # what is made once, for the first sessions, is not counted
        with idle_clients(here, server, 20):
            pass
        server.rest()
    before = memory_kib(server.pid)
    with idle_clients(here, server, count):
        time.sleep(1)
        return (memory_kib(server.pid) - before) / count


@contextlib.contextmanager
def idle_clients(here: Place, server: Server, count: int) -> Iterator[None]:
    """So many open SFTP sessions, in a process of their own."""
    key = str(here.key_files["ed25519"])
    arguments = ["--idle-client", str(server.port), key, str(count), *server.users]
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()


async def hold_sessions(port: int, key: str, count: int, users: list[str]) -> None:
    """Open so many sessions, say so, and hold them until the parent closes the pipe."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    turn = asyncio.Semaphore(10)
    options = asyncssh.SSHClientConnectionOptions(
        client_keys=[asyncssh.read_private_key(key)], known_hosts=None, config=[], agent_path=None, login_timeout=120
    )

    async def hold(number: int) -> object:
        async with turn:
            user = users[number % len(users)]
            connection = await asyncssh.connect("127.0.0.1", port, options=options, username=user)
            return connection, await connection.start_sftp_client()

    held = await asyncio.gather(*(hold(number) for number in range(count)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    del held


# The table


@dataclass
class Figures:
    """What was measured of one thing, pair by pair."""

    title: str
    unit: str
    target: str
    beyond: str
    of_sshd: list[float]
    ours: list[float]

    def line(self) -> str:
        pairs = [ours / theirs for ours, theirs in zip(self.ours, self.of_sshd, strict=True) if theirs]
        ratio = statistics.median(pairs) if pairs else float("nan")
        wanted = self.target + (f" ({self.beyond})" if self.beyond else "")
        met = ""
        if self.target:
            sign, bound = self.target.split()
            value = ratio if sign in {">=", "<="} and "KiB" not in self.unit else statistics.median(self.ours)
            met = "yes" if (value >= float(bound) if sign == ">=" else value <= float(bound)) else "no"
        theirs, ours = statistics.median(self.of_sshd), statistics.median(self.ours)
        digits = 0 if max(theirs, ours) >= 100 else 2
        return (
            f"{self.title:<42}{self.unit:>12}{theirs:>11.{digits}f}{ours:>11.{digits}f}{ratio:>8.2f}"
            f"   {wanted:<16}{met}"
        )


def pairs(
    rounds: int, servers: list[Server], measure: Callable[[Server], dict[str, float]]
) -> dict[str, list[list[float]]]:
    """The figures of both, sshd's first; who begins changes from round to round, a first round is not counted."""
    found: dict[str, list[list[float]]] = {}
    for server in servers:
        measure(server)
    for round_ in range(rounds):
        order = servers if round_ % 2 else servers[::-1]
        for server in order:
            for name, value in measure(server).items():
                found.setdefault(name, [[], []])[servers.index(server)].append(value)
    return found


def measure_uploads(here: Place, size: Size) -> Iterator[Figures]:
    folder = here.ram / "upload"
    folder.mkdir(mode=0o755)
    file = here.ram / "file"
    block = os.urandom(1 << 20)
    with file.open("wb") as out:
        for _ in range(size.upload_mebibytes):
            out.write(block)
    with sshd(here, folder) as theirs, door(here, folder) as ours:

        def measure(server: Server) -> dict[str, float]:
            figures = upload(here, server, file)
            for landed in (folder / "zone" / "inbox" / ACCOUNTS[0]).iterdir():
                landed.unlink()
            for received in (folder / "sshd" / "in").iterdir():
                received.unlink()
            return figures

        found = pairs(size.rounds, [theirs, ours], measure)
    label = f"{size.upload_mebibytes} MiB upload"
    yield Figures(f"{label}: rate", "MiB/s", ">= 1.3", "1.5", *found["rate"])
    yield Figures(f"{label}: server CPU", "s/GiB", "<= 0.7", "0.55", *found["cpu"])
    file.unlink()


def measure_small_files(here: Place, size: Size) -> Iterator[Figures]:
    folder = here.base / "small"
    folder.mkdir(mode=0o755)
    source = here.ram / "source"
    source.mkdir()
    files = []
    for number in range(size.small_files):
        files.append(source / f"students_{date(2020, 1, 1) + timedelta(number):%Y%m%d}.csv")
        files[-1].write_bytes(os.urandom(20 << 10))
    with sshd(here, folder) as theirs, door(here, folder) as ours:

        def measure(server: Server) -> dict[str, float]:
            figures = small_files(here, server, files)
            inbox = folder / "zone" / "inbox" / ACCOUNTS[0]
            for place in (inbox, folder / "sshd" / "in"):
                there = list(place.iterdir())
                assert len(there) in {0, len(files)}
                for one in there:
                    one.unlink()
            os.sync()
            return figures

        found = pairs(size.rounds, [theirs, ours], measure)
    label = f"{size.small_files} flushed files of 20 KiB"
    yield Figures(f"{label}: rate", "files/s", ">= 1.0", "", *found["rate"])
    yield Figures(f"{label}: server CPU", "ms/file", "", "", *found["cpu"])
    shutil.rmtree(source)


def measure_sessions(here: Place, size: Size) -> Iterator[Figures]:
    folder = here.base / "sessions"
    folder.mkdir(mode=0o755)
    with sshd(here, folder) as theirs, door(here, folder) as ours:
        for key in KEYS:
            for clients, count in size.sessions.items():
                found = pairs(
                    min(size.rounds, 3),
                    [theirs, ours],
                    lambda server, key=key, clients=clients, count=count: sessions(here, server, key, clients, count),
                )
                label = f"sessions, {key}, {clients} client{'s' * (clients > 1)}"
                target = ">= 1.5" if clients == 8 else ""
                yield Figures(f"{label}: rate", "1/s", target, "", *found["rate"])
                yield Figures(f"{label}: server CPU", "ms", "<= 0.25", "0.15", *found["cpu"])


def measure_idle(here: Place, size: Size) -> Iterator[Figures]:
    folder = here.base / "idle"
    folder.mkdir(mode=0o755)
    with sshd(here, folder) as theirs, door(here, folder) as ours:
        of_sshd = idle(here, theirs, size.idle_of_sshd)
        of_ours = idle(here, ours, size.idle)
    label = f"idle session, of {size.idle} (sshd: of {size.idle_of_sshd})"
    yield Figures(label, "KiB", "<= 50", "", [of_sshd], [of_ours])


PARTS = {"uploads": measure_uploads, "small": measure_small_files, "sessions": measure_sessions, "idle": measure_idle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; all if none is named")
    parser.add_argument("--quick", action="store_true", help="smaller files, fewer sessions and rounds")
    given = parser.parse_args()
    size = QUICK if given.quick else FULL
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.strip()
    with place() as here:
        print(f"{version}; {CIPHER}; {os.cpu_count()} cores; {size.rounds} rounds, medians; ", end="")
        print("sshd in a chroot, as nobody" if here.chroot else "sshd without a chroot: it needs root")
        print(f"{'':<42}{'unit':>12}{'sshd':>11}{'ours':>11}{'ratio':>8}   {'target (beyond)':<16}met")
        for part in given.parts or PARTS:
            for figures in PARTS[part](here, size):
                print(figures.line(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--adopt"]:
        adopt(sys.argv[2:])
    elif sys.argv[1:2] == ["--idle-client"]:
        asyncio.run(hold_sessions(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:]))
    else:
        main()
