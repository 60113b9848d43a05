"""Uploads over HTTPS at a real server: by the protocol, whatever a client sends, and landed once whatever breaks."""

import base64
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from console.tokens import Tokens
from console.web_uploads import WebUploads
from landingzone.clock import iso, now
from landingzone.landing import Landing
from landingzone.refused_logins import RefusedLogins
from landingzone.tables import accounts, landings, web_uploads

SERVICE = "_shared_whole"
BYTES = "application/offset+octet-stream"


def named(name: str) -> str:
    return f"filename {base64.b64encode(name.encode()).decode()}"


def create(client: httpx2.Client, length: int, name: str = "students.csv", **headers: str) -> str:
    made = client.post("/files", headers={"Upload-Length": str(length), "Upload-Metadata": named(name), **headers})
    assert made.status_code == 201, made.text
    return made.headers["Location"]


def patch(client: httpx2.Client, url: str, offset: int, data: Any, **headers: str) -> httpx2.Response:
    own = {"Upload-Offset": str(offset), "Content-Type": BYTES, **headers}
    return client.patch(url, content=data, headers=own)


def offset_of(client: httpx2.Client, url: str) -> int:
    head = client.head(url)
    assert head.status_code == 200, head.status_code
    return int(head.headers["Upload-Offset"])


def landed(root: Path, account: str) -> dict[str, bytes]:
    """What lies in the inbox: stored name -> bytes."""
    return {path.name: path.read_bytes() for path in (root / "inbox" / account).iterdir()}


def arriving(root: Path, account: str) -> list[str]:
    return [path.name for path in (root / "uploads" / account).iterdir()]


@pytest.fixture
def client(tus: Any) -> Iterator[httpx2.Client]:
    with tus.client() as made:
        yield made


# The protocol


def test_an_upload_in_pieces_lands_with_its_last_byte(client: httpx2.Client, tus: Any, account: str, here: Any) -> None:
    told = client.options("/files")
    assert told.headers["Tus-Version"] == "1.0.0"
    assert set(told.headers["Tus-Extension"].split(",")) >= {"creation", "termination", "expiration", "checksum"}
    data = random.Random(1).randbytes(300_000)
    metadata = f"{named('students.csv')},other d29ybGQ=,flag"
    url = create(client, len(data), **{"Upload-Metadata": metadata})
    head = client.head(url)
    assert head.headers["Upload-Offset"] == "0"
    assert head.headers["Upload-Length"] == "300000"
    assert head.headers["Upload-Metadata"] == metadata
    assert head.headers["Cache-Control"] == "no-store"
    assert head.headers["Upload-Expires"].endswith("GMT")
    first = patch(client, url, 0, data[:100_000])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "100000")
    assert "Landing-Id" not in first.headers
    assert landed(tus.root, account) == {}
    last = patch(client, url, 100_000, data[100_000:])
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, "300000")
    landing = Landing(last.headers["Landing-Id"], account, "students.csv")
    assert landed(tus.root, account) == {landing.stored_name: data}
    assert arriving(tus.root, account) == []
    head = client.head(url)
    assert (head.headers["Upload-Offset"], head.headers["Landing-Id"]) == ("300000", landing.id)
    again = patch(client, url, 300_000, b"")
    assert (again.status_code, again.headers["Landing-Id"]) == (204, landing.id)
    with here.db.read() as tx:
        (row,) = tx.execute(sa.select(landings).where(landings.c.id == landing.id)).mappings()
    (token,) = Tokens(here.db).of(account)
    assert (row["key_fingerprint"], row["peer"], row["bytes"]) == (f"token {token.id}", "127.0.0.1", 300_000)
    assert client.delete(url).status_code == 409
    assert tus.secret not in tus.log()


def test_creation_with_bytes_and_an_empty_file(client: httpx2.Client, tus: Any, account: str) -> None:
    made = client.post(
        "/files/",
        content=b"student_id\n",
        headers={"Upload-Length": "11", "Upload-Metadata": named("a.csv"), "Content-Type": BYTES},
    )
    assert (made.status_code, made.headers["Upload-Offset"]) == (201, "11")
    assert "Landing-Id" in made.headers
    empty = client.post("/files", headers={"Upload-Length": "0", "Upload-Metadata": named("b.csv")})
    assert (empty.status_code, empty.headers["Upload-Offset"]) == (201, "0")
    assert "Landing-Id" in empty.headers
    assert sorted(landed(tus.root, account).values()) == [b"", b"student_id\n"]


