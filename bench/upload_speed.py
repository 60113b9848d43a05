"""`landingzone-upload`'s way of sending beside OpenSSH's sftp, over a slow and far link, to the same front door.

One file of text, MEBIBYTES large (1024), over a link of 20 MiB/s with 80 ms from end to end and back; rounds alternate.
Ours is a process of its own that compresses, connects, sends and has it landed; sftp puts the file as it is.
Needs root, iproute2 and OpenSSH's sftp. Arguments: mebibytes, rounds.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import numpy as np
from enrollments import enrollments
from link import Link, link

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.command import Installation
from sftpd.host_key import host_keys

RATE = 20 << 20
DELAY = 0.080
PORT = 2222
ACCOUNT = "bench"
BLOCK_ROWS = 250_000


def write_file(path: Path, size: int) -> None:
    """Enrollments until the file has that size: the largest file that districts send."""
    chance = np.random.default_rng(7)
    with path.open("wb") as out:
        at = 0
        while out.tell() < size:
            frame = enrollments(np.arange(at, at + BLOCK_ROWS), chance)
            frame.write_csv(out, include_header=at == 0, quote_style="always", line_terminator="\r\n")
            at += BLOCK_ROWS
        out.truncate(size)


@contextmanager
def door(folder: Path, over: Link) -> Iterator[Path]:
    """Our front door at the far end; the client's key."""
    root, key = folder / "zone", folder / "key"
    command = [sys.executable, "-m", "landingzone", "--root", str(root)]
    subprocess.run([*command, "init"], check=True, stdout=subprocess.DEVNULL)
    private = asyncssh.generate_private_key("ssh-ed25519")
    private.write_private_key(key)
    key.chmod(0o600)
    here = Installation(root)
    here.accounts.add(ACCOUNT, actor="bench")
    here.zone.prepare_account(ACCOUNT)
    Keys(here.db).add(ACCOUNT, PublicKey.parse(private.export_public_key()), actor="bench")
    here.db.close()
    log = folder / "door.log"
    environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json"}
    with log.open("wb") as out:
        start = over.at(over.far, *command, "sftpd", "--host", over.address, "--port", str(PORT))
        process = subprocess.Popen(start, stdout=out, stderr=out, env=environment)
    try:
        while "door.opened" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield key
    finally:
        process.terminate()
        process.wait()


def landed(folder: Path, number: int) -> dict[str, object]:
    """What the log says of the number-th file that landed."""
    lines = [json.loads(line) for line in (folder / "door.log").read_text().splitlines() if '"file.landed"' in line]
    assert len(lines) == number, lines
    found: dict[str, object] = lines[-1]
    for path in (folder / "zone" / "inbox" / ACCOUNT).iterdir():
        path.unlink()
    return found


def sftp(folder: Path, over: Link, key: Path, file: Path) -> float:
    """Seconds that OpenSSH's sftp needs."""
    options = ["-F", "none", "-i", str(key), "-o", "Compression=no", "-o", "IdentitiesOnly=yes"]
    options += ["-o", f"UserKnownHostsFile={folder}/known_hosts", "-o", "IdentityAgent=none", "-b", "-"]
    began = time.perf_counter()
    command = over.at(over.near, "sftp", *options, "-P", str(PORT), f"{ACCOUNT}@{over.address}")
    done = subprocess.run(command, input=f"put {file} enrollments.csv\n", text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


def ours(folder: Path, over: Link, key: Path, file: Path) -> float:
    """Seconds that we need, in a process of our own."""
    began = time.perf_counter()
    command = over.at(over.near, sys.executable, __file__, "--send", str(folder), over.address, str(key), str(file))
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def send(folder: str, address: str, key: str, file: str) -> None:
    """Be the one that sends."""
    from upload.connection import Line, Way
    from upload.host_key import Pins
    from upload.outgoing import Outgoing
    from upload.parcel import Parcel, pack
    from upload.patience import Patience
    from upload.run import quieten
    from upload.settings import ServerSettings
    from upload.transfer import deliver

    class Nobody:
        def at(self, parcel: Parcel, confirmed: int) -> None:
            pass

    quieten()
    path, lines = Path(file), Path(folder, "known_hosts").read_text().splitlines()
    server = ServerSettings(host=address, port=PORT, account=ACCOUNT, key=key, host_keys=tuple(lines))
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    parcel = pack(
        Outgoing("enrollments", "enrollments", path, "enrollments.csv", 0, path.stat().st_size, sha256), "auto"
    )
    way = Way(server, Pins.of(lines, address, PORT), Path(key), Patience(time.monotonic() + 600))
    line = Line(way, lambda *_, **__: None)
    deliver(parcel, line, lambda *_, **__: None, Nobody())
    line.close()


def main() -> None:
    size = int(sys.argv[1]) << 20 if len(sys.argv) > 1 else 1 << 30
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory(prefix="landingzone-bench-", dir="/dev/shm") as name, link(RATE, DELAY) as over:
        folder = Path(name)
        file = folder / "enrollments.csv"
        write_file(file, size)
        with door(folder, over) as key:
            known = [one.known_hosts_line(over.address, PORT) for one in host_keys(folder / "zone")]
            (folder / "known_hosts").write_text("".join(f"{line}\n" for line in known))
            print(f"{size >> 20} MiB of text, {RATE >> 20} MiB/s, {DELAY * 1000:g} ms there and back, by {over.kind}")
            print(f"{'round':<8}{'sftp, s':>10}{'ours, s':>10}{'ratio':>8}{'sent, MiB':>12}")
            ratios, number = [], 0
            for turn in range(rounds):
                number += 1
                theirs = sftp(folder, over, key, file)
                assert landed(folder, number)["bytes"] == size
                number += 1
                mine = ours(folder, over, key, file)
                sent = int(str(landed(folder, number)["bytes"]))
                ratios.append(theirs / mine)
                print(
                    f"{turn + 1:<8}{theirs:>10.1f}{mine:>10.1f}{ratios[-1]:>8.2f}{sent / (1 << 20):>12.0f}", flush=True
                )
            ratio = statistics.median(ratios)
            print(f"median ratio {ratio:.2f}, wanted >= 3: {'yes' if ratio >= 3 else 'no'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        send(*sys.argv[2:])
    else:
        main()
