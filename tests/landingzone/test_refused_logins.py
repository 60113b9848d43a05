"""Refused logins are summed, so that a flood makes counts grow and not rows."""

import threading
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
import sqlalchemy as sa

from landingzone import refused_logins
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.refused_logins import OTHER, ROWS_PER_MINUTE, RefusedLogins
from landingzone.tables import refused_logins as table


@pytest.fixture(autouse=True)
def _one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    at = now().replace(second=30)
    monkeypatch.setattr(refused_logins, "now", lambda: at)


def test_what_was_refused_is_summed_per_minute_address_account_and_reason(any_db: Database) -> None:
    refused = RefusedLogins(any_db)
    for address, account in (("192.0.2.1", "springfield"), ("192.0.2.1", "springfield"), ("192.0.2.2", "")):
        refused.note(address=address, account=account, reason="unknown_key")
    assert refused.of() == []
    assert refused.flush() == 3
    assert refused.flush() == 0
    refused.note(address="192.0.2.1", account="springfield", reason="unknown_key")
    RefusedLogins(any_db).note(address="192.0.2.9", account="", reason="lost with its process")
    refused.flush()
    rows = {(row.address, row.account, row.reason): row.count for row in refused.of()}
    assert rows == {("192.0.2.1", "springfield", "unknown_key"): 3, ("192.0.2.2", "", "unknown_key"): 1}
    assert [row.count for row in refused.of(account="springfield")] == [3]
    assert [row.count for row in refused.of(address="192.0.2.2")] == [1]
    assert refused.of(since="2999") == []


def test_a_flood_from_everywhere_fills_a_bounded_number_of_rows(any_db: Database) -> None:
    doors = [RefusedLogins(any_db) for _ in range(3)]
    for number in range(3000):
        doors[number % 3].note(address=str(IPv4Address(number)), account="", reason="unknown_account")
    for door in doors:
        door.flush()
    rows = doors[0].of()
    assert sum(row.count for row in rows) == 3000
    assert len(rows) == ROWS_PER_MINUTE + 1
    assert next(row.count for row in rows if row.address == OTHER) == 3000 - ROWS_PER_MINUTE


def test_two_doors_add_to_the_same_sum_at_the_same_time(any_db: Database) -> None:
    def work() -> None:
        door = RefusedLogins(any_db)
        for _ in range(20):
            door.note(address="192.0.2.1", account="springfield", reason="unknown_key")
            door.note(address="192.0.2.2", account="springfield", reason="unknown_key")
            door.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [row.count for row in RefusedLogins(any_db).of()] == [80, 80]


def test_what_cannot_be_written_stays_counted(any_db: Database) -> None:
    refused = RefusedLogins(any_db)
    refused.note(address="192.0.2.1", account="", reason="unknown_account")
    with any_db.write() as tx:
        tx.execute(sa.text("ALTER TABLE refused_logins RENAME TO away"))
    with pytest.raises(sa.exc.SQLAlchemyError):
        refused.flush()
    refused.note(address="192.0.2.1", account="", reason="unknown_account")
    with any_db.write() as tx:
        tx.execute(sa.text("ALTER TABLE away RENAME TO refused_logins"))
    assert refused.flush() == 2


def test_old_sums_are_forgotten(any_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_logins, "KEPT_ROWS", 5)
    old = {"account": "", "reason": "unknown_account", "count": 1}
    with any_db.write() as tx:
        for days in (200, 100, 80):
            at = iso(now() - timedelta(days=days))
            tx.execute(table.insert().values(minute=at, last_at=at, address="192.0.2.1", **old))
        for number in range(6):
            at = iso(now() - timedelta(hours=number + 1))
            tx.execute(table.insert().values(minute=at, last_at=at, address="192.0.2.1", **old))
    refused = RefusedLogins(any_db)
    refused.note(address="192.0.2.1", account="", reason="unknown_account")
    refused.flush()
    assert len(refused.of()) == 6
    assert all(row.minute > iso(now() - timedelta(hours=7)) for row in refused.of())
