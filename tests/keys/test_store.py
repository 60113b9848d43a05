"""Which key opens which account, from where, until when; and who changed that."""

from datetime import datetime, timedelta

import asyncssh
import pytest

from keys.public_key import PublicKey
from keys.store import Keys, KeyStoreError, Opened, Refusal
from landingzone import audit
from landingzone.account import AccountError
from landingzone.clock import iso, now
from landingzone.command import Installation

HOME = "192.0.2.7"


def new_key(comment: str = "me@school") -> PublicKey:
    private = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    return PublicKey.parse(private.export_public_key("openssh"))


@pytest.fixture
def keys(here: Installation) -> Keys:
    for account in ("springfield", "shelbyville"):
        here.accounts.add(account, title="", time_zone="UTC", actor="test")
    return Keys(here.db)


def refusal(keys: Keys, key: PublicKey, account: str = "springfield", address: str = HOME) -> Refusal | None:
    admission = keys.admit(account, key.fingerprint, address=address)
    assert (admission.key is None) is (admission.refusal is not None)
    return admission.refusal


def test_a_key_opens_the_account_that_it_was_given_to_and_no_other(keys: Keys) -> None:
    key = new_key()
    added = keys.add("springfield", key, actor="me")
    assert (added.account, added.fingerprint, added.label) == ("springfield", key.fingerprint, "me@school")
    assert refusal(keys, key) is None
    assert refusal(keys, key, "shelbyville") is Refusal.UNKNOWN_KEY
    assert refusal(keys, key, "nowhere") is Refusal.UNKNOWN_ACCOUNT
    assert refusal(keys, new_key()) is Refusal.UNKNOWN_KEY


def test_several_keys_open_one_account(keys: Keys) -> None:
    both = [new_key(), new_key()]
    for key in both:
        keys.add("springfield", key, actor="me")
    assert [refusal(keys, key) for key in both] == [None, None]
    assert len(keys.of("springfield")) == 2


def test_a_key_is_not_added_twice_to_one_account(keys: Keys) -> None:
    key = new_key()
    keys.add("springfield", key, actor="me")
    with pytest.raises(KeyStoreError, match="opens springfield already"):
        keys.add("springfield", key, actor="me")
    assert len(keys.of()) == 1


def test_one_key_may_open_two_accounts_and_that_can_be_asked(keys: Keys) -> None:
    key = new_key()
    first = keys.add("springfield", key, actor="me")
    assert keys.others_with(first) == []
    second = keys.add("shelbyville", key, actor="me")
    assert keys.others_with(second) == ["springfield"]
    keys.revoke("springfield", key.fingerprint, actor="me")
    assert refusal(keys, key) is Refusal.REVOKED
    assert refusal(keys, key, "shelbyville") is None
    assert keys.others_with(second) == []


def test_a_revoked_key_no_longer_opens_and_comes_back_only_if_that_is_said(keys: Keys) -> None:
    key = new_key()
    added = keys.add("springfield", key, actor="me")
    assert keys.revoke("springfield", str(added.id), actor="you").revoked_by == "you"
    assert refusal(keys, key) is Refusal.REVOKED
    with pytest.raises(KeyStoreError, match="was revoked on"):
        keys.revoke("springfield", str(added.id), actor="me")
    with pytest.raises(KeyStoreError, match="--again"):
        keys.add("springfield", key, actor="me")
    again = keys.add("springfield", key, again=True, actor="me")
    assert refusal(keys, key) is None
    assert keys.get("springfield", key.fingerprint) == again
    assert [one.state(now()) for one in keys.of("springfield")] == ["revoked", "active"]


def test_a_key_opens_until_its_end_and_not_a_moment_longer(keys: Keys) -> None:
    key = new_key()
    end = now() + timedelta(milliseconds=300)
    added = keys.add("springfield", key, expires_at=end, actor="me")
    assert refusal(keys, key) is None
    while now() < end + timedelta(milliseconds=1):
        pass
    assert refusal(keys, key) is Refusal.EXPIRED
    assert added.state(now()) == "expired"
    with pytest.raises(KeyStoreError, match="in the past"):
        keys.add("springfield", new_key(), expires_at=end, actor="me")


@pytest.mark.parametrize(
    ("address", "opens"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("2001:db9::1", False),
        ("", False),
        ("somewhere", False),
    ],
)
def test_a_key_opens_only_from_its_networks(keys: Keys, address: str, opens: bool) -> None:
    key = new_key()
    keys.add("springfield", key, networks=("192.0.2.0/24", "2001:db8::/32"), actor="me")
    assert (refusal(keys, key, address=address) is None) is opens


@pytest.mark.parametrize("network", ["192.0.2.7/24", "here", "", "300.0.0.0/8"])
def test_what_is_no_network_is_refused(keys: Keys, network: str) -> None:
    with pytest.raises(KeyStoreError, match="Not a network"):
        keys.add("springfield", new_key(), networks=(network,), actor="me")
    assert keys.of() == []


def test_no_key_opens_a_disabled_account(keys: Keys, here: Installation) -> None:
    key = new_key()
    keys.add("springfield", key, actor="me")
    here.accounts.set_enabled("springfield", False, actor="me")
    assert refusal(keys, key) is Refusal.ACCOUNT_DISABLED
    assert refusal(keys, new_key()) is Refusal.ACCOUNT_DISABLED
    here.accounts.set_enabled("springfield", True, actor="me")
    assert refusal(keys, key) is None


