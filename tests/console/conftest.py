"""The real console as a process of its own, beside the real front door and processor, and people who have signed in."""

import dataclasses
import io
import itertools
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import paramiko
import pyotp
import pytest

from console.desk import Desk
from console.role import Role
from landingzone import landing_record
from landingzone.command import Installation
from landingzone.landing import Landing
from processor import run as runs

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


@dataclass
class Person:
    """A user, with what only the user knows."""

    name: str
    role: Role
    account: str | None
    totp: str = ""
    password: str = PASSWORD

    @property
    def code(self) -> str:
        """The one-time code of this moment."""
        return pyotp.TOTP(self.totp).now()


@dataclass
class Visitor:
    """A browser without a window: keeps cookies, says where its forms come from, follows redirects."""

    url: str
    http: httpx2.Client = field(init=False)
    csrf: str = ""

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.url, follow_redirects=True, timeout=60, headers={"origin": self.url})

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """A page."""
        return self.http.get(path, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> httpx2.Response:
        """Send a form, with what proves that it is ours."""
        return self.http.post(path, data={"csrf": self.csrf, **(data or {})}, **options)

    def remember(self, page: httpx2.Response) -> None:
        """Take over what the page's forms bring along."""
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
        assert found, page.text[:2000]
        self.csrf = found[1]


@pytest.fixture(scope="session")
def _shared_console(_empty_root: Path, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[Any]:
    """Front door, processor and console together, for all tests that say SERVICE = "_shared_console"."""
    folder = tmp_path_factory.mktemp("console")
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    with _whole(request.getfixturevalue("service_class"), root, folder / "log.json") as service:
        yield service


@pytest.fixture(scope="session")
def _shared_console_on_postgresql(
    _empty_root: Path, tmp_path_factory: pytest.TempPathFactory, request: Any
) -> Iterator[Any]:
    """The same on PostgreSQL, for those of these tests that are marked `both_databases`."""
    folder = tmp_path_factory.mktemp("console-postgresql")
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    with (
        request.getfixturevalue("_postgresql").zone_at(root),
        _whole(request.getfixturevalue("service_class"), root, folder / "log.json") as service,
    ):
        yield service


@contextmanager
def _whole(service_class: Any, root: Path, log_file: Path) -> Iterator[Any]:
    settings = {
        "LANDINGZONE_CONSOLE__PORT": "0",
        "LANDINGZONE_CONSOLE__REQUESTS_PER_MINUTE": "100000",
        "LANDINGZONE_LIMITS__EXEMPT_NETWORKS": '["192.0.2.0/24"]',
    }
    service = service_class(root, log_file, "serve --console", settings=settings).start()
    service.wait_for("console.opened", seconds=60)
    yield service
    service.stop()


@pytest.fixture
def console_url(service: Any) -> str:
    """Where the shared console is."""
    opened = dataclasses.replace(service, log_from=0).events("console.opened")
    return f"http://127.0.0.1:{opened[-1]['port']}"


@pytest.fixture
def desk(here: Installation) -> Desk:
    """The console's stores, on the same zone."""
    return Desk(here)


MakePerson = Callable[..., Person]


@pytest.fixture
def make_person(desk: Desk) -> MakePerson:
    """Makes a user who has accepted an invitation."""

    def make(role: Role = Role.OPERATOR, *, account: str | None = None, name: str = "") -> Person:
        name = name or f"{role}-{next(_numbers)}@example.org"
        person = Person(name, role, account, pyotp.random_base32())
        desk.users.add(name, role, account=account, actor="test")
        secret = desk.users.invite(name, hours=1, actor="test")
        sealed = desk.secret.seal({"totp": person.totp})
        desk.users.accept(secret, password=person.password, sealed_totp=sealed, totp_step=None)
        return person

    return make


@pytest.fixture
def signed_in(desk: Desk, console_url: str, make_person: MakePerson) -> Callable[..., Visitor]:
    """Gives a visitor who has signed in as somebody of a role."""

    def visit(role: Role = Role.OPERATOR, *, account: str | None = None, person: Person | None = None) -> Visitor:
        who = person or make_person(role, account=account)
        visitor = Visitor(console_url)
        user = desk.users.get(who.name)
        visitor.http.cookies.set("landingzone", desk.sign_in.open(user, address="127.0.0.1", client="test", by="test"))
        visitor.remember(visitor.get("/me"))
        return visitor

    return visit


@pytest.fixture
def stranger(console_url: str) -> Visitor:
    """Somebody who has not signed in."""
    return Visitor(console_url)


@pytest.fixture(scope="session")
def workbook() -> Callable[[list[list[str]]], bytes]:
    """Makes a workbook as programs write it."""

    def make(rows: list[list[str]]) -> bytes:
        """Rows of text, as a workbook."""
        namespace = "http://schemas.openxmlformats.org"
        lines = ("".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in row) for row in rows)
        cells = "".join(f"<row>{line}</row>" for line in lines)
        office = f"{namespace}/officeDocument/2006/relationships"
        parts = {
            "[Content_Types].xml": f'<Types xmlns="{namespace}/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{namespace}/package/2006/relationships">'
            f'<Relationship Id="b" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/workbook.xml": f'<workbook xmlns="{namespace}/spreadsheetml/2006/main" xmlns:r="{office}">'
            '<sheets><sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{namespace}/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{namespace}/spreadsheetml/2006/main">'
            f"<sheetData>{cells}</sheetData></worksheet>",
        }
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        return made.getvalue()

    return make


@pytest.fixture
def put(service: Any, account: str) -> Callable[[Path, str, bytes], None]:
    """Sends a file of the test's account by SFTP, with a key."""

    def put(key: Path, name: str, content: bytes) -> None:
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                "127.0.0.1", service.port, account, key_filename=str(key), allow_agent=False, look_for_keys=False
            )
            with client.open_sftp() as sftp, sftp.open(name, "wb") as file:
                file.write(content)

    return put


