"""Who gets in where: every route of the console, whoever added it, is asked by everybody who may not.

Pages, the HTTP API and the uploads are walked over as the application has them, so one that lands later is asked, too.
"""

import html
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from console.app import build_app
from console.desk import Desk
from console.role import Role
from console.tokens import Tokens
from landingzone.broadcast import Broadcasts
from landingzone.command import Installation

SERVICE = "_shared_console"
PUBLIC = (
    "GET /sign-in",
    "POST /sign-in",
    "GET /invitation/{secret}",
    "POST /invitation/{secret}",
    "GET /oidc/sign-in",
    "GET /oidc/back",
    "GET /api/v1/openapi.json",
    "HEAD /api/v1/openapi.json",
)
"""For everybody: what leads to a sign-in, and what holds nothing of anybody. Beside them stand scripts and styles."""
UPLOADS = "/files"
"""Here an upload token opens, and nothing else does."""
REFUSALS = (401, 403, 404)


@dataclass(frozen=True)
class Door:
    """One method of one route, and the roles that it lets in; none: it says nothing of them."""

    method: str
    path: str
    roles: tuple[Role, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_api(self) -> bool:
        return self.path.startswith("/api/")

    @property
    def is_upload(self) -> bool:
        return self.path == UPLOADS or self.path.startswith(f"{UPLOADS}/")

    def places(self) -> list[str]:
        return re.findall(r"\{([a-z_]+)(?::[a-z]+)?\}", self.path)

    def filled(self, values: dict[str, str]) -> str:
        return re.sub(r"\{([a-z_]+)(?::[a-z]+)?\}", lambda place: quote(values[place[1]], safe=""), self.path)


def doors(routes: Any, prefix: str = "") -> Iterator[Door]:
    """Every route, those of mounted applications, too."""
    for route in iter_route_contexts(routes):
        if isinstance(route.original_route, Mount):
            yield from doors(route.original_route.routes, prefix + route.original_route.path)
            continue
        asked = getattr(route, "dependant", None)
        calls = [one.call for one in asked.dependencies] if asked is not None else []
        roles = next((one.roles for one in calls if hasattr(one, "roles")), ())
        yield from (Door(method, f"{prefix}{route.path}", roles) for method in sorted(route.methods or ()))


@pytest.fixture
def every_door(here: Installation) -> list[Door]:
    return list(doors(build_app(here).routes))


@dataclass(frozen=True)
class Things:
    """What an account has, each as it stands in an address."""

    account: str
    run: str
    landing: str
    key: str
    token: str
    user: str
    session: str
    source: str
    feed: str
    broadcast: str
    upload: str
    draft: str
    receipt: str
    invitation: str

    def of(self, place: str, path: str) -> list[str]:
        """What may stand in a place; for one that is not known here all that there is."""
        named = "user" if "/users/" in path else "broadcast" if "/broadcasts/" in path else "receipt"
        known = {"name": named, "digest": "session", "upload_id": "upload", "secret": "invitation"}
        attribute = known.get(place, place)
        if any(one.name == attribute for one in fields(self)):
            return [getattr(self, attribute)]
        return [getattr(self, one.name) for one in fields(self)]

    def choices(self, door: Door) -> Iterator[dict[str, str]]:
        """The ways in which a route's places can be filled."""
        places = door.places()
        for values in itertools.product(*(self.of(place, door.path) for place in places)):
            yield dict(zip(places, values, strict=True))


NONE = Things(
    account="nobody-of-this-name",
    run="00000000-0000-7000-8000-000000000000:1",
    landing="00000000-0000-7000-8000-000000000000",
    key="2000000000",
    token="2000000000",
    user="nobody-of-this-name@example.org",
    session="0" * 64,
    source="nothing-of-this-name",
    feed="nothing_of_this_name",
    broadcast="nothing-of-this-name",
    upload="00000000-0000-7000-8000-000000000000",
    draft="00000000-0000-7000-8000-000000000000",
    receipt="00000000-0000-7000-8000-000000000000-students.csv.receipt.json",
    invitation="nothing-of-this-name",
)
SECRETS = ("Shelbyville Unified", "Seymourina", "9195550987", "front office of the other one")
"""What only the other district has, and may stand in no answer to this one."""


@pytest.fixture
def other(
    here: Installation, desk: Desk, console_url: str, make_account: Any, make_person: Any, send: Any, account: str
) -> Things:
    """Another district, with everything that a district can have."""
    name = f"{account}-other"
    make_account(name, label=SECRETS[3])
    here.accounts.set_options(name, {"strict_alt_phone": True}, actor="test")
    Broadcasts(here.db, here.catalogue).put(name, "secret-broadcast", "10:00", ["attendance"], actor="test")
    rows = (
        f"Student ID,First Name,Last Name,Phone,School ID\r\n1,{SECRETS[1]},Lee,{SECRETS[2]},014\r\n2,B,Lee,1,014\r\n"
    )
    run = send(name, "students.csv", rows)
    person = make_person(Role.DISTRICT, account=name)
    user = desk.users.get(person.name)
    desk.sign_in.open(user, address="127.0.0.1", client="other", by="test")
    made = Tokens(here.db).add_for_account(name, actor="test")
    headers = {"authorization": f"Bearer {made.secret}", "tus-resumable": "1.0.0", "upload-length": "9"}
    metadata = {"upload-metadata": "filename c3R1ZGVudHMuY3N2"}
    begun = httpx2.post(f"{console_url}{UPLOADS}", headers={**headers, **metadata})
    assert begun.status_code == 201, begun.text
    drafts = desk.sending.drafts
    file, descriptor = drafts.begin(name, "students.csv")
    os.write(descriptor, rows.encode())
    os.close(descriptor)
    draft = drafts.keep(file, name="students.csv", size=len(rows), begun_by=person.name, source="")
    return Things(
        account=name,
        run=run.id,
        landing=run.landing_id,
        key=str(desk.keys.of(name)[0].id),
        token=str(made.token.id),
        user=person.name,
        session=desk.sessions.of(user.id)[0].digest,
        source="students",
        feed="students",
        broadcast="secret-broadcast",
        upload=begun.headers["location"].rpartition("/")[2],
        draft=draft.id,
        receipt=f"{run.landing_id}-students.csv.receipt.json",
        invitation=desk.users.invite(person.name, hours=1, actor="test"),
    )


@dataclass
class Guest:
    """Somebody who goes from door to door: by a browser's session, by a token of the API, or by an upload token."""

    role: Role | None
    visitor: Any
    caller: Any
    uploads: str = ""

    def knocks(self, door: Door, path: str, **query: str) -> tuple[int, str, str]:
        """The answer's status, where it leads, and its text; of one that lasts only the beginning."""
        headers = {"tus-resumable": "1.0.0"} if door.is_upload else {}
        if door.is_upload and self.uploads:
            headers["authorization"] = f"Bearer {self.uploads}"
        if door.is_api:
            http, body = self.caller.http, {"json": {}} if door.method in {"POST", "PUT"} else {}
            path = path.removeprefix("/api/v1")
        elif door.is_upload:
            http, body = self.visitor.http, {}
        else:
            http, body = self.visitor.http, {"data": {"csrf": self.visitor.csrf}} if door.method == "POST" else {}
        with http.stream(door.method, path, params=query, headers=headers, follow_redirects=False, **body) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer.status_code, "", ""
            answer.read()
            return answer.status_code, answer.headers.get("location", ""), answer.text


@pytest.fixture
def guest(signed_in: Any, call: Any, stranger: Any, console_url: str, account: str, here: Installation) -> Any:
    def make(role: Role | None) -> Guest:
        if role is None:
            return Guest(None, stranger, type(call())(console_url))
        of = account if role is Role.DISTRICT else None
        if of is not None and here.accounts.find(of) is None:
            here.accounts.add(of, title="Springfield", actor="test")
            here.zone.prepare_account(of)
        uploads = Tokens(here.db).add_for_account(of, actor="test").secret if of is not None else ""
        return Guest(role, signed_in(role, account=of), call(role, account=of), uploads)

    return make


def test_every_route_says_whom_it_lets_in(every_door: list[Door]) -> None:
    silent = [str(one) for one in every_door if not one.roles and not one.is_upload and str(one) not in PUBLIC]
    assert not silent, f"{silent}: give each a `who` (console.access, console.api.access)."
    assert len(every_door) > 90


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", [*Role, None])
def test_nobody_gets_in_where_a_route_does_not_let_them(
    every_door: list[Door], other: Things, guest: Any, role: Role | None
) -> None:
    who = guest(role)
    let_in = []
    for door in every_door:
        if str(door) in PUBLIC or role in door.roles or (door.is_upload and door.method == "OPTIONS"):
            continue
        if door.is_upload and role is Role.DISTRICT:
            continue  # its token opens there: see below
        values = next(other.choices(door))
        status, leads_to, _ = who.knocks(door, door.filled(values))
        if not (status in REFUSALS or (status == 303 and leads_to.startswith("/sign-in"))):
            let_in.append(f"{door}: {status}")
    assert not let_in


@pytest.mark.timeout(300)
def test_what_is_there_is_shown_to_those_whom_a_route_lets_in(
    every_door: list[Door], other: Things, guest: Any
) -> None:
    for role in (Role.OPERATOR, Role.VIEWER):
        who = guest(role)
        shut = []
        for door in every_door:
            if door.method != "GET" or role not in door.roles or "digest" in door.places():
                continue
            status, _, text = who.knocks(door, door.filled(next(other.choices(door))))
            if status in REFUSALS or status >= 500:
                shut.append(f"{door}: {status} {text[:200]}")
            if role is Role.VIEWER:
                assert not any(one in text for one in SECRETS[1:3]), door
        assert not shut


@pytest.mark.timeout(300)
def test_one_district_never_sees_another_s_data(every_door: list[Door], other: Things, guest: Any) -> None:
    who = guest(Role.DISTRICT)
    asked, told = 0, []
    for door in every_door:  # which feeds there are is nobody's alone
        if str(door) in PUBLIC or not (Role.DISTRICT in door.roles or door.is_upload) or str(door) == "POST /sign-out":
            continue
        for theirs, nobodys in zip(other.choices(door), NONE.choices(door), strict=True):
            found = who.knocks(door, door.filled(theirs))
            asked += 1
            if any(one in found[2] for one in (*SECRETS, *(set(vars_of(other)) - set(theirs.values())))):
                told.append(f"{door} {theirs}: tells of the other district")
            if set(theirs) - {"feed"} and plain(found, theirs) != plain(
                who.knocks(door, door.filled(nobodys)), nobodys
            ):
                told.append(f"{door} {theirs}: another answer than for what there is not: {found[0]} {found[2][:300]}")
        if door.is_api and door.method == "GET" and not door.places():
            by_name = [who.knocks(door, door.path, account=name) for name in (other.account, NONE.account)]
            if plain(by_name[0], {"a": other.account}) != plain(by_name[1], {"a": NONE.account}):
                told.append(f"{door}?account=: another answer than for what there is not")
    assert not told, "\n".join(told)
    assert asked > 20


def vars_of(things: Things) -> Iterator[str]:
    """What is the other district's alone."""
    shared = {"source", "feed", "key", "token"}
    yield from (getattr(things, one.name) for one in fields(things) if one.name not in shared)


def plain(answer: tuple[int, str, str], values: dict[str, str]) -> tuple[int, str, str]:
    """An answer without what was asked for."""
    status, leads_to, text = answer
    for value in sorted(values.values(), key=len, reverse=True):
        for form in (value, quote(value, safe=""), html.escape(value)) if len(value) > 5 else (f"/{value}",):
            text, leads_to = text.replace(form, "..."), leads_to.replace(form, "...")
    return status, leads_to, text
