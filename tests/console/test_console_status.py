"""What the console counts, and how it says that it is well, at a real console."""

import base64
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from console.desk import Desk
from console.tokens import Tokens
from landingzone.command import Installation

CONTENT = b"student_id\n017\n"


@pytest.fixture
def told(make_service: Any, desk: Desk) -> tuple[Any, Callable[[], dict[str, dict[tuple[str, ...], float]]]]:
    """A console of this test's own, and what it counts, by metric without its prefix."""
    desk.here.accounts.add("springfield", actor="test")
    desk.here.zone.prepare_account("springfield")
    settings = {"status__enabled": "true", "status__console_port": 0, "status__refresh_seconds": 0.2}
    service = make_service("console", console__port=0, **settings)
    port = service.wait_for("status.opened")["port"]

    def look() -> dict[str, dict[tuple[str, ...], float]]:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        assert not [word for word in ("springfield", "127.0.0.1", "students", "@") if word in text]
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                if one.value and one.name.startswith("landingzone_"):
                    found.setdefault(one.name.removeprefix("landingzone_"), {})[tuple(one.labels.values())] = one.value
        return found

    return service, look


def send(client: httpx2.Client, secret: str, length: int, content: bytes) -> httpx2.Response:
    """The beginning of an upload, or all of it."""
    name = base64.b64encode(b"students.csv").decode()
    headers = {"Authorization": f"Bearer {secret}", "Tus-Resumable": "1.0.0", "Upload-Metadata": f"filename {name}"}
    kind = {"Content-Type": "application/offset+octet-stream", "Upload-Length": str(length)}
    return client.post("/files", headers={**headers, **kind}, content=content)


def test_what_is_asked_and_sent_is_counted_by_how_it_went(
    told: Any, here: Installation, desk: Desk, make_person: Any
) -> None:
    service, look = told
    url, secret = (
        f"http://127.0.0.1:{service.port}",
        Tokens(here.db).add_for_account("springfield", actor="test").secret,
    )
    person = make_person()
    with httpx2.Client(base_url=url, headers={"origin": url}, timeout=30) as client:
        assert client.get("/sign-in").status_code == 200
        given = {"name": person.name, "password": "not it, not it", "code": "123456"}
        assert client.post("/sign-in", data=given).status_code == 401
        assert client.get("/api/v1/accounts").status_code == 401
        assert send(client, secret, len(CONTENT), CONTENT).status_code == 201
        assert send(client, secret[:-1], len(CONTENT), CONTENT).status_code == 401
        assert send(client, secret, 1 << 50, b"").status_code == 413
        client.cookies.set(
            "landingzone", desk.sign_in.open(desk.users.get(person.name), address="", client="", by="test")
        )
        with client.stream("GET", "/tonight/live"):
            until = time.monotonic() + 20
            while not ((found := look()).get("console_streams") and found.get("console_sessions")):
                assert time.monotonic() < until
                time.sleep(0.05)
    assert (found["console_streams"], found["console_sessions"]) == ({(): 1}, {(): 1})
    assert found["console_requests_total"] == {
        ("page", "ok"): 2,
        ("page", "refused"): 1,
        ("api", "refused"): 1,
        ("upload", "ok"): 1,
        ("upload", "refused"): 2,
    }
    assert found["console_answer_seconds_count"] == {(): 4}
    assert found["console_sign_ins_refused_total"] == {("wrong",): 1}
    assert found["console_tokens_refused_total"] == {("unknown_token",): 2}
    assert found["console_uploads_refused_total"] == {("too_much",): 1}
    assert found["console_landings_total"] == {("yes",): 1}
    assert found["console_landed_bytes_total"] == {(): len(CONTENT)}
    assert "console_uploads_open" not in found


def test_it_says_that_it_is_ready_and_ends_in_peace(told: Any) -> None:
    service, _ = told
    url = f"http://127.0.0.1:{service.wait_for('status.opened')['port']}/readyz"
    until = time.monotonic() + 20
    while (answer := httpx2.get(url)).status_code != 200:
        assert time.monotonic() < until, answer.text
        time.sleep(0.05)
    checks = answer.json()["checks"]
    assert checks == {"pulse": True, "database": True, "disk": True, "serving": True}
    assert service.stop() == 0
    assert service.events("console.closed")
