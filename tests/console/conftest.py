"""The real console as a process of its own, beside the real front door and processor, and people who have signed in."""

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pyotp
import pytest

from console.desk import Desk
from console.role import Role
from landingzone.command import Installation

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
    service_class = request.getfixturevalue("service_class")
    folder = tmp_path_factory.mktemp("console")
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    settings = {
        "LANDINGZONE_CONSOLE__PORT": "0",
        "LANDINGZONE_CONSOLE__REQUESTS_PER_MINUTE": "100000",
        "LANDINGZONE_LIMITS__EXEMPT_NETWORKS": '["192.0.2.0/24"]',
    }
    service = service_class(root, folder / "log.json", "serve --console", settings=settings).start()
    service.wait_for("console.opened", seconds=60)
    yield service
    service.stop()


@pytest.fixture
def console_url(service: Any) -> str:
    """Where the shared console is."""
    lines = dataclass_replace(service, log_from=0).events("console.opened")
    return f"http://127.0.0.1:{lines[-1]['port']}"


def dataclass_replace(service: Any, **values: Any) -> Any:
    """The same service seen from another line of its log on."""
    import dataclasses

    return dataclasses.replace(service, **values)


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
