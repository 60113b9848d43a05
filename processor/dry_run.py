"""The dry run: the receipt that a file would get; nothing is written, nothing is applied."""

from pathlib import Path
from typing import Any

from landingzone.clock import now
from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.feed import Feed, Mode
from landingzone.source import Source
from processor import account_data, receipt, staging, verdict
from processor import run as runs
from processor import standing as standings
from processor.account_reading import reading_of
from processor.examination import Examined, UnreadableFile
from processor.outcome import Outcome
from processor.reconcile import reconcile
from processor.report import Report
from processor.run import Run
from processor.verdict import Compared, Verdict


def dry_run(
    here: Installation,
    file: Path,
    *,
    feed: str,
    account: str | None = None,
    source: Source | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Examine a file as the real run would, and compose its receipt.

    With an account the file is compared with what that account's source stands at: the given one, with the mapping that
    it has, or else the one that the file would be taken for. `name` is what it is called, if not as it lies there.
    Raises LandingZoneError if there is no such feed or account.
    """
    name = name or file.name
    declared = here.catalogue.get(feed)
    if declared is None:
        raise LandingZoneError(f"There is no feed {feed!r}. `landingzone feeds list` names all.")
    source = source or _source(here, declared, name, account)
    reading = reading_of(here.accounts.get(account) if account else None, source, now())
    report = Report(source=source.name, feed=feed)
    report.sha256, report.bytes = staging.sha256_of(file)
    try:
        found = reading.examine(file, name=name, feed=declared)
    except UnreadableFile as unreadable:
        judged = Verdict(Outcome.REJECTED, str(unreadable))
    else:
        form = standings.form(declared, source, reading)
        judged = _judge(here, declared, found, report, source, account, form=form)
    report.reason = judged.reason
    report.hold = judged.hold.as_dict() if judged.hold else None
    if not judged.applies:
        report.nothing_applied()
    return receipt.compose(
        judged.outcome,
        report.as_dict(),
        landing_id=None,
        attempt=0,
        account=account,
        file=name,
        landed_at=None,
        finished_at=None,
    )


def _judge(
    here: Installation,
    feed: Feed,
    found: Examined,
    report: Report,
    source: Source,
    account: str | None,
    *,
    form: str,
) -> Verdict:
    source_id: int | None = None
    rows = [account_data.no_rows(records.feed) for records in found.records]
    last: Run | None = None
    same_file = False
    if account is not None:
        account_data.ensure_tables(here.db, here.catalogue)
        with here.db.read() as tx:
            source_id = here.sources.find_id(tx, here.accounts.get(account).id, source)
            if source_id is not None:
                rows = [account_data.rows_of(tx, records.feed, source_id) for records in found.records]
                standing = standings.of(tx, source_id)
                last = runs.find(tx, standing.run) if standing.run else None
                same_file = (standing.sha256, standing.form) == (report.sha256, form)
    found.tell(report, last_header=runs.header_of(last))
    early = verdict.on_rows(feed, found, known_source=last is not None, last_header=runs.header_of(last))
    if early is not None:
        return early
    mode = Mode(source.mode)
    changes = [
        reconcile(records, mode=mode, standing=standing) for records, standing in zip(found.records, rows, strict=True)
    ]
    changes[0].tell(report)
    compared = Compared(
        feed,
        mode,
        source.empty_means,
        found,
        changes,
        last_read=runs.rows_read(last),
        confirmed=runs.positions_of(last),
        same_file=same_file,
    )
    guards = here.settings.guards if account is None else here.accounts.get(account).guards(here.settings.guards)
    judged = verdict.on_changes(compared, guards)
    if source_id is not None and judged.is_about("many_deactivated"):
        with here.db.read() as tx:
            judged = verdict.with_schools(judged, account_data.schools_gone(tx, changes, source_id))
    return judged


def _source(here: Installation, feed: Feed, name: str, account: str | None) -> Source:
    """The account's source that the file would be taken for: by its name if that is expected, else by its feed."""
    default = Source(feed.name, f"{feed.name}.csv", feed.name, feed.mode.value)
    if account is None:
        return default
    here.accounts.get(account)
    of_feed = [source for source in here.sources.of(account) if source.feed == feed.name]
    return next((source for source in of_feed if source.matches(name)), of_feed[0] if of_feed else default)
