"""The commands of the import step: `processor`, `runs ...`, `check`, and what an account's data holds."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landingzone import audit
from landingzone.accounts_cli import AccountName, accounts
from landingzone.command import Installation, installation, print_listing
from landingzone.command_line import AsJson, print_json
from landingzone.errors import UsageError
from landingzone.feeds_cli import feeds

if TYPE_CHECKING:
    from processor.run import Run

runs = typer.Typer(help="What became of each landed file.", no_args_is_help=True)

RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, or a landing's id (also its beginning): newest attempt.")
]


ManyRuns = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Ids as in `runs list`.")]
AllHeld = Annotated[
    bool, typer.Option("--all-held", help="All that are held, as in the week in which schools roll over.")
]

HeldOf = Annotated[str | None, typer.Option(help="With --all-held: only this account's.")]
HeldFor = Annotated[str | None, typer.Option(help="With --all-held: only runs held for this reason.")]


class Rows(StrEnum):
    """What becomes of a retired source's rows."""

    KEEP = "keep"
    DEACTIVATE = "deactivate"


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(runs, name="runs")
    app.command()(processor)
    app.command()(check)
    accounts.command("show")(show_account)


def processor(
    context: typer.Context,
    node: Annotated[str | None, typer.Option(help="Stable name of this process.", show_default=False)] = None,
    status_port: Annotated[int | None, typer.Option(help="TCP port of its metrics.", show_default=False)] = None,
) -> None:
    """Run the import step alone: watch the inboxes, import, write receipts."""
    from landingzone import log
    from landingzone.metrics import Metrics, Part
    from processor.service import serve

    here = installation(context).with_given(node=node, status={"processor_port": status_port})
    metrics = Metrics(Part.PROCESSOR)
    log.configure(here.settings.log, service="processor", node=here.settings.node, note=metrics.note)
    serve(here.settings, here.db, metrics)


def show_account(context: typer.Context, account: AccountName, as_json: AsJson = False) -> None:
    """Show an account: what is expected of it, and how many rows of each feed are active."""
    from processor import account_data

    here = installation(context)
    found = here.accounts.get(account)
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        counts = account_data.active_counts(tx, here.catalogue, found.id)
        own = {
            source.name: account_data.active_of_source(tx, here.catalogue, found.id, source.name)
            for declared in here.sources.of(account)
            for source in (declared, *here.sources.schools_of(account, declared.name))
        }
    if as_json:
        print_json({**asdict(found), "enabled": found.enabled, "rows": counts, "rows_of_sources": own})
        return
    state = "enabled" if found.enabled else f"disabled since {found.disabled_at}"
    typer.echo(f"{found.name}  {found.title}\n{state}, time zone {found.time_zone}, since {found.created_at}")
    typer.echo(f"Of its own: {', '.join(f'{name}={value}' for name, value in found.options.items()) or 'nothing'}\n")
    expected = {source.name: source for source in here.sources.of(account)}
    rows = [
        {"source": name, "pattern": one.pattern if one else "", "feed": one.feed if one else "", "active": active}
        for name, active in own.items()
        for one in (expected.get(name),)
    ]
    headings = {"source": "SOURCE", "pattern": "FILE", "feed": "FEED", "active": "ACTIVE ROWS"}
    print_listing(rows, headings, as_json=False, empty="Nothing is expected.")


@runs.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only runs in this state or with this outcome; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    from processor import run as found
    from processor.outcome import Outcome
    from processor.run import State

    unknown = set(state or ()) - {*State, *Outcome}
    if unknown:
        raise UsageError(f"No state or outcome is named {unknown.pop()!r}; there are {', '.join((*State, *Outcome))}.")
    with installation(context).db.read() as tx:
        rows = [_summary(run) for run in found.newest(tx, account=account, states=tuple(state or ()), limit=limit)]
    columns = {
        "id": "RUN",
        "account": "ACCOUNT",
        "file": "FILE",
        "outcome": "OUTCOME",
        "read": "READ",
        "rejected": "REJECTED",
        "finished_at": "FINISHED",
    }
    print_listing(rows, columns, as_json=as_json, empty="No such runs.")


@runs.command()
def show(context: typer.Context, run: RunId, as_json: AsJson = False) -> None:
    """Show a run: its receipt, as the customer reads it."""
    from processor import receipt, receipt_text
    from processor import run as runs_

    here = installation(context)
    with here.db.read() as tx:
        found = runs_.get(tx, run)
    if found.outcome is None:
        print_json(_summary(found))
    elif as_json:
        print_json(receipt.body(found))
    else:
        typer.echo(receipt_text.as_text(receipt.body(found)).decode().replace("\r\n", "\n"))
        typer.echo(f"Kept in      {_kept_in(here, found)}")


@runs.command()
def retry(context: typer.Context, run: RunId) -> None:
    """Ask for another attempt of a file that was not imported."""
    from processor import requests
    from processor.archive import archive_of

    here = installation(context)
    asked = requests.retry(here.db, archive_of(here.settings, here.zone), run, actor=audit.operator())
    typer.echo(f"Asked for: {asked}")


@runs.command()
def approve(
    context: typer.Context,
    run: ManyRuns = None,
    held: AllHeld = False,
    account: HeldOf = None,
    code: HeldFor = None,
) -> None:
    """Approve held runs as they are shown; one that has become worse meanwhile is held again."""
    from processor import requests
    from processor.archive import archive_of

    here = installation(context)
    archive = archive_of(here.settings, here.zone)
    for run_id in _chosen(here, run, held=held, account=account, code=code):
        typer.echo(f"Asked for: {requests.approve(here.db, archive, run_id, actor=audit.operator())}")


