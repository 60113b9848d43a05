"""What has landed of an account, newest first, with what became of it: as the district's own staff sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from landingzone.landing import Landing
from landingzone.tables import accounts, landings
from landingzone.zone import Zone
from processor import run as runs
from processor.run import Run, State

WAITS, READS = "waiting", "being read"
"""What a file is that has no outcome yet."""


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A file that has landed.

    Attributes:
        landing: its id, account and name.
        size: in bytes; None if that was not noted.
        sent_by: the fingerprint of the key that sent it, `token 3`, or `user ann@example.org`; empty: nobody knows.
        run: its newest attempt that has ended, or else the newest one; None before the import has taken it up.
        standing: its outcome, or that it waits or is being read.
    """

    landing: Landing
    size: int | None
    sent_by: str
    run: Run | None
    standing: str

    @property
    def landed_at(self) -> datetime:
        """When it landed, UTC."""
        return self.landing.landed_at

    @property
    def is_done(self) -> bool:
        """Whether there is a receipt."""
        return self.run is not None and self.run.outcome is not None


def find(tx: sa.Connection, zone: Zone, landing_id: str) -> LandedFile | None:
    """One file, of whichever account; None if there is none of that id."""
    return next(iter(_files(tx, zone, _QUERY.where(landings.c.id == landing_id))), None)


def newest(
    tx: sa.Connection, zone: Zone, account: str, *, most: int, since: str = "", before: str = ""
) -> list[LandedFile]:
    """The newest files of an account, at most so many; only those with ids from `since` on, below `before`."""
    query = _QUERY.where(accounts.c.name == account).order_by(landings.c.id.desc()).limit(most)
    if since:
        query = query.where(landings.c.id >= since)
    if before:
        query = query.where(landings.c.id < before)
    return _files(tx, zone, query)


def _files(tx: sa.Connection, zone: Zone, query: sa.Select[str, str, str, int | None, str]) -> list[LandedFile]:
    rows = tx.execute(query).all()
    attempts = _attempts(tx, [row[0] for row in rows])
    found = []
    for landing_id, account, name, size, sent_by in rows:
        landing = Landing(landing_id, account, name)
        run = attempts.get(landing_id)
        if run is None and not zone.inbox_path(landing).exists():
            continue  # a note without a file: it has never landed (landingzone.landing_record)
        found.append(LandedFile(landing, size, sent_by, run, _standing(run)))
    return found


def _attempts(tx: sa.Connection, landing_ids: Sequence[str]) -> dict[str, Run]:
    """Of each landing the newest attempt that has ended, or else the newest."""
    found: dict[str, Run] = {}
    for run in runs.of_landings(tx, landing_ids):
        if run.outcome is not None or run.landing_id not in found:
            found[run.landing_id] = run
    return found


def _standing(run: Run | None) -> str:
    if run is None or run.state is State.LANDED:
        return WAITS
    return run.outcome.value if run.outcome is not None else READS


_QUERY = sa.select(landings.c.id, accounts.c.name, landings.c.name, landings.c.bytes, landings.c.key_fingerprint).join(
    accounts, accounts.c.id == landings.c.account_id
)
