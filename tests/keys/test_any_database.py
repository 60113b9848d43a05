"""The life of keys is the same on SQLite and on PostgreSQL, also when several processes work on it at once."""

import base64
import multiprocessing
from datetime import timedelta

import asyncssh
import pytest

import keys.store
from keys.authority import Authorities, Revoked
from keys.authorized_keys import AuthorizedKey
from keys.certificate import Certificate
from keys.public_key import PublicKey
from keys.store import CertifiedKey, Keys, Opened, Refusal
from landingzone import audit
from landingzone.account import Accounts
from landingzone.clock import now
from landingzone.db import Database

HOME = "192.0.2.7"
WEEK = timedelta(days=7)


def new_key() -> PublicKey:
    return PublicKey.parse(asyncssh.generate_private_key("ssh-ed25519", comment="me").export_public_key())


@pytest.fixture
def store(any_db: Database) -> Keys:
    for name in ("springfield", "shelbyville"):
        Accounts(any_db).add(name, actor="test")
    return Keys(any_db)


def test_a_key_comes_is_used_is_replaced_and_goes(store: Keys, any_db: Database) -> None:
    old, new = new_key(), new_key()
    store.add("springfield", old, networks=("192.0.2.0/24",), actor="me")
    store.rotate("springfield", new, overlap=WEEK, uses=2, actor="me")
    live = Opened("springfield", old.fingerprint, HOME)
    for expected in (None, Refusal.RETIRED):
        admitted = store.admit("springfield", new.fingerprint, address=HOME).key
        assert admitted is not None
        store.note_use(admitted, address=HOME, client="SSH-2.0-x")
        assert store.admit("springfield", old.fingerprint, address=HOME).refusal is expected
        assert store.no_longer_open([live]) == ({live: expected} if expected else {})
    store.revoke("springfield", new.fingerprint, reason="lost", actor="you")
    assert store.admit("springfield", new.fingerprint, address=HOME).refusal is Refusal.REVOKED
    assert [one.action for one in audit.records(any_db, action="key")] == [
        "key.added",
        "key.added",
        "key.rotation_started",
        "key.retired",
        "key.revoked",
    ]
    assert audit.verify(any_db).broken is None


def test_an_overlap_ends_once_however_many_notice(
    store: Keys, any_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("springfield", "shelbyville"):
        store.add(name, new_key(), actor="me")
        store.rotate(name, new_key(), overlap=WEEK, actor="me")
    monkeypatch.setattr(keys.store, "now", lambda: now() + WEEK)
    assert [store.settle(), Keys(any_db).settle()] == [2, 0]
    assert len(audit.records(any_db, action="key.retired")) == 2


def use(url: str, fingerprint: str, times: int) -> None:
    db = Database(url)
    store = Keys(db)
    for _ in range(times):
        admitted = store.admit("springfield", fingerprint, address=HOME).key
        assert admitted is not None
        store.note_use(admitted, address=HOME, client="SSH-2.0-x")
    db.close()


def test_several_doors_count_one_key(store: Keys, any_db: Database) -> None:
    new = new_key()
    store.add("springfield", new_key(), actor="me")
    store.rotate("springfield", new, overlap=WEEK, uses=30, actor="me")
    url = any_db.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    doors = [context.Process(target=use, args=(url, new.fingerprint, 10)) for _ in range(3)]
    for door in doors:
        door.start()
    for door in doors:
        door.join(60)
    assert [door.exitcode for door in doors] == [0, 0, 0]
    (stands,) = store.rotations()
    assert (stands.uses, stands.state) == (30, "uses")
    assert len(audit.records(any_db, action="key.retired")) == 1


def test_a_file_of_keys_is_added_whole_or_not_at_all(store: Keys) -> None:
    known, other = new_key(), new_key()
    store.add("springfield", known, networks=("192.0.2.0/24",), actor="me")
    lines = [AuthorizedKey(1, other), AuthorizedKey(2, known)]
    done = store.add_all("springfield", lines, actor="me")
    assert (done.added, [line.line for line in done.refused]) == ((), [2])
    assert len(store.of("springfield")) == 1
    done = store.add_all("springfield", lines, all_or_none=False, actor="me")
    assert (len(done.added), len(done.refused)) == (1, 1)
    assert store.add_all("springfield", [AuthorizedKey(1, other)], actor="me").there == done.added


def test_certificates_open_and_are_revoked(store: Keys, any_db: Database) -> None:
    ca, authorities = asyncssh.generate_private_key("ssh-ed25519"), Authorities(any_db)
    key = asyncssh.generate_private_key("ssh-ed25519")
    line = ca.generate_user_certificate(key, "x", serial=2**63 + 5, principals=["springfield"]).export_certificate()
    shown = Certificate.parse(base64.b64decode(line.split()[1]))
    made = authorities.add(PublicKey.parse(ca.export_public_key()), account="springfield", actor="me")
    used = store.admit_certificate("springfield", shown, address=HOME).key
    assert used == CertifiedKey("springfield", shown)
    store.note_use(used, address=HOME, client="SSH-2.0-x")
    assert authorities.all()[0].last_used_from == HOME
    live = Opened("springfield", shown.fingerprint, HOME, shown)
    assert store.no_longer_open([live]) == {}
    done = authorities.revoke(str(made.id), Revoked.SERIAL, str(shown.serial), actor="me")
    assert store.no_longer_open([live]) == {live: Refusal.CERTIFICATE_REVOKED}
    authorities.lift(done.id, actor="me")
    authorities.remove(str(made.id), actor="me")
    assert store.no_longer_open([live]) == {live: Refusal.UNKNOWN_AUTHORITY}
