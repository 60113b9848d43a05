"""Chaos: two doors and three processors under load, while they, their database and their disk meet with trouble.

`python tests/chaos/run.py --seconds 300 --seed 7` prints what it did to whom and when, and a verdict. It ends with
another code than 0 if anything was lost, doubled, out of order, or not as the model of the districts says; then the
logs of all processes stay in the folder that it names.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import asyncssh
from clients import Clients
from cluster import Cluster
from district import Upload, uploads_of
from trouble import Troubles, plan
from verdict import Verdict, judge, set_aside, waiting

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.command import Installation
from processor import requests
from processor.archive import archive_of

_STUCK_SECONDS = 120
"""Once all is healthy, so long may pass without anything coming to its end; how long it takes is up to the load."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long there is load and trouble")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--longest", type=float, default=60, help="seconds that a trouble lasts at most")
    parser.add_argument("--beat", type=float, default=1, help="processor.beat_seconds")
    parser.add_argument("--keep", action="store_true", help="keep the logs also if all is well")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)  # the database's user goes through it
    verdict = asyncio.run(_run(given, folder))
    for violation in verdict.violations[:50]:
        print("  VIOLATION", violation)
    if verdict.violations:
        print(f"verdict: {len(verdict.violations)} violations; the logs are in {folder}")
        sys.exit(1)
    print("verdict: all is well")
    if given.keep:
        print(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)


async def _run(given: argparse.Namespace, folder: Path) -> Verdict:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    cluster = Cluster(folder, {"PROCESSOR__BEAT_SECONDS": str(given.beat)})
    try:
        await cluster.start()
        here = Installation(cluster.root)
        districts, key = await asyncio.to_thread(_make_districts, here, given)
        await cluster.until_at_work()
        if not cluster.small_disk:
            say("no small disk can be mounted here (only root can): the disk is never full")
        planned = plan(given.seed, given.seconds, list(cluster.parts), longest=given.longest, disk=cluster.small_disk)
        say(f"seed {given.seed}: {given.accounts} accounts send {sum(map(len, districts))} files")

        troubles = Troubles(cluster, say)
        doors = [part.port for part in cluster.parts.values() if part.port]
        clients = Clients(key, doors, given.seed)
        async with asyncio.TaskGroup() as group:
            group.create_task(troubles.carry_out(planned))
            for uploads in districts:
                group.create_task(clients.send(uploads, seconds=given.seconds))
        say(f"every client has seen success; the longest took {clients.sent.longest:.1f} s")

        still = await _until_quiet(here)
        while failed := set_aside(here):
            for run in failed:
                say(f"the operator retries {run.id}: {(run.report or {}).get('reason', '')}")
                requests.retry(here.db, archive_of(here.settings, here.zone), run.id, actor="chaos")
            still = await _until_quiet(here)
        say("nothing waits any more")
        every = [upload for uploads in districts for upload in uploads]
        verdict = judge(here, every, clients.sent)
        verdict.violations += troubles.problems
        if still:
            verdict.violations.append(f"{still} files or runs wait, and have not moved for {_STUCK_SECONDS} s")
        for part in cluster.parts.values():
            if (code := await asyncio.to_thread(part.stop)) != 0:
                verdict.violations.append(f"{part.name} ended with {code} when it was told to stop")
        here.db.close()
    finally:
        cluster.end()
    _tell(cluster, troubles, clients, verdict)
    return verdict


def _make_districts(here: Installation, given: argparse.Namespace) -> tuple[list[list[Upload]], asyncssh.SSHKey]:
    """What each district will send, and the key that opens all their accounts, which are made."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = PublicKey.parse(key.export_public_key())
    count = given.files // given.accounts
    districts = [uploads_of(given.seed, number, count) for number in range(1, given.accounts + 1)]
    for account in (uploads[0].account for uploads in districts):
        here.accounts.add(account, actor="chaos")
        here.zone.prepare_account(account)
        Keys(here.db).add(account, public, actor="chaos")
    return districts, key


async def _until_quiet(here: Installation) -> int:
    """Returns when nothing has waited for two looks, or nothing has moved for long; how much still waits."""
    least, moved, quiet, left = sys.maxsize, time.monotonic(), 0, 0
    while quiet < 2 and time.monotonic() < moved + _STUCK_SECONDS:
        left = await asyncio.to_thread(waiting, here)
        if left < least:
            least, moved = left, time.monotonic()
        quiet = 0 if left else quiet + 1
        await asyncio.sleep(0.5)
    return left


def _tell(cluster: Cluster, troubles: Troubles, clients: Clients, verdict: Verdict) -> None:
    events: Counter[str] = Counter()
    for part in cluster.parts.values():
        for event in part.events():
            if event.get("level") in {"error", "warning", "critical"}:
                reason = f" ({event['reason']})" if "reason" in event else ""
                events[f"{event.get('event')}{reason}"] += 1
    for title, counts in (
        ("troubles", troubles.done),
        ("clients were told", clients.sent.refusals),
        ("warnings and errors logged", events),
        ("landings", verdict.outcomes),
    ):
        print(f"{title} ({counts.total()}):")
        for name, count in sorted(counts.items(), key=lambda one: -one[1]):
            print(f"  {count:6}  {name}")
    print(
        f"{len(clients.sent.succeeded)} successes seen, {verdict.landings} landings "
        f"({clients.sent.maybe.total()} tries had no answer), {verdict.rows} rows compared"
    )


if __name__ == "__main__":
    main()
