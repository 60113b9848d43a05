"""Tokens: shown once, kept as a digest, refused from the moment on from which they open nothing."""

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from console.tokens import Kind, Refusal, Token, TokenError, Tokens
from landingzone import audit
from landingzone.account import Accounts
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.tables import tokens as table
from landingzone.tables import users

PLACE = {"address": "192.0.2.7", "client": "landingzone-upload/1"}


@pytest.fixture
def tokens(any_db: Database) -> Tokens:
    for name in ("springfield", "shelbyville"):
        Accounts(any_db).add(name, actor="test")
    with any_db.write() as tx:
        springfield = sa.text("SELECT id FROM accounts WHERE name = 'springfield'")
        number = tx.execute(springfield).scalar_one()
        row = {"added_at": iso(now()), "added_by": "test"}
        tx.execute(users.insert().values(name="seymour", role="district", account_id=number, **row))
        tx.execute(users.insert().values(name="operator", role="operator", **row))
    return Tokens(any_db)


def opened(tokens: Tokens, secret: str, kind: Kind = Kind.UPLOAD) -> Token | Refusal:
    return tokens.authenticate(secret, kind=kind, **PLACE)


def test_the_secret_is_told_once_and_only_its_digest_is_kept(tokens: Tokens, any_db: Database) -> None:
    made = tokens.add_for_account("springfield", label="front office", actor="test")
    assert made.secret.startswith("lzu_")
    assert len(made.secret) == 4 + 43
    with any_db.read() as tx:
        (row,) = tx.execute(sa.select(table)).all()
    assert made.secret not in map(str, row)
    assert made.secret.removeprefix("lzu_") not in str(row)
    assert "secret" not in Token.__dataclass_fields__
    found = opened(tokens, made.secret)
    assert isinstance(found, Token)
    assert (found.account, found.user, found.kind) == ("springfield", None, Kind.UPLOAD)


def test_a_users_token_speaks_for_the_user_with_the_users_account(tokens: Tokens) -> None:
    made = tokens.add_for_user("seymour", actor="test")
    assert made.secret.startswith("lza_")
    found = opened(tokens, made.secret, Kind.API)
    assert isinstance(found, Token)
    assert (found.user, found.account) == ("seymour", "springfield")
    assert opened(tokens, made.secret) is Refusal.OTHER_KIND
    of_operator = opened(tokens, tokens.add_for_user("operator", actor="test").secret, Kind.API)
    assert isinstance(of_operator, Token)
    assert of_operator.account is None
    assert [one.user for one in tokens.of("springfield")] == ["seymour"]
    assert [one.user for one in tokens.of(user_id=of_operator.user_id)] == ["operator"]


@pytest.mark.parametrize("secret", ["", "lzu_", "lzu_" + "a" * 43, "lza_" + "\0" * 43, "a" * 100_000, "lzu_ü"])
def test_what_is_no_token_opens_nothing(tokens: Tokens, secret: str) -> None:
    assert opened(tokens, secret) is Refusal.UNKNOWN


def test_revoked_expired_and_disabled_ones_are_refused_at_once(tokens: Tokens, any_db: Database) -> None:
    made = tokens.add_for_account("springfield", expires_at=now() + timedelta(days=1), actor="test")
    assert isinstance(opened(tokens, made.secret), Token)
    with time_machine.travel(now() + timedelta(days=1, seconds=1)):
        assert opened(tokens, made.secret) is Refusal.EXPIRED
    Accounts(any_db).set_enabled("springfield", False, actor="test")
    assert opened(tokens, made.secret) is Refusal.ACCOUNT_DISABLED
    assert tokens.still_opens(made.token) is Refusal.ACCOUNT_DISABLED
    Accounts(any_db).set_enabled("springfield", True, actor="test")
    assert tokens.still_opens(made.token) is None
    gone = tokens.revoke(made.token.id, reason="laptop lost", actor="test")
    assert (gone.revoked_reason, gone.state(now())) == ("laptop lost", "revoked")
    assert opened(tokens, made.secret) is Refusal.REVOKED
    assert tokens.still_opens(made.token) is Refusal.REVOKED
    with pytest.raises(TokenError, match="was revoked on"):
        tokens.revoke(made.token.id, actor="test")
    of_user = tokens.add_for_user("seymour", actor="test")
    with any_db.write() as tx:
        tx.execute(users.update().where(users.c.name == "seymour").values(disabled_at=iso(now())))
    assert opened(tokens, of_user.secret, Kind.API) is Refusal.USER_DISABLED
    with pytest.raises(TokenError, match="disabled"):
        tokens.add_for_user("seymour", actor="test")


