"""The import step, from the claim to the receipt: four steps, each of which can be repeated after a crash.

Up to the commit in `bring_in` nothing has happened that counts; after it everything is written from the committed row.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import sqlalchemy as sa
import structlog

from landingzone import landing_record
from landingzone.account import Account, Accounts
from landingzone.clock import iso, now
from landingzone.db import is_busy, is_disk_full
from landingzone.feed import Feed, Mode
from landingzone.source import Source, source_of
from processor import account_data, receipt, reverting, staging, verdict
from processor import run as runs
from processor import standing as standings
from processor.account_reading import Reading, reading_of
from processor.archive_cipher import IdentityMissing
from processor.archive_store import ArchiveAway
from processor.changes import Changes
from processor.comparison import Comparison, Subject, comparison
from processor.context import Context
from processor.examination import UnreadableFile
from processor.integrity import warnings_for
from processor.listing import ListingDiffers
from processor.outcome import Outcome
from processor.progress import Progress
from processor.report import Report
from processor.run import Run, State
from processor.standing import Seen, Standing
from processor.verdict import Compared, Verdict

log = structlog.get_logger()

SET_ASIDE_AFTER = 3
"""Processes that may die while they have a file in hand; then it is left alone until somebody asks for it again."""
_EVENTS = {outcome: f"run.{outcome.value}" for outcome in Outcome}
"""Stable names in the log: `run.imported`, `run.held`, ..."""


@dataclass(frozen=True)
class Application:
    """What is to be applied to a source.

    Attributes:
        source_id: the source's number.
        seen: what it stood at when the changes were found.
        changes: of its records, by kind.
        standing: what it stands at afterwards.
        ends_older: a full file makes older ones that are held or failed pointless.
        undone: the runs that the changes undo.
        comparison: how the changes were found; it is told when they are applied.
    """

    source_id: int
    seen: Seen
    changes: Sequence[Changes]
    standing: Standing
    ends_older: bool = False
    undone: Sequence[Run] = ()
    comparison: Comparison | None = None

    @property
    def changes_rows(self) -> bool:
        """Whether any row is changed."""
        return any(not one.empty for one in self.changes)


Step = Callable[[Context, Run], Run | None]
"""A step of a run; returns the run as it is in the database then, or None: it has to be read again."""

# The steps


def claim(here: Context, run: Run) -> Run | None:
    """Take the file out of the inbox (or back out of the archive, for a further attempt) into the run's own folder."""
    try:
        present = here.zone.claim(run.landing) or here.archive.restore(run.landing)
    except IdentityMissing:
        log.warning("archive.locked")
        _commit(here, run, Report(), Verdict(Outcome.FAILED, "The archive's copy of the file cannot be opened."))
        return None
    if present:
        return run
    gone = Verdict(Outcome.FAILED, "The archive no longer holds the file.")
    _commit(here, run, Report(), Verdict(Outcome.WITHDRAWN) if run.attempt == 1 else gone)
    return None


def bring_in(here: Context, run: Run) -> None:
    """Recognise, read, validate, reconcile, apply: the outcome and the data commit together, or neither."""
    progress = Progress(here, run)
    progress.begin()
    report = Report()
    try:
        with contextlib.ExitStack() as held:
            judged, application = _judge(here, run, report, progress, held)
            _commit(here, run, report, judged, application, progress=progress)
    except (runs.TakenOver, ListingDiffers, standings.SourceMoved, ArchiveAway):
        raise
    except Exception as error:
        if is_busy(error):
            raise  # another import is still at work: this one begins again, it has not failed
        full = is_disk_full(error)
        log.error("run.error", reason="disk_full" if full else "internal", exc_info=error)
        with contextlib.suppress(OSError):
            _hash(here, run, report)  # the receipt names the file by it
        staging.drop_staging(here.zone, run)
        if full:
            here.zone.release_reserve()
        _commit(here, run, report, Verdict(Outcome.FAILED, "Our disk was full." if full else ""), progress=progress)


def keep(here: Context, run: Run) -> Run:
    """Put the file and what the attempt staged into the archive."""
    here.archive.keep(run, sha256=run.sha256)
    return _advance(here, run, State.ARCHIVED)


