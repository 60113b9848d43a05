"""What `keys check` finds, before it is urgent."""

import json
import subprocess
import sys
from datetime import timedelta

import asyncssh
import pytest

from keys.checkup import Code, findings
from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.clock import now
from landingzone.command import Installation
from landingzone.tables import keys as table

MONTH = timedelta(days=30)


def new_key() -> PublicKey:
    return PublicKey.parse(asyncssh.generate_private_key("ssh-ed25519", comment="me@school").export_public_key())


@pytest.fixture
def store(here: Installation) -> Keys:
    for account in ("springfield", "shelbyville"):
        here.accounts.add(account, title="", time_zone="UTC", actor="test")
    return Keys(here.db)


def found(store: Keys, *, ahead: timedelta = timedelta()) -> dict[int, set[Code]]:
    told: dict[int, set[Code]] = {}
    for one in findings(store.of(), store.rotations(), at=now() + ahead, soon=MONTH):
        told.setdefault(one.key, set()).add(one.code)
    return told


def use(store: Keys, *numbers: int) -> None:
    for key in store.of():
        if key.id in numbers:
            store.note_use(key, address="192.0.2.7", client="SSH-2.0-x")


def test_a_key_that_is_used_and_goes_on_is_not_told_of(store: Keys) -> None:
    key = store.add("springfield", new_key(), actor="me")
    assert found(store) == {key.id: {Code.NEVER_USED}}
    use(store, key.id)
    assert found(store) == {}


def test_keys_that_end_are_told_of_before_and_after(store: Keys) -> None:
    key = store.add("springfield", new_key(), expires_at=now() + timedelta(days=40), actor="me")
    use(store, key.id)
    assert found(store) == {}
    assert found(store, ahead=timedelta(days=11)) == {key.id: {Code.EXPIRING}}
    assert found(store, ahead=timedelta(days=41)) == {key.id: {Code.EXPIRED}}
    store.revoke("springfield", str(key.id), actor="me")
    assert found(store, ahead=timedelta(days=41)) == {}


def test_a_key_that_opens_two_accounts_is_told_of_in_both(store: Keys) -> None:
    shared = new_key()
    first = store.add("springfield", shared, actor="me")
    second = store.add("shelbyville", shared, actor="me")
    use(store, first.id, second.id)
    assert found(store) == {first.id: {Code.SHARED}, second.id: {Code.SHARED}}
    store.revoke("shelbyville", str(second.id), actor="me")
    assert found(store) == {}


def test_a_key_that_todays_rules_would_refuse_is_told_of(store: Keys, here: Installation) -> None:
    weak = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()
    key = store.add("springfield", new_key(), actor="me")
    use(store, key.id)
    with here.db.write() as tx:
        tx.execute(table.update().where(table.c.id == key.id).values(public_key=" ".join(weak.split()[:2])))
    assert found(store) == {key.id: {Code.WEAK}}


def test_a_new_key_that_does_not_come_in_time_is_told_of(store: Keys) -> None:
    old = store.add("springfield", new_key(), actor="me")
    use(store, old.id)
    begun = store.rotate("springfield", new_key(), overlap=timedelta(days=14), actor="me")
    assert found(store) == {begun.new_key: {Code.NOT_ROTATED}}
    use(store, begun.new_key)
    assert found(store) == {}


def test_the_command_says_it_and_exits_accordingly(store: Keys, here: Installation) -> None:
    key = store.add("springfield", new_key(), actor="me")

    def check(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), "keys", "check", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    (told,) = json.loads(check("--json").stdout)
    assert (told["account"], told["key"], told["code"]) == ("springfield", key.id, "never_used")
    assert (check("springfield").returncode, check("shelbyville").returncode) == (1, 0)
    assert check("--ignore", "never_used").returncode == 0
    assert (check("--ignore", "x").returncode, check("nowhere").returncode) == (2, 1)
