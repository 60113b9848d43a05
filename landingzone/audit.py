"""The trail: who changed what, and when. Written in the transaction of the change itself."""

import getpass
import os
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.tables import audit


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change: `action` is a stable name such as `key.added`; `detail` holds ids and counts, no personal data."""

    id: int
    at: str
    actor: str
    action: str
    account: str
    detail: dict[str, Any]


def record(tx: sa.Connection, *, actor: str, action: str, account: str = "", **detail: Any) -> None:  # noqa: ANN401 - JSON
    """Append a record in the caller's transaction: the change and its record are both there, or neither."""
    tx.execute(audit.insert().values(at=iso(now()), actor=actor, action=action, account=account, detail=detail))


def records(db: Database, *, account: str | None = None) -> list[AuditRecord]:
    """The trail, oldest first; of one account if named."""
    query = sa.select(*(audit.c[name] for name in AuditRecord.__dataclass_fields__)).order_by(audit.c.id)
    if account is not None:
        query = query.where(audit.c.account == account)
    with db.read() as tx:
        return [AuditRecord(*row) for row in tx.execute(query)]


def operator() -> str:
    """Who runs this command: the login name, and behind sudo the name of who called it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a numeric user without an entry, as in containers
        name = f"uid {os.getuid()}"
    caller = os.environ.get("SUDO_USER")
    return f"{caller} (as {name})" if caller and caller != name else name
