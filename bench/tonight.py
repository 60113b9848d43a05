"""The console's page Tonight: 5,000 districts, six files each, thirty nights.

    accounts     5,000 in the four time zones of the United States, without due times: they are learned
    runs         six files of each on each of thirty nights, 900,000 in all; of the last two nights some have rejects,
                 are unchanged, held, failed or rejected. The last night is in as far as the hour says
    writer       a process of its own lets files land and brings them in meanwhile, RATE (20) a second
    page         GET through the ASGI application in this process, from the session's cookie to the last byte of the
                 HTML; asked for again 50 ms after each answer. `rest` is the last page, without what needs somebody

`cold` is the time from the start of a console to the first page that shows every account; meanwhile each page shows as
much as is known, `while cold` is their median.
"""

import argparse
import asyncio
import json
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count as counting
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
import sqlalchemy as sa
from night import Server

from console.app import build_app
from console.desk import Desk
from console.role import Role
from landingzone.clock import iso, now
from landingzone.command import Installation
from landingzone.db import Database
from landingzone.landing import least_id_of
from landingzone.tables import accounts, runs, sources
from processor.report import Report

FEEDS = ("students", "staff", "sections", "enrollments", "teachers", "attendance")
ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")
OUTCOMES = {"imported": 80, "imported_with_rejects": 8, "unchanged": 8, "held": 1, "failed": 1, "rejected": 2}
_Piece = list[tuple[tuple[object, ...], tuple[object, ...]]]


def report(feed: str, read: int, rejected: int) -> str:
    """A run's report, as large as they usually are."""
    told = Report(bytes=read * 80, sha256="0" * 64, source=feed, feed=feed)
    told.rows |= {"read": read, "accepted": read - rejected, "rejected": rejected, "unchanged": read - rejected}
    told.header = [f"Column {number}" for number in range(12)]
    told.warnings = [
        {"code": "phone_extension_cut", "count": 3, "message": "An extension was cut.", "lines": [4, 9, 71]}
    ]
    told.tolerated = [{"code": "line_ends", "message": "Lines end with LF."}]
    return json.dumps(told.as_dict())


def history(count: int, nights: int, until: datetime) -> Iterator[tuple[tuple[object, ...], tuple[object, ...]]]:
    """The rows of landings and runs, in order of time."""
    chance = random.Random(7)
    reports = {feed: [report(feed, read, 0) for read in (40, 900, 12_000)] for feed in FEEDS}
    names, weights = list(OUTCOMES), list(OUTCOMES.values())
    usual = [[chance.randint(240, 420) for _ in FEEDS] for _ in range(count)]
    serial = 0
    for back in range(nights - 1, -1, -1):
        came = []
        for number in range(count):
            zone = ZoneInfo(ZONES[number % 4])
            day = until.astimezone(zone).date() - timedelta(days=back)
            midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            for at, feed in enumerate(FEEDS):
                moment = midnight + timedelta(
                    minutes=usual[number][at] + chance.gauss(0, 6), seconds=chance.random() * 60
                )
                if moment < until and chance.random() < 0.985:
                    came.append((moment, number, at, feed))
        for moment, number, at, feed in sorted(came):
            serial += 1
            base = least_id_of(moment)
            landing_id = f"{base[:14]}7{serial % 4096:03x}-8{serial % 4096:03x}-{serial:012x}"
            outcome = chance.choices(names, weights)[0] if back < 2 else "imported"
            ended = iso(moment + timedelta(seconds=5))
            yield (
                (landing_id, number + 1, f"{feed}.csv", False, "SHA256:x", "192.0.2.1", 80_000, moment.timestamp()),
                (
                    serial, f"{landing_id}:1", landing_id, 1, number + 1, number * len(FEEDS) + at + 1, "receipted",
                    outcome, "node-1/1", "", iso(moment), ended, "0" * 64, 80_000, reports[feed][number % 3], 10,
                ),
            )  # fmt: skip


_LANDING = ("id", "account_id", "name", "resumed", "key_fingerprint", "peer", "bytes", "mtime")
_RUN = (
    "serial", "id", "landing_id", "attempt", "account_id", "source_id", "state", "outcome", "owner", "requested_by",
    "created_at", "finished_at", "sha256", "bytes", "report", "priority",
)  # fmt: skip


def fill(db: Database, count: int, nights: int) -> int:
    """Write the accounts and their runs; how many runs there are."""
    until, since = now(), iso(now() - timedelta(days=90))
    with db.write() as tx:
        rows = [
            {"id": at + 1, "name": f"district-{at:05}", "title": f"School District {at}", "time_zone": ZONES[at % 4],
             "created_at": since, "options": {}} for at in range(count)
        ]  # fmt: skip
        tx.execute(accounts.insert(), rows)
        made = [
            {"id": at * len(FEEDS) + feed + 1, "account_id": at + 1, "name": name, "feed": name,
             "pattern": f"{name}.csv", "mode": "events" if name == "attendance" else "full", "created_at": since}
            for at in range(count) for feed, name in enumerate(FEEDS)
        ]  # fmt: skip
        for begin in range(0, len(made), 5000):
            tx.execute(sources.insert(), made[begin : begin + 5000])
    piece: _Piece = []
    written = 0
    for row in history(count, nights, until):
        piece.append(row)
        if len(piece) == 20_000:
            written += write(db, piece)
            piece = []
    written += write(db, piece)
    with db.engine.connect() as tx:
        tx.exec_driver_sql("ANALYZE")
        tx.commit()
    return written


