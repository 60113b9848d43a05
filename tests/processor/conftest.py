"""The processor as a process of its own, fed by files that land as the front door makes them land."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zstandard

from landingzone import landing_record
from landingzone.command import Installation
from landingzone.landing import Landing
from landingzone.zone import Upload
from processor import account_data
from processor import run as runs
from processor.archive import folder_of
from processor.context import Context
from processor.durable_steps import durable_steps
from processor.service import open_context

ACCOUNT = "springfield"
DYING = Path(__file__).parent / "dying_processor.py"


@dataclass
class Night:
    """One zone with one account, in which files land and a processor imports them."""

    here: Installation
    log_file: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    started: int = 0

    # What a customer does

    def land(self, name: str, content: bytes, account: str = ACCOUNT, *, resumed: bool = False) -> Landing:
        """A file lands, the way the front door does it."""
        upload, landing = self.upload(name, content, account, resumed=resumed)
        self.here.zone.land(upload, landing)
        return landing

    def upload(
        self, name: str, content: bytes, account: str = ACCOUNT, *, resumed: bool = False
    ) -> tuple[Upload, Landing]:
        """Everything of a landing but the rename that makes it one."""
        zone = self.here.zone
        upload, descriptor = zone.begin_upload(account, name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        landing = zone.new_landing(account, name)
        with self.here.db.write() as tx:
            landing_record.note(tx, landing, resumed=resumed)
        return upload, landing

    def outcome(self, landing: Landing, *, seconds: float = 60) -> str:
        """How the newest attempt of a landing has ended, once it has."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self.here.db.read() as tx:
                run = runs.find(tx, landing.id)
            if run is not None and run.outcome is not None:
                return run.outcome.value
            time.sleep(0.05)
        pytest.fail(f"no outcome within {seconds} s; log:\n{self.log[-4000:]}")

    def receipt(self, landing: Landing, *, seconds: float = 60, outcome: str | None = None) -> dict[str, Any]:
        """The receipt of a landing, once it is there (and says `outcome`, if given)."""
        path = self.here.zone.receipts_folder(landing.account) / f"{landing.id}-{landing.name}.receipt.json"
        until = time.monotonic() + seconds
        told: dict[str, Any] = {}
        while time.monotonic() < until:
            if path.is_file():
                told = json.loads(path.read_bytes())
                if outcome in {None, told["outcome"]}:
                    return told
            time.sleep(0.02)
        pytest.fail(f"no receipt {outcome or ''} within {seconds} s, but {told}; log:\n{self.log[-4000:]}")

    # The processor's life

    def start(self, *, die_at: str = "", **settings: Any) -> "Night":
        """Start the processor; `die_at` names the moment at which it kills itself (see dying_processor.py)."""
        given = {f"LANDINGZONE_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LANDINGZONE_")},
            "LANDINGZONE_LOG__FORMAT": "json",
            **self.settings,
            **given,
        }
        arguments = ["--root", str(self.here.settings.root), "processor"]
        command = [sys.executable, "-m", "landingzone", *arguments]
        if die_at:
            environment["LANDINGZONE_PROCESSOR__PROGRESS_SECONDS"] = "0"
            command = [sys.executable, str(DYING), die_at, *arguments]
            environment["ARMED"] = str(self.armed)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return self

    def wait_until_started(self, seconds: float = 30) -> None:
        """Returns once the processor has logged that it works."""
        seen, until = self.started, time.monotonic() + seconds
        while (started := self.log.count('"processor.started"')) <= seen and time.monotonic() < until:
            time.sleep(0.02)
        self.started = started

    def wait_for_death(self, seconds: float = 60) -> int:
        """The exit code of a processor that kills itself."""
        assert self.process
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the processor did not come to the moment of its death; log:\n{self.log[-4000:]}")

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(30)

    @property
    def log(self) -> str:
        """Everything that was logged."""
        return self.log_file.read_text()

    @property
    def armed(self) -> Path:
        """Once this file is there, the dying processor dies."""
        return self.log_file.with_suffix(".armed")

    # What is there

    @property
    def receipts(self) -> Path:
        """What the customer can fetch."""
        return self.here.zone.receipts_folder(ACCOUNT)

    def left_over(self) -> list[str]:
        """What lies in inbox/ and work/ of the account; nothing, once all is done."""
        folders = (self.here.zone.folder(kind, ACCOUNT) for kind in ("inbox", "work"))
        return [str(path) for folder in folders for path in folder.rglob("*")]

    def archived_sha256(self, landing: Landing) -> str:
        """SHA-256 of the archived original, unpacked."""
        packed = (self.here.settings.root / "archive" / folder_of(landing) / f"{landing.name}.zst").read_bytes()
        return hashlib.sha256(zstandard.ZstdDecompressor().stream_reader(packed).read()).hexdigest()

    def rows(self, feed: str) -> list[tuple[Any, ...]]:
        """The account's rows of a feed, with whether they are active and whether each was written by one run only."""
        table = account_data.table_of(self.here.catalogue[feed])
        with self.here.db.read() as tx:
            found = tx.execute(table.select()).mappings().all()
        names = self.here.catalogue[feed].field_names
        return sorted((*(row[name] for name in names), row["ended_run"] is None) for row in found)

    def runs(self) -> list[runs.Run]:
        """All runs, oldest first."""
        with self.here.db.read() as tx:
            return runs.newest(tx, limit=1000)[::-1]


@pytest.fixture
def night(here: Installation, tmp_path: Path) -> Iterator[Night]:
    """An account, and a processor that is not started yet."""
    here.accounts.add(ACCOUNT, actor="test")
    here.zone.prepare_account(ACCOUNT)
    one = Night(here, tmp_path / "processor.log", {"LANDINGZONE_RESERVE_MEBIBYTES": "1"})
    one.log_file.touch()
    yield one
    one.kill()


@pytest.fixture
def students() -> Callable[..., bytes]:
    """Makes a students file: `students(30)` holds ids 1000 to 1029; keyword arguments replace cells by line."""

    def make(count: int, *, start: int = 1000, **cells: dict[int, str]) -> bytes:
        lines = ["Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone,Grade"]
        for at, number in enumerate(range(start, start + count)):
            row = {
                "id": f"{number}",
                "first": f"First{number - 1000}",
                "last": f"Last{number - 1000}",
                "phone": f"{2065549000 + number}",
                "school": f"{number % 3:03d}",
                "alt": f"{4255549000 + number}",
                "grade": f"{number % 12 + 1}",
            }
            row |= {name: by_line[at + 2] for name, by_line in cells.items() if at + 2 in by_line}
            lines.append(",".join(f'"{value}"' for value in row.values()))
        return ("\r\n".join(lines) + "\r\n").encode()

    return make


@dataclass
class Desk:
    """The import step in this process, without the queue: each landing is taken through at once."""

    night: Night
    context: Context

    def bring(self, name: str, content: bytes, **land: Any) -> dict[str, Any]:
        """A file lands and is taken through; its receipt."""
        return self.take(self.night.land(name, content, **land))

    def take(self, landing: Landing) -> dict[str, Any]:
        """Take the newest attempt of a landing through every step; its receipt."""
        with self.context.db.write() as tx:
            landing_record.note(tx, landing)
            if not runs.exists(tx, landing.id):
                runs.add(tx, landing)
            run_id = runs.get(tx, landing.id).id
        durable_steps(self.context)(run_id)
        return self.night.receipt(landing)


@pytest.fixture
def desk(night: Night) -> Desk:
    """The import step at hand."""
    return Desk(night, open_context(night.here.settings, night.here.db))