def hand_out(here: Context, run: Run) -> Run:
    """Write the receipt where the customer fetches it, and bring those up to date that this run has superseded."""
    with here.db.read() as tx:
        receipts = [run, *runs.superseded_by(tx, run)]
        latest = runs.newest_of_source(tx, run.source_id) if run.source_id is not None else None
    for one in receipts:
        receipt.write(
            here.zone, here.archive, one, as_latest=latest is not None and one.landing_id == latest.landing_id
        )
    done = _advance(here, run, State.RECEIPTED)
    assert run.outcome is not None
    log.info(_EVENTS[run.outcome], source=run.source, **(run.report or {}).get("rows", {}))
    return done


def leave(here: Context, run: Run) -> None:
    """Put right what a process that has lost a run may have written after the others: it has stood still meanwhile.

    Where the landing is done, its work folder goes, and the receipts say what the database says.
    """
    with here.db.read() as tx:
        newest = runs.get(tx, run.landing_id)
        latest = runs.newest_of_source(tx, newest.source_id) if newest.source_id is not None else None
    if newest.state is not State.RECEIPTED:
        return  # whoever has it in hand puts it right
    staging.drop_work(here.zone, run)
    for one in {each.id: each for each in (newest, latest) if each is not None}.values():
        if one.state is State.RECEIPTED:
            is_latest = latest is not None and one.landing_id == latest.landing_id
            receipt.write(here.zone, here.archive, one, as_latest=is_latest)


#: The steps of a run, each with the states in which it has work to do.
STEPS: tuple[tuple[Step, tuple[State, ...]], ...] = (
    (claim, (State.LANDED, *runs.BEFORE_COMMIT)),
    (bring_in, runs.BEFORE_COMMIT),
    (keep, (State.APPLIED,)),
    (hand_out, (State.ARCHIVED,)),
)


# What `bring_in` is made of


def _judge(
    here: Context, run: Run, report: Report, progress: Progress, held: contextlib.ExitStack
) -> tuple[Verdict, Application | None]:
    """Take the claimed file as far as it goes; nothing is applied yet. What is in use until the commit is `held`.

    A large file is hashed while it is read, unless it may be the one that its source stands at.
    """
    report.bytes = here.zone.claimed_path(run.landing).lstat().st_size
    large = report.bytes >= here.settings.processor.large_mebibytes << 20
    if not large:
        _hash(here, run, report)
    found = _judge_claimed(here, run, report, progress, held, large=large)
    _hash(here, run, report)
    return found


def _hash(here: Context, run: Run, report: Report) -> None:
    """The claimed file's SHA-256, unless it is known."""
    if not report.sha256:
        report.sha256, report.bytes = staging.sha256_of(here.zone.claimed_path(run.landing))


@contextlib.contextmanager
def _hashed_beside(here: Context, run: Run, report: Report, *, large: bool) -> Iterator[Callable[[], None]]:
    """A large claimed file is packed beside, and hashed on that way; gives a function that waits for its SHA-256."""

    def hashed() -> None:
        if not report.sha256:
            report.sha256 = packed() or ""
        _hash(here, run, report)

    if not large:
        yield hashed
        return
    with here.archive.packing_ahead(run.landing, sha256=report.sha256 or None) as packed:
        yield hashed


