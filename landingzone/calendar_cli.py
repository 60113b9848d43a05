"""`landingzone calendar ...`: days on which nothing is due."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from landingzone import audit
from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson
from landingzone.errors import UsageError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

calendar = typer.Typer(help="Days on which nothing is due, of one account or of all.", no_args_is_help=True)

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="[ACCOUNT] DAY...", help="2026-11-26, or 2026-11-26..2026-11-27; of all accounts if none is named."
    ),
]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(calendar, name="calendar")


@calendar.command()
def add(
    context: typer.Context, words: Words, reason: Annotated[str, typer.Option(help="For people: why.")] = ""
) -> None:
    """Nothing is due on these days."""
    from landingzone.school_calendar import SchoolCalendar, parse_days

    account, days = _account_and_days(words)
    off = [parse_days(day, reason) for day in days]
    added = SchoolCalendar(installation(context).db).add(off, account=account, actor=audit.operator())
    whose = account or "all accounts"
    typer.echo(f"Nothing is due of {whose} on {', '.join(map(str, off))}" + ("." if added else ", as before."))


@calendar.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only what holds for this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the days on which nothing is due."""
    from landingzone.school_calendar import SchoolCalendar

    here = installation(context)
    if account is not None:
        here.accounts.get(account)
    rows = [
        {"account": off.account, "first": str(off.first), "last": str(off.last), "reason": off.reason}
        for off in SchoolCalendar(here.db).all(account)
    ]
    columns = {"account": "ACCOUNT", "first": "FIRST DAY", "last": "LAST DAY", "reason": "REASON"}
    shown = rows if as_json else [{**row, "account": row["account"] or "(all)"} for row in rows]
    print_listing(shown, columns, as_json=as_json, empty="The calendar is empty: weekends are known without it.")


@calendar.command()
def remove(context: typer.Context, words: Words) -> None:
    """Files are due again: what lies within these days is forgotten."""
    from landingzone.school_calendar import CalendarError, SchoolCalendar, parse_days

    account, days = _account_and_days(words)
    kept = SchoolCalendar(installation(context).db)
    removed = sum(kept.remove(parse_days(day), account=account, actor=audit.operator()) for day in days)
    if not removed:
        raise CalendarError(
            "Nothing of that kind lies within these days; `landingzone calendar list` shows what there is."
        )
    typer.echo(f"{removed} removed.")


@calendar.command("import")
def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="An iCalendar (.ics), or a CSV: day,last day,reason.")],
    account: Annotated[str | None, typer.Argument(help="Whose calendar it is; else it holds for all.")] = None,
    containing: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Of an iCalendar: only events with this in their name, such as 'no school'."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of an iCalendar: all events of whole days.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be added.")] = False,
) -> None:
    """Add the days off that a calendar's file holds. It can be repeated: what is there stays once."""
    from landingzone.calendar_file import MOST_BYTES, read_calendar
    from landingzone.school_calendar import CalendarError, SchoolCalendar

    here = installation(context)
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as wrong:
        raise CalendarError(f"{file}: {wrong.strerror}.") from None
    off = read_calendar(content, containing=containing or (), everything=everything)
    for one in off:
        typer.echo(f"{one}  {one.reason}")
    if dry_run:
        typer.echo(f"{len(off)} would be added.")
        return
    added = SchoolCalendar(here.db).add(off, account=account, actor=audit.operator())
    typer.echo(f"{added} added for {account or 'all accounts'}; {len(off) - added} were there.")


def _account_and_days(words: list[str]) -> tuple[str | None, list[str]]:
    account = None if _DAY.match(words[0]) else words[0]
    days = words if account is None else words[1:]
    if not days:
        raise UsageError("Say at least one day: landingzone calendar add [ACCOUNT] 2026-11-26 --reason Thanksgiving")
    return account, days