def test_an_upload_is_given_up(client: httpx2.Client, tus: Any, account: str) -> None:
    url = create(client, 100)
    patch(client, url, 0, b"x" * 10)
    assert client.delete(url).status_code == 204
    assert client.head(url).status_code == 404
    assert arriving(tus.root, account) == []


def test_methods_that_a_proxy_forbids_go_as_a_post(client: httpx2.Client, tus: Any, account: str) -> None:
    url = create(client, 4)
    own = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": BYTES}
    assert client.post(url, content=b"abcd", headers=own).status_code == 204
    assert list(landed(tus.root, account).values()) == [b"abcd"]
    assert client.post(url, content=b"").status_code == 405


def test_a_checksum_is_held_and_nothing_unproven_is_kept(client: httpx2.Client, tus: Any, account: str) -> None:
    data = random.Random(2).randbytes(3_000_000)
    url = create(client, len(data))
    proven = f"sha256 {base64.b64encode(hashlib.sha256(data[:1_500_000]).digest()).decode()}"
    wrong = patch(client, url, 0, b"y" + data[1:1_500_000], **{"Upload-Checksum": proven})
    assert wrong.status_code == 460
    assert offset_of(client, url) == 0
    assert patch(client, url, 0, data[:1_500_000], **{"Upload-Checksum": proven}).status_code == 204
    old = f"sha1 {base64.b64encode(hashlib.sha1(data[1_500_000:], usedforsecurity=False).digest()).decode()}"
    for strange in ("md5 aaaa", "sha256", "sha256 !", "sha256 YWJj", "sha1 YWJj"):
        assert patch(client, url, 1_500_000, b"", **{"Upload-Checksum": strange}).status_code == 400
    with Raw(tus, url, 1_500_000, 1_500_000, f"Upload-Checksum: {old}") as line:
        line.sendall(data[1_500_000:2_900_000])
        time.sleep(0.1)
    assert offset_of(client, url) == 1_500_000
    assert patch(client, url, 1_500_000, data[1_500_000:], **{"Upload-Checksum": old}).status_code == 204
    assert list(landed(tus.root, account).values()) == [data]
    assert arriving(tus.root, account) == []


def test_what_does_not_fit_the_protocol_is_refused(client: httpx2.Client, tus: Any, account: str) -> None:
    for version in ("0.2.2", "", "1.0.1"):
        refused = client.post("/files", headers={"Tus-Resumable": version, "Upload-Length": "1"})
        assert (refused.status_code, refused.headers["Tus-Version"]) == (412, "1.0.0")
    url = create(client, 10)
    assert patch(client, url, 5, b"x" * 5).status_code == 409
    assert patch(client, url, 5, b"x" * 5).headers["Upload-Offset"] == "0"
    assert client.patch(url, content=b"x", headers={"Upload-Offset": "0"}).status_code == 415
    assert patch(client, url, 0, b"x" * 11).status_code == 413
    assert patch(client, url, 0, iter([b"x" * 6, b"x" * 5])).status_code == 413
    assert offset_of(client, url) == 0
    for number in ("-1", "1e3", "0x1", "", "9" * 30, "१"):
        own = {"Upload-Offset": number.encode(), "Content-Type": BYTES}
        assert client.patch(url, content=b"x", headers=own).status_code == 400, number
        own = {"Upload-Length": number.encode(), "Upload-Metadata": named("a.csv")}
        assert client.post("/files", headers=own).status_code == 400, number
    deferred = client.post("/files", headers={"Upload-Defer-Length": "1", "Upload-Metadata": named("a.csv")})
    assert deferred.status_code == 400
    assert client.put(url).status_code == 405


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "filename",
        "filename !!!!",
        "filename YQ",
        "name YS5jc3Y=",
        "filename YS5jc3Y=,filename Yi5jc3Y=",
        "x" * 5000,
        *(named(name) for name in ("..", ".", "a/b.csv", "a\0b", "a\nb", "x" * 151, "students.csv.part", "s.filepart")),
        f"filename {base64.b64encode(bytes([0xFF, 0xFE])).decode()}",
    ],
)
def test_hostile_names_are_refused_in_words(client: httpx2.Client, tus: Any, account: str, metadata: str) -> None:
    refused = client.post("/files", headers={"Upload-Length": "1", "Upload-Metadata": metadata})
    assert refused.status_code == 400
    assert len(refused.text) > 10
    assert str(tus.root) not in refused.text
    assert arriving(tus.root, account) == []