def test_the_last_use_is_noted_and_not_more_often_than_needed(keys: Keys) -> None:
    key = keys.add("springfield", new_key(), actor="me")
    keys.note_use(key, address=HOME, client="SSH-2.0-x" + "x" * 300)
    used = keys.get("springfield", str(key.id))
    assert used.last_used_from == HOME
    assert used.last_used_at is not None
    assert iso(now() - timedelta(seconds=5)) < used.last_used_at <= iso(now())
    assert used.last_used_client is not None
    assert len(used.last_used_client) == 255
    keys.note_use(used, address=HOME, client=used.last_used_client)
    assert keys.get("springfield", str(key.id)) == used
    keys.note_use(used, address="192.0.2.8", client=used.last_used_client)
    assert keys.get("springfield", str(key.id)).last_used_from == "192.0.2.8"


def test_every_change_leaves_a_record_and_a_refused_one_leaves_none(keys: Keys, here: Installation) -> None:
    key = new_key()
    added = keys.add("springfield", key, networks=("192.0.2.0/24",), actor="me")
    with pytest.raises(KeyStoreError):
        keys.add("springfield", key, actor="me")
    keys.revoke("springfield", key.fingerprint, actor="you")
    trail = [one for one in audit.records(here.db, account="springfield") if one.action.startswith("key.")]
    assert [(one.actor, one.action, one.detail["key"]) for one in trail] == [
        ("me", "key.added", added.id),
        ("you", "key.revoked", added.id),
    ]
    assert trail[0].detail["fingerprint"] == key.fingerprint
    assert trail[0].detail["networks"] == ["192.0.2.0/24"]


def test_who_is_not_there_is_said(keys: Keys) -> None:
    with pytest.raises(AccountError, match="no account 'nowhere'"):
        keys.add("nowhere", new_key(), actor="me")
    with pytest.raises(AccountError):
        keys.of("nowhere")
    for which in ("7", "SHA256:x", "", "²"):
        with pytest.raises(KeyStoreError, match="no such key"):
            keys.get("springfield", which)
    other = keys.add("shelbyville", new_key(), actor="me")
    with pytest.raises(KeyStoreError, match="no such key"):
        keys.revoke("springfield", str(other.id), actor="me")


def test_why_a_key_was_revoked_stands_with_it_and_in_the_trail(keys: Keys, here: Installation) -> None:
    key = keys.add("springfield", new_key(), actor="me")
    gone = keys.revoke("springfield", str(key.id), reason="laptop stolen", actor="you")
    assert (gone.revoked_by, gone.revoked_reason) == ("you", "laptop stolen")
    (told,) = audit.records(here.db, action="key.revoked")
    assert (told.actor, told.detail["reason"]) == ("you", "laptop stolen")
    with pytest.raises(KeyStoreError, match="255"):
        keys.revoke("springfield", str(key.id), reason="x" * 256, actor="you")


def test_a_network_can_be_shut_inside_of_one_that_is_open(keys: Keys) -> None:
    key = new_key()
    keys.add("springfield", key, networks=("192.0.2.0/24", "!192.0.2.7"), actor="me")
    assert refusal(keys, key, address="192.0.2.8") is None
    assert refusal(keys, key, address="192.0.2.7") is Refusal.WRONG_NETWORK
    with pytest.raises(KeyStoreError, match="open beside"):
        keys.add("springfield", new_key(), networks=("!192.0.2.7",), actor="me")


def test_the_door_is_told_which_live_sessions_are_no_longer_allowed_and_why(keys: Keys, here: Installation) -> None:
    added = {name: keys.add("springfield", new_key(), actor="me") for name in ("stays", "goes", "elsewhere")}
    ends = keys.add("springfield", new_key(), expires_at=now() + timedelta(milliseconds=200), actor="me")
    shelbyville = keys.add("shelbyville", new_key(), actor="me")
    live = {name: Opened("springfield", key.fingerprint, HOME) for name, key in added.items()}
    live |= {"ends": Opened("springfield", ends.fingerprint), "other": Opened("shelbyville", shelbyville.fingerprint)}
    live |= {"gone": Opened("nowhere", shelbyville.fingerprint), "unknown": Opened("shelbyville", ends.fingerprint)}
    before = keys.no_longer_open(live.values())
    assert before == {live["gone"]: Refusal.UNKNOWN_ACCOUNT, live["unknown"]: Refusal.UNKNOWN_KEY}
    keys.revoke("springfield", str(added["goes"].id), reason="lost", actor="you")
    here.accounts.set_enabled("shelbyville", False, actor="you")
    while now() < datetime.fromisoformat(str(ends.expires_at)) + timedelta(milliseconds=1):
        pass
    assert keys.no_longer_open(live.values()) == {
        live["goes"]: Refusal.REVOKED,
        live["ends"]: Refusal.EXPIRED,
        live["other"]: Refusal.ACCOUNT_DISABLED,
        live["unknown"]: Refusal.ACCOUNT_DISABLED,
        live["gone"]: Refusal.UNKNOWN_ACCOUNT,
    }
    assert keys.no_longer_open([]) == {}


def test_a_key_that_was_given_again_keeps_its_session(keys: Keys) -> None:
    key = new_key()
    keys.add("springfield", key, actor="me")
    live = Opened("springfield", key.fingerprint)
    keys.revoke("springfield", key.fingerprint, actor="me")
    assert keys.no_longer_open([live]) == {live: Refusal.REVOKED}
    keys.add("springfield", key, again=True, actor="me")
    assert keys.no_longer_open([live]) == {}


def test_thousands_of_live_sessions_are_asked_about_at_once(keys: Keys) -> None:
    live = [Opened(f"nowhere-{number}", f"SHA256:{number}") for number in range(3000)]
    assert len(keys.no_longer_open(live)) == 3000
