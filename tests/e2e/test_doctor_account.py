"""The doctor explains an account's attempts: real clients fail in each way, and it says why and what to ask for."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.clock import now
from landingzone.command import Installation
from landingzone.doctor.account import Facts, Incomplete, KnownKey, PastRun, diagnose, explain
from landingzone.doctor.advice import ADVICE
from landingzone.doctor.finding import Severity
from landingzone.login_attempt import LoginAttempt, OfferedKey

SAMPLE = Path(__file__).parents[2] / "landingzone" / "sample" / "students.csv"


def doctor(root: Path, account: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "landingzone", "--root", str(root), "doctor", account, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def told_of(root: Path, account: str, attempts: int) -> dict[str, Any]:
    """What the doctor tells, once the front door has written down so many attempts."""
    until = time.monotonic() + 20
    while True:
        told: dict[str, Any] = json.loads(doctor(root, account, "--json").stdout)
        if sum(one["times"] for one in told["attempts"]) >= attempts:
            return told
        assert time.monotonic() < until, told["attempts"]
        time.sleep(0.2)


async def log_in(service: Any, user: str, *keys: Path, **options: Any) -> None:
    given = {"client_keys": [str(key) for key in keys], "known_hosts": None, "config": None, **options}
    async with asyncssh.connect("127.0.0.1", service.port, username=user, **given):
        pass


def fails_to_log_in(service: Any, user: str, *keys: Path, **options: Any) -> None:
    with pytest.raises((asyncssh.Error, OSError)):
        asyncio.run(log_in(service, user, *keys, **options))


def test_a_key_that_nobody_knows_is_named_with_address_and_client(
    own_service: Any, make_account: Callable[..., Path], make_key: Any, account: str, root: Path
) -> None:
    make_account()
    stranger = make_key("stranger")
    fails_to_log_in(own_service, account, stranger)
    told = told_of(root, account, 1)
    (attempt,) = told["attempts"]
    fingerprint = asyncssh.read_private_key(stranger).get_fingerprint()
    assert (attempt["outcome"], attempt["address"]) == ("unknown_key", "127.0.0.1")
    assert attempt["offered"][0]["fingerprint"] == fingerprint
    assert attempt["algorithms"]["kex"]
    assert "AsyncSSH" in attempt["client"]
    printed = doctor(root, account)
    assert printed.returncode == 1
    assert fingerprint in printed.stdout
    assert "Ask the customer: Send the public half" in printed.stdout
    assert "127.0.0.1 was refused once" in printed.stdout


def test_a_key_of_another_district_points_at_the_user_name(
    own_service: Any, make_account: Callable[..., Path], account: str, root: Path
) -> None:
    make_account()
    other = make_account(f"{account}-b")
    fails_to_log_in(own_service, account, other)
    told = told_of(root, account, 1)
    (finding,) = (one for one in told["findings"] if one["check"] == "logins")
    assert f"it opens {account}-b: the user name is most likely wrong" in finding["found"]
    assert f"Use {account}-b as the user name" in finding["advice"]


def test_expired_revoked_wrong_network_and_disabled_are_told_apart(
    own_service: Any, make_account: Callable[..., Path], make_key: Any, account: str, root: Path, here: Installation
) -> None:
    first = make_account(networks=("192.0.2.0/24",))
    fails_to_log_in(own_service, account, first)
    told = told_of(root, account, 1)
    (finding,) = (one for one in told["findings"] if one["check"] == "logins")
    assert "It came from 127.0.0.1; allowed is 192.0.2.0/24" in finding["found"]
    second = make_key("second")
    public = PublicKey.parse(second.with_name("second.pub").read_bytes())
    added = Keys(here.db).add(account, public, expires_at=now() + timedelta(days=1), actor="test")
    Keys(here.db).revoke(account, str(added.id), actor="test")
    fails_to_log_in(own_service, account, second)
    told = told_of(root, account, 2)
    assert [one["outcome"] for one in told["attempts"]] == ["key_revoked", "wrong_network"]
    here.accounts.set_enabled(account, False, actor="test")
    fails_to_log_in(own_service, account, first)
    told = told_of(root, account, 3)
    assert told["findings"][0]["found"].startswith("The account is disabled")
    assert told["attempts"][0]["outcome"] == "account_disabled"


def test_a_program_too_old_for_us_is_told_so(
    own_service: Any, make_account: Callable[..., Path], account: str, root: Path
) -> None:
    key = make_account()
    asyncio.run(log_in(own_service, account, key))
    fails_to_log_in(own_service, account, key, kex_algs=["diffie-hellman-group1-sha1"])
    told = told_of(root, account, 2)
    (finding,) = (one for one in told["findings"] if one["check"] == "logins")
    assert "no algorithm that" in finding["found"]  # whoever of the two saw it first
    assert "OpenSSH 7.2" in finding["advice"]
    assert finding["severity"] == "warning"


@pytest.mark.timeout(180)
def test_an_account_that_is_well_is_told_so_with_its_files(
    make_service: Any, make_account: Callable[..., Path], account: str, root: Path
) -> None:
    key = make_account()
    service = make_service("serve")

    async def put() -> None:
        given = {"client_keys": [str(key)], "known_hosts": None, "config": None}
        async with (
            asyncssh.connect("127.0.0.1", service.port, username=account, **given) as connection,
            connection.start_sftp_client() as sftp,
        ):
            await sftp.put(str(SAMPLE), "students.csv")

    asyncio.run(put())
    service.landed(account, count=1)
    told_of(root, account, 1)
    printed = doctor(root, account)
    assert printed.returncode == 0, printed.stdout
    assert "Nothing stands in this account's way." in printed.stdout
    assert "students.csv (students)  last 20" in printed.stdout
    assert "imported_with_rejects" in printed.stdout
    assert "opens" in printed.stdout


def test_a_cut_upload_is_shown_with_its_size(
    own_service: Any, make_account: Callable[..., Path], account: str, root: Path
) -> None:
    key = make_account()

    async def cut() -> None:
        given = {"client_keys": [str(key)], "known_hosts": None, "config": None}
        connection = await asyncssh.connect("127.0.0.1", own_service.port, username=account, **given)
        sftp = await connection.start_sftp_client()
        file = await sftp.open("students.csv", "wb")
        await file.write(b"x" * 5000)
        connection.abort()

    asyncio.run(cut())
    own_service.wait_for("upload.cut")
    told = told_of(root, account, 1)
    assert [(one["name"], one["bytes"], one["closed"]) for one in told["incomplete"]] == [("students.csv", 5000, False)]
    assert "not landed: students.csv, 5,000 bytes" in doctor(root, account).stdout


# What it concludes, from facts


FACTS = Facts("riverdale", known=True)
KEY = KnownKey(1, "nightly", "SHA256:a", "ssh-ed25519", "active", True, (), None, "2026-01-01", "192.0.2.1", "x")
AT = "2026-01-31T06:00:00.000Z"


def attempt(outcome: str, at: str = AT, address: str = "192.0.2.1", account: str = "riverdale") -> LoginAttempt:
    return LoginAttempt(account, address, "SSH-2.0-x", outcome, (OfferedKey("SHA256:a", "ssh-ed25519"),), last_at=at)


def told(**facts: Any) -> list[tuple[str, Severity]]:
    whole = {"known": True, "keys": [KEY], "attempts": [attempt("opened")], **facts}
    return [(one.check, one.severity) for one in diagnose(Facts("riverdale", **whole))]


def test_who_has_come_in_since_is_not_shut_out_any_more() -> None:
    later = "2026-01-31T07:00:00.000Z"
    assert told(attempts=[attempt("opened", later), attempt("unknown_key")]) == [("account", Severity.OK)]
    assert told(attempts=[attempt("unknown_key", later), attempt("opened")]) == [("logins", Severity.PROBLEM)]
    other = attempt("unknown_key", AT, "198.51.100.7")
    assert told(attempts=[attempt("opened", later), other]) == [("logins", Severity.WARNING)]


def test_only_the_newest_landing_of_a_source_counts() -> None:
    held = PastRun("a:1", "students.csv", "students", "held", "receipted", AT, "Many would go.")
    good = PastRun("b:1", "students.csv", "students", "imported", "receipted", AT, "")
    assert told(runs=[good, held]) == [("account", Severity.OK)]
    assert told(runs=[held, good]) == [("runs", Severity.PROBLEM)]


@pytest.mark.parametrize("outcome", ["failed", "rejected", "unrecognised", None])
def test_every_end_that_needs_somebody_is_told(outcome: str | None) -> None:
    run = PastRun("a:1", "students.csv", "students", outcome, "claimed", AT, "Why.")
    ((check, severity),) = told(runs=[run])
    assert check == "runs"
    assert severity is (Severity.PROBLEM if outcome else Severity.WARNING)


def test_a_file_left_under_a_temporary_name_is_a_problem() -> None:
    left = Incomplete("students.csv.part", 10, 600, closed=True, temporary=True)
    assert told(incomplete=[left]) == [("uploads", Severity.PROBLEM)]


def test_every_reason_of_a_refusal_has_its_advice(document_reasons: set[str]) -> None:
    assert set(ADVICE) == document_reasons | {"opened"}
    for reason, advice in ADVICE.items():
        assert advice.meaning.endswith(".")
        assert advice.ask or advice.do or reason in {"opened", "nothing_said"}


def test_names_are_filled_in_and_an_unknown_reason_breaks_nothing() -> None:
    facts = Facts("riverdale", known=True)
    assert "keys add riverdale FILE" in explain(attempt("unknown_key"), facts).do
    assert "penalties lift 192.0.2.1" in explain(attempt("penalty"), facts).do
    assert explain(attempt("some_day_invented"), facts).meaning


@pytest.fixture
def document_reasons() -> set[str]:
    """The reasons of `login.refused` that the page for operators documents."""
    import re

    page = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    table = page[page.index("The reasons of `login.refused`") :].split("\n\n")[1]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
