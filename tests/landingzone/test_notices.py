"""Notices reach a real web server and a real mail server, once for each cause, however often these fail."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import time_machine
from aiosmtpd.controller import Controller

from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.notices import notice
from landingzone.notices.contacts import Contacts
from landingzone.notices.notice import MOST_AN_HOUR, Kind, Notice
from landingzone.notices.sender import PAUSES, Post, send_waiting
from landingzone.notices.target import NotifyError, check_address, targets
from landingzone.notices.webhook import NotTaken, post, secret_of
from landingzone.notices.words import sentence
from landingzone.settings import NotifySettings, SettingsError, explain, load_settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = secret_of(SECRET)
SIX = datetime(2026, 11, 24, 12, tzinfo=UTC)
SAID = {"source": "students", "file": "students.csv", "due_at": "2026-11-24T12:00:00.000Z"}


def late(cause: str = "late:1", account: str = "springfield", kind: Kind = Kind.LATE, **said: Any) -> Notice:
    return Notice(cause, kind, account, "Springfield Schools", "America/Chicago", {**SAID, **said}, SIX.isoformat())


class Receiver(ThreadingHTTPServer):
    """A web server that answers as it is told, then 204, and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?of=us"

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.answers.pop(0) if self.server.answers else 204
        if status == 0:
            time.sleep(2)
        self.send_response(status or 204)
        if status in range(300, 400):
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


class Mailbox:
    """What a mail server does with what it is given."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], Any]] = []
        self.answers: list[str] = []

    async def handle_DATA(  # noqa: N802 - the library's name
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    kept = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=port)
    controller.start()
    yield kept, port
    controller.stop()


def by_web(url: str, **more: Any) -> NotifySettings:
    return NotifySettings(webhook_urls=(url,), webhook_secret=SECRET, private_addresses=True, **more)


def by_mail(port: int, **more: Any) -> NotifySettings:
    to = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none"}
    return NotifySettings(**to, email_from="zone@example.org", email_to=("ops@example.org",), **more)


def verified(headers: dict[str, str], body: bytes) -> bool:
    """As a receiver checks it, by the specification."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{expected}")


@pytest.fixture
def district(here: Installation) -> Installation:
    here.accounts.add("springfield", title="Springfield Schools", time_zone="America/Chicago", actor="test")
    here.accounts.add("shelbyville", actor="test")
    return here


@pytest.fixture
def told(district: Installation) -> Callable[[Notice, NotifySettings], bool]:
    def make(one: Notice, settings: NotifySettings) -> bool:
        with district.db.write() as tx:
            to = list(targets(settings, notice.addresses_of(tx)))
            return notice.make(tx, one, to, digest_seconds=settings.digest_seconds)

    return make


@pytest.fixture
def send(district: Installation) -> Callable[[NotifySettings], dict[str, int]]:
    commit: Callable[[], AbstractContextManager[Any]] = district.db.write
    return lambda settings: send_waiting(district.db, Post(settings), commit, lambda: None)


def test_a_webhook_is_signed_says_what_happened_and_comes_once_for_each_cause(
    receiver: Receiver, told: Any, send: Any
) -> None:
    settings = by_web(receiver.url)
    assert told(late(), settings)
    assert not told(late(), settings)
    assert send(settings) == {"sent": 1}
    assert send(settings) == {}
    ((headers, body),) = receiver.got
    assert verified(headers, body)
    assert not verified(headers, body + b" ")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    found = json.loads(body)
    assert found["type"] == "file.late"
    assert found["data"] == {"account": "springfield", "district": "Springfield Schools", **SAID}


def test_a_failing_receiver_is_tried_again_with_growing_pauses_and_nothing_is_lost(
    receiver: Receiver, told: Any, send: Any, district: Installation
) -> None:
    settings = by_web(receiver.url)
    receiver.answers = [500, 503, 302]
    with time_machine.travel(SIX, tick=False) as clock:
        told(late("late:1"), settings)
        told(late("late:2"), settings)
        for pause in PAUSES[:3]:
            assert send(settings) == {"not_sent": 1}
            assert send(settings) == {}
            clock.shift(pause + 1)
        assert send(settings) == {"sent": 2}
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert ids[0] == ids[1] == ids[2] == ids[3] != ids[4]
    with district.db.read() as tx:
        assert notice.waiting(tx) == []
        assert notice.oldest_waiting(tx) is None


