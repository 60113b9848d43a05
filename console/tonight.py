"""Tonight as a grid: every account and feed in one word, those that need somebody first. Pure.

How a source stands is told by processor.arrivals; here it becomes one word, and many of them a page.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from zoneinfo import ZoneInfo

from processor.arrivals import Arrival, Missing, Timing
from processor.arrived import NO_FILES, UNDER_WAY, Came, Files
from processor.moved import Queue
from processor.night import Sight, Stand
from processor.outcome import Outcome

PAGE = 100
"""Accounts on one page."""


class State(StrEnum):
    """How a source stands, in one word; in the order in which somebody should look."""

    FAILED = "failed"
    HELD = "held"
    LATE = "late"
    REJECTED = "rejected"
    IMPORTING = "importing"
    DUE = "due"
    IN = "in"
    UNCHANGED = "unchanged"
    NOTHING = "nothing due"


ORDER = {state: at for at, state in enumerate(State)}
URGENT = (State.FAILED, State.HELD, State.LATE, State.REJECTED)
_OURS = {Outcome.FAILED.value: State.FAILED, Outcome.HELD.value: State.HELD}
"""Ends that wait for an operator, however long ago they were."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How one feed of an account stands: its source, or of several the one that needs somebody most.

    Attributes:
        state: in one word.
        source: the source that it is about.
        at: when it is or was due (late, due), or when its file landed, UTC; None if nothing is due.
        run: the run that it is about; empty if there is none.
        overdue: a file that is not in for another reason is also over its time.
        sources: how many sources hold this feed; sources_in how many of them are in.
    """

    state: State
    source: str
    at: datetime | None = None
    run: str = ""
    overdue: bool = False
    sources: int = 1
    sources_in: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One account.

    Attributes:
        account: its name; title what a person calls it; time_zone its IANA name.
        cells: by feed.
        states: how many sources are in each state.
        missing: what its broadcasts lack that go out soon, or have.
        unrecognised: runs of the last day whose files nobody expects.
        urgent: whether somebody should look.
        rank: its place on the page: first what waits for us, then what is late.
        version: when it last was another one, see Board.
    """

    account: str
    title: str
    time_zone: str
    cells: Mapping[str, Cell]
    states: Mapping[State, int]
    missing: tuple[Missing, ...]
    unrecognised: tuple[str, ...]
    urgent: bool
    rank: tuple[bool, int, str]
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to see.

    Attributes:
        text: a part of an account's name or title.
        state: only accounts with a source in that state; None: all.
        page: from 1.
    """

    text: str = ""
    state: State | None = None
    page: int = 1


@dataclass(frozen=True, slots=True)
class Grid:
    """One page of Tonight.

    Attributes:
        at: as of when, UTC.
        counts: of all accounts: how many sources are in each state.
        accounts: how many there are; urgent how many of them need somebody; found how many fit what is wanted.
        rows: those of this page.
        page: which it is; pages how many there are.
        queue: what waits for the import.
        unread: how many accounts are still to be read after the start; None: all of them.
        unrecognised: how many files of the last day nobody expects.
        digest: another one whenever any of this differs, the moment aside.
    """

    at: datetime
    counts: Mapping[State, int]
    accounts: int
    urgent: int
    found: int
    rows: Sequence[Row]
    page: int
    pages: int
    queue: Queue
    unread: int | None
    unrecognised: int
    digest: str


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the readers see: replaced as a whole."""

    rows: Sequence[Row]
    counts: Mapping[State, int]
    urgent: int
    unrecognised: int


