"""Who may no longer be inside is sent out: at once in the sense of two seconds, in every process, and nothing lands."""

import dataclasses
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone import audit
from landingzone.clock import now
from landingzone.command import Installation

GONE_WITHIN = 2.0
MARGIN = 1.0
"""What a busy machine may need beyond."""


def public(key: Path) -> PublicKey:
    return PublicKey.parse(key.with_name(f"{key.name}.pub").read_bytes())


@contextmanager
def uploading(client: Any, service: Any, name: str = "students.csv") -> Iterator["subprocess.Popen[str]"]:
    """OpenSSH's sftp in the middle of sending one GiB."""
    big = client.folder / name
    big.touch()
    with big.open("r+b") as file:
        file.truncate(1 << 30)
    where = ("-P", str(client.port), f"{client.account}@127.0.0.1")
    command = ["sftp", *client.options, "-l", "400000", "-b", "-", *where]
    sending = subprocess.Popen(
        command, cwd=client.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert sending.stdin
    sending.stdin.write(f"put {name}\n")
    sending.stdin.close()
    until = time.monotonic() + 20
    while not sum(service.uploads(client.account).values()) and time.monotonic() < until:
        time.sleep(0.01)
    assert sum(service.uploads(client.account).values()), "the upload has not begun"
    yield sending
    if sending.poll() is None:
        sending.kill()
        sending.wait(10)
    for stream in (sending.stdout, sending.stderr):
        assert stream
        stream.close()


def ended(service: Any, account: str, reason: str, since: datetime) -> dict[str, Any]:
    """The event of a session that was ended in time."""
    event: dict[str, Any] = service.wait_for("session.ended", account=account, reason=reason)
    assert (datetime.fromisoformat(event["timestamp"]) - since).total_seconds() < GONE_WITHIN + MARGIN
    return event


def farewell(sending: "subprocess.Popen[str]") -> str:
    """What the client said when it was sent out."""
    sending.wait(20)
    assert sending.returncode != 0
    assert sending.stderr
    return sending.stderr.read()


def test_revoking_a_key_ends_an_upload_of_a_gibibyte(own_service: Any, client: Any, here: Installation) -> None:
    key = public(client.key).fingerprint
    with uploading(client, own_service) as sending:
        since = now()
        Keys(here.db).revoke(client.account, key, actor="marge")
        event = ended(own_service, client.account, "key_revoked", since)
        assert "This key has been revoked." in farewell(sending)
    own_service.wait_for("session.closed")
    assert len(event["uploads"]) == 1
    time.sleep(0.5)
    assert not own_service.landed()
    assert not own_service.uploads()
    until = time.monotonic() + 10
    while not (told := audit.records(here.db, action="session.ended")) and time.monotonic() < until:
        time.sleep(0.05)
    [record] = told
    revoked = audit.records(here.db, action="key.revoked")[-1]
    assert record.account == client.account
    assert record.detail["fingerprint"] == key
    assert record.detail["reason"] == "key_revoked"
    assert (record.detail["by"], record.detail["because_of"]) == ("marge", revoked.id)
    assert record.detail["uploads"] == event["uploads"]
    assert client.sftp("ls").returncode != 0


def test_a_disabled_account_and_an_expired_key_end_their_sessions(
    own_service: Any, make_client: Callable[..., Any], here: Installation
) -> None:
    disabled, expiring = make_client(own_service, "shelbyville"), make_client(own_service, "ogdenville")
    key = public(expiring.key)
    Keys(here.db).revoke(expiring.account, key.fingerprint, actor="test")
    end = now() + timedelta(seconds=8)
    Keys(here.db).add(expiring.account, key, expires_at=end, again=True, actor="test")
    with uploading(disabled, own_service) as first, uploading(expiring, own_service) as second:
        since = now()
        here.accounts.set_enabled(disabled.account, enabled=False, actor="test")
        ended(own_service, disabled.account, "account_disabled", since)
        ended(own_service, expiring.account, "key_expired", max(end, since))
        assert "This account has been disabled." in farewell(first)
        assert "This key has expired." in farewell(second)
    for one in (disabled, expiring):
        assert not own_service.landed(one.account)
        assert not own_service.uploads(one.account)


def test_every_process_that_shares_the_database_sends_out(
    make_service: Callable[..., Any], make_client: Callable[..., Any], here: Installation
) -> None:
    services = [make_service(), make_service(node="node-2")]
    first = make_client(services[0])
    folder = first.folder.with_name("second")
    second = dataclasses.replace(first, port=services[1].port, folder=folder)
    open_sessions = [one.paramiko() for one in (first, second)]
    channels = [one.open_sftp() for one in open_sessions]
    since = now()
    Keys(here.db).revoke(first.account, public(first.key).fingerprint, actor="test")
    for service in services:
        ended(service, first.account, "key_revoked", since)
    for ssh, sftp in zip(open_sessions, channels, strict=True):
        until = time.monotonic() + 10
        while ssh.get_transport().is_active() and time.monotonic() < until:
            time.sleep(0.02)
        assert not ssh.get_transport().is_active()
        with pytest.raises((OSError, EOFError)):
            sftp.listdir("/")
        ssh.close()


def test_a_session_that_may_stay_is_left_alone(own_service: Any, client: Any, here: Installation) -> None:
    other = here.accounts.add("elsewhere", actor="test")
    with client.paramiko() as ssh:
        sftp = ssh.open_sftp()
        here.accounts.set_enabled(other.name, enabled=False, actor="test")
        for _ in range(15):
            assert sftp.listdir("/") == ["receipts"]
            time.sleep(0.1)


def test_an_idle_session_is_ended(make_service: Callable[..., Any], make_client: Callable[..., Any]) -> None:
    service = make_service(limits__idle_minutes=0.02)
    with make_client(service).paramiko() as ssh:
        sftp = ssh.open_sftp()
        for _ in range(8):
            sftp.listdir("/")
            time.sleep(0.3)
        service.wait_for("session.ended", reason="idle")
        with pytest.raises((OSError, EOFError)):
            sftp.listdir("/")
