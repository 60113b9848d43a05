"""One run as its page shows it: the receipt, the steps with their times, the other attempts, what it changed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from landingzone import audit
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.feed import Catalogue
from landingzone.tables import runs as table
from processor import codes, guards, integrity, kept_changes, receipt, reverting
from processor import run as runs
from processor.archive import Archive, ArchiveAway
from processor.archive_cipher import IdentityMissing
from processor.kept_changes import ChangedRow
from processor.outcome import APPLIED, RETRYABLE, Outcome
from processor.run import Run, RunError, State

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?P<attempt>:[1-9][0-9]{0,5})?")
_EXAMPLES = 5
_PIECE = 1 << 16
_SAID = ("warnings", "tolerated")
_STEPS = {
    State.CLAIMED.value: "Taken out of the inbox",
    State.RECOGNISED.value: "Recognised",
    State.READ.value: "Read",
    State.VALIDATED.value: "Validated",
    State.RECONCILED.value: "Compared with what stands",
}


class NotKept(LandingZoneError):
    """The archive no longer holds this: its time is over, or it never came that far."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was reached, when (UTC), and how many seconds after the one before."""

    name: str
    at: datetime
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a run has changed of one feed, or would have: counts by kind, some rows of each."""

    feed: str
    counts: Mapping[str, int]
    examples: Mapping[str, list[ChangedRow]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunSight:
    """A run.

    Attributes:
        run: as the database has it.
        receipt: as the customer reads it; None while it is under way. Without rejected values for who may not see them.
        steps: in order of time.
        attempts: ids and outcomes of all attempts of the file, oldest first.
        newest: whether it is the newest of them.
        changed: by feed; why_not: why that cannot be told.
        undoes: the runs that undoing it would undo, newest first; none if it cannot be undone.
    """

    run: Run
    receipt: dict[str, Any] | None
    steps: list[Step]
    attempts: list[tuple[str, str]]
    newest: bool
    changed: list[Changed]
    why_not: str
    undoes: list[Run]

    @property
    def may(self) -> list[str]:
        """What an operator may ask of it."""
        if not self.newest or self.run.outcome is None:
            return []
        asked = ["approve", "reject"] if self.run.outcome is Outcome.HELD else []
        asked += ["retry"] if self.run.outcome in RETRYABLE else []
        asked += ["revert"] if self.undoes else []
        return asked


def sight_of(tx: sa.Connection, archive: Archive, catalogue: Catalogue, run: Run, *, with_rows: bool) -> RunSight:
    """A run with all that its page shows; rows and rejected values only `with_rows`."""
    attempts = [
        (one, outcome or "under way")
        for one, outcome in tx.execute(
            sa.select(table.c.id, table.c.outcome).where(table.c.landing_id == run.landing_id).order_by(table.c.attempt)
        )
    ]
    told = receipt.body(run) if run.outcome is not None else None
    if told is not None and not with_rows:
        told = without_rows(told)
    changed, why_not = _changed(archive, catalogue, run, with_rows=with_rows)
    newest = attempts[-1][0] == run.id
    return RunSight(run, told, _steps(run), attempts, newest, changed, why_not, _undoes(tx, run) if newest else [])


def without_rows(told: dict[str, Any]) -> dict[str, Any]:
    """A receipt without anything that stood in the file: sentences may give examples, too."""
    plain = {each.code: each.doc for each in codes.ALL} | guards.CODES | integrity.CODES
    return {
        **told,
        "rejects": [{**one, "value": None} for one in told["rejects"]],
        **{name: [{**one, "message": plain.get(one["code"], "")} for one in told[name]] for name in _SAID},
        "hold": hold_without_rows(told["hold"]),
        "message": receipt.SENTENCES[Outcome(told["outcome"])],
    }


def hold_without_rows(hold: dict[str, Any] | None) -> dict[str, Any] | None:
    """Why a run is held, without examples."""
    return hold and {**hold, "message": guards.CODES.get(hold["code"], "")}


def _steps(run: Run) -> list[Step]:
    reached = (run.report or {}).get("steps", {})
    moments = [("Landed", run.landing.landed_at)]
    taken = "Taken up" if run.attempt == 1 else f"Asked for by {run.requested_by or 'the service'}"
    moments.append((taken, datetime.fromisoformat(run.created_at)))
    moments += [(name, datetime.fromisoformat(reached[state])) for state, name in _STEPS.items() if state in reached]
    if run.finished_at:
        moments.append(("Outcome and data committed", datetime.fromisoformat(run.finished_at)))
    moments.sort(key=lambda one: one[1])
    before = [None, *(at for _, at in moments[:-1])]
    return [
        Step(name, at, (at - last).total_seconds() if last is not None else None)
        for (name, at), last in zip(moments, before, strict=True)
    ]


def _changed(archive: Archive, catalogue: Catalogue, run: Run, *, with_rows: bool) -> tuple[list[Changed], str]:
    if run.state not in {State.ARCHIVED, State.RECEIPTED}:
        return [], ""
    try:
        found = []
        for feed, counts in kept_changes.counts(archive, run).items():
            examples = {}
            for kind in counts if with_rows and run.outcome is Outcome.HELD else ():
                examples[kind] = kept_changes.rows(
                    archive, catalogue, run, feed=feed, kind=kind, skip=0, most=_EXAMPLES
                )
            found.append(Changed(feed, counts, examples))
    except IdentityMissing as locked:
        return [], str(locked)
    except (ArchiveAway, OSError):
        return [], "The archive does not answer. Reload in a minute; `landingzone doctor` says what is wrong."
    return found, ""


def _undoes(tx: sa.Connection, run: Run) -> list[Run]:
    if run.outcome not in APPLIED:
        return []
    try:
        return reverting.undone_by(tx, run, through=True)
    except RunError:
        return []


def get(tx: sa.Connection, run_id: str) -> Run | None:
    """The run of that id, or the newest attempt of the landing of that id; no part of one is searched for."""
    found = _ID.fullmatch(run_id)
    if found is None:
        return None
    if found["attempt"] is None:
        last = sa.select(table.c.id).where(table.c.landing_id == run_id).order_by(table.c.attempt.desc()).limit(1)
        run_id = tx.execute(last).scalar() or f"{run_id}:1"
    return runs.find(tx, run_id)


# Downloads


def original(tx: sa.Connection, archive: Archive, run: Run) -> Iterator[bytes]:
    """The file as it arrived, piece by piece, proven by its hash before the last one is given.

    Raises NotKept, IdentityMissing, ArchiveAway before the first piece.
    """
    return _begun(archive.stream(run.landing, sha256=runs.hash_of(tx, run.landing_id)))


def rejects(archive: Archive, run: Run) -> Iterator[bytes]:
    """The file with the rejected rows, likewise."""

    def read() -> Iterator[bytes]:
        with archive.files(run.landing, f"{run.attempt}.rejects.csv") as found:
            if not found:
                raise FileNotFoundError
            with found[0].open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

    return _begun(read())


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, begun: what goes wrong at the start goes wrong before anything is answered."""
    try:
        first = next(pieces, b"")
    except FileNotFoundError:
        raise NotKept from None

    def whole() -> Iterator[bytes]:
        yield first
        yield from pieces

    return whole()


def note_download(db: Database, run: Run, what: str, *, actor: str) -> None:
    """Who takes people's data out of here is written down."""
    with audit.changing(db) as tx:
        audit.record(tx, actor=actor, action="run.downloaded", account=run.account, run=run.id, what=what)