def test_after_a_day_it_is_given_up(receiver: Receiver, told: Any, send: Any, district: Installation) -> None:
    settings = by_web(receiver.url)
    receiver.answers = [500] * 20
    with time_machine.travel(SIX, tick=False) as clock:
        told(late(), settings)
        for pause in (*PAUSES, 0):
            send(settings)
            clock.shift(pause + 1)
        assert timedelta(hours=20) < timedelta(seconds=sum(PAUSES)) < timedelta(hours=30)
    assert len(receiver.got) == len(PAUSES) + 1
    with district.db.read() as tx:
        assert [(reached, problem) for _, reached, problem in notice.newest(tx, limit=5)] == [("0 of 1", "status 500")]


@pytest.mark.parametrize(("status", "problem"), [(302, "redirect 302"), (400, "status 400"), (0, "timeout")])
def test_a_receiver_that_sends_elsewhere_refuses_or_is_slow_has_not_taken_it(
    receiver: Receiver, status: int, problem: str
) -> None:
    receiver.answers = [status]
    with pytest.raises(NotTaken, match=problem):
        post(receiver.url, late(), KEY, private=True, seconds=1)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]"]
)
def test_addresses_that_are_not_public_are_refused_unless_they_are_allowed(host: str) -> None:
    with pytest.raises(NotTaken, match="private_address"):
        post(f"https://{host}:1/", late(), KEY, private=False)


def test_nobody_listening_is_told_as_such_and_never_in_the_receiver_s_words() -> None:
    with pytest.raises(NotTaken, match=r"^connection$"):
        post("http://127.0.0.1:9/", late(), KEY, private=True)


def test_a_mail_tells_all_of_a_minute_in_plain_words(mailbox: Any, told: Any, send: Any) -> None:
    kept, port = mailbox
    settings = by_mail(port)
    with time_machine.travel(SIX, tick=False) as clock:
        told(late(), settings)
        clock.shift(40)
        told(late("run:1", "shelbyville", Kind.HELD, run="0193:1", why="The file looks cut off."), settings)
        assert send(settings) == {}
        clock.shift(21)
        assert send(settings) == {"sent": 2}
        clock.shift(300)
        assert send(settings) == {}
    ((recipients, mail),) = kept.got
    assert recipients == ["ops@example.org"]
    assert mail["subject"] == "Landing zone: 1 late, 1 held (2 districts)"
    assert mail["auto-submitted"] == "auto-generated"
    text = " ".join(mail.get_content().split())
    assert "Springfield Schools (springfield): students (students.csv) was due Tue 24 Nov 06:00 CST" in text
    assert "Nothing has come. `landingzone doctor springfield`" in text
    assert "The file looks cut off. `landingzone runs show 0193:1`" in text


def test_a_mail_server_that_refuses_for_now_gets_it_later(mailbox: Any, told: Any, send: Any) -> None:
    kept, port = mailbox
    kept.answers = ["451 try later"]
    settings = by_mail(port, digest_seconds=0)
    with time_machine.travel(SIX, tick=False) as clock:
        told(late(), settings)
        assert send(settings) == {"not_sent": 1}
        clock.shift(PAUSES[0] + 1)
        assert send(settings) == {"sent": 1}
    assert len(kept.got) == 1


def test_a_district_s_own_address_learns_of_its_own_files_only_and_in_words_for_it(
    district: Installation, mailbox: Any, told: Any, send: Any
) -> None:
    kept, port = mailbox
    contacts = Contacts(district.db)
    contacts.add("springfield", "it@springfield.example", actor="test")
    contacts.add("springfield", "it@springfield.example", actor="test")
    settings = by_mail(port, digest_seconds=0)
    told(late(), settings)
    told(late("late:2", "shelbyville"), settings)
    told(late("run:3", kind=Kind.FAILED, run="0193:1"), settings)
    send(settings)
    by_address = {recipients[0]: mail for recipients, mail in kept.got}
    assert set(by_address) == {"ops@example.org", "it@springfield.example"}
    text = by_address["it@springfield.example"].get_content()
    assert "Please look whether your export ran" in " ".join(text.split())
    assert "shelbyville" not in text
    assert "landingzone" not in text
    contacts.remove("springfield", "it@springfield.example", actor="test")
    with pytest.raises(NotifyError):
        contacts.remove("springfield", "it@springfield.example", actor="test")


