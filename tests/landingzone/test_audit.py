"""The trail is a chain: whoever changes, removes or moves a record is found out, and by whom it was written stays."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from landingzone import audit
from landingzone.audit import Break, Head
from landingzone.db import Database
from landingzone.tables import audit as table
from landingzone.tables import audit_head, keys


def write(db: Database, count: int, action: str = "key.added") -> None:
    for number in range(count):
        with db.write() as tx:
            audit.record(tx, actor="me", action=action, account="springfield", key=number, networks=("a", "b"))


def unlock(db: Database) -> None:
    """What somebody with the rights of the service's user can do, too."""
    with db.engine.connect() as tx, tx.execution_options(writes=True).begin():
        if db.is_sqlite:
            for name in tx.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
                tx.execute(sa.text(f"DROP TRIGGER {name}"))
        else:
            tx.execute(sa.text("DROP FUNCTION audit_refuses() CASCADE"))


def tamper(db: Database, *statements: str) -> None:
    unlock(db)
    with db.write() as tx:
        for statement in statements:
            tx.execute(sa.text(statement))


def test_a_whole_chain_is_whole_and_says_where_it_ends(any_db: Database) -> None:
    assert audit.verify(any_db) == audit.Verdict(0, Head(0, audit.GENESIS))
    write(any_db, 5)
    verdict = audit.verify(any_db)
    assert (verdict.records, verdict.broken, verdict.head.last_id) == (5, None, 5)
    read = audit.records(any_db)
    assert [one.id for one in read] == [1, 2, 3, 4, 5]
    assert read[0].previous_hash == audit.GENESIS
    assert read[4].hash == verdict.head.hash
    assert read[3].detail == {"key": 3, "networks": ["a", "b"]}
    assert Head.parse(str(verdict.head)) == verdict.head
    write(any_db, 1)
    assert audit.verify(any_db, kept=verdict.head).broken is None


@pytest.mark.parametrize(
    ("statements", "broken", "at"),
    [
        (["UPDATE audit SET actor = 'you' WHERE id = 3"], Break.CHANGED, 3),
        (["UPDATE audit SET detail = '{\"key\": 9}' WHERE id = 3"], Break.CHANGED, 3),
        (["UPDATE audit SET at = '2020-01-01T00:00:00.000Z' WHERE id = 1"], Break.CHANGED, 1),
        (["DELETE FROM audit WHERE id = 3"], Break.REMOVED, 4),
        (["DELETE FROM audit WHERE id IN (2, 3)"], Break.REMOVED, 4),
        (["DELETE FROM audit WHERE id = 1"], Break.REMOVED, 2),
        (["DELETE FROM audit WHERE id >= 5"], Break.REMOVED, 5),
        (["DELETE FROM audit"], Break.REMOVED, 1),
        (["DELETE FROM audit_head"], Break.REMOVED, 7),
        (
            [
                "UPDATE audit SET id = 99 WHERE id = 3",
                "UPDATE audit SET id = 3 WHERE id = 4",
                "UPDATE audit SET id = 4 WHERE id = 99",
            ],
            Break.REORDERED,
            3,
        ),
        (["UPDATE audit SET id = 99 WHERE id = 2"], Break.REORDERED, 3),
        (["UPDATE audit SET id = 0 WHERE id = 1", "DELETE FROM audit WHERE id = 6"], Break.REORDERED, 0),
    ],
)
def test_the_first_broken_link_is_named(any_db: Database, statements: list[str], broken: Break, at: int) -> None:
    write(any_db, 6)
    tamper(any_db, *statements)
    verdict = audit.verify(any_db)
    assert (verdict.broken, verdict.at_record) == (broken, at)
    assert verdict.message
    assert verdict.records < 7


def test_a_record_rewritten_with_its_own_hash_breaks_the_next_link(any_db: Database) -> None:
    write(any_db, 4)
    one = audit.records(any_db)[1]
    forged = audit.AuditRecord(one.id, one.at, "you", one.action, one.account, one.detail, one.previous_hash, "")
    tamper(any_db, f"UPDATE audit SET actor = 'you', hash = '{forged.computed_hash()}' WHERE id = 2")
    verdict = audit.verify(any_db)
    assert (verdict.broken, verdict.at_record) == (Break.CHANGED, 3)
    assert "Record 2 was changed" in verdict.message


def test_a_record_slipped_in_at_the_end_is_found(any_db: Database) -> None:
    write(any_db, 2)
    end = audit.verify(any_db).head
    one = audit.AuditRecord(3, "2026-01-01T00:00:00.000Z", "you", "key.added", "", {}, end.hash, "")
    values = {name: getattr(one, name) for name in audit.AuditRecord.__dataclass_fields__}
    with any_db.write() as tx:
        tx.execute(table.insert().values({**values, "hash": one.computed_hash()}))
    assert audit.verify(any_db).broken is Break.INSERTED