def test_names_that_look_dangerous_and_are_not(client: httpx2.Client, tus: Any, account: str) -> None:
    for name in ("; rm -rf ~.csv", "%2e%2e%2fetc.csv", "schüler+1.csv", "a~b.csv", "CON.csv"):
        url = create(client, 1, name)
        assert patch(client, url, 0, b"x").status_code == 204
    assert {stored[37:] for stored in landed(tus.root, account)} == {
        "; rm -rf ~.csv",
        "%2e%2e%2fetc.csv",
        "schüler+1.csv",
        "a~b.csv",
        "CON.csv",
    }


# Who may


def test_a_token_opens_its_accounts_uploads_only(client: httpx2.Client, tus: Any, here: Any, account: str) -> None:
    url = create(client, 10)
    tokens = Tokens(here.db)
    here.accounts.add(f"{account}-b", title="", time_zone="UTC", actor="test")
    here.zone.prepare_account(f"{account}-b")
    receipts = here.zone.receipts_folder(account)
    (receipts / "latest-students.receipt.json").write_text("{}")
    with tus.client(tokens.add_for_account(f"{account}-b", actor="test").secret) as other:
        assert other.head(url).status_code == 404
        assert patch(other, url, 0, b"x").status_code == 404
        assert other.delete(url).status_code == 404
        assert other.get("/files/receipts").json() == {"receipts": []}
        assert other.get("/files/receipts/latest-students.receipt.json").status_code == 404
    for header in ("", "Bearer", "Bearer lzu_x", f"Basic {tus.secret}", f"Bearer {tus.secret}x", "Bearer \xff"):
        for method, path in (
            ("POST", "/files"),
            ("HEAD", url),
            ("PATCH", url),
            ("DELETE", url),
            ("GET", "/files/receipts"),
        ):
            refused = client.request(method, path, headers={"Authorization": header.encode("latin-1")})
            assert refused.status_code == 401, (method, header)
            assert refused.headers["WWW-Authenticate"] == "Bearer"
    for strange in ("0" * 36, "x", "..%2f..", "%00"):
        assert client.head(f"/files/{strange}").status_code == 404
    assert client.head(url).status_code == 200


def test_a_revoked_token_ends_an_upload_under_way(client: httpx2.Client, tus: Any, here: Any, account: str) -> None:
    tokens = Tokens(here.db)
    url = create(client, 10_000_000)
    (token,) = tokens.of(account)

    def body() -> Iterator[bytes]:
        yield b"x" * 2_000_000
        tokens.revoke(token.id, reason="stolen", actor="test")
        for _ in range(79):
            time.sleep(0.05)
            yield b"x" * 100_000
        yield b"x" * 100_000

    refused = patch(client, url, 0, body())
    assert refused.status_code == 401
    assert "revoked" in refused.text
    assert client.head(url).status_code == 401
    assert landed(tus.root, account) == {}
    until = time.monotonic() + 15
    while not (counted := RefusedLogins(here.db).of(account=account)) and time.monotonic() < until:
        time.sleep(0.1)
    assert [(one.reason, one.address) for one in counted] == [("token_revoked", "127.0.0.1")]


def test_receipts_are_listed_and_fetched_and_nothing_else(
    client: httpx2.Client, tus: Any, here: Any, account: str
) -> None:
    folder = here.zone.receipts_folder(account)
    (folder / "latest-students.receipt.json").write_text('{"outcome": "imported"}')
    (folder / ".half").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "deep").mkdir()
    os.mkfifo(folder / "pipe")
    (listed,) = client.get("/files/receipts").json()["receipts"]
    assert (listed["name"], listed["bytes"]) == ("latest-students.receipt.json", 23)
    got = client.get("/files/receipts/latest-students.receipt.json")
    assert got.json() == {"outcome": "imported"}
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    for name in (".half", "link", "deep", "pipe", "none", "..%2f..%2flandingzone.db", "%2e%2e", "a%00b", "x" * 400):
        assert client.get(f"/files/receipts/{name}").status_code == 404, name


# Cuts


