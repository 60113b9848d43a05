"""An account's last thirty days: of each source and day what came, when, and what became of its rows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from console.tonight import State, state_of
from landingzone.due import Off, Timetable, parse_rule
from landingzone.landing import least_id_of, moment_of
from landingzone.tables import landings, runs, sources
from processor.arrivals import Arrival
from processor.arrived import NO_FILES
from processor.night import Stand
from processor.outcome import APPLIED

DAYS = 30
_COUNTED = ("read", "accepted", "rejected", "added", "changed", "unchanged", "deactivated")
_IN = frozenset(outcome.value for outcome in APPLIED)


@dataclass(frozen=True, slots=True)
class Day:
    """One source on one day, in the account's time zone.

    Attributes:
        day: which.
        rows: of the files that were applied: read, accepted, rejected, added, changed, unchanged, deactivated.
        files: how many came.
        came: when the first one did, in minutes after midnight; None if none did.
        due: by when one was, likewise, as the due times are now; None if none was.
    """

    day: date
    rows: Mapping[str, int]
    files: int
    came: int | None
    due: int | None


@dataclass(frozen=True, slots=True)
class SourceMonth:
    """One source of an account.

    Attributes:
        arrival: how it stands, with its due times.
        state: the same in one word; at the moment that goes with it, run the run that it is about.
        days: the last thirty, oldest first.
    """

    arrival: Arrival
    state: State
    at: datetime | None
    run: str
    days: Sequence[Day]


@dataclass(frozen=True, slots=True)
class PastRun:
    """One of an account's newest runs; `code` is of its hold."""

    id: str
    file: str
    source: str
    state: str
    outcome: str
    landed_at: datetime
    finished_at: str | None
    rows: Mapping[str, int]
    code: str


def month(tx: sa.Connection, stand: Stand, at: datetime) -> list[SourceMonth]:
    """Every source of an account over the days up to a moment (UTC)."""
    account, arrived = stand.district.account, stand.district.arrived
    zone = ZoneInfo(account.time_zone)
    today = at.astimezone(zone).date()
    first = today - timedelta(days=DAYS - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(UTC)
    came = _came(tx, account.id, since, zone)
    found = []
    for one in stand.outlook.arrivals:
        state, moment, run = state_of(one, arrived.of_source.get(one.source, NO_FILES), zone, at)
        days = [
            _day(
                first + timedelta(days=n),
                came.get((one.source, first + timedelta(days=n)), ()),
                one,
                stand.district.off,
            )
            for n in range(DAYS)
        ]
        found.append(SourceMonth(one, state, moment, run, days))
    return found


def past_runs(tx: sa.Connection, account_id: int, *, most: int) -> list[PastRun]:
    """An account's newest runs."""
    query = (
        sa.select(
            runs.c.id,
            landings.c.name,
            sources.c.name,
            runs.c.state,
            runs.c.outcome,
            runs.c.landing_id,
            runs.c.finished_at,
            runs.c.report["rows"],
            runs.c.report["hold"]["code"].as_string(),
        )
        .join(landings, landings.c.id == runs.c.landing_id)
        .outerjoin(sources, sources.c.id == runs.c.source_id)
        .where(runs.c.account_id == account_id)
        .order_by(runs.c.id.desc())
        .limit(most)
    )
    return [
        PastRun(run, file, source or "", state, outcome or "", moment_of(landing), ended, rows or {}, code or "")
        for run, file, source, state, outcome, landing, ended, rows, code in tx.execute(query)
    ]


_Ended = tuple[datetime, bool, Mapping[str, int]]
"""When a file landed, in local time; whether it was applied; its rows."""


def _came(tx: sa.Connection, account_id: int, since: datetime, zone: ZoneInfo) -> dict[tuple[str, date], list[_Ended]]:
    """The newest attempts of an account's files, by source and local day, in order of landing."""
    query = (
        sa.select(runs.c.landing_id, runs.c.attempt, runs.c.outcome, runs.c.report["rows"], sources.c.name)
        .join(sources, sources.c.id == runs.c.source_id)
        .where(runs.c.account_id == account_id, runs.c.id >= least_id_of(since))
    )
    newest: dict[str, tuple[int, str, _Ended]] = {}
    for landing_id, attempt, outcome, rows, source in tx.execute(query):
        if landing_id not in newest or newest[landing_id][0] < attempt:
            local = moment_of(landing_id).astimezone(zone)
            newest[landing_id] = (attempt, source, (local, outcome in _IN, rows or {}))
    found: dict[tuple[str, date], list[_Ended]] = defaultdict(list)
    for _, (_, source, ended) in sorted(newest.items()):
        found[source, ended[0].date()].append(ended)
    return found


def _day(day: date, came: Iterable[_Ended], arrival: Arrival, off: Off) -> Day:
    files = list(came)
    rows = dict.fromkeys(_COUNTED, 0)
    for _, applied, counts in files:
        if applied:
            rows = {name: rows[name] + counts.get(name, 0) for name in _COUNTED}
    first = files[0][0] if files else None
    minutes = first.hour * 60 + first.minute if first is not None else None
    return Day(day, rows, len(files), minutes, _due(day, arrival, off))


def _due(day: date, arrival: Arrival, off: Off) -> int | None:
    rule = parse_rule(arrival.rule)
    if not isinstance(rule, Timetable) or off(day) is not None:
        return None
    return rule.minutes[day.weekday()]