@runs.command()
def revert(
    context: typer.Context,
    run: RunId,
    through: Annotated[bool, typer.Option("--through", help="Also undo all that were applied since.")] = False,
) -> None:
    """Undo an applied run: its source goes back to its state before it."""
    from processor import requests
    from processor.archive import archive_of

    here = installation(context)
    archive = archive_of(here.settings, here.zone)
    asked = requests.revert(here.db, archive, run, through=through, actor=audit.operator())
    typer.echo(f"Asked for: {asked}")


@runs.command()
def reject(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; the customer reads it.")],
    run: ManyRuns = None,
    held: AllHeld = False,
    account: HeldOf = None,
    code: HeldFor = None,
) -> None:
    """Reject held runs."""
    from processor import requests
    from processor.archive import archive_of

    here = installation(context)
    archive = archive_of(here.settings, here.zone)
    for run_id in _chosen(here, run, held=held, account=account, code=code):
        typer.echo(f"Asked for: {requests.reject(here.db, archive, run_id, reason=reason, actor=audit.operator())}")


@feeds.command("suggest")
def suggest_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A file of the district's.")
    ],
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="Only for this feed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Propose what a file holds and which column is which, and say how sure that is. Nothing is kept."""
    from processor.suggestion import suggest

    here = installation(context)
    if feed is not None and feed not in here.catalogue:
        raise UsageError(f"There is no feed {feed!r}. `landingzone feeds list` names all.")
    found = suggest(file, here.catalogue, feed=feed)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        typer.echo("This looks like none of the feeds.")
    for one in found[:3]:
        typer.echo(f"{one.feed}: {one.confidence:.0%} sure")
        rows = [
            {**asdict(column), "sure": f"{column.confidence:.0%}", "at": column.position + 1} for column in one.columns
        ]
        headings = {"at": "COLUMN", "header": "HEADER", "field": "FIELD", "sure": "SURE", "reasons": "BECAUSE"}
        print_listing(rows, headings, as_json=False, empty="No column fits.")
        if one.missing:
            typer.echo(f"Nothing fits: {', '.join(one.missing)}")
        kept = [f'{name}="{header}"' for name, header in one.mapping.headers.items()]
        kept += [f"--position {name}={at + 1}" for name, at in one.mapping.positions.items()]
        if kept:
            typer.echo(f"To keep it: landingzone feeds map ACCOUNT {one.feed} {' '.join(kept)}")
        typer.echo("")


@feeds.command()
def retire(
    context: typer.Context,
    account: AccountName,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source of the account.")],
    rows: Annotated[
        Rows | None, typer.Option(help="What becomes of its rows: they stay active, or are deactivated.")
    ] = None,
) -> None:
    """Expect a source no longer. Says what happens to its rows, and asks."""
    from processor import account_data

    here = installation(context)
    here.sources.get(account, source)
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        active = account_data.active_of_source(tx, here.catalogue, here.accounts.get(account).id, source)
    if rows is None:
        typer.echo(f"Source {source} of {account} has {active:,} active rows.")
        answer = typer.prompt("Keep them as they are, or deactivate them? (keep, deactivate)")
        if answer not in list(Rows):
            raise UsageError(f"{answer!r} is neither keep nor deactivate; nothing was changed.")
        rows = Rows(answer)
    with audit.changing(here.db) as tx:
        ids = here.sources.retire(tx, account, source, actor=audit.operator())
        ended = account_data.end_all(tx, here.catalogue, ids) if rows is Rows.DEACTIVATE else 0
    typer.echo(
        f"Source {source} of {account} is retired; {ended:,} rows were deactivated, {active - ended:,} are kept."
    )


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The file to look at.")],
    feed: Annotated[str, typer.Option(metavar="FEED", help="What it holds; `landingzone feeds list` names all.")],
    account: Annotated[str | None, typer.Option(help="Compare with what this account's source stands at.")] = None,
    as_json: AsJson = False,
) -> None:
    """Dry run: print the receipt that a file would get, and do nothing else. Exits 1 if it would not be imported."""
    from processor.dry_run import dry_run

    told = dry_run(installation(context), file, feed=feed, account=account)
    from processor import receipt_text
    from processor.outcome import APPLIED

    if as_json:
        print_json(told)
    else:
        typer.echo(receipt_text.as_text(told).decode().replace("\r\n", "\n"))
    raise typer.Exit(0 if told["outcome"] in APPLIED else 1)


def _chosen(
    here: Installation, named: list[str] | None, *, held: bool, account: str | None, code: str | None
) -> list[str]:
    """The runs that a command is about: those named, or all that are held."""
    from processor import run as found
    from processor.outcome import Outcome

    if bool(named) is held:
        raise UsageError("Name runs, or say --all-held.")
    if named:
        return named
    with here.db.read() as tx:
        waiting = found.newest(tx, account=account, states=(Outcome.HELD.value,), limit=1_000_000)
    return [run.id for run in waiting if code is None or ((run.report or {}).get("hold") or {}).get("code") == code]


def _kept_in(here: Installation, run: "Run") -> str:
    from processor.archive import folder_of

    return f"{here.settings.archive.url or here.settings.root / 'archive'}/{folder_of(run.landing)}"


def _summary(run: "Run") -> dict[str, object]:
    rows = (run.report or {}).get("rows", {})
    return {
        "id": run.id,
        "account": run.account,
        "file": run.file,
        "source": run.source,
        "state": run.state.value,
        "outcome": run.outcome.value if run.outcome else f"({run.state.value})",
        "read": rows.get("read"),
        "rejected": rows.get("rejected"),
        "created_at": run.created_at,
        "finished_at": run.finished_at,
        "sha256": run.sha256,
        "bytes": run.bytes,
        "requested_by": run.requested_by,
    }
