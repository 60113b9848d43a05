"""Refused logins, summed per minute, address, account and reason: a flood makes counts grow, not rows.

Counted in memory and written as sums, so that a stranger's attempts cost the database one write now and then. Of one
minute so many rows are kept; what is beyond is summed in one row for each reason, under `OTHER`. Old minutes go.
"""

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.db import Database, insert_into, take_turn
from landingzone.tables import refused_logins as table

OTHER = "other"
"""Stands for the address of everything that is beyond a minute's rows."""
ROWS_PER_MINUTE = 200
UNWRITTEN_ROWS = 2_000
"""While the database cannot be written: what one process keeps in memory."""
KEPT_FOR = timedelta(days=90)
KEPT_ROWS = 200_000
"""In all, some 30 MB: the oldest minutes go first."""


@dataclass(frozen=True, slots=True)
class RefusedLogin:
    """A sum.

    Attributes:
        minute: its beginning, UTC, ISO 8601.
        address: the client's address, or `OTHER`.
        account: the account's name; empty where the name was no account's: people type passwords there.
        reason: as in the log event `login.refused`.
        count: how many.
        last_at: when the last one was, UTC, ISO 8601.
    """

    minute: str
    address: str
    account: str
    reason: str
    count: int
    last_at: str


_Kind = tuple[str, str, str, str]
"""minute, address, account, reason"""


class RefusedLogins:
    """The sums of one process on their way to the database, and those of all processes in it. Safe in any thread."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._counts: Counter[_Kind] = Counter()
        self._last: dict[_Kind, str] = {}
        self._in_minute: Counter[str] = Counter()

    def note(self, *, address: str, account: str, reason: str) -> None:
        """Count one. Takes no time: nothing is written before `flush`.

        `account` is empty unless there is an account of that name.
        """
        at = iso(now())
        minute = f"{at[:16]}:00.000Z"
        kind = (minute, address[:64], account[:32], reason[:32])
        with self._lock:
            if kind not in self._counts:
                if self._in_minute[minute] >= ROWS_PER_MINUTE or len(self._counts) >= UNWRITTEN_ROWS:
                    kind = (minute, OTHER, "", reason[:32])
                else:
                    self._in_minute[minute] += 1
            self._counts[kind] += 1
            self._last[kind] = at

    def flush(self) -> int:
        """Write what was counted since, in one transaction; returns how many logins that were. Call it in a thread.

        What could not be written stays counted, and the error is raised.
        """
        with self._lock:
            counts, last = self._counts, self._last
            self._counts, self._last, self._in_minute = Counter(), {}, Counter()
        if not counts:
            return 0
        try:
            with self._db.write() as tx:
                _add(tx, counts, last)
        except BaseException:
            with self._lock:
                for kind, count in counts.items():
                    self._counts[kind] += count
                    self._last[kind] = max(last[kind], self._last.get(kind, ""))
                    self._in_minute[kind[0]] += 1
            raise
        return counts.total()

    def of(
        self, *, account: str | None = None, address: str | None = None, since: str | None = None
    ) -> list[RefusedLogin]:
        """The sums in the database, oldest first; of an account, an address, from a moment on (ISO 8601)."""
        query = sa.select(*(table.c[name] for name in RefusedLogin.__dataclass_fields__))
        for column, wanted in ((table.c.account, account), (table.c.address, address)):
            if wanted is not None:
                query = query.where(column == wanted)
        if since is not None:
            query = query.where(table.c.last_at >= since)
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(table.c.minute, table.c.last_at, table.c.address))
            return [RefusedLogin(*row) for row in rows]


def _add(tx: sa.Connection, counts: Counter[_Kind], last: dict[_Kind, str]) -> None:
    take_turn(tx, "refused_logins")
    for minute in sorted({kind[0] for kind in counts}):
        query = sa.select(table.c.address, table.c.account, table.c.reason).where(table.c.minute == minute)
        known = {tuple(row) for row in tx.execute(query)}
        if not known:
            _forget_old(tx)
        sums: dict[tuple[str, str, str], tuple[int, str]] = {}
        for kind, count in counts.items():
            if kind[0] != minute:
                continue
            row = kind[1:]
            if row not in known:
                if len(known) < ROWS_PER_MINUTE:
                    known.add(row)
                else:
                    row = (OTHER, "", kind[3])
            before, at = sums.get(row, (0, ""))
            sums[row] = (before + count, max(at, last[kind]))
        for (address, account, reason), (count, at) in sorted(sums.items()):  # one order for all: no deadlock
            where = {"minute": minute, "address": address, "account": account, "reason": reason}
            add = insert_into(tx, table).values(**where, count=count, last_at=at)
            more = {"count": table.c.count + add.excluded.count, "last_at": add.excluded.last_at}
            tx.execute(add.on_conflict_do_update(index_elements=list(where), set_=more))


def _forget_old(tx: sa.Connection) -> None:
    tx.execute(table.delete().where(table.c.minute < iso(now() - KEPT_FOR)))
    newest = sa.select(table.c.minute).order_by(table.c.minute.desc()).offset(KEPT_ROWS).limit(1)
    oldest_kept = tx.execute(newest).scalar()
    if oldest_kept is not None:
        tx.execute(table.delete().where(table.c.minute <= oldest_kept))
