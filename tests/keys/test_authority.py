"""Whose certificates open which account, and which of them open no more."""

import base64
from typing import Any

import asyncssh
import pytest

from keys.authority import Authorities, Revoked
from keys.certificate import Certificate
from keys.key import KeyStoreError, Refusal
from keys.public_key import PublicKey
from keys.store import CertifiedKey, Keys, Opened
from landingzone import audit
from landingzone.account import AccountError
from landingzone.clock import now
from landingzone.command import Installation

HOME = "192.0.2.7"


@pytest.fixture
def store(here: Installation) -> Keys:
    for account in ("springfield", "shelbyville"):
        here.accounts.add(account, title="", time_zone="UTC", actor="test")
    return Keys(here.db)


@pytest.fixture
def authorities(here: Installation) -> Authorities:
    return Authorities(here.db)


def new_key() -> Any:
    return asyncssh.generate_private_key("ssh-ed25519", comment="me@school")


def public(key: Any) -> PublicKey:
    return PublicKey.parse(key.export_public_key())


def sign(ca: Any, key: Any, **options: Any) -> Certificate:
    given = {"principals": ["springfield", "shelbyville"], "serial": 7, **options}
    line = ca.generate_user_certificate(key, given.pop("key_id", "lisa"), **given).export_certificate()
    return Certificate.parse(base64.b64decode(line.split()[1]))


def refusal(store: Keys, certificate: Certificate, account: str = "springfield") -> Refusal | None:
    """What both questions say: whether it opens, and whether it may stay open."""
    said = store.admit_certificate(account, certificate, address=HOME)
    live = Opened(account, certificate.fingerprint, HOME, certificate)
    assert store.no_longer_open([live]).get(live) == said.refusal
    assert said.key == (None if said.refusal else CertifiedKey(account, certificate))
    return said.refusal


def test_certificates_of_a_trusted_authority_open_the_accounts_that_they_name(
    store: Keys, authorities: Authorities, here: Installation
) -> None:
    ca, key = new_key(), new_key()
    shown = sign(ca, key, principals=["springfield"])
    assert refusal(store, shown) is Refusal.UNKNOWN_AUTHORITY
    authorities.add(public(ca), actor="me")
    assert refusal(store, shown) is None
    assert refusal(store, shown, "shelbyville") is Refusal.WRONG_PRINCIPAL
    assert refusal(store, shown, "nowhere") is Refusal.UNKNOWN_ACCOUNT
    assert store.admit("springfield", public(key).fingerprint, address=HOME).refusal is Refusal.UNKNOWN_KEY
    here.accounts.set_enabled("springfield", False, actor="me")
    assert refusal(store, shown) is Refusal.ACCOUNT_DISABLED


def test_an_authority_of_one_account_opens_no_other(store: Keys, authorities: Authorities) -> None:
    ca = new_key()
    authorities.add(public(ca), account="springfield", actor="me")
    shown = sign(ca, new_key())
    assert refusal(store, shown) is None
    assert refusal(store, shown, "shelbyville") is Refusal.UNKNOWN_AUTHORITY
    authorities.add(public(ca), account="shelbyville", actor="me")
    assert refusal(store, shown, "shelbyville") is None
    with pytest.raises(KeyStoreError, match="trusted already"):
        authorities.add(public(ca), account="shelbyville", actor="me")
    with pytest.raises(AccountError, match="no account 'nowhere'"):
        authorities.add(public(new_key()), account="nowhere", actor="me")


def test_a_removed_authority_opens_nothing(store: Keys, authorities: Authorities) -> None:
    ca = new_key()
    made = authorities.add(public(ca), label="our CA", actor="me")
    gone = authorities.remove(str(made.id), reason="key lost", actor="you")
    assert (gone.removed_by, gone.removed_reason) == ("you", "key lost")
    assert refusal(store, sign(ca, new_key())) is Refusal.UNKNOWN_AUTHORITY
    with pytest.raises(KeyStoreError, match="was removed on"):
        authorities.remove(made.fingerprint, actor="me")
    authorities.add(public(ca), actor="me")
    assert refusal(store, sign(ca, new_key())) is None
    assert [one.removed_at is None for one in authorities.all()] == [False, True]
    for which in ("99", "9" * 5000, "SHA256:x", ""):
        with pytest.raises(KeyStoreError, match="no such authority"):
            authorities.remove(which, actor="me")


