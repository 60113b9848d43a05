"""Sending by hand what is too large, and on a full disk (a small real filesystem): refused in words, nothing left."""

import base64
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from console.role import Role
from console.tokens import Tokens
from landingzone.clock import iso, now
from landingzone.tables import drafts, web_sessions

MEBIBYTE = 1 << 20
ROWS = b"student_id,first_name,last_name,phone,school_id,alt_phone\n1,Ada,Lovelace,9195550101,014,\n"


@pytest.fixture
def root(small_root: Path) -> Path:
    return small_root


@pytest.fixture
def console_url(make_service: Any) -> str:
    """A console of this test's own, which takes files of 2 MiB, and that until the disk is full to the last byte."""
    service = make_service("console", console__port=0, console__send_mebibytes=2, limits__free_mebibytes=0)
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture
def staff(make_account: Any, signed_in: Any, account: str) -> Any:
    make_account()
    return signed_in(Role.DISTRICT, account=account)


@pytest.fixture
def left(here: Any, account: str) -> Callable[[], tuple[list[str], list[str]]]:
    """What is there of files that were chosen: in uploads/, and in the database."""

    def look() -> tuple[list[str], list[str]]:
        with here.db.read() as tx:
            names = list(tx.execute(sa.select(drafts.c.name)).scalars())
        return [path.name for path in (here.settings.root / "uploads" / account).iterdir()], names

    return look


def refusals(root: Path) -> list[str]:
    """Why uploads were refused, as the log has it."""
    lines = (root.parent / "log-0.json").read_text().splitlines()
    return [line.partition('"reason": "')[2].partition('"')[0] for line in lines if '"upload.refused"' in line]


def leave_the_log_no_page(database: Path) -> None:
    """Let SQLite begin its write-ahead log anew: the next write has to make it larger."""
    log, until = database.with_name(f"{database.name}-wal"), time.monotonic() + 20
    while log.stat().st_size:
        assert time.monotonic() < until
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def choose(staff: Any, content: bytes) -> httpx2.Response:
    answer: httpx2.Response = staff.post("/send", {"source": ""}, files={"file": ("students.csv", content)})
    return answer


def in_pieces(staff: Any, content: bytes) -> httpx2.Response:
    """The same, without a word beforehand of how much it will be."""
    fields = f'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{staff.csrf}\r\n--x\r\n'
    head = f'{fields}Content-Disposition: form-data; name="file"; filename="students.csv"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head.encode()
        yield content
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer: httpx2.Response = staff.http.post("/send", content=body(), headers=headers)
    return answer


@pytest.mark.parametrize(
    ("way", "size"),
    [(choose, 3 * MEBIBYTE), (choose, 2 * MEBIBYTE + 1), (in_pieces, 3 * MEBIBYTE), (in_pieces, 2 * MEBIBYTE + 1)],
)
def test_what_is_too_large_is_refused_with_what_to_do(staff: Any, left: Any, root: Path, way: Any, size: int) -> None:
    refused = way(staff, b"x" * size)
    assert refused.status_code == 422
    assert "This file is larger than 2 MiB, which is the most that is sent by hand." in refused.text
    assert "Let a program send it by SFTP." in refused.text
    assert left() == ([], [])
    assert refusals(root) == ["too_much"]
    staff.http.follow_redirects = False
    taken = way(staff, ROWS.ljust(2 * MEBIBYTE, b"\n"))
    assert taken.headers["location"].startswith("/send/"), taken.text
    assert [len(one) for one in left()] == [1, 1]


def test_a_full_disk_is_told_and_leaves_nothing(staff: Any, left: Any, root: Path, ballast: Any) -> None:
    ballast.fill(leave=MEBIBYTE)
    for _ in range(3):
        refused = choose(staff, b"x" * (2 * MEBIBYTE))
        assert refused.status_code == 422, refused.text
        assert "disk is full. Nothing of this file was kept: choose it again later." in refused.text
        assert left() == ([], [])
    assert refusals(root) == ["disk_full"] * 3
    ballast.drop()
    assert choose(staff, ROWS).url.path.startswith("/send/")


def test_where_not_even_the_database_has_room_pages_are_seen_and_nothing_is_lost(
    staff: Any, left: Any, here: Any, root: Path, ballast: Any, account: str
) -> None:
    page = choose(staff, ROWS)
    assert page.url.path.endswith("/check"), page.text
    shown = page.text.partition('name="shown" value="')[2][:64]
    with here.db.write() as tx:  # a while ago: its next use is to be noted
        tx.execute(web_sessions.update().values(last_seen_at=iso(now() - timedelta(minutes=2))))
    before = left()
    leave_the_log_no_page(root / "landingzone.db")
    ballast.fill()
    looked = staff.get("/send")
    assert looked.status_code == 200
    assert "students.csv" in looked.text
    refused = choose(staff, ROWS)
    assert refused.status_code == 422, refused.text
    assert "disk is full" in refused.text
    refused = staff.post(f"{page.url.path.removesuffix('/check')}", {"shown": shown})
    assert refused.status_code == 409, refused.text
    assert "Nothing is lost: send it again" in refused.text
    forgotten = staff.post(f"{page.url.path.removesuffix('/check')}/columns", {"source": "students", "do": "check"})
    assert forgotten.status_code < 500 or "disk is full" in forgotten.text
    inbox = here.settings.root / "inbox" / account
    assert (left(), list(inbox.iterdir())) == (before, [])

    ballast.drop()
    sent = staff.post(f"{page.url.path.removesuffix('/check')}", {"shown": shown})
    assert sent.url.path.startswith("/receipts/"), sent.text
    assert [path.name.partition(".")[2] for path in inbox.iterdir()] == ["students.csv"]
    assert left()[0] == []
    log = (root.parent / "log-0.json").read_text()
    assert log.count('"request": "note_session"') >= 1
    assert "Ada" not in log


def test_programs_are_told_too_and_may_look(
    staff: Any, call: Any, here: Any, root: Path, ballast: Any, account: str
) -> None:
    operator, secret = call(), Tokens(here.db).add_for_account(account, actor="test").secret
    name = base64.b64encode(b"students.csv").decode()
    headers = {"Authorization": f"Bearer {secret}", "Tus-Resumable": "1.0.0", "Upload-Metadata": f"filename {name}"}
    leave_the_log_no_page(root / "landingzone.db")
    ballast.fill()
    answer = staff.http.post("/files", headers={**headers, "Upload-Length": str(len(ROWS))})
    assert (answer.status_code, answer.headers["retry-after"]) == (507, "60"), answer.text
    assert list((root / "uploads" / account).iterdir()) == []
    assert operator.get("/accounts").status_code == 200
    refused = operator.put(f"/accounts/{account}/options", reject_share=0.3)
    assert (refused.status_code, refused.json()["code"]) == (503, "away")
    assert "disk is full" in refused.json()["message"]
    ballast.drop()
    assert staff.http.post("/files", headers={**headers, "Upload-Length": str(len(ROWS))}).status_code == 201
    assert operator.put(f"/accounts/{account}/options", reject_share=0.3).status_code == 200
