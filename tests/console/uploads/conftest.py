"""The console's uploads as a process of their own, beside the shared service or in a zone of the test's own."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from console.tokens import Tokens
from landingzone.command import Installation

START_SECONDS = 60.0


@dataclass
class TusServer:
    """Uploads over HTTPS, here without TLS, and a client of one account."""

    root: Path
    log_file: Path
    secret: str = ""
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> "TusServer":
        """Start the console; it listens when this returns."""
        environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json", **self.settings}
        words = ["--root", str(self.root), "console", "--port", str(self.port)]
        seen = self.log().count('"console.opened"')
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "landingzone", *words], env=environment, stderr=log)
        until = time.monotonic() + START_SECONDS
        while len(opened := re.findall(r'"port": ([0-9]+).*"console.opened"', self.log())) == seen:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)
        self.port = int(opened[-1])
        return self

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def rss_mebibytes(self) -> int:
        """The most memory that the process has ever had."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+([0-9]+) kB", status)
        assert found
        return int(found[1]) >> 10

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, secret: str = "", **headers: str) -> httpx2.Client:
        own = {"Authorization": f"Bearer {secret or self.secret}", "Tus-Resumable": "1.0.0", **headers}
        return httpx2.Client(base_url=self.url, headers=own, timeout=60, trust_env=False)


@pytest.fixture(scope="session")
def _shared_tus(_empty_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TusServer]:
    """The server that tests share; nothing else runs on its zone."""
    folder = tmp_path_factory.mktemp("tus")
    server = TusServer(Path(shutil.copytree(_empty_root, folder / "root")), folder / "log").start()
    yield server
    server.kill()


@pytest.fixture
def root(request: pytest.FixtureRequest, _empty_root: Path, tmp_path: Path) -> Path:
    """The root of the test's zone: the shared server's, the whole service's, or an empty one of its own."""
    if "service" in request.fixturenames:
        whole: Path = request.getfixturevalue("_shared_whole").root
        return whole
    if "tus" in request.fixturenames:
        shared: TusServer = request.getfixturevalue("_shared_tus")
        return shared.root
    return Path(shutil.copytree(_empty_root, tmp_path / "root"))


@pytest.fixture
def secret(here: Installation, account: str) -> str:
    """The token of the test's account, which is made with it."""
    here.accounts.add(account, title="", time_zone="UTC", actor="test")
    here.zone.prepare_account(account)
    return Tokens(here.db).add_for_account(account, actor="test").secret


MakeTus = Callable[..., TusServer]


@pytest.fixture
def make_tus(root: Path, secret: str, tmp_path: Path) -> Iterator[MakeTus]:
    """Starts servers on the test's zone, which may be killed."""
    started: list[TusServer] = []

    def make(**settings: Any) -> TusServer:
        given = {f"LANDINGZONE_{name.upper()}": str(value) for name, value in settings.items()}
        server = TusServer(root, tmp_path / f"tus-{len(started)}.log", secret, settings=given)
        started.append(server)
        return server.start()

    yield make
    for server in started:
        if server.process and server.process.poll() is None:
            server.kill()


@pytest.fixture
def tus(_shared_tus: TusServer, secret: str) -> TusServer:
    """The shared server, with the token of the test's account."""
    return dataclasses.replace(_shared_tus, secret=secret)
