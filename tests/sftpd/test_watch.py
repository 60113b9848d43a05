"""The watch sees at its next look who may no longer be inside, however long nothing had happened before."""

import asyncssh
import pytest

from keys.key import Refusal
from keys.public_key import PublicKey
from keys.store import Keys, Opened
from landingzone.command import Installation
from landingzone.penalty import Tally
from landingzone.refused_logins import RefusedLogins
from landingzone.settings import LimitSettings
from sftpd import watch
from sftpd.watch import Guest, Watch


def test_a_change_is_seen_at_the_next_look(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_AT_ALL_SECONDS", 1e9)
    keys, guests = Keys(here.db), []
    for name in ("springfield", "shelbyville"):
        here.accounts.add(name, actor="test")
        key = PublicKey.parse(asyncssh.generate_private_key("ssh-ed25519").export_public_key())
        keys.add(name, key, actor="test")
        guests.append(Guest(name, Opened(name, key.fingerprint)))
    looking = Watch(here.db, here.db, keys, RefusedLogins(here.db), node="door")

    def look() -> dict[str, Refusal]:
        return looking.look(frozenset(guests), Tally(), [], LimitSettings()).unwelcome

    assert [look() for _ in range(3)] == [{}, {}, {}]
    here.accounts.set_enabled("springfield", enabled=False, actor="test")
    assert look() == {"springfield": Refusal.ACCOUNT_DISABLED}
    here.accounts.set_enabled("springfield", enabled=True, actor="test")
    assert [look() for _ in range(2)] == [{}, {}]
    keys.revoke("shelbyville", guests[1].opened.fingerprint, actor="test")
    assert look() == {"shelbyville": Refusal.REVOKED}
    looking.close()