@pytest.fixture(scope="session")
def roster() -> Callable[[int], str]:
    """Makes a students file of so many rows: ids from 1000 on."""
    header = "Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone"

    def make(count: int) -> str:
        rows = (f"{n},First{n},Last{n},{2065550000 + n},014,{4255550000 + n}" for n in range(1000, 1000 + count))
        return "\r\n".join([header, *rows, ""])

    return make


# A browser with a window that nobody sees


@pytest.fixture(scope="module")  # while it is there an event loop runs in this thread, which other tests do not bear
def _chromium(need: Callable[[str], str]) -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright, which brings none of its own."""
    from playwright.sync_api import sync_playwright

    program = need("chromium")
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
    alone = ("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*quiet, *alone])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, as npm has put it there; where it has not, the test is skipped: in CI a failure."""
    path = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not installed (npm ci --prefix tests/console)")
    return path.read_text(encoding="utf-8")


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(_chromium: Any, desk: Desk, console_url: str, make_person: MakePerson) -> Iterator[OpenPage]:
    """Opens a browser's page for somebody who has signed in (or, with None, for a stranger).

    What the browser complains of, such as what the Content-Security-Policy forbids, fails the test.
    """
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_(who: Person | Role | None = Role.OPERATOR, *, account: str | None = None, **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = _chromium.new_context(base_url=console_url, timezone_id="America/Chicago", **options)
        contexts.append(context)
        if who is not None:
            person = make_person(who, account=account) if isinstance(who, Role) else who
            user = desk.users.get(person.name)
            secret = desk.sign_in.open(user, address="127.0.0.1", client="test", by="test")
            context.add_cookies([{"name": "landingzone", "value": secret, "url": console_url}])
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [one for one in complaints if "the server responded with a status of" not in one] == []


# Files, and the HTTP API

LAND_SECONDS = 60.0


@dataclass
class Caller:
    """A program that shows a token to the HTTP API."""

    url: str
    secret: str = ""
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        shown = {"authorization": f"Bearer {self.secret}"} if self.secret else {}
        self.http = httpx2.Client(base_url=f"{self.url}/api/v1", timeout=60, headers=shown)

    def get(self, path: str, **parameters: Any) -> httpx2.Response:
        """Ask."""
        return self.http.get(path, params=parameters)

    def post(self, path: str, **body: Any) -> httpx2.Response:
        """Change something."""
        return self.http.post(path, json=body)

    def put(self, path: str, **body: Any) -> httpx2.Response:
        """Set something."""
        return self.http.put(path, json=body)


def land(here: Installation, account: str, name: str, content: str) -> Landing:
    """A file lands, the way the front door does it."""
    upload, descriptor = here.zone.begin_upload(account, name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode())
    landing = here.zone.new_landing(account, name)
    with here.db.write() as tx:
        landing_record.note(tx, landing)
    here.zone.land(upload, landing)
    return landing


def ended(here: Installation, landing: Landing, *, attempt: int = 1) -> Any:
    """An attempt of a landing, once it has its receipt."""
    until = time.monotonic() + LAND_SECONDS
    while time.monotonic() < until:
        with here.db.read() as tx:
            run = runs.find(tx, f"{landing.id}:{attempt}")
        if run is not None and run.state is runs.State.RECEIPTED:
            return run
        time.sleep(0.05)
    pytest.fail(f"run {landing.id}:{attempt} has not ended")


@pytest.fixture(scope="session")
def take_in() -> Callable[..., Any]:
    """Lets a file land in a zone and gives its run, once it has its receipt."""

    def taken(here: Installation, account: str, name: str, content: str) -> Any:
        return ended(here, land(here, account, name, content))

    return taken


@pytest.fixture
def send(here: Installation, take_in: Callable[..., Any]) -> Callable[..., Any]:
    """The same in the zone of this test."""
    return partial(take_in, here)


@pytest.fixture
def end(here: Installation) -> Callable[..., Any]:
    """Gives an attempt of a landing, once it has its receipt."""

    def done(landing: Landing, *, attempt: int) -> Any:
        return ended(here, landing, attempt=attempt)

    return done


MakeCaller = Callable[..., Caller]


@pytest.fixture
def call(desk: Desk, console_url: str, make_person: MakePerson) -> MakeCaller:
    """Makes a caller that speaks for a new user of a role."""

    def make(role: Role = Role.OPERATOR, *, account: str | None = None) -> Caller:
        person = make_person(role, account=account)
        made = desk.tokens.add_for_user(person.name, label="test", actor="test")
        return Caller(console_url, made.secret)

    return make
