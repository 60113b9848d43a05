"""Erasing an account: everything of a leaving district goes, and a certificate says what went.

What is left is the audit trail, which names the account and what was done to it (its title, its keys' fingerprints, the
names of its sources), and the certificate. How far an erasure is stands in the database: a further call goes on.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from landingzone import audit
from landingzone.account import AccountError, Accounts
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.feed import Catalogue
from landingzone.settings import Settings
from landingzone.tables import accounts, erasures, keys, metadata, runs, sources
from landingzone.tables import audit as audit_table
from landingzone.zone import FOLDER_MODE, FOLDERS, Zone, write_file
from processor import account_data
from processor.archive import Archive
from processor.run import State

_SESSIONS_END_WITHIN = timedelta(seconds=10)
"""Sessions of a disabled account are ended within two seconds, in every process."""
_ROWS_AT_ONCE = 5_000
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Erasing:
    """What erasing works on; `forget` removes runs, by id, from where durable runs keep their steps."""

    settings: Settings
    db: Database
    zone: Zone
    archive: Archive
    catalogue: Catalogue
    forget: Callable[[list[str]], None]


def erase(here: Erasing, name: str, *, actor: str) -> Path:
    """Erase an account and all that is its; returns the certificate's path (JSON; a text lies beside it).

    Raises AccountError if it is not disabled, was disabled only just now, or something of it is still under way.
    """
    account_id = _begin(here, name, actor=actor)
    if account_id is not None:
        _files(here, name, account_id)
        _data(here, account_id)
        _runs_steps(here, account_id)
        _rows(here, name, account_id, actor=actor)
        _wipe(here.db)
    return _certify(here, name)


def _begin(here: Erasing, name: str, *, actor: str) -> int | None:
    """The number of the account that is to be erased; None if that is done, but for its certificate."""
    account = Accounts(here.db).find(name)
    with here.db.read() as tx:
        last = tx.execute(
            sa.select(erasures.c.account_id).where(erasures.c.account == name).order_by(erasures.c.begun_at.desc())
        ).scalar()
    if account is None:
        if last is None:
            raise AccountError(f"There is no account {name!r}. `landingzone accounts list` shows all.")
        return None
    if account.disabled_at is None:
        raise AccountError(f"Account {name} is not disabled. First: landingzone accounts disable {name}")
    if now() - datetime.fromisoformat(account.disabled_at) < _SESSIONS_END_WITHIN:
        raise AccountError(f"Account {name} was disabled just now: its sessions may still be ending. Wait ten seconds.")
    if last == account.id:
        return account.id
    _refuse_what_is_under_way(here, name, account.id)
    with here.db.write() as tx:
        row = {"account": name, "account_id": account.id, "begun_at": iso(now()), "begun_by": actor, "erased": {}}
        tx.execute(erasures.insert().values(row))
        audit.record(tx, actor=actor, action="account.erasure_begun", account=name)
    return account.id


def _refuse_what_is_under_way(here: Erasing, name: str, account_id: int) -> None:
    waiting = here.zone.waiting(name) or here.zone.dropped_by_hand(name)
    with here.db.read() as tx:
        of_it = sa.and_(runs.c.account_id == account_id, runs.c.state != State.RECEIPTED.value)
        under_way = tx.execute(sa.select(runs.c.id).where(of_it).limit(1)).scalar()
    if waiting or under_way is not None:
        raise AccountError(
            f"Files of {name} wait or are under way. Let the import finish them "
            "(`landingzone runs list`), then ask again."
        )


def _files(here: Erasing, name: str, account_id: int) -> None:
    counts: Counts = {}
    for kind in FOLDERS:
        folder = here.zone.folder(kind, name)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        counts[kind] = {"files": len(files), "bytes": sum(path.lstat().st_size for path in files)}
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
    files_kept, size = here.archive.store.remove(name)
    counts["archive"]["files"] += files_kept
    counts["archive"]["bytes"] += size
    _note(here.db, account_id, counts)


def _data(here: Erasing, account_id: int) -> None:
    with here.db.read() as tx:
        ids = list(tx.execute(sa.select(sources.c.id).where(sources.c.account_id == account_id)).scalars())
    for feed in account_data.kept_feeds(here.catalogue):
        table = account_data.table_of(feed)
        keys_of = [table.c[name] for name in feed.key]
        for source_id in ids:
            own = table.c.source_id == source_id
            removed = _ROWS_AT_ONCE
            while removed:
                some = sa.select(*keys_of).where(own).limit(_ROWS_AT_ONCE).subquery()
                these = sa.exists().where(*(key == some.c[key.name] for key in keys_of))
                with here.db.write() as tx:
                    _overwrite(tx)
                    removed = tx.execute(table.delete().where(own, these)).rowcount
                    _add(tx, account_id, {table.name: {"rows": removed}})


def _runs_steps(here: Erasing, account_id: int) -> None:
    with here.db.read() as tx:
        ids = list(tx.execute(sa.select(runs.c.id).where(runs.c.account_id == account_id)).scalars())
    for at in range(0, len(ids), 500):
        here.forget(ids[at : at + 500])
    _note(here.db, account_id, {"durable runs": {"rows": len(ids)}})


def _rows(here: Erasing, name: str, account_id: int, *, actor: str) -> None:
    """All rows that are the account's, in every table, and the account itself, with the record that says so."""
    with here.db.write() as tx:
        _overwrite(tx)
        counts: Counts = {}
        tx.execute(
            keys.update().where(keys.c.account_id == account_id).values(new_in_rotation=None, old_in_rotation=None)
        )
        for table in reversed(metadata.sorted_tables):
            own = _own(table, name, account_id)
            if own is not None:
                counts[table.name] = {"rows": tx.execute(table.delete().where(own)).rowcount}
        counts["accounts"] = {"rows": tx.execute(accounts.delete().where(accounts.c.id == account_id)).rowcount}
        erased = _add(tx, account_id, counts)
        ended = iso(now())
        audit.record(tx, actor=actor, action="account.erased", account=name, erased=erased)
        newest = tx.execute(sa.select(sa.func.max(audit_table.c.id))).scalar()
        tx.execute(erasures.update().where(erasures.c.account_id == account_id).values(ended_at=ended, audit_id=newest))


