"""The examination: gathers what the parts know, for the doctor to judge. Imports them all, as landingzone.cli does."""

import stat
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from keys.store import Keys
from landingzone.clock import iso, now
from landingzone.command import Installation
from landingzone.doctor import service_checks, zone_checks
from landingzone.doctor.finding import Check, Finding, Severity
from landingzone.host_key_files import FOLDER
from landingzone.tables import landings
from processor import run as runs
from processor.outcome import Outcome
from sftpd.host_key import HostKeyError, load_host_keys

STUCK_AFTER = timedelta(minutes=15)
EXPIRES_SOON = timedelta(days=30)


# The installation


def checks(here: Installation, *, thorough: bool = False) -> dict[str, Check]:
    """Every check of an installation, by name, in the order in which to repair."""
    settings = here.settings
    return {
        "folders": lambda: zone_checks.folders(settings),
        "filesystem": lambda: zone_checks.filesystem(settings),
        "disk": lambda: zone_checks.room(settings),
        "settings": lambda: [*zone_checks.private_files(settings), *service_checks.risky_settings(settings)],
        "database": lambda: service_checks.database(settings, thorough=thorough),
        "host_keys": lambda: _host_keys(here),
        "clock": lambda: zone_checks.clock(settings, _newest_landing(here)),
        "watch": lambda: service_checks.watching(settings),
        "open_files": lambda: service_checks.open_files(settings),
        "door": lambda: service_checks.front_door(settings),
        "processor": lambda: service_checks.processor(settings),
        "runs": lambda: _runs(here),
        "inboxes": lambda: _inboxes(here),
        "keys": lambda: _keys(here),
    }


def _host_keys(here: Installation) -> Iterator[Finding]:
    folder = here.settings.root / FOLDER
    lax = [path.name for path in folder.glob("ssh_host_*_key") if stat.S_IMODE(path.stat().st_mode) != 0o600]  # noqa: PLR2004 - a mode
    if lax:
        found = f"The private host keys {', '.join(lax)} are not 0600."
        advice = f"chmod 600 {folder}/ssh_host_*_key; who could read them can pose as this server."
        yield Finding("host_keys", Severity.PROBLEM, found, advice)
    try:
        found_keys = load_host_keys(here.settings.root)
    except HostKeyError as missing:
        yield Finding("host_keys", Severity.PROBLEM, "There is no usable host key.", str(missing))
        return
    names = ", ".join(dict.fromkeys(key.algorithm.decode("ascii") for key in found_keys))
    yield Finding("host_keys", Severity.OK, f"Host keys: {names}.")


def _newest_landing(here: Installation) -> list[str]:
    with here.db.read() as tx:
        newest = tx.execute(sa.select(sa.func.max(landings.c.id))).scalar()
    return [newest] if newest else []


def _runs(here: Installation) -> Iterator[Finding]:
    with here.db.read() as tx:
        unfinished = runs.unfinished(tx)
        unanswered = runs.newest(tx, states=(Outcome.HELD.value, Outcome.FAILED.value), limit=1000)
    before = iso(now() - STUCK_AFTER)
    stuck = [run for run in unfinished if run.created_at < before]
    if stuck:
        found = f"{len(stuck)} runs are under way since before {before}, the oldest {stuck[0].id}."
        advice = "See `run.waits` in the log for why; a restart of the import takes them up again."
        yield Finding("runs", Severity.PROBLEM, found, advice)
    if unanswered:
        found = f"{len(unanswered)} files wait for an operator (held or failed)."
        yield Finding("runs", Severity.WARNING, found, "`landingzone runs list --state held --state failed`")
    if not stuck and not unanswered:
        yield Finding("runs", Severity.OK, f"{len(unfinished)} runs are under way, and none waits for an operator.")


def _inboxes(here: Installation) -> Iterator[Finding]:
    known = {account.name for account in here.accounts.all()}
    waiting = {name: here.zone.waiting(name) for name in here.zone.accounts_with("inbox")}
    for name, files in waiting.items():
        if files and name not in known:
            found = f"{len(files)} files lie in the inbox of {name}, which is no account."
            yield Finding("inboxes", Severity.PROBLEM, found, "Make the account, or take the files away.")
    late = [one for files in waiting.values() for one in files if now() - one.landed_at > STUCK_AFTER]
    if late:
        found = (
            f"{len(late)} files have waited for more than {STUCK_AFTER.seconds // 60} minutes, the oldest {late[0].id}."
        )
        yield Finding("inboxes", Severity.PROBLEM, found, "See whether the import runs, above; then its log.")
    else:
        yield Finding("inboxes", Severity.OK, f"{sum(map(len, waiting.values()))} files wait, none for long.")


def _keys(here: Installation) -> Iterator[Finding]:
    at, soon = now(), iso(now() + EXPIRES_SOON)
    by_account: dict[str, list[Any]] = {account.name: [] for account in here.accounts.all() if account.enabled}
    for key in Keys(here.db).of():
        if key.account in by_account and key.closed(at) is None:
            by_account[key.account].append(key)
    shut = [name for name, opening in by_account.items() if not opening]
    if shut:
        found = f"{len(shut)} enabled accounts have no key that opens: {_some(shut)}."
        yield Finding("keys", Severity.WARNING, found, "`landingzone doctor ACCOUNT` says more of each.")
    ending = [
        name
        for name, opening in by_account.items()
        if opening and all(key.expires_at is not None and key.expires_at < soon for key in opening)
    ]
    if ending:
        found = f"Within {EXPIRES_SOON.days} days no key opens these any more: {_some(ending)}."
        yield Finding("keys", Severity.WARNING, found, "Ask the customers for new keys now.")
    if not shut and not ending:
        yield Finding("keys", Severity.OK, f"Each of {len(by_account)} enabled accounts has a key that opens.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - enough to begin with
    return ", ".join(names[:3]) + more