def test_a_chain_that_was_written_anew_is_found_by_a_kept_head(any_db: Database) -> None:
    write(any_db, 4)
    kept = audit.verify(any_db).head
    tamper(
        any_db,
        "DELETE FROM audit",
        f"UPDATE audit_head SET last_id = 0, records = 0, hash = '{audit.GENESIS}'",
    )
    write(any_db, 3, "account.added")
    assert audit.verify(any_db).broken is None
    assert audit.verify(any_db, kept=kept).broken is Break.REMOVED
    write(any_db, 3, "account.added")
    verdict = audit.verify(any_db, kept=kept)
    assert (verdict.broken, verdict.at_record) == (Break.CHANGED, 4)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'you'",
        "DELETE FROM audit",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET last_id = 0",
        "UPDATE audit_head SET hash = ''",
    ],
)
def test_the_database_refuses_to_change_what_is_written(any_db: Database, statement: str) -> None:
    write(any_db, 2)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), any_db.write() as tx:
        tx.execute(sa.text(statement))
    assert audit.verify(any_db).records == 2


def test_what_was_rolled_back_is_not_in_the_trail(any_db: Database) -> None:
    write(any_db, 1)
    with pytest.raises(ZeroDivisionError), any_db.write() as tx:
        audit.record(tx, actor="me", action="key.added", account="springfield")
        _ = 1 / 0
    write(any_db, 1)
    assert audit.verify(any_db).records == 2


def append(url: str, count: int) -> None:
    db = Database(url)
    write(db, count)
    db.close()


def test_several_processes_write_one_chain(any_db: Database) -> None:
    url = any_db.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append, args=(url, 40)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    verdict = audit.verify(any_db)
    assert (verdict.records, verdict.broken) == (160, None)
    assert [one.id for one in audit.records(any_db)] == list(range(1, 161))


def test_the_trail_can_be_read_by_account_time_and_action(any_db: Database) -> None:
    write(any_db, 1)
    write(any_db, 1, "keys.other")
    with any_db.write() as tx:
        audit.record(tx, actor="me", action="account.added", account="shelbyville")
    at = audit.records(any_db)[-1].at
    assert [one.account for one in audit.records(any_db, account="shelbyville")] == ["shelbyville"]
    assert [one.action for one in audit.records(any_db, action="key")] == ["key.added"]
    assert [one.action for one in audit.records(any_db, action="keys.other")] == ["keys.other"]
    assert "account.added" in [one.action for one in audit.records(any_db, since=at)]
    assert audit.records(any_db, since="2999") == []


def test_records_from_before_the_chain_are_chained_by_the_migration(tmp_path: Path) -> None:
    from alembic import command

    from landingzone.db import _alembic_config

    db = Database(f"sqlite:///{tmp_path / 'old.db'}")
    with db.engine.connect() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    with sqlite3.connect(tmp_path / "old.db") as old:
        for number in (1, 2, 5):
            detail = '{"title": "Gr\u00fcn", "n": [1.5, null]}'
            old.execute("INSERT INTO audit VALUES (?, '2026', 'me', 'account.added', 'a', ?)", (number, detail))
        old.execute("INSERT INTO accounts (id, name, created_at) VALUES (1, 'a', '2026')")
        key = "(7, 1, 'SHA256:x', 'ssh-ed25519', 256, 'ssh-ed25519 x', 'label', '192.0.2.0/24', '2026', 'me')"
        columns = "id, account_id, fingerprint, algorithm, bits, public_key, label, networks, added_at, added_by"
        old.execute(f"INSERT INTO keys ({columns}) VALUES {key}")
    db.migrate()
    write(db, 1)
    verdict = audit.verify(db)
    assert (verdict.records, verdict.broken, verdict.head.last_id) == (4, None, 6)
    with db.read() as tx:
        assert tx.execute(sa.select(audit_head.c.records)).scalar() == 4
        kept = tx.execute(sa.select(keys)).mappings().one()
    assert (kept["id"], kept["label"], kept["networks"], kept["revoked_reason"]) == (7, "label", "192.0.2.0/24", "")
    db.close()


@pytest.mark.parametrize("text", ["", "5", "x:" + "0" * 64, "5:" + "0" * 63, "5:" + "G" * 64, "-1:" + "0" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(audit.AuditError, match="64 hex digits"):
        Head.parse(text)
