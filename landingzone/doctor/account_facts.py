"""All that is known of one account, gathered for the doctor to judge.

It needs nothing of the front door, so the console asks it, too.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

from keys.store import Keys
from landingzone import login_attempt, penalty
from landingzone.account import Account
from landingzone.address import network_of
from landingzone.clock import iso, now
from landingzone.command import Installation
from landingzone.doctor.account import Facts, Incomplete, KnownKey, PastRun, Source, fingerprints
from landingzone.landing import moment_of
from landingzone.source import is_temporary
from landingzone.zone import Mark, Upload, WebUpload
from processor import run as runs
from processor.run import Run

_LOOKED_BACK = 50


def facts_of(here: Installation, account: str) -> Facts:
    """All that is known of an account."""
    found = here.accounts.find(account)
    names = [one.name for one in here.accounts.all()]
    if found is None:
        return Facts(account, known=False, other_accounts=names)
    logins = facts_of_logins(here, found)
    with here.db.read() as tx:
        past = runs.newest(tx, account=account, limit=_LOOKED_BACK)
    newest = list({run.landing_id: run for run in sorted(past, key=lambda run: (run.landing_id, run.attempt))}.values())
    newest.sort(key=lambda run: run.landing_id, reverse=True)
    return replace(
        logins,
        other_accounts=names,
        penalties=_penalties(here, account, {one.address for one in logins.attempts}),
        sources=[_source(one.name, one.pattern, one.feed, one.due, newest) for one in here.sources.of(account)],
        runs=[_past(run) for run in newest],
        waiting=[landing.name for landing in here.zone.waiting(account)],
        incomplete=list(_incomplete(here, account)),
        resume_hours=here.settings.door.resume_hours,
    )


def facts_of_logins(here: Installation, account: Account, *, most: int | None = None) -> Facts:
    """What is known of who tried to log in to an account, also from its addresses under other names, and of its keys.

    `most`: only so many attempts, the newest.
    """
    at, keys = now(), Keys(here.db)
    own = keys.of(account.name)
    addresses = {key.last_used_from for key in own if key.last_used_from}
    attempts = login_attempt.recent(here.db, account.name)
    addresses |= {one.address for one in attempts}
    attempts = login_attempt.recent(here.db, account.name, addresses=addresses)[:most]
    offered = fingerprints(attempts)
    opens: dict[str, list[str]] = {}
    for key in keys.of() if offered else ():
        if key.fingerprint in offered and key.closed(at) is None:
            opens.setdefault(key.fingerprint, []).append(key.account)
    known = [
        KnownKey(
            key.id,
            key.label,
            key.fingerprint,
            key.algorithm,
            key.state(at),
            key.closed(at) is None,
            key.networks,
            key.expires_at,
            key.last_used_at,
            key.last_used_from,
            key.last_used_client,
        )
        for key in own
    ]
    return Facts(account.name, known=True, enabled=account.enabled, attempts=attempts, keys=known, key_opens=opens)


def _penalties(here: Installation, account: str, addresses: set[str]) -> list[tuple[str, str]]:
    networks, present = {network_of(address) for address in addresses}, iso(now())
    return [
        (one.address, one.until)
        for one in penalty.listing(here.db)
        if one.until
        and one.until > present
        and (one.account == account or (not one.account and one.address in networks))
    ]


def _source(name: str, pattern: str, feed: str, due: str, newest: list[Run]) -> Source:
    last = next((run for run in newest if run.source is not None and run.source == name), None)
    return Source(
        name,
        pattern,
        feed,
        due,
        last.outcome.value if last and last.outcome else None,
        iso(last.landing.landed_at) if last else None,
    )


def _past(run: Run) -> PastRun:
    report = run.report or {}
    why = (report.get("hold") or {}).get("message") or report.get("reason") or ""
    outcome = run.outcome.value if run.outcome else None
    return PastRun(run.id, run.file, run.source, outcome, run.state.value, iso(moment_of(run.landing_id)), why)


def _incomplete(here: Installation, account: str) -> Iterator[Incomplete]:
    arriving: list[Upload | WebUpload] = [*here.zone.uploads(account), *here.zone.web_uploads(account)]
    for upload in arriving:
        try:
            info = here.zone.upload_path(upload).lstat()
        except FileNotFoundError:  # it has landed, or was discarded, meanwhile
            continue
        closed = isinstance(upload, Upload) and Mark.CLOSED in upload.marks
        yield Incomplete(upload.name, info.st_size, time.time() - info.st_mtime, closed, is_temporary(upload.name))