def test_certificates_are_revoked_by_serial_key_id_and_key(store: Keys, authorities: Authorities) -> None:
    ca, other, key = new_key(), new_key(), new_key()
    for one in (ca, other):
        authorities.add(public(one), actor="me")
    shown = {
        "serial": sign(ca, new_key(), serial=8, key_id="bart"),
        "key id": sign(ca, new_key(), serial=9, key_id="lost laptop"),
        "key": sign(ca, key, serial=10, key_id="maggie"),
        "none": sign(ca, new_key(), serial=0, key_id=""),
    }
    foreign = sign(other, new_key(), serial=8, key_id="lost laptop")
    assert {refusal(store, one) for one in (*shown.values(), foreign)} == {None}
    which = public(ca).fingerprint
    done = [
        authorities.revoke(which, Revoked.SERIAL, "008", reason="lost", actor="me"),
        authorities.revoke(which, Revoked.KEY_ID, "lost laptop", actor="me"),
        authorities.revoke(which, Revoked.FINGERPRINT, public(key).fingerprint, actor="me"),
    ]
    assert done[0].value == "8"
    revoked = {name for name, one in shown.items() if refusal(store, one) is Refusal.CERTIFICATE_REVOKED}
    assert revoked == {"serial", "key id", "key"}
    assert refusal(store, foreign) is None
    assert refusal(store, sign(other, key)) is Refusal.CERTIFICATE_REVOKED
    with pytest.raises(KeyStoreError, match="revoked already"):
        authorities.revoke(which, Revoked.SERIAL, "8", actor="me")
    authorities.lift(done[0].id, actor="you")
    assert refusal(store, shown["serial"]) is None
    with pytest.raises(KeyStoreError, match="No revocation"):
        authorities.lift(done[0].id, actor="you")
    assert [one.lifted_by for one in authorities.revocations()] == ["you", None, None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Revoked.SERIAL, "0"),
        (Revoked.SERIAL, "-1"),
        (Revoked.SERIAL, "²"),
        (Revoked.SERIAL, str(2**64)),
        (Revoked.SERIAL, "9" * 250),
        (Revoked.KEY_ID, ""),
        (Revoked.KEY_ID, "a\nb"),
        (Revoked.KEY_ID, "x" * 256),
        (Revoked.FINGERPRINT, "MD5:x"),
    ],
)
def test_what_would_revoke_nothing_or_too_much_is_refused(authorities: Authorities, kind: Revoked, value: str) -> None:
    authorities.add(public(new_key()), actor="me")
    with pytest.raises(KeyStoreError):
        authorities.revoke("1", kind, value, actor="me")
    assert authorities.revocations() == []


def test_a_key_that_was_revoked_opens_with_no_certificate_either(store: Keys, authorities: Authorities) -> None:
    ca, key = new_key(), new_key()
    authorities.add(public(ca), actor="me")
    store.add("springfield", public(key), actor="me")
    shown = sign(ca, key)
    assert refusal(store, shown) is None
    store.revoke("springfield", public(key).fingerprint, actor="me")
    assert refusal(store, shown) is Refusal.REVOKED
    assert refusal(store, shown, "shelbyville") is None


def test_a_certificate_ends_by_itself(store: Keys, authorities: Authorities) -> None:
    ca, at = new_key(), int(now().timestamp())
    authorities.add(public(ca), actor="me")
    assert refusal(store, sign(ca, new_key(), valid_after=0, valid_before=at - 1)) is Refusal.CERTIFICATE_EXPIRED
    assert refusal(store, sign(ca, new_key(), valid_after=at + 60, valid_before=at + 99)) is Refusal.CERTIFICATE_NOT_YET
    assert refusal(store, sign(ca, new_key(), source_address=["198.51.100.0/24"])) is Refusal.WRONG_NETWORK


def test_the_last_use_is_noted_with_the_authority(store: Keys, authorities: Authorities) -> None:
    ca = new_key()
    for account in ("springfield", "shelbyville"):
        authorities.add(public(ca), account=account, actor="me")
    used = store.admit_certificate("springfield", sign(ca, new_key()), address=HOME).key
    assert used is not None
    store.note_use(used, address=HOME, client="SSH-2.0-x")
    first, second = authorities.all()
    assert (first.last_used_from, first.last_used_client) == (HOME, "SSH-2.0-x")
    assert second.last_used_at is None


def test_every_change_leaves_a_record(authorities: Authorities, here: Installation) -> None:
    made = authorities.add(public(new_key()), actor="me")
    done = authorities.revoke(str(made.id), Revoked.SERIAL, "8", reason="lost", actor="you")
    authorities.lift(done.id, actor="me")
    authorities.remove(str(made.id), actor="you")
    told = [(one.actor, one.action) for one in audit.records(here.db)]
    assert told == [
        ("me", "ca.added"),
        ("you", "certificate.revoked"),
        ("me", "certificate.revocation_lifted"),
        ("you", "ca.removed"),
    ]


def test_a_great_many_live_sessions_are_looked_at_in_a_few_queries(store: Keys, authorities: Authorities) -> None:
    ca, key = new_key(), new_key()
    authorities.add(public(ca), actor="me")
    shown = sign(ca, key)
    live = [
        Opened("springfield", shown.fingerprint, HOME, Certificate(**{**fields(shown), "serial": number}))
        for number in range(1, 2001)
    ]
    authorities.revoke("1", Revoked.SERIAL, "1234", actor="me")
    assert store.no_longer_open(live) == {live[1233]: Refusal.CERTIFICATE_REVOKED}
    assert store.no_longer_open([Opened("springfield", shown.fingerprint, HOME)]) != {}


def fields(certificate: Certificate) -> dict[str, Any]:
    return {name: getattr(certificate, name) for name in Certificate.__dataclass_fields__}