@dataclass
class Board:
    """The rows of all accounts, kept beside a Night: `take` is what its `look` is given as `on_change`.

    Attributes:
        feeds: the columns.
        version: another one whenever anything that is shown has changed.
    """

    feeds: tuple[str, ...]
    version: int = 0
    _queue: tuple[Queue, int | None] = (Queue(), None)
    _rows: dict[str, Row] = field(default_factory=dict)
    _counts: Counter[State] = field(default_factory=Counter)
    _shown: _Shown = field(default_factory=lambda: _Shown((), {}, 0, 0))

    def take(self, sight: Sight, names: frozenset[str]) -> None:
        """Take over what has changed."""
        changed = (sight.queue, sight.unread) != self._queue
        for name in names:
            stand, was = sight.stands.get(name), self._rows.get(name)
            row = row_of(stand, sight.at, self.feeds, version=sight.version) if stand is not None else None
            if row == was:
                continue
            changed = True
            if was is not None:
                self._counts.subtract(was.states)
            if row is not None:
                self._counts.update(row.states)
                self._rows[name] = row
            else:
                del self._rows[name]
        if not changed:
            return
        rows = sorted(self._rows.values(), key=attrgetter("rank"))
        urgent = sum(row.urgent for row in rows)
        counts = {state: number for state, number in self._counts.items() if number}
        self._shown = _Shown(rows, counts, urgent, sum(len(row.unrecognised) for row in rows))
        self._queue, self.version = (sight.queue, sight.unread), sight.version

    def grid(self, sight: Sight, wanted: Wanted) -> Grid:
        """The page that somebody wants."""
        shown = self._shown
        rows = [row for row in shown.rows if _fits(row, wanted)] if wanted.text or wanted.state else shown.rows
        pages = max(1, -(-len(rows) // PAGE))
        page = min(max(wanted.page, 1), pages)
        some = rows[(page - 1) * PAGE : page * PAGE]
        versions = [(row.account, row.version) for row in some]
        told = (versions, sorted(shown.counts.items()), len(rows), page, *self._queue, shown.unrecognised)
        digest = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
        return Grid(
            sight.at,
            shown.counts,
            len(shown.rows),
            shown.urgent,
            len(rows),
            some,
            page,
            pages,
            *self._queue,
            shown.unrecognised,
            digest,
        )


def row_of(stand: Stand, at: datetime, feeds: Iterable[str], *, version: int = 0) -> Row:
    """An account's row, with a cell for each of these feeds of which it has a source."""
    account, arrived = stand.district.account, stand.district.arrived
    zone = ZoneInfo(account.time_zone)
    by_feed: dict[str, list[Cell]] = {}
    for one in stand.outlook.arrivals:
        cell = _cell(one, arrived.of_source.get(one.source, NO_FILES), zone, at)
        by_feed.setdefault(one.feed, []).append(cell)
    states = Counter(cell.state for cells in by_feed.values() for cell in cells)
    missing = tuple(one for one in stand.outlook.missing if one.near)
    urgent = bool(missing or arrived.unrecognised) or any(state in URGENT for state in states)
    worst = min((ORDER[state] for state in states), default=len(ORDER)) if urgent else 0
    return Row(
        account.name,
        account.title,
        account.time_zone,
        {feed: _together(by_feed[feed]) for feed in feeds if feed in by_feed},
        states,
        missing,
        arrived.unrecognised,
        urgent,
        (not urgent, worst, account.name),
        version,
    )


def state_of(arrival: Arrival, files: Files, zone: ZoneInfo, at: datetime) -> tuple[State, datetime | None, str]:
    """How a source stands in one word, the moment that goes with it, and the run that it is about."""
    newest, newest_in = files.newest, files.newest_in
    not_in = newest if newest and (newest_in is None or newest.landing_id > newest_in.landing_id) else None
    if not_in is not None and not_in.outcome in _OURS:
        return _OURS[not_in.outcome], not_in.landed_at, not_in.run
    if not_in is not None and not_in.outcome == UNDER_WAY:
        return State.IMPORTING, not_in.landed_at, not_in.run
    if not_in is not None and not_in.outcome == Outcome.REJECTED.value:
        counts = not_in.run == arrival.run or (not arrival.run and _is_of_today(not_in, zone, at))
        if counts:
            return State.REJECTED, not_in.landed_at, not_in.run
    match arrival.timing:
        case Timing.LATE:
            return State.LATE, arrival.due_at, ""
        case Timing.DUE:
            return State.DUE, arrival.due_at, ""
        case Timing.IN if newest_in is not None:
            return _in(newest_in)
    if newest_in is not None and _is_of_today(newest_in, zone, at):
        return _in(newest_in)
    return State.NOTHING, None, newest_in.run if newest_in is not None else ""


def _in(came: Came) -> tuple[State, datetime, str]:
    state = State.UNCHANGED if came.outcome == Outcome.UNCHANGED.value else State.IN
    return state, came.landed_at, came.run


def _is_of_today(came: Came, zone: ZoneInfo, at: datetime) -> bool:
    return came.landed_at.astimezone(zone).date() == at.astimezone(zone).date()


def _cell(arrival: Arrival, files: Files, zone: ZoneInfo, at: datetime) -> Cell:
    state, moment, run = state_of(arrival, files, zone, at)
    overdue = arrival.timing is Timing.LATE and state is not State.LATE
    return Cell(state, arrival.source, moment, run, overdue)


def _together(cells: Sequence[Cell]) -> Cell:
    """Several sources of one feed as one cell."""
    worst = min(cells, key=lambda cell: (ORDER[cell.state], cell.source))
    arrived = sum(cell.state in {State.IN, State.UNCHANGED} for cell in cells)
    return Cell(worst.state, worst.source, worst.at, worst.run, worst.overdue, len(cells), arrived)


def _fits(row: Row, wanted: Wanted) -> bool:
    if wanted.state is not None and wanted.state not in row.states:
        return False
    text = wanted.text.casefold()
    return not text or text in row.account or text in row.title.casefold()
