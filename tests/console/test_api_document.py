"""The API beside its document: what fits breaks nothing, what does not fit is refused, no answer differs from it."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from console.desk import Desk
from console.role import Role
from landingzone.clock import iso, now
from landingzone.command import Installation
from landingzone.notices import notice, webhook
from landingzone.notices.notice import Kind, Notice
from landingzone.tables import tokens
from processor import arrival_watch, run_notices
from processor.arrivals import Arrival, Missing, Outlook, Timing

ACCOUNT = "springfield"
HEADER = "Student ID,First Name,Last Name,Phone,School ID\r\n"
ROWS = "1,Ann,Lee,9195550123,014\r\n2,Bo,Lee,x,014\r\n"
FAR = 1 << 30
"""Numbers that nobody thinks of: tokens are revoked here by numbers that somebody does."""


@dataclass
class Zone:
    """A service with an account, of which two files have been taken in."""

    service: Any
    here: Installation
    url: str
    runs: list[str]

    def token(self, role: Role) -> str:
        """A token of a user of a role."""
        desk, account = Desk(self.here), ACCOUNT if role is Role.DISTRICT else None
        desk.users.add(f"{role}@example.org", role, account=account, actor="test")
        made = desk.tokens.add_for_user(f"{role}@example.org", actor="test")
        with self.here.db.write() as tx:
            tx.execute(tokens.update().where(tokens.c.id == made.token.id).values(id=FAR + sum(map(ord, role))))
        return made.secret


@pytest.fixture(scope="module")
def zone(
    _empty_root: Path, tmp_path_factory: pytest.TempPathFactory, service_class: Any, take_in: Any
) -> Iterator[Zone]:
    """A service of its own: what is tried here holds for all accounts."""
    folder = tmp_path_factory.mktemp("document")
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    settings = {"LANDINGZONE_CONSOLE__PORT": "0", "LANDINGZONE_CONSOLE__REQUESTS_PER_MINUTE": "1000000"}
    service = service_class(root, folder / "log.json", "serve --console", settings=settings).start()
    port = service.wait_for("console.opened", seconds=90)["port"]
    here = Installation(root)
    here.accounts.add(ACCOUNT, title="Springfield", time_zone="UTC", actor="test")
    here.zone.prepare_account(ACCOUNT)
    runs = [take_in(here, ACCOUNT, "students.csv", HEADER + rows).id for rows in (ROWS, "")]
    made = Zone(service, here, f"http://127.0.0.1:{port}/api/v1", runs)
    yield made
    here.db.close()
    service.stop()


@dataclass
class Tried:
    """What came of it: failures, requests by the answer's status."""

    failures: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def tried(zone: Zone, secret: str, *, examples: int, coverage: bool) -> Tried:
    """Let schemathesis try every call, with all its checks."""
    config = schemathesis.Config.from_dict(
        {
            "headers": {"Authorization": f"Bearer {secret}"},
            "generation": {"max-examples": examples, "database": "none", "deterministic": True},
            "phases": {
                "coverage": {"enabled": coverage, "unexpected-methods": ["TRACE"]},
                "stateful": {"enabled": False},
            },
            "parameters": {"path.account": ACCOUNT, "path.run": zone.runs[0]},
            # the account must stay open, or nobody of it may ask any more
            "operations": [
                {"include-path": "/accounts/{account}/disable", "parameters": {"path.account": "shelbyville"}}
            ],
        }
    )
    schema = schemathesis.openapi.from_url(f"{zone.url}/openapi.json", config=config)
    made = Tried()
    for event in from_schema(schema).execute():
        if isinstance(event, NonFatalError | FatalError):
            made.failures.append(str(event))
        if isinstance(event, ScenarioFinished):
            _take(made, event)
    return made


def _take(made: Tried, event: ScenarioFinished) -> None:
    for one in event.recorder.interactions.values():
        status = one.response.status_code if one.response is not None else 0
        made.statuses[status] = made.statuses.get(status, 0) + 1
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                where = f"{event.recorder.label}, {check.name}, {failure.title}"
                made.failures.append(f"{where}: {failure.message}\n{check.failure_info.code_sample}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("role", "examples", "coverage"), [(Role.OPERATOR, 4, True), (Role.VIEWER, 3, False), (Role.DISTRICT, 3, False)]
)
def test_no_server_error_and_no_answer_outside_the_document(
    zone: Zone, role: Role, examples: int, coverage: bool
) -> None:
    made = tried(zone, zone.token(role), examples=examples, coverage=coverage)
    assert not made.failures, f"{len(made.failures)}:\n" + "\n\n".join(made.failures[:20])
    assert made.statuses[200] > 10
    assert sum(made.statuses.values()) > 100
    if role is not Role.OPERATOR:
        assert made.statuses[403] > 20
    assert zone.service.events("console.error") == []


def test_the_document_is_for_everybody_and_says_who_may_what(zone: Zone) -> None:
    answer = httpx2.get(f"{zone.url}/openapi.json", timeout=60)
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    calls = [call for path in document["paths"].values() for call in path.values()]
    assert all(call["x-roles"] and "401" in call["responses"] for call in calls)
    assert document["security"] == [{"token": []}]
    assert str(zone.here.settings.root) not in answer.text
    assert ACCOUNT not in {part for path in document["paths"] for part in path.split("/")}


def test_the_log_tells_that_a_token_was_refused_and_not_which(zone: Zone) -> None:
    secret = "lza_" + "x" * 43
    httpx2.get(f"{zone.url}/runs", headers={"authorization": f"Bearer {secret}"}, timeout=60)
    zone.service.wait_for("api.token_refused", reason="unknown_token", seconds=30)
    assert secret not in "\n".join(zone.service.log_lines())


def test_what_webhooks_are_sent_is_in_the_document(zone: Zone, take_in: Any) -> None:
    take_in(zone.here, ACCOUNT, "nobody-expects.csv", HEADER + ROWS)
    take_in(zone.here, ACCOUNT, "staff.csv", "Staff ID,Last Name,First Name,Phone,School ID\r\n7,Lee,Bo,12,014\r\n")
    account = zone.here.accounts.get(ACCOUNT)
    with zone.here.db.read() as tx:
        found = [one.notice for one in run_notices.ended(tx, 0) if one.notice is not None]
    missing = Missing(ACCOUNT, "absences", now(), ("attendance",), near=True)
    late = Arrival(ACCOUNT, "staff", "staff", "staff.csv", Timing.LATE, due_at=now(), outcome="held", run=zone.runs[0])
    seen = Outlook((late,), (missing,), None, now())
    found += [*arrival_watch._late(account, seen, now()), arrival_watch._broadcast(account, missing)]
    found += [
        Notice("many", Kind.MANY, ACCOUNT, "", "UTC", {"of": "run.held", "more_than": notice.MOST_AN_HOUR}),
        Notice("test", Kind.TEST, "test", "", "UTC", {}),
    ]
    assert {Kind.HELD, Kind.REJECTED, Kind.UNRECOGNISED, Kind.LATE, Kind.BROADCAST} < {one.kind for one in found}
    document = httpx2.get(f"{zone.url}/openapi.json", timeout=60).json()
    assert set(document["webhooks"]) == set(Kind)
    for one in found:
        told = json.loads(webhook.body_of(dataclasses.replace(one, created_at=iso(now()))))
        call = document["webhooks"][told["type"]]["post"]
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
        validator.validate(told)
        assert not validator.is_valid({**told, "data": {**told["data"], "more": 1}})
        signed = webhook.signed(one.message_id, b"{}", b"key", now())
        assert {parameter["name"] for parameter in call["parameters"]} == set(signed)
