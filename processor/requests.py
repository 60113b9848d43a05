"""What operators ask for: a retry, an approval, a rejection. Each becomes an attempt of its own, and is audited."""

from typing import Any

from landingzone import audit
from landingzone.db import Database
from processor import reverting
from processor import run as runs
from processor.archive import Archive
from processor.archive_cipher import IdentityMissing
from processor.outcome import APPLIED, RETRYABLE, Outcome
from processor.run import Run, RunError


def retry(db: Database, archive: Archive, run_id: str, *, actor: str) -> str:
    """Ask for another attempt of a file that was not imported, or of an undoing that failed; returns the new run's id.

    Raises RunError if it was imported.
    """
    with db.read() as tx:
        run = runs.get(tx, run_id)
    _require_readable(archive)
    again = run.request if run.request is not None and run.request["kind"] == "revert" else {"kind": "retry"}
    return _ask(db, run_id, again, allowed=RETRYABLE, actor=actor)


def approve(db: Database, archive: Archive, run_id: str, *, reason: str = "", actor: str) -> str:
    """Approve a held run as it was shown: it is computed again, and held again if it has become worse.

    A file may be held for several reasons, one after the other: what was approved of it before stays approved.
    Why it is approved stands in the audit trail.
    Raises RunError if the run is not held.
    """
    with db.read() as tx:
        run = runs.get(tx, run_id)
    hold = (run.report or {}).get("hold")
    before = run.request["holds"] if run.request is not None and run.request["kind"] == "approve" else []
    request = {"kind": "approve", "holds": [*before, *([hold] if hold else [])]}
    _require_readable(archive)
    return _ask(db, run_id, request, allowed=(Outcome.HELD,), actor=actor, reason=reason)


def reject(db: Database, archive: Archive, run_id: str, *, reason: str, actor: str) -> str:
    """Reject a held run, with a reason that the customer reads. Raises RunError if the run is not held."""
    _require_readable(archive)
    return _ask(db, run_id, {"kind": "reject", "reason": reason}, allowed=(Outcome.HELD,), actor=actor)


def revert(db: Database, archive: Archive, run_id: str, *, through: bool = False, actor: str) -> str:
    """Ask to undo a run (with `through` also all that were applied since); returns the new run's id.

    Raises RunError if it was not applied, or newer ones were and `through` is not given.
    """
    with db.read() as tx:
        run = runs.get(tx, run_id)
        undone = reverting.undone_by(tx, run, through=through)
    missing = [one.id for one in undone if not archive.has(one.landing)]
    if missing:
        raise RunError(f"The archive no longer holds what run {missing[0]} changed, so it cannot be undone.")
    _require_readable(archive)
    return _ask(db, run_id, {"kind": "revert", "through": through}, allowed=APPLIED, actor=actor)


def _require_readable(archive: Archive) -> None:
    """Another attempt takes its file out of the archive; better to say now than in its receipt that nobody can."""
    if not archive.cipher.can_read:
        raise IdentityMissing(
            "The archive is encrypted, and this needs a file of it: let the import read the identity "
            "(`age_identity` under [archive]), restart it, then ask again."
        )


def _ask(
    db: Database, run_id: str, request: dict[str, Any], *, allowed: tuple[Outcome, ...], actor: str, reason: str = ""
) -> str:
    with audit.changing(db) as tx:
        run = runs.get(tx, run_id)
        newest = runs.get(tx, run.landing_id)
        if newest.id != run.id:
            raise RunError(f"Run {run.id} is not the newest attempt of its file; that is {newest.id}.")
        if run.outcome not in allowed:
            raise RunError(_refusal(run, request["kind"], allowed))
        asked = runs.add(tx, run.landing, priority=run.priority, requested_by=actor, request=request)
        told = {"run": run.id, "asked": asked, **({"reason": reason} if reason else {})}
        audit.record(tx, actor=actor, action=f"run.{request['kind']}", account=run.account, **told)
    return asked


def _refusal(run: Run, kind: str, allowed: tuple[Outcome, ...]) -> str:
    stands = run.outcome.value if run.outcome else f"under way ({run.state.value})"
    return f"Run {run.id} is {stands}; `{kind}` is for runs that are {' or '.join(allowed)}."