def _judge_claimed(
    here: Context, run: Run, report: Report, progress: Progress, held: contextlib.ExitStack, *, large: bool
) -> tuple[Verdict, Application | None]:
    with here.db.read() as tx:
        notes = landing_record.find(tx, run.landing_id)
        account = Accounts.by_name(tx, run.account)
        declared = here.sources.of(run.account, tx)
        source = source_of(declared, run.file)
        source_id = here.sources.find_id(tx, run.account_id, source) if source is not None else None
    assert account is not None
    report.resumed = notes is not None and notes.resumed
    if run.crashes >= SET_ASIDE_AFTER:
        log.error("run.set_aside", crashes=run.crashes)
        return Verdict(Outcome.FAILED, f"Our system ended {run.crashes} times while it read this file."), None
    if run.request is not None and run.request["kind"] == "reject":
        return Verdict(Outcome.REJECTED, run.request["reason"]), None
    if run.request is not None and run.request["kind"] == "revert":
        return _undo(here, run, report, progress)

    if source is None:
        expected = ", ".join(one.pattern for one in declared)
        return Verdict(Outcome.UNRECOGNISED, f"Expected are: {expected}."), None
    feed, mode = here.catalogue[source.feed], Mode(source.mode)
    report.source, report.feed = source.name, feed.name
    if source_id is None:
        with here.db.write() as tx:
            source_id = here.sources.id_of(tx, run.account_id, source)
    progress.source_id = source_id
    progress.reached(State.RECOGNISED)

    with here.db.read() as tx:
        seen = standings.seen(tx, source_id)
        before = seen.standing
        last = runs.find(tx, before.run) if before.run else None
    reading = reading_of(account, source, run.landing.landed_at)
    form = standings.form(feed, source, reading)
    late = before.landing_id is not None and before.landing_id > run.landing_id
    if late and mode is not Mode.EVENTS:
        return Verdict(Outcome.SUPERSEDED), None
    same_file = False
    if last is not None and last.bytes in {None, report.bytes}:
        _hash(here, run, report)
        same_file = (before.sha256, before.form) == (report.sha256, form)
    ends_older = mode is Mode.FULL
    if same_file and last is not None and receipt.repeat(last, report):
        after = Standing(run.id, report.sha256, form)
        return Verdict(Outcome.UNCHANGED), Application(source_id, seen, (), after, ends_older=ends_older)

    known = _Known(feed, source, source_id, account, reading, last, same_file=same_file, late=late)
    hashed = held.enter_context(_hashed_beside(here, run, report, large=large))
    judged, found = _compare(here, run, report, known, progress, held, large=large)
    hashed()
    if found is None or not judged.applies:
        return judged, None
    changes, compared_by = found
    standing = before if late else Standing(run.id, report.sha256, form)
    return judged, Application(source_id, seen, changes, standing, ends_older=ends_older, comparison=compared_by)


@dataclass(frozen=True)
class _Known:
    """What is known of a recognised file before it is read.

    Attributes:
        source_id: the source's number.
        last: the run that the source stands at.
        same_file: that was of the same bytes, read in the same way.
        late: a newer file of the source has been applied already.
    """

    feed: Feed
    source: Source
    source_id: int
    account: Account
    reading: Reading
    last: Run | None
    same_file: bool
    late: bool


def _compare(
    here: Context,
    run: Run,
    report: Report,
    known: _Known,
    progress: Progress,
    held: contextlib.ExitStack,
    *,
    large: bool,
) -> tuple[Verdict, tuple[Sequence[Changes], Comparison] | None]:
    """Read and validate a file, and compare it with what its source stands at: the verdict, and what it would change.

    Nothing is told of the changes if the verdict is given before they are looked for.
    """
    feed, mode = known.feed, Mode(known.source.mode)
    folder = staging.fresh_staging(here.zone, run)
    subject = Subject(here, run, known.source_id, mode, folder, report.bytes)
    compared_by = held.enter_context(comparison(subject, feed.records_of, large=large))
    try:
        found = known.reading.examine(
            here.zone.claimed_path(run.landing),
            name=run.file,
            feed=feed,
            rejects_to=folder / "rejects.csv",
            on_rows=compared_by.on_rows,
            entering=compared_by.entering(feed),
        )
    except UnreadableFile as unreadable:
        return Verdict(Outcome.REJECTED, str(unreadable)), None
    last = known.last
    found.tell(report, last_header=runs.header_of(last))
    progress.reached(State.READ)
    early = verdict.on_rows(feed, found, known_source=last is not None, last_header=runs.header_of(last))
    if early is not None:
        staging.fsync_staging(folder)
        return early, None
    progress.reached(State.VALIDATED)

    with here.db.read() as tx:
        newer = runs.days_since(tx, known.source_id, run) if known.late else []
    said = [records.but_for(newer) for records in found.records]
    report.days = said[0].days
    changes = compared_by.changes(said)
    changes[0].tell(report)
    staging.fsync_staging(folder)
    progress.reached(State.RECONCILED)
    compared = Compared(
        feed,
        mode,
        known.source.empty_means,
        found,
        changes,
        resumed=report.resumed,
        last_read=runs.rows_read(last),
        confirmed=runs.positions_of(last),
        same_file=known.same_file,
    )
    judged = verdict.on_changes(compared, known.account.guards(here.settings.guards), request=run.request)
    if judged.is_about("many_deactivated"):
        with here.db.read() as tx:
            judged = verdict.with_schools(judged, account_data.schools_gone(tx, changes, known.source_id))
    return judged, (changes, compared_by)


