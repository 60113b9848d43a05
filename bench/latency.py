"""From the client's close to the receipt: a 200-row file in a warm service, one account after another."""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncssh

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.command import Installation


def students(count: int, salt: int) -> bytes:
    lines = ["Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone,Grade"]
    lines += [
        f'"{1000 + at}","First{at}","Last{salt}","{2065550000 + at}","{at % 3:03d}","4255550000","{at % 12}"'
        for at in range(count)
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


async def push(root: Path, port: int, key: Path, accounts: list[str], rounds: int) -> list[float]:
    times = []
    for salt in range(rounds):
        for account in accounts:
            async with (
                asyncssh.connect(
                    "127.0.0.1", port, username=account, client_keys=[str(key)], known_hosts=None
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                folder = root / "receipts" / account
                before = {path.name for path in folder.glob("*-students.csv.receipt.json")}
                file = await sftp.open("students.csv", "wb")
                await file.write(students(200, salt))
                await file.close()
                closed = time.perf_counter()
                while not {path.name for path in folder.glob("*-students.csv.receipt.json")} - before:
                    await asyncio.sleep(0.001)
                times.append(time.perf_counter() - closed)
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "zone"
        here = Installation(root)
        subprocess.run(
            [sys.executable, "-m", "landingzone", "--root", root, "init"], check=True, stdout=subprocess.DEVNULL
        )
        key = Path(folder) / "key"
        private = asyncssh.generate_private_key("ssh-ed25519")
        private.write_private_key(key)
        accounts = [f"district-{number}" for number in range(given.accounts)]
        for account in accounts:
            here.accounts.add(account, actor="bench")
            here.zone.prepare_account(account)
            Keys(here.db).add(account, PublicKey.parse(private.export_public_key()), actor="bench")
        log = Path(folder) / "log"
        environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json"}
        with log.open("wb") as out:
            service = subprocess.Popen(
                [sys.executable, "-m", "landingzone", "--root", root, "serve", "--port", "0"],
                stderr=out,
                env=environment,
            )
        try:
            while "processor.started" not in log.read_text() or "door.opened" not in log.read_text():
                time.sleep(0.1)
            port = next(json.loads(line)["port"] for line in log.read_text().splitlines() if "door.opened" in line)
            asyncio.run(push(root, port, key, accounts, 1))
            times = asyncio.run(push(root, port, key, accounts, given.rounds))
        finally:
            service.terminate()
            service.wait()
    times.sort()
    print(
        f"{len(times)} files of 200 rows, close to receipt: median {statistics.median(times) * 1000:.0f} ms, "
        f"99th percentile {times[int(len(times) * 0.99)] * 1000:.0f} ms, max {times[-1] * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
