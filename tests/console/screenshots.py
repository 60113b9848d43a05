"""Makes the pictures of the console in docs/images (`make screenshots`): a zone with some made-up districts, a night of
files by real SFTP, and Debian's Chromium.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
from playwright.sync_api import Page, sync_playwright

from console.desk import Desk
from console.role import Role
from keys.public_key import PublicKey
from landingzone.command import Installation

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SAMPLES = Path(__file__).resolve().parents[2] / "landingzone" / "sample"
DISTRICTS = ("ashland", "bellwood", "cedar-falls", "dover", "fairview", "georgetown", "riverdale", "springfield")
PATIENCE = 120.0


def main() -> None:
    """Make them all."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        here = Installation(home / "zone")
        _landingzone(here, "init")
        keys = {name: _district(here, home, name) for name in DISTRICTS}
        with _service(here, home) as (door, url):
            _night(here, keys, door)
            _pictures(Desk(here), url)


def _district(here: Installation, home: Path, name: str) -> Path:
    here.accounts.add(
        name, title=f"{name.replace('-', ' ').title()} Unified", time_zone="America/Chicago", actor="make"
    )
    here.zone.prepare_account(name)
    key = asyncssh.generate_private_key("ssh-ed25519", comment=f"sis@{name}.example.org")
    path = home / name
    path.touch(mode=0o600)
    key.write_private_key(path)
    Desk(here).keys.add(name, PublicKey.parse(key.export_public_key()), label="nightly export", actor="make")
    return path


@contextlib.contextmanager
def _service(here: Installation, home: Path) -> Iterator[tuple[int, str]]:
    log = home / "log.json"
    environment = {**os.environ, "LANDINGZONE_LOG__FORMAT": "json", "LANDINGZONE_DOOR__HOST": "127.0.0.1"}
    ports = {"LANDINGZONE_DOOR__PORT": "0", "LANDINGZONE_CONSOLE__PORT": "0", "LANDINGZONE_DOOR__SETTLE_SECONDS": "1"}
    command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), "serve", "--console"]
    with log.open("wb") as out, subprocess.Popen(command, env=environment | ports, stdout=out, stderr=out) as process:
        try:
            yield _port(log, "door.opened"), f"http://127.0.0.1:{_port(log, 'console.opened')}"
        finally:
            process.terminate()


def _port(log: Path, event: str) -> int:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for line in log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                if (told := json.loads(line)).get("event") == event:
                    return int(told["port"])
        time.sleep(0.1)
    raise TimeoutError(f"{event} was not logged:\n{log.read_text()}")


def _night(here: Installation, keys: dict[str, Path], port: int) -> None:
    samples = {path.name: path.read_bytes() for path in sorted(SAMPLES.glob("*.csv"))}
    for name, key in keys.items():
        _send(port, name, key, samples if name != "dover" else {"students.csv": samples["students.csv"]})
    _settle(here)
    few = b"\n".join(samples["students.csv"].splitlines()[:8]) + b"\n"
    _send(port, "bellwood", keys["bellwood"], {"students.csv": few})
    wrong = samples["staff.csv"].replace(b"@", b" at ")
    _send(port, "georgetown", keys["georgetown"], {"Export final (2).csv": samples["staff.csv"], "staff.csv": wrong})
    _settle(here)


def _send(port: int, account: str, key: Path, files: dict[str, bytes]) -> None:
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect("127.0.0.1", port, account, key_filename=str(key), allow_agent=False, look_for_keys=False)
        with client.open_sftp() as sftp:
            for name, content in files.items():
                with sftp.open(name, "wb") as file:
                    file.write(content)


def _settle(here: Installation) -> None:
    """Wait until every file that has landed has its receipt."""
    from processor import run as runs

    until = time.monotonic() + PATIENCE
    time.sleep(3)
    while time.monotonic() < until:
        with here.db.read() as tx:
            waits = runs.unfinished(tx)
        if not waits and all(here.zone.inbox_is_empty(name) for name in DISTRICTS):
            return
        time.sleep(0.5)
    raise TimeoutError("The night did not come to an end.")


def _pictures(desk: Desk, url: str) -> None:
    people = (
        ("ada@vendor.example", "Ada Lovelace", Role.OPERATOR, None),
        ("rita@riverdale.example", "Rita Moreno", Role.DISTRICT, "riverdale"),
    )
    cookies = {}
    for name, full_name, role, account in people:
        user = desk.users.add(name, role, account=account, full_name=full_name, actor="make")
        cookies[role] = desk.sign_in.open(user, address="192.0.2.10", client="Chromium", by="password")
    with desk.here.db.read() as tx:
        from processor import run as runs

        held = runs.newest(tx, account=None, states=("held",), limit=1)[0]
        rejects = runs.newest(tx, account="georgetown", states=("imported_with_rejects", "imported"), limit=1)[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )

        def page_of(role: Role, *, scheme: Any = "light", width: int = 1200, height: int = 760) -> Page:
            context = browser.new_context(
                base_url=url,
                color_scheme=scheme,
                viewport={"width": width, "height": height},
                timezone_id="America/Chicago",
                locale="en-US",
            )
            context.add_cookies([{"name": "landingzone", "value": cookies[role], "url": url}])
            return context.new_page()

        operator = page_of(Role.OPERATOR)
        for name, path in (
            ("tonight", "/tonight"),
            ("account", "/accounts/riverdale"),
            ("held", f"/runs/{held.id}"),
            ("run", f"/runs/{rejects.id}"),
            ("keys", "/accounts/riverdale/keys"),
            ("audit", "/audit"),
            ("users", "/users"),
        ):
            _shoot(operator, name, path)
        _shoot(page_of(Role.OPERATOR, scheme="dark"), "tonight-dark", "/tonight")
        _shoot(page_of(Role.OPERATOR, width=360, height=740), "tonight-narrow", "/tonight")
        district = page_of(Role.DISTRICT)
        _shoot(district, "district", "/files-today")
        _send_by_hand(district)
        browser.close()


def _shoot(page: Page, name: str, path: str) -> None:
    answer = page.goto(path)
    assert answer is not None
    assert answer.ok, f"{path}: {answer.status}"
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"{name}.png")  # noqa: T201 - a script


def _send_by_hand(page: Page) -> None:
    """The upload by hand, up to where it asks."""
    odd = b"Perm No,Vorname,Nachname,Handy,Campus\n" + b"".join(
        b"%d,First%d,Last%d,919555%04d,014\n" % (n, n, n, n) for n in range(1000, 1006)
    )
    page.goto("/send")
    page.get_by_label("What it holds").select_option("students")
    page.get_by_label("File").set_input_files({"name": "Export.csv", "mimeType": "text/csv", "buffer": odd})
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="See what would happen").wait_for()
    page.screenshot(path=IMAGES / "send.png")


def _landingzone(here: Installation, *arguments: str) -> None:
    command = [sys.executable, "-m", "landingzone", "--root", str(here.given["root"]), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
