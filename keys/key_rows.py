"""Keys as the database has them, with the rotations that are under way."""

import re
from typing import Any

import sqlalchemy as sa

from keys.key import Key, KeyStoreError
from landingzone.account import AccountError
from landingzone.tables import accounts, key_rotations
from landingzone.tables import keys as table


def account_id(tx: sa.Connection, account: str) -> int:
    """The database's number of an account; raises AccountError if there is none of that name."""
    found = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
    if found is None:
        raise AccountError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
    return int(found)


def pick(tx: sa.Connection, account: str, which: str) -> Key:
    """The key of an account by number or SHA-256 fingerprint; raises KeyStoreError if it has none such."""
    number = account_id(tx, account)
    wanted = which.strip()
    is_number = re.fullmatch(r"[0-9]{1,9}", wanted) is not None
    by = table.c.id == int(wanted) if is_number else table.c.fingerprint == wanted
    found = select(tx, table.c.account_id == number, by)
    if not found:
        raise KeyStoreError(f"{account} has no such key. `landingzone keys list {account}` shows all.")
    return next((key for key in found if key.revoked_at is None), found[-1])


def select(tx: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Key]:
    """The keys, in order of account and age."""
    return _keys(tx.execute(_QUERY.where(*where).order_by(accounts.c.name, table.c.id)))


def of_fingerprint(tx: sa.Connection, account: str, fingerprint: str) -> list[Key]:
    """The keys of an account with that fingerprint, in order of age; every login asks."""
    return _keys(tx.execute(_OF_FINGERPRINT, {"of_account": account, "of_fingerprint": fingerprint}))


def _keys(rows: sa.CursorResult[Any]) -> list[Key]:
    return [Key(**{**row, "networks": tuple(row["networks"].split())}) for row in rows.mappings()]


def _query() -> sa.Select[Any]:
    brought, replacing = key_rotations.alias("brought"), key_rotations.alias("replacing")
    special = {
        "account": accounts.c.name,
        "new_in_rotation": brought.c.id,
        "old_in_rotation": replacing.c.id,
        "retires_at": replacing.c.overlap_ends_at,
    }
    columns = [special[name].label(name) if name in special else table.c[name] for name in Key.__dataclass_fields__]
    return (
        sa.select(*columns)
        .select_from(table)
        .join(accounts, accounts.c.id == table.c.account_id)
        .outerjoin(brought, sa.and_(brought.c.id == table.c.new_in_rotation, brought.c.ended_at.is_(None)))
        .outerjoin(replacing, sa.and_(replacing.c.id == table.c.old_in_rotation, replacing.c.ended_at.is_(None)))
    )


_QUERY = _query()
_OF_FINGERPRINT = _QUERY.where(
    accounts.c.name == sa.bindparam("of_account"), table.c.fingerprint == sa.bindparam("of_fingerprint")
).order_by(table.c.id)