class Raw:
    """A PATCH over a bare socket, cut when the block ends."""

    def __init__(self, tus: Any, url: str, offset: int, length: int, *more: str) -> None:
        lines = [
            f"PATCH {url} HTTP/1.1",
            "Host: localhost",
            "Tus-Resumable: 1.0.0",
            f"Authorization: Bearer {tus.secret}",
            f"Upload-Offset: {offset}",
            f"Content-Type: {BYTES}",
            f"Content-Length: {length}",
            *more,
        ]
        self._head = "\r\n".join([*lines, "", ""]).encode()
        self._port = tus.port

    def __enter__(self) -> socket.socket:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.sendall(self._head)
        return self._socket

    def __exit__(self, *_: object) -> None:
        self._socket.close()


CUTS = 200


def test_200_cuts_at_random_offsets_lose_nothing_and_land_once(client: httpx2.Client, tus: Any, account: str) -> None:
    chance = random.Random(7)
    data = chance.randbytes(24_000_000)
    url, offset, kept = create(client, len(data)), 0, 0
    for _ in range(CUTS):
        before, more = offset, min(chance.randrange(1, 240_000), len(data) - offset - 1)
        with Raw(tus, url, offset, len(data) - offset) as line:
            line.sendall(data[offset : offset + more])
            if chance.random() < 0.5:
                time.sleep(0.01)
            if chance.random() < 0.3:  # the client is back before the server has noticed
                offset = _go_on(client, url)
        offset = _go_on(client, url)
        assert before <= offset < len(data)
        kept += offset > before
    assert kept > CUTS // 4
    while True:
        done = patch(client, url, offset, data[offset:])
        if done.status_code != 409:
            break
        offset = int(done.headers["Upload-Offset"])
    assert done.status_code == 204
    (stored,) = landed(tus.root, account).items()
    assert stored == (f"{done.headers['Landing-Id']}.students.csv", data)
    assert arriving(tus.root, account) == []


def _go_on(client: httpx2.Client, url: str) -> int:
    """What the server has once the older request has given way: an empty request takes the upload in hand."""
    asked = patch(client, url, offset_of(client, url), b"")
    while asked.status_code in {409, 423}:  # the second: the older one came late, and has had this one give way
        asked = patch(client, url, int(asked.headers.get("Upload-Offset") or offset_of(client, url)), b"")
    assert asked.status_code == 204, asked.text
    return int(asked.headers["Upload-Offset"])


def test_the_older_of_two_requests_gives_way(client: httpx2.Client, tus: Any, account: str) -> None:
    data = random.Random(3).randbytes(2_000_000)
    url = create(client, len(data))
    with Raw(tus, url, 0, len(data)) as silent:
        silent.sendall(data[:500_000])
        time.sleep(0.2)
        began = time.monotonic()
        offset = _go_on(client, url)
        assert offset == 500_000
        assert time.monotonic() - began < 5
        assert patch(client, url, offset, data[offset:]).status_code == 204
        silent.settimeout(10)
        assert b" 423 " in silent.recv(4096)
    assert list(landed(tus.root, account).values()) == [data]


def test_many_requests_at_once_land_one_file(client: httpx2.Client, tus: Any, account: str) -> None:
    data = random.Random(4).randbytes(4_000_000)
    url = create(client, len(data))

    def send() -> None:
        with tus.client() as own:
            for _ in range(30):
                head = own.head(url)
                if "Landing-Id" in head.headers:
                    return
                at = int(head.headers["Upload-Offset"])
                patch(own, url, at, iter([data[n : n + 50_000] for n in range(at, len(data), 50_000)]))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    offset = _go_on(client, url)
    patch(client, url, offset, data[offset:])
    assert list(landed(tus.root, account).values()) == [data]


def test_a_killed_server_loses_nothing_and_lands_once(make_tus: Callable[..., Any], here: Any, account: str) -> None:
    tus = make_tus()
    client = tus.client()
    chance = random.Random(5)
    data = chance.randbytes(30_000_000)
    url, offset = create(client, len(data)), 0
    for _ in range(2):
        with Raw(tus, url, offset, len(data) - offset) as line:
            line.sendall(data[offset : offset + 5_000_000])
            time.sleep(0.3)
            tus.kill()
        tus.start()
        before, offset = offset, offset_of(client, url)
        assert offset > before
        assert here.zone.upload_path(here.zone.web_uploads(account)[0]).read_bytes() == data[:offset]
    assert patch(client, url, offset, data[offset:]).status_code == 204
    assert list(landed(tus.root, account).values()) == [data]


