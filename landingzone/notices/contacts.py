"""Whom an account's notices go to beside the operator."""

import sqlalchemy as sa

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.notices.target import NotifyError, check_address
from landingzone.tables import accounts, notify_addresses

MOST = 20


class Contacts:
    """The accounts' own addresses in the database. They are personal data: the audit trail says only how many."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, account: str) -> list[str]:
        """The addresses of an account, in order."""
        with self._db.read() as tx:
            return list(tx.execute(self._of(account).order_by(notify_addresses.c.address)).scalars())

    def add(self, account: str, address: str, *, actor: str) -> None:
        """Tell an address, too; raises NotifyError if it is none, or there are too many."""
        check_address(address)
        with self._db.write() as tx:
            there = list(tx.execute(self._of(account)).scalars())
            if address in there:
                return
            if len(there) >= MOST:
                raise NotifyError(f"Account {account} has {MOST} addresses already; use a list of your mail server.")
            account_id = sa.select(accounts.c.id).where(accounts.c.name == account).scalar_subquery()
            values = {"address": address, "added_at": iso(now()), "added_by": actor}
            tx.execute(notify_addresses.insert().values(account_id=account_id, **values))
            audit.record(tx, actor=actor, action="account.contact_added", account=account, contacts=len(there) + 1)

    def remove(self, account: str, address: str, *, actor: str) -> None:
        """Tell an address no more; raises NotifyError if it was not told."""
        with self._db.write() as tx:
            these = (
                self._of(account).with_only_columns(notify_addresses.c.id).where(notify_addresses.c.address == address)
            )
            if not tx.execute(notify_addresses.delete().where(notify_addresses.c.id.in_(these))).rowcount:
                raise NotifyError(f"Account {account} has no such address.")
            audit.record(tx, actor=actor, action="account.contact_removed", account=account)

    @staticmethod
    def _of(account: str) -> sa.Select[str]:
        return (
            sa.select(notify_addresses.c.address)
            .join(accounts, accounts.c.id == notify_addresses.c.account_id)
            .where(accounts.c.name == account)
        )
