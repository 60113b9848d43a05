"""Which runs have ended so that somebody should know: found by their serials, with nothing to do for a run itself.

A mark says up to which serial every run has ended and was looked at. It only moves over runs that began some minutes
ago, as serials may become visible out of order; a run that is looked at twice still makes one notice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.landing import moment_of
from landingzone.notices.notice import Kind, Notice
from landingzone.tables import accounts, notice_marks, runs, sources
from processor import guards
from processor.outcome import Outcome

TOLD = {
    Outcome.HELD.value: Kind.HELD,
    Outcome.FAILED.value: Kind.FAILED,
    Outcome.REJECTED.value: Kind.REJECTED,
    Outcome.UNRECOGNISED.value: Kind.UNRECOGNISED,
}
_MARK = "runs"
_SETTLED_AFTER = timedelta(minutes=10)
AT_ONCE = 1000
"""Runs that are looked at together."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended so that somebody should know; without a notice if it was an operator who ended it so."""

    serial: int
    notice: Notice | None


def ended(tx: sa.Connection, since: int) -> list[Ended]:
    """The runs after a serial that have ended so, in order, at most AT_ONCE."""
    query = (
        sa.select(
            runs.c.serial,
            runs.c.id,
            runs.c.landing_id,
            runs.c.outcome,
            runs.c.finished_at,
            runs.c.request,
            runs.c.report["hold"]["code"].as_string().label("code"),
            sources.c.name.label("source"),
            sources.c.pattern,
            accounts.c.name.label("account"),
            accounts.c.title,
            accounts.c.time_zone,
        )
        .join(accounts, accounts.c.id == runs.c.account_id)
        .outerjoin(sources, sources.c.id == runs.c.source_id)
        .where(runs.c.serial > since, runs.c.outcome.in_(list(TOLD)))
        .order_by(runs.c.serial)
        .limit(AT_ONCE)
    )
    return [
        Ended(row.serial, None if (row.request or {}).get("kind") == "reject" else _notice(row))
        for row in tx.execute(query)
    ]


def mark(tx: sa.Connection) -> int | None:
    """The serial up to which all is told; None before the first time."""
    found: int | None = tx.execute(sa.select(notice_marks.c.serial).where(notice_marks.c.name == _MARK)).scalar()
    return found


def next_mark(tx: sa.Connection) -> int:
    """The serial up to which every run has ended, some minutes ago."""
    unfinished = sa.text("runs.state <> 'receipted'")  # word for word as the index has it
    open_from = tx.execute(sa.select(sa.func.min(runs.c.serial)).select_from(runs).where(unfinished)).scalar()
    old = runs.c.created_at < iso(now() - _SETTLED_AFTER)
    last: int = tx.execute(sa.select(runs.c.serial).where(old).order_by(runs.c.serial.desc()).limit(1)).scalar() or 0
    return last if open_from is None else min(last, open_from - 1)


def set_mark(tx: sa.Connection, serial: int) -> None:
    """Note up to where all is told."""
    if not tx.execute(notice_marks.update().where(notice_marks.c.name == _MARK).values(serial=serial)).rowcount:
        tx.execute(notice_marks.insert().values(name=_MARK, serial=serial))


def _notice(row: Any) -> Notice:  # noqa: ANN401 - a row of the query
    said = {name: value for name, value in _said(row) if value}
    return Notice(f"run:{row.id}:{row.outcome}", TOLD[row.outcome], row.account, row.title, row.time_zone, said)


def _said(row: Any) -> Iterator[tuple[str, str | None]]:  # noqa: ANN401 - a row of the query
    yield "source", row.source
    yield "file", row.pattern
    yield "run", row.id
    yield "landed_at", iso(moment_of(row.landing_id))
    yield "ended_at", row.finished_at
    yield "outcome", row.outcome
    yield "code", row.code
    yield "why", guards.CODES.get(row.code or "", "")
