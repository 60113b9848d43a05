"""The receipt: what became of one landing, for scripts (JSON) and for people (text).

It is made from the run's committed report alone, so that it can be written again after any crash.
"""

import json
import re
from datetime import timedelta
from typing import Any

from landingzone.clock import iso, now
from landingzone.job import Work
from landingzone.landing import moment_of
from landingzone.zone import Zone, fsync_folder, link_file, write_file
from processor.archive import Archive
from processor.outcome import Outcome
from processor.receipt_text import as_text
from processor.report import Report
from processor.run import Run

_LANDED = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SENTENCES = {
    Outcome.IMPORTED: "Imported. Every row was taken.",
    Outcome.IMPORTED_WITH_REJECTS: (
        "Imported, but some rows were rejected. What was known of them before stays as it was. "
        "Correct them in your system and send the whole file again."
    ),
    Outcome.UNCHANGED: "Nothing has changed since the last import; nothing had to be done.",
    Outcome.HELD: "Not imported yet: this file is unusual, and we have to look at it first. Nothing was changed.",
    Outcome.SUPERSEDED: "Not imported: a newer file has taken this one's place. Nothing was changed by this one.",
    Outcome.REJECTED: "Not imported: the file cannot be used. Nothing was changed.",
    Outcome.UNRECOGNISED: "Not imported: nobody expects a file of this name. Nothing was changed.",
    Outcome.WITHDRAWN: "Withdrawn: the file was removed before its import began. Nothing was changed.",
    Outcome.REVERTED: "Undone by the operator: the data is back to what it was before this file.",
    Outcome.FAILED: (
        "Not imported: something went wrong on our side. Nothing was changed. "
        "The file is kept and will be tried again; you need not send it again."
    ),
}
"""What a receipt says of each outcome."""


def repeat(last: Run, report: Report) -> bool:
    """Take over what was said of the same bytes when they were applied; False if they had rejects.

    Then the file is read again, so that its rejects are listed again.
    """
    said = last.report or {}
    if not said or said["rows"]["rejected"]:
        return False
    accepted = said["rows"]["accepted"] - said["rows"]["collapsed"]
    report.rows |= {name: said["rows"][name] for name in ("read", "accepted", "collapsed")} | {"unchanged": accepted}
    report.warnings, report.tolerated, report.header = said["warnings"], said["tolerated"], said["header"]
    report.by_position, report.days = said.get("by_position", []), said.get("days", [])
    return True


def write(zone: Zone, archive: Archive, run: Run, *, as_latest: bool) -> None:
    """Write a run's receipt into the archive and where the customer fetches it; the reject file is there already.

    Scripts wait for the JSON, so it comes last: once it is there, everything is.
    """
    told = body(run)
    texts = {"receipt.txt": as_text(told), "receipt.json": as_json(told)}
    archive.add(run.landing, {f"{run.attempt}.{ending}": text for ending, text in texts.items()})
    stem, folder = f"{run.landing_id}-{run.file}", zone.receipts_folder(run.account)
    for name in (stem, f"latest-{run.source}") if as_latest else (stem,):
        for ending, text in texts.items():
            archived = archive.path(run.landing, f"{run.attempt}.{ending}")
            if archived is not None:
                link_file(archived, folder / f"{name}.{ending}")
            else:
                write_file(folder / f"{name}.{ending}", text)
    fsync_folder(folder)


def remove_old(zone: Zone, *, days: int, work: Work) -> int:
    """Remove receipts from the customers' view after their time; the archive keeps them. `latest-*` stay.

    Returns how many files are gone.
    """
    limit, removed = now() - timedelta(days=days), 0
    for account in zone.accounts_with("receipts"):
        work.go_on()
        for path in zone.receipts_folder(account).iterdir():
            landing = _LANDED.match(path.name)
            if landing and moment_of(landing[0]) < limit:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def body(run: Run) -> dict[str, Any]:
    """The receipt of a run with an outcome, as JSON values."""
    assert run.outcome is not None
    return compose(
        run.outcome,
        run.report or Report().as_dict(),
        landing_id=run.landing_id,
        attempt=run.attempt,
        account=run.account,
        file=run.file,
        landed_at=iso(run.landing.landed_at),
        finished_at=run.finished_at,
    )


def compose(
    outcome: Outcome,
    report: dict[str, Any],
    *,
    landing_id: str | None,
    attempt: int,
    account: str | None,
    file: str,
    landed_at: str | None,
    finished_at: str | None,
) -> dict[str, Any]:
    """A receipt as JSON values; a dry run has no landing, hence no id and no times."""
    return {
        "landing_id": landing_id,
        "attempt": attempt,
        "account": account,
        "source": report["source"],
        "file": file,
        "bytes": report["bytes"],
        "sha256": report["sha256"],
        "feed": report["feed"],
        "outcome": outcome.value,
        "landed_at": landed_at,
        "finished_at": finished_at,
        "resumed": report["resumed"],
        "rows": report["rows"],
        "rejects": report["rejects"],
        "reject_counts": report["reject_counts"],
        "warnings": report["warnings"],
        "tolerated": report["tolerated"],
        "hold": report["hold"],
        "message": " ".join(part for part in (SENTENCES[outcome], report["reason"]) if part),
    }


def as_json(receipt: dict[str, Any]) -> bytes:
    """For scripts: UTF-8."""
    return (json.dumps(receipt, indent=2, ensure_ascii=False) + "\n").encode()