def test_its_use_is_noted_about_once_a_minute(tokens: Tokens) -> None:
    made = tokens.add_for_account("springfield", actor="test")
    with time_machine.travel(now() + timedelta(hours=1), tick=False) as clock:
        opened(tokens, made.secret)
        first = tokens.get(made.token.id)
        assert (first.last_used_from, first.last_used_client) == ("192.0.2.7", "landingzone-upload/1")
        clock.shift(30)
        opened(tokens, made.secret)
        assert tokens.get(made.token.id) == first
        tokens.authenticate(made.secret, kind=Kind.UPLOAD, address="192.0.2.8", client="x" * 1000)
        assert tokens.get(made.token.id).last_used_from == "192.0.2.8"
        clock.shift(61)
        opened(tokens, made.secret)
        assert tokens.get(made.token.id).last_used_at == iso(now())


def test_what_cannot_be_is_refused_in_words(tokens: Tokens) -> None:
    with pytest.raises(TokenError, match="no account 'none'"):
        tokens.add_for_account("none", actor="test")
    with pytest.raises(TokenError, match="no user 'none'"):
        tokens.add_for_user("none", actor="test")
    with pytest.raises(TokenError, match="no account 'none'"):
        tokens.of("none")
    with pytest.raises(TokenError, match="in the past"):
        tokens.add_for_account("springfield", expires_at=now(), actor="test")
    with pytest.raises(TokenError, match="printable"):
        tokens.add_for_account("springfield", label="a\nb", actor="test")
    for number in (0, -1, 99, 1 << 80):
        with pytest.raises(TokenError, match="no token"):
            tokens.revoke(number, actor="test")
    assert tokens.of() == []


def test_every_change_stands_in_the_audit_trail(tokens: Tokens, any_db: Database) -> None:
    made = tokens.add_for_account("springfield", actor="ann")
    tokens.revoke(made.token.id, reason="rotated", actor="ben")
    added, revoked = audit.records(any_db, action="token")
    assert (added.actor, added.action, added.account, added.detail["token"]) == (
        "ann",
        "token.added",
        "springfield",
        made.token.id,
    )
    assert (revoked.actor, revoked.action, revoked.detail["reason"]) == ("ben", "token.revoked", "rotated")
    assert made.secret not in str((added, revoked))
    assert audit.verify(any_db).broken is None


def test_an_operator_adds_lists_and_revokes(here: Any) -> None:
    here.accounts.add("springfield", title="", time_zone="UTC", actor="test")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), "tokens", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = run("add", "springfield", "--label", "sis server", "--expires", "2999-12-31")
    assert done.returncode == 0, done.stderr
    secret = done.stdout.strip()
    assert isinstance(opened(Tokens(here.db), secret), Token)
    assert "not shown again" in done.stderr
    (listed,) = json.loads(run("list", "springfield", "--json").stdout)
    assert (listed["state"], listed["label"], listed["expires_at"]) == (
        "active",
        "sis server",
        "3000-01-01T00:00:00.000Z",
    )
    assert secret not in str(listed)
    assert run("revoke", str(listed["id"]), "--reason", "gone").returncode == 0
    assert opened(Tokens(here.db), secret) is Refusal.REVOKED
    assert run("add").returncode == 2
    assert run("add", "springfield", "--user", "x").returncode == 2
    assert run("revoke", "99").returncode == 1
