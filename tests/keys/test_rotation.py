"""A new key takes the place of an old one: after so many uses, or when the overlap ends; both stand in the trail."""

from datetime import datetime, timedelta
from typing import Any

import asyncssh
import pytest

import keys.store
from keys.key import ROTATION
from keys.public_key import PublicKey
from keys.store import Key, Keys, KeyStoreError, Opened, Refusal
from landingzone import audit
from landingzone.clock import iso, now
from landingzone.command import Installation

HOME = "192.0.2.7"
WEEK = timedelta(days=7)


def new_key() -> PublicKey:
    return PublicKey.parse(asyncssh.generate_private_key("ssh-ed25519", comment="me@school").export_public_key())


@pytest.fixture
def store(here: Installation) -> Keys:
    here.accounts.add("springfield", title="", time_zone="UTC", actor="test")
    return Keys(here.db)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the store's clock."""

    def move(span: timedelta) -> datetime:
        at = now() + span
        monkeypatch.setattr(keys.store, "now", lambda: at)
        return at

    return move


def opens(store: Keys, key: PublicKey | Key) -> Refusal | None:
    return store.admit("springfield", key.fingerprint, address=HOME).refusal


def use(store: Keys, key: PublicKey | Key) -> None:
    admitted = store.admit("springfield", key.fingerprint, address=HOME).key
    assert admitted is not None
    store.note_use(admitted, address=HOME, client="SSH-2.0-x")


def test_the_old_key_goes_when_the_new_one_was_used_so_often(store: Keys, here: Installation) -> None:
    old, new = new_key(), new_key()
    first = store.add("springfield", old, actor="me")
    begun = store.rotate("springfield", new, overlap=WEEK, uses=3, actor="me")
    assert (begun.state, begun.old_keys, begun.uses, begun.uses_wanted) == ("waiting", (first.id,), 0, 3)
    for count in range(1, 3):
        use(store, new)
        assert opens(store, old) is None
        (stands,) = store.rotations("springfield")
        assert (stands.state, stands.uses) == ("overlapping", count)
    assert store.get("springfield", old.fingerprint).state(now()) == "replaced"
    use(store, old)
    use(store, new)
    assert opens(store, old) is Refusal.RETIRED
    assert opens(store, new) is None
    (stands,) = store.rotations()
    assert (stands.state, stands.uses, stands.new_key) == ("uses", 3, begun.new_key)
    gone = store.get("springfield", old.fingerprint)
    assert (gone.state(now()), gone.revoked_by) == ("retired", ROTATION)
    use(store, new)
    assert store.rotations()[0].uses == 3
    trail = [(one.actor, one.action) for one in audit.records(here.db, action="key")]
    assert trail == [
        ("me", "key.added"),
        ("me", "key.added"),
        ("me", "key.rotation_started"),
        (ROTATION, "key.retired"),
    ]
    retired = audit.records(here.db, action="key.retired")[0].detail
    assert (retired["key"], retired["replaced_by"], retired["because"]) == (first.id, begun.new_key, "uses")


def test_the_old_key_goes_when_the_overlap_ends_and_that_is_written_down_later(
    store: Keys, here: Installation, later: Any
) -> None:
    old, new = new_key(), new_key()
    store.add("springfield", old, actor="me")
    begun = store.rotate("springfield", new, overlap=WEEK, actor="me")
    live = Opened("springfield", old.fingerprint, HOME)
    later(WEEK - timedelta(seconds=5))
    assert opens(store, old) is None
    assert store.no_longer_open([live]) == {}
    later(WEEK + timedelta(seconds=5))
    assert opens(store, old) is Refusal.RETIRED
    assert store.no_longer_open([live]) == {live: Refusal.RETIRED}
    assert opens(store, new) is None
    assert audit.records(here.db, action="key.retired") == []
    assert [store.settle(), store.settle()] == [1, 0]
    assert store.get("springfield", old.fingerprint).revoked_at == begun.overlap_ends_at
    (told,) = audit.records(here.db, action="key.retired")
    assert (told.detail["because"], told.detail["ended_at"]) == ("overlap", begun.overlap_ends_at)
    assert opens(store, old) is Refusal.RETIRED
    assert store.no_longer_open([live]) == {live: Refusal.RETIRED}
    assert store.rotations()[0].state == "overlap"


