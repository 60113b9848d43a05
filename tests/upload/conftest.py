"""A district's folder, with the program as a process of its own or its run in this one, at the real service."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sftpd import host_key
from upload.attempts import Attempt
from upload.command import Setup
from upload.connection import Patience
from upload.folder import Folder
from upload.parcel import Parcel
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

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def settle(self, *feeds: str) -> None:
        """Write the settings: a file of each feed's name."""
        lines = "".join(f'[[source]]\nfeed = "{feed}"\nfile = "{feed}.csv"\n' for feed in feeds)
        keys = ", ".join(f'"{key}"' for key in self.host_keys)
        (self.folder / "landingzone-upload.toml").write_text(
            f'[server]\nhost = "127.0.0.1"\nport = {self.port}\naccount = "{self.account}"\nkey = "{self.key}"\n'
            f"host_keys = [{keys}]\n{self.extra}\n{lines}"
        )

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, newline="")
        old = time.time() - 60
        os.utime(path, (old, old))
        return path

    def run(self, seconds: float = 30, **patience: float) -> list[Attempt]:
        """The run, in this process."""
        here = Setup(Folder(self.folder))
        waits = {"silence": 10.0, "first": 0.1, "longest": 1.0, "look": 0.2, **patience}
        going = Run(here, self.heard, patience=lambda: Patience(time.monotonic() + seconds, **waits))
        return going.go(here.settings.named(()))

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