def test_another_console_goes_on_at_once_when_the_one_that_had_it_in_hand_is_killed(
    make_tus: Callable[..., Any], here: Any, account: str
) -> None:
    chance = random.Random(6)
    data = chance.randbytes(20_000_000)
    first, second = make_tus(), make_tus()
    url, offset = create(first.client(), len(data)), 0
    with second.client() as client:
        for number in range(4):
            with Raw(first, url, offset, len(data) - offset) as line:
                line.sendall(data[offset : offset + 4_000_000])
                until = time.monotonic() + 20
                while offset_of(client, url) <= offset:
                    assert time.monotonic() < until
                if not number:  # it is alive, and waits for bytes: no other one may write
                    held = patch(client, url, offset, data[offset:])
                    assert (held.status_code, held.headers["Retry-After"]) == (423, "2")
                stopped = threading.Thread(target=first.kill)
                stopped.start()
                with suppress(ConnectionResetError):  # the one is as good as the other
                    assert line.recv(4096) == b""
                stale = patch(client, url, offset, data[offset:])
                stopped.join()
            assert stale.status_code == 409, stale.text
            there = int(stale.headers["Upload-Offset"])
            assert offset < there <= offset + 4_000_000
            assert here.zone.upload_path(here.zone.web_uploads(account)[0]).read_bytes() == data[:there]
            done = patch(client, url, there, data[there : there + 500_000])
            assert done.status_code == 204, done.text
            offset = there + 500_000
            first.start()
        assert patch(client, url, offset, data[offset:]).status_code == 204
    assert list(landed(first.root, account).values()) == [data]


@pytest.mark.parametrize("how", ["head", "patch", "sweep"])
@pytest.mark.parametrize("noted", [False, True])
def test_what_was_killed_between_its_last_byte_and_its_landing_lands_once(
    client: httpx2.Client, tus: Any, here: Any, account: str, how: str, noted: bool
) -> None:
    url = create(client, 11)
    (file,) = here.zone.web_uploads(account)
    if noted:  # the row had its landing, the rename had not been
        with here.db.write() as tx:
            gone = here.zone.new_landing(account, "students.csv").id
            tx.execute(web_uploads.update().where(web_uploads.c.id == file.id).values(landing_id=gone))
    here.zone.upload_path(file).write_bytes(b"student_id\n")
    match how:
        case "head":
            assert "Landing-Id" in client.head(url).headers
        case "patch":
            assert "Landing-Id" in patch(client, url, 11, b"").headers
        case _:
            uploads_of(here).sweep()
    head = client.head(url)
    assert landed(tus.root, account) == {f"{head.headers['Landing-Id']}.students.csv": b"student_id\n"}
    assert arriving(tus.root, account) == []


def uploads_of(here: Any, resume_hours: float = 6) -> WebUploads:
    return WebUploads(here.zone, here.db, here.sources.of, resume_hours)


# Time and room


def test_what_nobody_goes_on_with_expires(client: httpx2.Client, tus: Any, here: Any, account: str) -> None:
    url, kept = create(client, 10), create(client, 10)
    patch(client, url, 0, b"x")
    file, other = here.zone.web_uploads(account)
    stray = here.zone.upload_path(file).with_name(f"{here.zone.make_id()}~no-row.csv")
    for path in (here.zone.upload_path(file), stray):
        path.touch()
        old = time.time() - 7 * 3600
        os.utime(path, (old, old))
    assert client.head(url).status_code == 404
    assert patch(client, url, 1, b"x").status_code == 404
    with here.db.write() as tx:  # as it stands when its time is up, had nothing come since it began
        mine = web_uploads.c.id.in_([file.id, other.id])
        tx.execute(web_uploads.update().where(mine).values(expires_at=iso(now())))
    uploads_of(here).sweep()
    assert [one.id for one in here.zone.web_uploads(account)] == [other.id]
    with here.db.read() as tx:
        assert tx.execute(sa.select(web_uploads.c.id).where(mine)).scalars().all() == [other.id]
    assert offset_of(client, kept) == 0


def test_a_door_lets_uploads_over_https_alone(
    make_service: Callable[..., Any], make_tus: Callable[..., Any], here: Any, account: str
) -> None:
    tus = make_tus()
    with tus.client() as client:
        url = create(client, 10)
        patch(client, url, 0, b"student_id")
        half = create(client, 10, "staff.csv")
        patch(client, half, 0, b"12345")
        (file,) = here.zone.web_uploads(account)
        old = time.time() - 5 * 3600
        os.utime(here.zone.upload_path(file), (old, old))
        make_service(door__resume_hours=1, door__settle_seconds=0).wait_for("door.opened")
        time.sleep(0.5)
        assert offset_of(client, half) == 5
        assert here.zone.uploads(account) == []
        assert patch(client, half, 5, b"67890").status_code == 204
        assert sorted(landed(tus.root, account).values()) == [b"1234567890", b"student_id"]