def test_what_happens_to_many_files_is_not_told_for_each(receiver: Receiver, told: Any, send: Any) -> None:
    settings = by_web(receiver.url)
    for number in range(MOST_AN_HOUR + 30):
        assert told(late(f"run:{number}", kind=Kind.UNRECOGNISED), settings)
    send(settings)
    assert receiver.types == ["run.unrecognised"] * MOST_AN_HOUR + ["notices.many"]


def test_who_is_no_longer_in_the_settings_is_told_nothing_more(receiver: Receiver, told: Any, send: Any) -> None:
    told(late(), by_web(receiver.url))
    send(by_mail(1))
    assert send(by_web(receiver.url)) == {}
    assert receiver.got == []


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("for_district", [False, True])
def test_each_kind_has_its_sentence_also_where_little_is_known(kind: Kind, for_district: bool) -> None:
    for one in (late(kind=kind), Notice("x", kind, "springfield", "", "UTC", {})):
        assert sentence(one, for_district=for_district).startswith(
            ("Springfield Schools (springfield): ", "springfield: ")
        )


@pytest.mark.parametrize(
    "text", ["", "ops", "a@b\r\nBcc: x@y", "a b@c.org", "<a@b.org>", "a@b.org,c@d.org", "a@" + "b" * 300]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(NotifyError):
        check_address(text)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%"])
def test_a_secret_that_is_too_short_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(NotifyError) as refused:
        secret_of(secret)
    assert "c2hvcnQ" not in str(refused.value)


@pytest.mark.parametrize(
    "notify",
    [
        {"webhook_urls": ["https://x.example/"]},
        {"webhook_urls": ["http://x.example/"], "webhook_secret": SECRET},
        {"webhook_urls": ["https://u:p@x.example/"], "webhook_secret": SECRET},
        {"webhook_urls": ["ftp://x.example/"], "webhook_secret": SECRET},
        {"smtp_host": "mail.example"},
        {"smtp_host": "m", "email_from": "a@b.org", "smtp_user": "u", "smtp_security": "none"},
    ],
)
def test_settings_that_would_tell_nobody_or_tell_it_in_the_clear_are_refused(root: Any, notify: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(root=root, notify=notify)
    assert SECRET not in str(refused.value)


def test_secrets_are_never_printed(root: Any) -> None:
    notify = {"webhook_urls": ["https://x.example/token"], "webhook_secret": SECRET, "smtp_password": "hunter2"}
    settings = load_settings(root=root, notify=notify)
    shown = " ".join(str(one.value) for one in explain(settings)) + repr(settings.notify)
    assert SECRET not in shown
    assert "hunter2" not in shown
    assert "/token" not in " ".join(str(one.value) for one in explain(settings))


def test_the_test_command_says_who_was_reached(
    district: Installation, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from landingzone.cli import app

    root = ["--root", str(district.settings.root)]
    with pytest.raises(LandingZoneError):
        app([*root, "notify", "test"], standalone_mode=False)
    for name, value in {
        "WEBHOOK_URLS": json.dumps([receiver.url, "http://127.0.0.1:9/"]),
        "WEBHOOK_SECRET": SECRET,
        "PRIVATE_ADDRESSES": "true",
    }.items():
        monkeypatch.setenv(f"LANDINGZONE_NOTIFY__{name}", value)
    assert app([*root, "notify", "test"], standalone_mode=False) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("sent    webhook 127.0.0.1")
    assert told[1] == "FAILED  webhook 127.0.0.1:9: connection"
    assert receiver.types == ["test"]
    app([*root, "accounts", "notify", "springfield", "--email", "it@springfield.example"], standalone_mode=False)
    app([*root, "notify", "list"], standalone_mode=False)
