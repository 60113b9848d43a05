"""The verdict: what the service has made of what clients saw succeed, beside the model of districts."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa
from clients import Sent
from district import COLUMNS, KEYS, Upload, applied

from landingzone.command import Installation
from processor import account_data
from processor import run as runs
from processor.outcome import APPLIED, Outcome
from processor.run import Run, State

_ALL = 10_000_000


@dataclass
class Verdict:
    """What was found; without violations all is well."""

    violations: list[str] = field(default_factory=list)
    landings: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rows: int = 0


def all_runs(here: Installation) -> list[Run]:
    with here.db.read() as tx:
        return runs.newest(tx, limit=_ALL)[::-1]


def waiting(here: Installation) -> int:
    """How many files and runs are not done yet."""
    with here.db.read() as tx:
        unfinished = len(runs.unfinished(tx))
    return unfinished + sum(1 for _ in (here.zone.root / "inbox").glob("*/*"))


def set_aside(here: Installation) -> list[Run]:
    """The newest attempts that have failed: an operator asks for them again."""
    newest = {run.landing_id: run for run in all_runs(here)}
    return [run for run in newest.values() if run.outcome is Outcome.FAILED]


def judge(here: Installation, uploads: list[Upload], sent: Sent) -> Verdict:
    """Hold everything against the model."""
    verdict = Verdict()
    every = all_runs(here)
    by_landing: dict[str, list[Run]] = defaultdict(list)
    for run in every:
        by_landing[run.landing_id].append(run)
    newest = {landing: max(them, key=lambda one: one.attempt) for landing, them in by_landing.items()}
    verdict.landings = len(newest)
    verdict.outcomes = Counter(run.outcome.value if run.outcome else run.state.value for run in newest.values())
    say = verdict.violations.append

    known = {(upload.account, upload.sha256): upload for upload in uploads}
    meant: dict[str, Upload] = {}
    for landing, run in newest.items():
        upload = known.get((run.account, run.sha256 or ""))
        if upload is None or upload.name != run.file:
            say(f"{landing}: what landed is no file that was sent")
        else:
            meant[landing] = upload
    for text in (*_landed(uploads, sent, meant), *_ended(by_landing, newest), *_receipts(here, newest)):
        say(text)
    for text in (*_order(meant, newest), *_strays(here)):
        say(text)
    _compare_data(here, meant, newest, verdict)
    return verdict


def _landed(uploads: list[Upload], sent: Sent, meant: dict[str, Upload]) -> Iterator[str]:
    """Once for each success; beyond that no more often than tries without an answer."""
    times = Counter((upload.account, upload.number) for upload in meant.values())
    for upload in uploads:
        seen, there = upload in sent.succeeded, times[upload.account, upload.number]
        if not seen <= there <= seen + sent.maybe[upload.sha256]:
            yield (
                f"{upload.account} {upload.name} #{upload.number}: landed {there} times, "
                f"success seen {seen:d}, unanswered {sent.maybe[upload.sha256]}"
            )


def _ended(by_landing: dict[str, list[Run]], newest: dict[str, Run]) -> Iterator[str]:
    """Applied by one attempt; or superseded, after an earlier attempt was set aside."""
    for landing, them in by_landing.items():
        run = newest[landing]
        if run.state is not State.RECEIPTED:
            yield f"{landing}: still {run.state.value}"
        elif sum(one.outcome in APPLIED for one in them) != 1 and run.outcome is not Outcome.SUPERSEDED:
            yield f"{landing}: attempts ended {[one.outcome and one.outcome.value for one in them]}"


def _receipts(here: Installation, newest: dict[str, Run]) -> Iterator[str]:
    ending = ".receipt.json"
    found: Counter[str] = Counter()
    for path in (here.zone.root / "receipts").glob(f"*/*{ending}"):
        if path.name.startswith("latest-"):
            continue
        told = json.loads(path.read_bytes())
        landing = told["landing_id"]
        found[landing] += 1
        run = newest.get(landing)
        if run is None or run.outcome is None or told["outcome"] != run.outcome.value:
            yield f"{landing}: its receipt says {told['outcome']}, its run {run and run.outcome}"
    for landing in newest.keys() | found.keys():
        if found[landing] != 1:
            yield f"{landing}: {found[landing]} receipts"


def _order(meant: dict[str, Upload], newest: dict[str, Run]) -> Iterator[str]:
    """A district's files of a source have landed in the order in which it sent them, and were applied in that order."""
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for landing in sorted(meant):
        sources[meant[landing].account, meant[landing].feed].append(landing)
    for (account, feed), landings in sources.items():
        numbers = [meant[landing].number for landing in landings]
        if numbers != sorted(numbers):
            yield f"{account} {feed}: landed in the order {numbers}"
        times = [newest[one].finished_at or "" for one in landings if newest[one].attempt == 1]
        if times != sorted(times):
            yield f"{account} {feed}: applied at {times}"


def _strays(here: Installation) -> Iterator[str]:
    for kind in ("inbox", "work"):
        for path in (here.zone.root / kind).glob("*/*"):
            yield f"left behind: {path.relative_to(here.zone.root)}"


def _compare_data(here: Installation, meant: dict[str, Upload], newest: dict[str, Run], verdict: Verdict) -> None:
    """Every row of every source, with the landings that changed and ended it."""
    landing_of = {run.serial: run.landing_id for run in all_runs(here)}
    sources: dict[tuple[str, str], list[tuple[str, Upload]]] = defaultdict(list)
    asked_again = set()
    for landing in sorted(meant):
        run, upload = newest[landing], meant[landing]
        if run.outcome in APPLIED:
            sources[upload.account, upload.feed].append((landing, upload))
        if run.attempt > 1:
            asked_again.add((upload.account, upload.feed))
    for feed in COLUMNS:
        there = _rows(here, feed)
        verdict.rows += sum(map(len, there.values()))
        for account in {account for account, other in sources if other == feed} | there.keys():
            kept = applied(sources[account, feed])
            expected = {key: (one.row, one.ended is None, one.changed, one.ended) for key, one in kept.items()}
            found = {
                key: (row, ended is None, landing_of.get(changed), ended and landing_of.get(ended))
                for key, (row, changed, ended) in there[account].items()
            }
            if (account, feed) in asked_again:  # applied later than it landed: what is active is what counts
                expected = {key: one[:2] for key, one in expected.items() if one[1]}
                found = {key: one[:2] for key, one in found.items() if one[1]}
            wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
            if wrong:
                first = wrong[0]
                verdict.violations.append(
                    f"{account} {feed}: {len(wrong)} rows differ, {first}: {found.get(first)}, "
                    f"not {expected.get(first)}"
                )


def _rows(here: Installation, feed: str) -> dict[str, dict[tuple[str, ...], tuple[dict[str, str], int, int | None]]]:
    """An account's rows of a feed: by key the sent columns, and the serials of the runs that changed and ended it."""
    from landingzone.tables import accounts, sources

    table = account_data.table_of(here.catalogue[feed])
    query = sa.select(accounts.c.name.label("account"), table).select_from(
        sa.join(table, sources, table.c.source_id == sources.c.id).join(accounts, accounts.c.id == sources.c.account_id)
    )
    found: dict[str, dict[tuple[str, ...], tuple[dict[str, str], int, int | None]]] = defaultdict(dict)
    with here.db.read() as tx:
        for row in tx.execute(query).mappings():
            values = {name: row[name] for name in COLUMNS[feed]}
            key = tuple(row[name] for name in KEYS[feed])
            found[row["account"]][key] = values, row["changed_run"], row["ended_run"]
    return found