def write(db: Database, piece: _Piece) -> int:
    """Write some landings and their runs, by the fastest way that each database has."""
    with db.write() as tx:
        driver = tx.connection.driver_connection
        for table, columns, at in (("landings", _LANDING, 0), ("runs", _RUN, 1)):
            rows = [row[at] for row in piece]
            if isinstance(driver, sqlite3.Connection):
                places = ", ".join("?" for _ in columns)
                driver.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
                continue
            with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for one in rows:
                    copy.write_row(one)
    return len(piece)


def keep_writing(root: Path, count: int, rate: float) -> None:
    """Let files land and be brought in, until this process is ended."""
    db, chance = Installation(root).db, random.Random(11)
    with db.read() as tx:
        serial = tx.execute(sa.select(sa.func.max(runs.c.serial))).scalar() or 0
    body = report("students", 900, 0)
    began = time.monotonic()
    for number in counting(1):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        account, feed = chance.randrange(count), chance.randrange(len(FEEDS))
        moment = now()
        landing_id = f"{least_id_of(moment)[:14]}7{number % 4096:03x}-9{number % 4096:03x}-{number:012x}"
        landing = (landing_id, account + 1, f"{FEEDS[feed]}.csv", False, "", "192.0.2.1", 80_000, moment.timestamp())
        source = account * len(FEEDS) + feed + 1
        run = (
            serial + number, f"{landing_id}:1", landing_id, 1, account + 1, source, "claimed", None, "node-1/1", "",
            iso(moment), None, None, None, None, 10,
        )  # fmt: skip
        write(db, [(landing, run)])
        this = runs.update().where(runs.c.serial == serial + number)
        with db.write() as tx:
            tx.execute(
                this.values(state="applied", outcome="imported", finished_at=iso(now()), report=json.loads(body))
            )
        with db.write() as tx:
            tx.execute(this.values(state="receipted"))


async def measure(root: Path, rounds: int) -> dict[str, list[float] | float]:
    """Seconds of each answer, by page; bytes of the HTML."""
    app = build_app(Installation(root).with_given(console={"requests_per_minute": 1_000_000}))
    desk: Desk = app.state.desk
    user = desk.users.get("bench") if any(one.name == "bench" for one in desk.users.all()) else None
    user = user or desk.users.add("bench", Role.OPERATOR, account=None, actor="bench")
    cookie = desk.sign_in.open(user, address="127.0.0.1", client="bench", by="bench")
    found: dict[str, list[float] | float] = {}
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://localhost", cookies={"landingzone": cookie}
    ) as client:

        async def ask(path: str) -> tuple[float, str]:
            began = time.perf_counter()
            answer = await client.get(path)
            took = time.perf_counter() - began
            assert answer.status_code == 200, answer.text
            return took, answer.text

        began, pages = time.perf_counter(), []
        while True:
            took, text = await ask("/tonight")
            if "has just started" not in text:
                break
            pages.append(took)
            await asyncio.sleep(0.05)
        found |= {"cold": time.perf_counter() - began, "while cold": pages[1:] or [took]}
        for name, path in (("page", "/tonight"), ("late", "/tonight?state=late"), ("rest", "/tonight?page=1000")):
            answers = []
            for _ in range(rounds):
                took, text = await ask(path)
                answers.append(took)
                await asyncio.sleep(0.05)
            found |= {name: answers, f"{name} bytes": len(text.encode())}
    await asyncio.to_thread(desk.live.stop)
    desk.here.db.close()
    return found


COLUMNS = ("Database", "Runs", "Page", "Median, ms", "99 of 100, ms", "HTML, KB", "Cold, s", "While cold, ms")


def rows(database: str, given: argparse.Namespace) -> Iterator[str]:
    """The rows of the table for one database."""
    place = Path(tempfile.mkdtemp(prefix="tonight-"))
    server = Server.start() if database == "postgresql" else None
    writer = None
    try:
        root = place / "root"
        root.mkdir(mode=0o700)
        if server is not None:
            (root / "landingzone.toml").write_text(f"database_url = {json.dumps(server.url)}\n")
        subprocess.run(
            [sys.executable, "-m", "landingzone", "--root", root, "init"], check=True, stdout=subprocess.DEVNULL
        )
        here, began = Installation(root), time.monotonic()
        written = fill(here.db, given.accounts, given.nights)
        here.db.close()
        print(f"# {written:,} runs written in {time.monotonic() - began:.0f} s", file=sys.stderr)
        command = [sys.executable, __file__, "--write", str(root), "--rate", str(given.rate)]
        writer = subprocess.Popen([*command, "--accounts", str(given.accounts)])
        found = asyncio.run(measure(root, given.rounds))
        for name in ("page", "late", "rest"):
            took = found[name]
            assert isinstance(took, list)
            cold = (
                f"{found['cold']:.1f} | {1000 * statistics.median(found['while cold']):.0f}"
                if name == "page"
                else " | "
            )
            yield (
                f"| {database} | {written:,} | {name} | {1000 * statistics.median(took):.0f} "
                f"| {1000 * sorted(took)[int(len(took) * 0.99)]:.0f} | {found[f'{name} bytes'] / 1000:.0f} | {cold} |"
            )
    finally:
        if writer is not None:
            writer.terminate()
            writer.wait()
        if server is not None:
            server.stop()
        shutil.rmtree(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=5000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=300, help="requests for each page (300)")
    parser.add_argument("--rate", type=float, default=20, help="files a second meanwhile (20)")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        keep_writing(given.write, given.accounts, given.rate)
        return
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for database in ["sqlite", "postgresql"] if given.database == "both" else [given.database]:
        for row in rows(database, given):
            print(row, flush=True)


if __name__ == "__main__":
    main()
