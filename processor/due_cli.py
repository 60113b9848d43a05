"""`landingzone due`: what is late, held, still due and in, at one look."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from landingzone.clock import iso, now
from landingzone.command import Installation, installation, print_listing
from landingzone.command_line import AsJson, print_json
from landingzone.errors import UsageError

if TYPE_CHECKING:
    from processor.arrivals import Arrival, Missing, Outlook

_HOUR, _DAY = 3600, 86400


def mount(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("due")(due)


def due(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only this account, with all of its sources.")] = None,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="As of this moment: 2026-01-31T06:00, in UTC unless it says otherwise.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also what is due later, in, or not due.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which files are late or held, are still due, and are in."""
    from processor.arrivals import ORDER, Timing

    here = installation(context)
    moment = _moment(at) if at else now()
    outlooks = list(_outlooks(here, account, moment))
    arrivals = [one for outlook in outlooks for one in outlook.arrivals]
    arrivals.sort(key=lambda one: (ORDER[one.timing], one.due_at or moment, one.account, one.source))
    missing = [one for outlook in outlooks for one in outlook.missing]
    if as_json:
        print_json(
            {
                "at": iso(moment),
                "sources": [_plain(one) for one in arrivals],
                "missing": [_plain(one) for one in missing],
            }
        )
        return
    zones = {one.name: ZoneInfo(one.time_zone) for one in here.accounts.all()}
    for one in missing:
        if one.near:
            clock = f"{one.goes_out_at.astimezone(zones[one.account]):%H:%M}"
            what = f"{', '.join(one.sources)} for the {clock} broadcast ({one.broadcast})"
            is_are = "is" if len(one.sources) == 1 else "are"
            tense = is_are if moment < one.goes_out_at else ("was" if is_are == "is" else "were")
            typer.echo(f"WARNING  {one.account}: {what} {tense} not in.")
    urgent = (Timing.LATE, Timing.HELD)
    shown = [one for one in arrivals if one.timing in urgent or everything or (account and one.origin != "none")]
    rows = [_row(one, zones[one.account], moment) for one in shown]
    columns = {"timing": "WHAT", "account": "ACCOUNT", "source": "SOURCE", "due": "DUE", "said": ""}
    print_listing(rows, columns, as_json=False, empty="Nothing is late, nothing is held.")
    counts = Counter(one.timing for one in arrivals)
    typer.echo(", ".join(f"{counts[timing]} {timing.value}" for timing in Timing) + ".")


def _outlooks(here: Installation, account: str | None, at: datetime) -> Iterator["Outlook"]:
    from processor.arrivals import Lessons, assess, districts

    settings = here.settings.arrivals
    chosen = [here.accounts.get(account)] if account else [one for one in here.accounts.all() if one.enabled]
    with here.db.read() as tx:
        for one in districts(tx, chosen, here.sources, at):
            yield assess(one, Lessons(), at, by_default=settings.due, warn_minutes=settings.broadcast_minutes)


def _row(one: "Arrival", zone: ZoneInfo, at: datetime) -> dict[str, str]:
    return {
        "timing": one.timing.upper() if one.timing == "late" else one.timing.value,
        "account": one.account,
        "source": one.source,
        "due": f"{one.due_at.astimezone(zone):%a %H:%M %Z}" if one.due_at else "",
        "said": "; ".join(_said(one, zone, at)),
    }


def _said(one: "Arrival", zone: ZoneInfo, at: datetime) -> Iterable[str]:
    """What is to be said of a source, beside its timing."""
    from processor.arrivals import Timing

    landed = f"landed {one.landed_at.astimezone(zone):%a %H:%M}" if one.landed_at else ""
    if one.timing is Timing.LATE and one.due_at:
        yield f"late for {lasted(at - one.due_at)}"
        yield f"{landed}, {one.outcome}" if landed else "nothing has come"
    elif landed and one.timing is not Timing.NOTHING:
        yield f"{landed}, {one.outcome}"
    if one.outcome in {"held", "failed", "rejected"} and one.run:
        yield f"landingzone runs show {one.run}"
    if one.timing is Timing.DUE and one.due_at and one.due_at > at:
        yield f"in {lasted(one.due_at - at)}"
    if one.why:
        yield one.why.rstrip(".")
    if one.origin == "learned":
        yield f"learned ({one.sure}): {one.rule}"


def lasted(time: timedelta) -> str:
    """A time for people.

    >>> [lasted(timedelta(minutes=n)) for n in (0, 12, 75, 3000)]
    ['less than a minute', '12 min', '1 h 15 min', '2 days 2 h']
    """
    seconds = int(time.total_seconds())
    if seconds < 60:  # noqa: PLR2004 - a minute
        return "less than a minute"
    if seconds < _HOUR:
        return f"{seconds // 60} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // 60} min"
    days = seconds // _DAY
    return f"{days} day{'s' if days > 1 else ''} {seconds % _DAY // _HOUR} h"


def _plain(one: "Arrival | Missing") -> dict[str, object]:
    return {
        name: iso(value) if isinstance(value, datetime) else value for name, value in dataclasses.asdict(one).items()
    }


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no time; write 2026-01-31T06:00, or 2026-01-31T06:00-06:00.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
