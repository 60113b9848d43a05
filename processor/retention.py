"""What is removed after its time: archives, deactivated rows, and what is known of logins.

Never what is still needed: the files of the runs that sources stand at (to undo them), of runs under way, and of runs
that wait for somebody. Each function can be repeated; `remove` False only counts.
"""

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.job import Work
from landingzone.tables import UNANSWERED, login_attempts, penalties, refused_logins, runs, sources
from processor import account_data
from processor.archive import Archive
from processor.context import Context
from processor.run import State

_ROWS_AT_ONCE = 5_000


def archives(here: Context, work: Work, *, remove: bool = True) -> dict[str, int]:
    """Landings' folders in the archive whose day is over by `archive_days`; counts of landings, files and bytes."""
    told = {"landings": 0, "files": 0, "bytes": 0}
    days = here.settings.retention.archive_days
    if not days:
        return told
    limit = (now() - timedelta(days=days)).date()
    with here.db.read() as tx:
        needed = _needed(tx)
    for folder in _old_days(here.archive, f"{limit:%Y/%m/%d}"):
        for landing in here.archive.store.folders(folder):
            work.go_on()
            if landing in needed:
                continue
            where = f"{folder}/{landing}"
            if remove:
                files, size = here.archive.store.remove(where)
            else:
                kept = list(here.archive.store.everything(where))
                files, size = len(kept), sum(one.bytes for one in kept)
            told = {"landings": told["landings"] + 1, "files": told["files"] + files, "bytes": told["bytes"] + size}
    return told


def deactivated(here: Context, work: Work, *, remove: bool = True) -> dict[str, int]:
    """Rows that were deactivated more than `deactivated_days` ago; those that the run did a source stands at stay.

    In transactions of some thousand rows. A source of which rows go is compared anew with its next file.
    """
    days = here.settings.retention.deactivated_days
    if not days:
        return {"rows": 0}
    limit = iso(now() - timedelta(days=days))
    with here.db.read() as tx:
        younger = tx.execute(sa.select(sa.func.min(runs.c.serial)).where(runs.c.created_at >= limit)).scalar()
        last = younger - 1 if younger is not None else tx.execute(sa.select(sa.func.max(runs.c.serial))).scalar() or 0
        standing = sa.select(sources.c.id, runs.c.serial).outerjoin(runs, sources.c.standing_run == runs.c.id)
        listed = list(tx.execute(standing.where(account_data.applied_to())))
    rows = 0
    for source_id, kept in listed:
        work.go_on()
        rows += _deactivated_of(here, work, source_id, last, kept, remove=remove)
    return {"rows": rows}


def logins(here: Context, work: Work, *, remove: bool = True) -> dict[str, int]:
    """Login attempts, refused logins and penalties that are over for more than `login_days`."""
    days = here.settings.retention.login_days
    if not days:
        return {"rows": 0}
    limit = iso(now() - timedelta(days=days))
    old = (
        (login_attempts, login_attempts.c.last_at < limit),
        (refused_logins, refused_logins.c.minute < limit),
        (penalties, sa.and_(penalties.c.last_at < limit, sa.func.coalesce(penalties.c.until, "") < limit)),
    )
    rows = 0
    for table, gone in old:
        if remove:
            with work.commit() as tx:
                rows += tx.execute(table.delete().where(gone)).rowcount
        else:
            with here.db.read() as tx:
                rows += tx.execute(sa.select(sa.func.count()).select_from(table).where(gone)).scalar_one()
    return {"rows": rows}


PARTS = {"archives": archives, "deactivated": deactivated, "logins": logins}
"""What retention removes, by the name of its job's part."""


def _deactivated_of(here: Context, work: Work, source_id: int, last: int, kept: int | None, *, remove: bool) -> int:
    rows = 0
    for feed in account_data.kept_feeds(here.catalogue):
        table = account_data.table_of(feed)
        gone = sa.and_(table.c.source_id == source_id, table.c.ended_run <= last, table.c.ended_run > 0)
        if kept is not None:
            gone = sa.and_(gone, table.c.ended_run != kept)
        with here.db.read() as tx:
            found = tx.execute(sa.select(sa.func.count()).select_from(table).where(gone)).scalar_one()
        rows += found
        while remove and found > 0:
            with work.commit() as tx:
                keys = [table.c[name] for name in feed.key]
                some = sa.select(*keys).where(gone).limit(_ROWS_AT_ONCE).subquery()
                these = sa.exists().where(*(key == some.c[key.name] for key in keys))
                removed = tx.execute(table.delete().where(gone, these)).rowcount
                tx.execute(sources.update().where(sources.c.id == source_id).values(rows_run=account_data.RETIRED))
            found = found - removed if removed else 0
    return rows


def _needed(tx: sa.Connection) -> set[str]:
    """Landings whose files may still be asked for."""
    standing = (run.partition(":")[0] for run in tx.execute(sa.select(sources.c.standing_run)).scalars() if run)
    waiting = sa.select(runs.c.landing_id).where(sa.or_(runs.c.state != State.RECEIPTED.value, sa.text(UNANSWERED)))
    return {*standing, *tx.execute(waiting).scalars()}


def _old_days(archive: Archive, limit: str) -> Iterator[str]:
    """The folders of the days before one (`YYYY/MM/DD`), of every account."""
    for account in archive.store.folders(""):
        for year in archive.store.folders(account):
            for month in archive.store.folders(f"{account}/{year}"):
                if f"{year}/{month}" > limit[:7]:
                    continue
                for day in archive.store.folders(f"{account}/{year}/{month}"):
                    if f"{year}/{month}/{day}" < limit:
                        yield f"{account}/{year}/{month}/{day}"