def _own(table: sa.Table, name: str, account_id: int) -> sa.ColumnElement[bool] | None:
    """Which rows of a table are an account's; None for what keeps what was done, and what is of all accounts."""
    if table.name in {"audit", "erasures", "accounts"}:
        return None
    if "account_id" in table.c:
        return table.c.account_id == account_id
    if "account" in table.c:
        return table.c.account == name
    for column in table.c:  # what belongs to something that is the account's, such as a notice's deliveries
        for key in column.foreign_keys:
            of_it = _own(key.column.table, name, account_id)
            if of_it is not None:
                return column.in_(sa.select(key.column).where(of_it))
    return None


def _overwrite(tx: sa.Connection) -> None:
    """SQLite leaves what is removed in its file unless it is told not to."""
    if tx.dialect.name == "sqlite":
        tx.exec_driver_sql("PRAGMA secure_delete=ON")


def _wipe(db: Database) -> None:
    """Make SQLite's file anew, so that no page keeps what was changed or removed before; empty its log."""
    if not db.is_sqlite:
        return
    with db.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _note(db: Database, account_id: int, counts: Counts) -> None:
    with db.write() as tx:
        _add(tx, account_id, counts)


def _add(tx: sa.Connection, account_id: int, counts: Counts) -> Counts:
    """Add to what has been erased so far; returns the sums."""
    own = erasures.c.account_id == account_id
    erased: Counts = tx.execute(sa.select(erasures.c.erased).where(own).with_for_update()).scalar_one()
    for what, numbers in counts.items():
        before = erased.setdefault(what, {})
        for unit, number in numbers.items():
            before[unit] = before.get(unit, 0) + number
    tx.execute(erasures.update().where(own).values(erased=erased))
    return erased


def _certify(here: Erasing, name: str) -> Path:
    """Write the certificate, from what the database knows; written again it says the same."""
    with here.db.read() as tx:
        newest = sa.select(erasures).where(erasures.c.account == name, erasures.c.ended_at.is_not(None))
        row = tx.execute(newest.order_by(erasures.c.ended_at.desc()).limit(1)).mappings().one()
        sealed = tx.execute(sa.select(audit_table.c.hash).where(audit_table.c.id == row["audit_id"])).scalar_one()
    told = {
        "account": name,
        "begun_at": row["begun_at"],
        "ended_at": row["ended_at"],
        "by": row["begun_by"],
        "erased": row["erased"],
        "kept": "The audit trail, which names the account, its keys and its sources, and this certificate.",
        "audit_record": row["audit_id"],
        "audit_hash": sealed,
    }
    folder = here.settings.root / "certificates"
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    stem = f"{name}-{row['ended_at'][:10]}-{row['account_id']}"
    lines = [
        "CERTIFICATE OF ERASURE",
        "",
        f"Account   {name}",
        f"Begun     {row['begun_at']} by {row['begun_by']}",
        f"Ended     {row['ended_at']}",
        "",
        "Erased:",
        *(
            f"  {what}: {', '.join(f'{n:,} {unit}' for unit, n in sums.items())}"
            for what, sums in row["erased"].items()
        ),
        "",
        f"Kept: {told['kept']}",
        "Backups that were taken before are not part of this: they end with their own time.",
        f"Record {row['audit_id']} of the audit trail, SHA-256 {sealed}",
    ]
    write_file(folder / f"{stem}.txt", ("\n".join(lines) + "\n").encode())
    write_file(folder / f"{stem}.json", (json.dumps(told, indent=2) + "\n").encode())
    return folder / f"{stem}.json"
