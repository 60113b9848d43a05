"""What is kept of login attempts: the same ones counted, the newest of each account."""

from dataclasses import replace
from datetime import timedelta

from landingzone import login_attempt
from landingzone.clock import iso, now
from landingzone.command import Installation
from landingzone.login_attempt import KEPT_PER_ACCOUNT, LoginAttempt, OfferedKey

REFUSED = LoginAttempt(
    "springfield",
    "192.0.2.1",
    "SSH-2.0-WinSCP",
    "unknown_key",
    (OfferedKey("SHA256:a", "ssh-ed25519", "unknown_key"),),
    {"kex": "curve25519-sha256", "cipher": "aes128-ctr"},
)


def test_the_same_attempt_again_is_counted(here: Installation) -> None:
    at = now()
    for minutes in range(3):
        with here.db.write() as tx:
            login_attempt.note(tx, [REFUSED], at + timedelta(minutes=minutes))
    [kept] = login_attempt.recent(here.db, "springfield")
    assert kept == replace(REFUSED, first_at=iso(at), last_at=iso(at + timedelta(minutes=2)), times=3)


def test_of_each_account_the_newest_stay(here: Installation) -> None:
    at = now()
    many = [replace(REFUSED, client=f"SSH-2.0-{number}") for number in range(KEPT_PER_ACCOUNT + 20)]
    with here.db.write() as tx:
        for number, attempt in enumerate(many):
            login_attempt.note(tx, [attempt], at + timedelta(seconds=number))
        login_attempt.note(tx, [replace(REFUSED, account="shelbyville")], at)
    kept = login_attempt.recent(here.db, "springfield")
    assert [one.client for one in kept] == [one.client for one in reversed(many)][:KEPT_PER_ACCOUNT]
    assert len(login_attempt.recent(here.db, "shelbyville")) == 1


def test_attempts_without_an_account_are_found_by_address(here: Installation) -> None:
    nameless = replace(REFUSED, account="", outcome="unknown_account")
    with here.db.write() as tx:
        login_attempt.note(tx, [nameless, replace(nameless, address="192.0.2.2")], now())
    assert login_attempt.recent(here.db, "springfield") == []
    [kept] = login_attempt.recent(here.db, "springfield", addresses=["192.0.2.1"])
    assert kept.outcome == "unknown_account"