def _undo(here: Context, run: Run, report: Report, progress: Progress) -> tuple[Verdict, Application]:
    """Bring the source of an applied run back to its state before it."""
    assert run.request is not None
    with here.db.read() as tx:
        undone_run = runs.applied_of(tx, run.landing_id)
        undone = reverting.undone_by(tx, undone_run, through=run.request["through"])
        before = reverting.standing_before(tx, undone_run)
        assert undone_run.source_id is not None
        seen = standings.seen(tx, undone_run.source_id)
    report.source, report.feed = undone_run.source, undone_run.feed
    progress.source_id = undone_run.source_id
    progress.reached(State.RECOGNISED)
    changes = reverting.undo(here.archive, here.catalogue, undone)
    for one in changes:
        one.tell(report)
    reason = f"{len(undone) - 1} newer files were undone with it." if len(undone) > 1 else ""
    after = Standing(before, None, None)
    return Verdict(Outcome.REVERTED, reason), Application(undone_run.source_id, seen, changes, after, undone=undone)


def _advance(here: Context, run: Run, to: State) -> Run:
    with here.progress.write() as tx:
        runs.advance(tx, run, to, owner=here.owner)
    return replace(run, state=to)


def _commit(
    here: Context,
    run: Run,
    report: Report,
    judged: Verdict,
    application: Application | None = None,
    *,
    progress: Progress | None = None,
) -> None:
    """The one transaction: the outcome, the report, the data, what the source stands at, and what it supersedes."""
    report.reason = judged.reason
    report.hold = judged.hold.as_dict() if judged.hold else None
    report.steps = progress.steps if progress is not None else {}
    if application is None:
        report.nothing_applied()
    by = application.comparison if application is not None else None
    large = by is not None and by.on_rows is not None
    beside = _beside(by, run.serial, changed=application.changes_rows) if application and by and large else None
    with _trusting(application), beside or contextlib.nullcontext(), here.db.write(checkpoint=not large) as tx:
        if application is not None:
            _apply(tx, run, application)
            feeds = {one.feed.name for one in application.changes}
            report.warnings += warnings_for(tx, here.catalogue, run.account_id, feeds, run=run.serial)
        runs.advance(
            tx,
            run,
            State.APPLIED,
            owner=here.owner,
            outcome=judged.outcome.value,
            finished_at=iso(now()),
            sha256=report.sha256,
            bytes=report.bytes,
            report=report.as_dict(),
            **(progress.values if progress is not None else {}),
        )
    if by is not None:
        by.applied()
    if large:
        threading.Thread(target=_move_on, args=(here,), name="moving-on").start()


@contextlib.contextmanager
def _beside(by: Comparison, serial: int, *, changed: bool) -> Iterator[None]:
    """While the changes are being applied, what is kept of the source is written."""
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as thread:
        written = thread.submit(by.applying, serial, changed=changed)
        yield
        written.result()


def _move_on(here: Context) -> None:
    """While the run goes on, the database moves what was committed to where it belongs."""
    try:
        here.db.move_on()
    except Exception as error:
        log.warning("database.behind", exc_info=error)  # a later commit does it


@contextlib.contextmanager
def _trusting(application: Application | None) -> Iterator[None]:
    """Where the database contradicts what is kept of a source, that is removed, and the run begins again."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        if application is None or application.comparison is None or not application.comparison.distrust():
            raise
        raise ListingDiffers from error


def _apply(tx: sa.Connection, run: Run, what: Application) -> None:
    standings.require(tx, what.source_id, what.seen)
    for one in what.changes:
        account_data.add(tx, one.feed, what.source_id, run.serial, one.added)
        account_data.change(tx, one.feed, what.source_id, run.serial, one.changed)
        account_data.change(tx, one.feed, what.source_id, run.serial, one.reactivated)
        account_data.end(tx, one.feed, what.source_id, run.serial, one.deactivated)
    first = what.seen.rows_run is None
    rows_run = run.serial if what.changes_rows or first else None
    standings.set_to(tx, what.source_id, what.standing, rows_run=rows_run)
    runs.end_undone(tx, run, what.undone)
    if what.ends_older:
        runs.supersede_older(tx, run, what.source_id)
