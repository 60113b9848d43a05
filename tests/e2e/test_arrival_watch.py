"""A file that is late, held or unknown is told by webhook while the service runs, and that it came after all."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import jsonschema_rs
import pytest

from console.api.app import build_api
from console.desk import Desk
from landingzone.command import Installation

SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
GOOD = "Student ID,First Name,Last Name,Phone,School ID\r\n1,Ann,Lee,9195550123,014\r\n2,Bo,Lee,9195550124,014\r\n"


class Handler(BaseHTTPRequestHandler):
    got: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(500 if len(self.got) == 1 else 204)  # the first time it fails
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"got": got}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", got
    server.shutdown()
    server.server_close()


def until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


async def put(service: Any, key: Path, account: str, name: str, content: str) -> None:
    async with (
        asyncssh.connect(
            "127.0.0.1", service.port, username=account, client_keys=[str(key)], known_hosts=None, config=None
        ) as connection,
        connection.start_sftp_client() as sftp,
        sftp.open(name, "wb") as file,
    ):
        await file.write(content.encode())


def in_document(told: dict[str, Any]) -> None:
    """What was sent is as the API's document tells receivers."""
    document = build_api(Desk(Installation())).openapi()
    schema = document["webhooks"][told["type"]]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(told)


@pytest.mark.timeout(180)
def test_a_late_file_is_told_then_that_it_came_and_a_held_and_an_unknown_one(
    here: Installation, make_account: Any, make_service: Any, account: str, receiver: Any
) -> None:
    url, got = receiver
    key = make_account()
    past = datetime.now(UTC) - timedelta(minutes=5)
    here.sources.expect(
        account, "students.csv", feed=here.catalogue["students"], due=f"daily {past:%H:%M}", actor="test"
    )
    service = make_service(
        "serve",
        arrivals__watch_seconds=1,
        notify__send_seconds=1,
        notify__webhook_urls=json.dumps([url]),
        notify__webhook_secret=f"whsec_{SECRET}",
        notify__private_addresses="true",
        door__settle_seconds=1,
    )

    def taken(kind: str) -> list[dict[str, Any]]:
        bodies = {headers["webhook-id"]: body for headers, body in list(got)[1:]}
        return [told["data"] for told in map(json.loads, bodies.values()) if told["type"] == kind]

    (late,) = until(lambda: taken("file.late"))
    assert (late["account"], late["source"], late["due_at"][:16]) == (account, "students", f"{past:%Y-%m-%dT%H:%M}")
    asyncio.run(put(service, key, account, "students.csv", GOOD))
    (came,) = until(lambda: taken("file.came"))
    assert came["due_at"] == late["due_at"]
    asyncio.run(put(service, key, account, "students.csv", GOOD.splitlines()[0] + "\r\n"))
    (held,) = until(lambda: taken("run.held"))
    assert held["code"] == "no_rows"
    asyncio.run(put(service, key, account, "Ann Lee.csv", GOOD))
    until(lambda: taken("run.unrecognised"))
    assert [len(taken(kind)) for kind in ("file.late", "file.came", "run.held", "run.unrecognised")] == [1, 1, 1, 1]
    for headers, body in got:
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(base64.b64decode(SECRET), content, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert b"Ann" not in body
        in_document(json.loads(body))
    assert SECRET not in "\n".join(service.log_lines())
    assert service.stop() == 0
