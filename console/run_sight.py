"""One run as its page shows it: the receipt, the steps with their times, the other attempts, what it changed."""

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from queue import Queue as Pipe
from typing import Any

import sqlalchemy as sa

from landingzone.errors import LandingZoneError
from landingzone.feed import Catalogue
from landingzone.landing import Landing
from landingzone.tables import runs as table
from processor import kept_changes, receipt, reverting
from processor import run as runs
from processor.archive import Archive, ArchiveAway
from processor.archive_cipher import IdentityMissing
from processor.kept_changes import ChangedRow
from processor.outcome import APPLIED, RETRYABLE, Outcome
from processor.run import Run, RunError, State

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?P<attempt>:[1-9][0-9]{0,5})?")
_EXAMPLES = 5
_PIECE = 1 << 16
_PIECES_AHEAD = 8
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
        told = {**told, "rejects": [{**one, "value": None} for one in told["rejects"]]}
    changed, why_not = _changed(archive, catalogue, run, with_rows=with_rows)
    newest = attempts[-1][0] == run.id
    return RunSight(run, told, _steps(run), attempts, newest, changed, why_not, _undoes(tx, run) if newest else [])


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


def original(archive: Archive, landing: Landing) -> Iterator[bytes]:
    """The file as it arrived, piece by piece. Raises NotKept, IdentityMissing, ArchiveAway before the first piece."""
    pipe: Pipe[bytes | BaseException | None] = Pipe(_PIECES_AHEAD)
    gone = threading.Event()

    def copy() -> None:
        try:
            archive.copy_out(landing, _Writer(pipe, gone))  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - raised where the pieces are wanted
            pipe.put(error)
        else:
            pipe.put(None)

    return _begun(_pieces(pipe, gone, threading.Thread(target=copy, name="download", daemon=True)))


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


def _pieces(
    pipe: "Pipe[bytes | BaseException | None]", gone: threading.Event, thread: threading.Thread
) -> Iterator[bytes]:
    thread.start()
    try:
        while (piece := pipe.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        gone.set()
        while thread.is_alive():
            while not pipe.empty():
                pipe.get()
            thread.join(0.05)


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


class _Gone(Exception):
    """Nobody reads any more."""


class _Writer:
    """Where the archive writes to: pieces that are large enough to be sent."""

    def __init__(self, pipe: "Pipe[bytes | BaseException | None]", gone: threading.Event) -> None:
        self._pipe, self._gone = pipe, gone

    def write(self, piece: bytes) -> int:
        if self._gone.is_set():
            raise _Gone
        self._pipe.put(bytes(piece))
        return len(piece)
