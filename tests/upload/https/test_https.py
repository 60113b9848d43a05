"""Sending over HTTPS, where only port 443 is open: the same endings, whatever breaks on the way; and its proofs."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.tokens import Tokens
from upload.errors import ConnectionLost, KeyUnusable, LoginRefused, NotDelivered, SettingsError
from upload.https import CertificateRefused, HttpsCarrier
from upload.outcome import Ending
from upload.outgoing import Outgoing
from upload.parcel import pack
from upload.patience import Patience
from upload.settings import parse_settings
from upload.token import read_token

SERVICE = "_shared_https"

SAMPLE = Path("landingzone/sample")
SIZE = 3_000_000


class Sending:
    """A parcel of chance bytes and a carrier for it; `on` says what is done when an event is noted."""

    def __init__(self, district: Any, *, seconds: float = 40, size: int = SIZE, **patience: float) -> None:
        path = district.folder / "data.csv"
        path.write_bytes(random.Random(1).randbytes(size))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.parcel = pack(Outgoing("students", "students", path, "students.csv", 0, size, sha256), "never")
        waits = {"silence": 5.0, "first": 0.05, "longest": 0.5, **patience}
        self.carrier: HttpsCarrier = district.carrier(Patience(time.monotonic() + seconds, **waits))
        self.events: list[str] = []
        self.on: dict[str, Callable[[], object]] = {}
        self.at_half: Callable[[], object] | None = None

    def note(self, event: str, **_: Any) -> None:
        self.events.append(event)
        self.on.pop(event, lambda: None)()

    def at(self, parcel: Any, confirmed: int) -> None:
        if self.at_half and confirmed >= parcel.bytes // 3:
            at_half, self.at_half = self.at_half, None
            at_half()

    def go(self) -> None:
        try:
            self.carrier.deliver(self.parcel, self.note, self)
        finally:
            self.carrier.close()


def assert_landed_once(service: Any, sending: Sending) -> None:
    (landed,) = service.landed(count=1)
    assert (landed.name, landed.sha256) == ("students.csv", sending.parcel.sha256)
    assert service.uploads() == {}


def test_a_run_ends_as_by_sftp(service: Any, district: Any) -> None:
    for feed in ("students", "staff"):
        district.file(f"{feed}.csv", (SAMPLE / f"{feed}.csv").read_text())
    district.settle("students", "staff")
    done = district.program("run", "--json")
    ended = {one["key"]: one for one in json.loads(done.stdout)}
    assert {one["ending"] for one in ended.values()} <= {"IMPORTED", "IMPORTED_WITH_REJECTS"}, done.stdout + done.stderr
    landed = {one.name: one.sha256 for one in service.landed(count=2)}
    assert landed == {one["file"]: one["sha256"] for one in ended.values()}
    assert ended["students"]["rejected"] == 2
    assert done.returncode == 10
    assert district.token not in district.log() + done.stdout + done.stderr
    told = district.program("status")
    assert "imported with rejects, 24 rows, 2 rejected" in told.stdout


def test_what_was_cut_goes_on_with_what_was_proven(service: Any, district: Any, make_trouble: Any) -> None:
    trouble = make_trouble(3, ("drop", "reset", "deafen"), powers=(14, 22))
    district.port = trouble.port
    sending = Sending(district, seconds=60, silence=2.0)
    sending.go()
    assert_landed_once(service, sending)


def test_a_lost_answer_to_the_last_bytes_lands_nothing_twice(service: Any, district: Any, make_trouble: Any) -> None:
    trouble = make_trouble(1, ("pass",))
    district.port = trouble.port
    sending = Sending(district, size=100_000, silence=2.0)
    opened = sending.carrier._pieces

    def deaf(chunk: bytes) -> Any:
        sending.carrier._pieces = opened  # type: ignore[method-assign]
        trouble.deafen()
        return opened(chunk)

    sending.carrier._pieces = deaf  # type: ignore[method-assign]
    sending.go()
    assert "file.landed_unheard" in sending.events
    assert_landed_once(service, sending)


def test_an_upload_that_the_server_has_forgotten_begins_anew(service: Any, district: Any, here: Any) -> None:
    sending = Sending(district)

    def forget() -> None:
        for file in here.zone.web_uploads(service.account):
            here.zone.upload_path(file).unlink()

    sending.at_half = forget
    sending.go()
    assert "upload.gone" in sending.events
    assert_landed_once(service, sending)


def test_a_killed_program_goes_on_where_it_was(service: Any, district: Any) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    sending = Sending(district)
    sending.at_half = kill
    with pytest.raises(Killed):
        sending.go()
    again = Sending(district)
    again.go()
    assert "upload.resumed" in again.events
    assert_landed_once(service, again)
    once_more = Sending(district)  # the same bytes on another day
    once_more.go()
    assert len(service.landed(count=2)) == 2
    assert "upload.resumed" not in once_more.events


def test_an_address_of_another_server_is_not_gone_on_with(service: Any, district: Any) -> None:
    sending = Sending(district, size=1000)
    assert sending.carrier.begun
    sending.carrier.begun.note(sending.parcel, "https://elsewhere.example.org/files/x")
    sending.go()
    assert_landed_once(service, sending)


def test_200_cuts_at_random_offsets_and_the_file_arrives_once(service: Any, district: Any, make_trouble: Any) -> None:
    trouble = make_trouble(5, ("drop", "reset"), upstream=1.0, powers=(13, 18))
    district.port = trouble.port
    sending = Sending(district, seconds=100, size=8_000_000, first=0.01, longest=0.02)
    sending.go()
    assert_landed_once(service, sending)
    assert trouble.met.total() >= 200, trouble.met


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_proxy_is_a_way_out(service: Any, district: Any, make_gate: Callable[[str], Any], scheme: str) -> None:
    gate = make_gate(scheme)
    district.extra = f'proxy = "{scheme}://127.0.0.1:{gate.port}"'
    sending = Sending(district, size=1000)
    sending.go()
    assert set(gate.asked) == {("localhost", district.port)}
    assert_landed_once(service, sending)
    gate.closed = True
    with pytest.raises(NotDelivered, match=f"through {scheme}://127"):
        Sending(district, seconds=1, size=1000).go()


def test_a_certificate_that_proves_nothing_stops_everything(service: Any, district: Any) -> None:
    district.file("students.csv", (SAMPLE / "students.csv").read_text())
    district.ca_file = ""
    district.settle("students")
    (attempt,) = district.run(seconds=20)
    assert attempt.ending is Ending.HOST_KEY_CHANGED
    assert "is not valid" in attempt.why
    district.ca_file, district.host = district.authority, "127.0.0.1"  # the certificate is of another name
    with pytest.raises(CertificateRefused, match="ca_file"):
        Sending(district).go()
    district.ca_file = district.key
    with pytest.raises(SettingsError, match="ca_file"):
        Sending(district).go()
    assert service.landed() == []


def test_a_token_that_opens_nothing_is_named(service: Any, district: Any, here: Any) -> None:
    token = Tokens(here.db).of(service.account)[-1]
    Tokens(here.db).revoke(token.id, actor="test")
    with pytest.raises(LoginRefused, match="revoked"):
        Sending(district, size=1000).go()
    district.token_file.write_text("lzu_" + "x" * 43)
    with pytest.raises(LoginRefused, match="does not take this token"):
        Sending(district, size=1000).go()
    district.token_file.write_text("hunter2")
    with pytest.raises(KeyUnusable, match="47 characters") as refused:
        Sending(district, size=1000).go()
    assert "hunter2" not in str(refused.value)
    district.token_file.chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        Sending(district, size=1000).go()
    district.token_file.unlink()
    with pytest.raises(KeyUnusable, match="ask the vendor for one"):
        Sending(district, size=1000).go()
    assert service.landed() == []


def test_a_token_may_be_in_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = parse_settings('[server]\nurl = "https://h"\ntoken_env = "THE_TOKEN"\n').server
    with pytest.raises(KeyUnusable, match="THE_TOKEN"):
        read_token(server, tmp_path / "none")
    monkeypatch.setenv("THE_TOKEN", f"lzu_{'a' * 43}\n")
    assert read_token(server, tmp_path / "none") == f"lzu_{'a' * 43}"


def test_what_is_no_landing_zone_is_told(district: Any, make_answering: Callable[..., int]) -> None:
    """A sign-in page of the way, a redirect, an error of a proxy."""
    for answer, told in (
        ("200 OK\r\nContent-Type: text/html", "is no landing zone"),
        ("502 Bad Gateway", "status 502"),
        ("302 Found\r\nLocation: https://login.example.org/", "sends elsewhere"),
    ):
        district.port = make_answering(answer)
        with pytest.raises((NotDelivered, ConnectionLost), match=told):
            Sending(district, seconds=1, size=1000).go()


def test_init_takes_an_address_and_a_token(service: Any, district: Any, tmp_path: Path) -> None:
    folder, address = tmp_path / "fresh", f"https://localhost:{district.port}"

    def program(*words: str, answers: str = "") -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "upload.cli", "--folder", str(folder), *words]
        return subprocess.run(command, input=answers, capture_output=True, text=True, check=False, timeout=110)

    words = ("init", "--url", address, "--ca-file", str(district.authority), "--feed", "students=students.csv", "--yes")
    done = program(*words)
    assert (done.returncode, "--token" in done.stderr) == (2, True), done.stderr
    wrong = tmp_path / "wrong"
    wrong.write_text("lzu_" + "x" * 43)
    done = program(*words, "--token", str(wrong))
    assert (done.returncode, "does not take this token" in done.stderr) == (20, True), done.stderr
    assert not (folder / "landingzone-upload.toml").exists()
    done = program(*words, "--token", str(district.token_file))
    assert done.returncode == 0, done.stderr
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert district.token not in done.stdout + (folder / "landingzone-upload.toml").read_text()
    (folder / "students.csv").write_text((SAMPLE / "students.csv").read_text())
    old = time.time() - 60
    os.utime(folder / "students.csv", (old, old))
    assert program("check").returncode == 0
    assert program("run").returncode == 10
    (landed,) = service.landed(count=1)
    assert landed.name == "students.csv"
    assert program("init", "--repin", "--yes").returncode == 2