def test_of_several_keys_those_that_go_are_named(store: Keys) -> None:
    first, second, third = (store.add("springfield", new_key(), actor="me") for _ in range(3))
    with pytest.raises(KeyStoreError, match="--replaces"):
        store.rotate("springfield", new_key(), overlap=WEEK, actor="me")
    assert len(store.of("springfield")) == 3
    wanted = (str(first.id), second.fingerprint)
    begun = store.rotate("springfield", new_key(), overlap=WEEK, uses=1, replaces=wanted, actor="me")
    assert begun.old_keys == (first.id, second.id)
    with pytest.raises(KeyStoreError, match="is being replaced already"):
        store.rotate("springfield", new_key(), overlap=WEEK, replaces=(str(first.id),), actor="me")
    use(store, store.get("springfield", str(begun.new_key)))
    states = [store.get("springfield", str(key.id)).state(now()) for key in (first, second, third)]
    assert states == ["retired", "retired", "active"]
    with pytest.raises(KeyStoreError, match="does not open it any more"):
        store.rotate("springfield", new_key(), overlap=WEEK, replaces=(str(first.id),), actor="me")


def test_a_rotation_without_anything_to_replace_is_refused(store: Keys) -> None:
    with pytest.raises(KeyStoreError, match="could be replaced"):
        store.rotate("springfield", new_key(), overlap=WEEK, actor="me")
    key = new_key()
    store.add("springfield", key, actor="me")
    with pytest.raises(KeyStoreError, match="already"):
        store.rotate("springfield", key, overlap=WEEK, actor="me")
    with pytest.raises(KeyStoreError, match="before the overlap ends"):
        soon = now() + timedelta(days=1)
        store.rotate("springfield", new_key(), overlap=WEEK, expires_at=soon, actor="me")
    assert store.rotations() == []


def test_the_next_rotation_may_begin_before_the_last_one_has_ended(store: Keys) -> None:
    a, b, c = new_key(), new_key(), new_key()
    store.add("springfield", a, actor="me")
    store.rotate("springfield", b, overlap=WEEK, uses=2, actor="me")
    store.rotate("springfield", c, overlap=WEEK, uses=1, actor="me")
    assert [opens(store, key) for key in (a, b, c)] == [None, None, None]
    use(store, c)
    assert [opens(store, key) for key in (a, b, c)] == [None, Refusal.RETIRED, None]


def test_revoking_the_new_key_ends_the_rotation_and_leaves_the_old_one(store: Keys, later: Any) -> None:
    old, new = new_key(), new_key()
    store.add("springfield", old, actor="me")
    store.rotate("springfield", new, overlap=WEEK, actor="me")
    store.revoke("springfield", new.fingerprint, actor="me")
    assert store.rotations()[0].state == "new_revoked"
    later(2 * WEEK)
    assert store.settle() == 0
    assert opens(store, old) is None
    assert store.get("springfield", old.fingerprint).state(now()) == "active"
    begun = store.rotate("springfield", new_key(), overlap=WEEK, actor="me")
    assert begun.state == "waiting"


def test_revoking_the_old_key_ends_the_rotation(store: Keys) -> None:
    old, new = new_key(), new_key()
    store.add("springfield", old, actor="me")
    store.rotate("springfield", new, overlap=WEEK, actor="me")
    store.revoke("springfield", old.fingerprint, actor="me")
    assert store.rotations()[0].state == "old_revoked"
    assert opens(store, old) is Refusal.REVOKED
    assert opens(store, new) is None


def test_a_use_that_two_doors_count_at_once_is_counted_twice(store: Keys, here: Installation) -> None:
    old, new = new_key(), new_key()
    store.add("springfield", old, actor="me")
    store.rotate("springfield", new, overlap=WEEK, uses=2, actor="me")
    admitted = store.admit("springfield", new.fingerprint, address=HOME).key
    assert admitted is not None
    for door in (store, Keys(here.db), Keys(here.db)):
        door.note_use(admitted, address=HOME, client="SSH-2.0-x")
    assert len(audit.records(here.db, action="key.retired")) == 1
    assert opens(store, old) is Refusal.RETIRED
    assert store.rotations()[0].uses == 2


def test_a_rotation_says_when_old_and_new_were_last_used(store: Keys) -> None:
    old, new = new_key(), new_key()
    store.add("springfield", old, actor="me")
    use(store, old)
    store.rotate("springfield", new, overlap=WEEK, actor="me")
    (stands,) = store.rotations()
    assert stands.new_last_used_at is None
    assert stands.old_last_used_at is not None
    assert stands.old_last_used_at > iso(now() - timedelta(minutes=1))
