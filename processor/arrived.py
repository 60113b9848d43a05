"""What has landed of accounts within the last weeks, by source: as little of it as tells how each stands."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from landingzone.landing import least_id_of
from landingzone.learned_due import LEARN_DAYS
from landingzone.source import Expected
from landingzone.tables import landings, runs
from processor.outcome import APPLIED, Outcome

UNDER_WAY = "under way"
_IN = frozenset(outcome.value for outcome in APPLIED)
_COUNTS_NOT = frozenset({Outcome.WITHDRAWN.value, Outcome.SUPERSEDED.value, Outcome.REVERTED.value})
_LOOK_BACK = timedelta(days=LEARN_DAYS + 1)
_NEVER_CAME = timedelta(minutes=10)
"""A landing that was noted so long ago and has no run has most likely never come to be (landingzone.landing_record)."""
_STRANGE_FOR = timedelta(days=1)
"""How long a file of an unknown name is told of."""


@dataclass(frozen=True, slots=True)
class Came:
    """A file that has landed.

    Attributes:
        landing_id: its landing.
        landed_at: when, UTC.
        outcome: how its newest run ended; `under way` before that.
        run: that run's id; empty before it was taken up.
        finished_at: when that run ended, UTC; None while it is under way.
    """

    landing_id: str
    landed_at: datetime
    outcome: str
    run: str
    finished_at: datetime | None

    @property
    def is_in(self) -> bool:
        """Whether it was applied."""
        return self.outcome in _IN


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one source.

    Attributes:
        moments: when each landed, in order: milliseconds since 1970.
        newest: the newest of those that were not withdrawn, superseded or undone.
        newest_in: the newest one that is in.
    """

    moments: tuple[int, ...] = ()
    newest: Came | None = None
    newest_in: Came | None = None

    @property
    def landed_at(self) -> Iterator[datetime]:
        """When each landed, UTC."""
        return (datetime.fromtimestamp(at / 1000, UTC) for at in self.moments)


NO_FILES = Files()


@dataclass(frozen=True, slots=True)
class Arrived:
    """The files of one account.

    Attributes:
        of_source: by the name of their source.
        unrecognised: runs of the last day whose files nobody expects, oldest first.
        unsettled_until: when what is known here is no longer so, though nothing comes: UTC; None: never.
    """

    of_source: Mapping[str, Files]
    unrecognised: tuple[str, ...] = ()
    unsettled_until: datetime | None = None


@dataclass(slots=True)
class _Attempt:
    """The newest attempt of one landing."""

    landing_id: str
    number: int
    source_id: int | None
    outcome: str | None
    finished_at: str | None


def arrived(tx: sa.Connection, expected: Mapping[int, Expected], at: datetime) -> dict[int, Arrived]:
    """What has landed of some accounts, by their numbers, before a moment (UTC)."""
    since, upto = least_id_of(at - _LOOK_BACK), least_id_of(at)
    attempts: dict[int, list[_Attempt]] = defaultdict(list)
    found = tx.execute(_RUNS, {"of_accounts": list(expected), "since": since}).all()
    for account_id, run, source_id, outcome, finished_at in found:
        landing_id, _, number = run.partition(":")
        own = attempts[account_id]
        if own and own[-1].landing_id == landing_id:
            if int(number) > own[-1].number:  # by their text, the tenth comes before the second
                own[-1] = _Attempt(landing_id, int(number), source_id, outcome, finished_at)
        else:
            own.append(_Attempt(landing_id, int(number), source_id, outcome, finished_at))
    just_noted = {"of_accounts": list(expected), "since": least_id_of(at - _NEVER_CAME)}
    for account_id, landing_id in tx.execute(_NOTED, just_noted):
        attempts[account_id].append(_Attempt(landing_id, 0, None, None, None))
    names = _names(tx, [one.landing_id for own in attempts.values() for one in own if one.source_id is None])
    return {
        account_id: _of_account(one, sorted(attempts[account_id], key=lambda each: each.landing_id), names, at, upto)
        for account_id, one in expected.items()
    }


def _of_account(
    expected: Expected, attempts: list[_Attempt], names: Mapping[str, str], at: datetime, upto: str
) -> Arrived:
    moments: dict[str, list[int]] = defaultdict(list)
    newest: dict[str, _Attempt] = {}
    newest_in: dict[str, _Attempt] = {}
    strange, unsettled = [], list[datetime]()
    for one in attempts:
        if one.landing_id >= upto:  # of another host, whose clock is ahead
            unsettled.append(_moment(one.landing_id) + timedelta(milliseconds=1))
            continue
        if one.number == 0:
            if at - _moment(one.landing_id) > _NEVER_CAME:
                continue
            unsettled.append(_moment(one.landing_id) + _NEVER_CAME + timedelta(milliseconds=1))
        source = expected.names.get(one.source_id) if one.source_id is not None else None
        source = source or expected.source_of(names.get(one.landing_id, ""))
        if one.outcome == Outcome.UNRECOGNISED.value and at - _moment(one.landing_id) < _STRANGE_FOR:
            strange.append(f"{one.landing_id}:{one.number}")
            unsettled.append(_moment(one.landing_id) + _STRANGE_FOR)
        if source is None:
            continue
        moments[source].append(_milliseconds(one.landing_id))
        if one.outcome not in _COUNTS_NOT:
            newest[source] = one
        if one.outcome in _IN:
            newest_in[source] = one
    return Arrived(
        {
            source: Files(tuple(each), _came(newest.get(source)), _came(newest_in.get(source)))
            for source, each in moments.items()
        },
        tuple(strange),
        min(unsettled, default=None),
    )


def _came(one: _Attempt | None) -> Came | None:
    if one is None:
        return None
    ended = datetime.fromisoformat(one.finished_at) if one.finished_at else None
    run = f"{one.landing_id}:{one.number}" if one.number else ""
    return Came(one.landing_id, _moment(one.landing_id), one.outcome or UNDER_WAY, run, ended)


def _names(tx: sa.Connection, landing_ids: list[str]) -> dict[str, str]:
    """The names of landings' files, some thousand at a time."""
    names: dict[str, str] = {}
    for begin in range(0, len(landing_ids), 5000):
        found = tx.execute(_NAMES, {"of_landings": landing_ids[begin : begin + 5000]})
        names |= dict(found.all())
    return names


def _milliseconds(landing_id: str) -> int:
    return int(landing_id[:8] + landing_id[9:13], 16)


def _moment(landing_id: str) -> datetime:
    return datetime.fromtimestamp(_milliseconds(landing_id) / 1000, UTC)


# Made once: making a statement takes longer than running it for one account.
_RUNS = (
    sa.select(runs.c.account_id, runs.c.id, runs.c.source_id, runs.c.outcome, runs.c.finished_at)
    .where(runs.c.account_id.in_(sa.bindparam("of_accounts", expanding=True)), runs.c.id >= sa.bindparam("since"))
    .order_by(runs.c.account_id, runs.c.id)
)
_NOTED = sa.select(landings.c.account_id, landings.c.id).where(
    landings.c.account_id.in_(sa.bindparam("of_accounts", expanding=True)),
    landings.c.id > sa.bindparam("since"),
    landings.c.withdrawn_at.is_(None),
    ~sa.exists().where(runs.c.landing_id == landings.c.id),
)
_NAMES = sa.select(landings.c.id, landings.c.name).where(landings.c.id.in_(sa.bindparam("of_landings", expanding=True)))