def test_limits_are_told_by_status_and_sentence(make_tus: Callable[..., Any], root: Path, account: str) -> None:
    tus = make_tus(limits__file_mebibytes=4, limits__waiting_files=2, limits__waiting_mebibytes=1)
    with tus.client() as client:
        assert client.options("/files").headers["Tus-Max-Size"] == str(4 << 20)
        large = client.post("/files", headers={"Upload-Length": str((4 << 20) + 1), "Upload-Metadata": named("a.csv")})
        assert (large.status_code, "4 MiB" in large.text) == (413, True)
        url = create(client, 3 << 20, "a.csv")
        create(client, 1, "b.csv")
        third = client.post("/files", headers={"Upload-Length": "1", "Upload-Metadata": named("c.csv")})
        assert (third.status_code, "Retry-After" in third.headers) == (429, True)
        assert "2 files of this account" in third.text
        refused = patch(client, url, 0, b"x" * (3 << 20))
        assert (refused.status_code, "1 MiB" in refused.text) == (429, True)
        assert client.head(url).status_code == 404
        assert len(arriving(root, account)) == 1


def test_a_full_disk_and_a_full_queue(make_tus: Callable[..., Any], root: Path, account: str) -> None:
    with make_tus(limits__free_mebibytes=1 << 30).client() as client:
        full = client.post("/files", headers={"Upload-Length": "1", "Upload-Metadata": named("c.csv")})
        assert (full.status_code, "disk is full" in full.text) == (507, True)
    (root / "inbox" / account / "by-hand.csv").write_text("x")
    with make_tus(limits__queue_files=1).client() as client:
        busy = client.post("/files", headers={"Upload-Length": "1", "Upload-Metadata": named("c.csv")})
        assert (busy.status_code, "Retry-After" in busy.headers) == (503, True)


def test_memory_stays_where_it_is_whatever_the_file(make_tus: Callable[..., Any], account: str) -> None:
    mebibytes = int(os.environ.get("TUS_MEBIBYTES", "256"))
    tus, piece = make_tus(), random.Random(6).randbytes(1 << 20)
    with tus.client() as client:
        url = create(client, 1 << 20, "a.csv")
        assert patch(client, url, 0, piece).status_code == 204
        before = tus.rss_mebibytes()
        url = create(client, mebibytes << 20, "b.csv")
        half = mebibytes // 2
        assert patch(client, url, 0, (piece for _ in range(half))).status_code == 204
        assert patch(client, url, half << 20, (piece for _ in range(mebibytes - half))).status_code == 204
        after = tus.rss_mebibytes()
    assert after - before < 40, (before, after)
    (stored,) = [path for path in (tus.root / "inbox" / account).iterdir() if path.name.endswith("b.csv")]
    assert stored.stat().st_size == mebibytes << 20
    stored.unlink()


# The same receipt


def test_it_gets_the_same_receipt(service: Any, make_tus: Callable[..., Any], here: Any, account: str) -> None:
    data = Path("landingzone/sample/students.csv").read_bytes()
    with make_tus().client() as client:
        url = create(client, len(data))
        assert patch(client, url, 0, data[:100]).status_code == 204
        landing_id = patch(client, url, 100, data[100:]).headers["Landing-Id"]
        (file,) = service.landed(account, count=1)
        assert (file.id, file.sha256) == (landing_id, hashlib.sha256(data).hexdigest())
        receipt = client.get(f"/files/receipts/{landing_id}-students.csv.receipt.json").json()
        assert (receipt["landing_id"], receipt["outcome"]) == (landing_id, "imported_with_rejects")
        names = [one["name"] for one in client.get("/files/receipts").json()["receipts"]]
        assert f"{landing_id}-students.csv.rejects.csv" in names
        assert "Landing-Id" in client.head(url).headers
    with here.db.read() as tx:
        of_it = sa.select(landings.c.id).join(accounts, accounts.c.id == landings.c.account_id)
        assert tx.execute(of_it.where(accounts.c.name == account)).scalars().all() == [landing_id]
