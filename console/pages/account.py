"""An account: how each of its sources stands, its last thirty days, its keys and connections, its newest runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from starlette.responses import Response

from console import charts, month
from console.access import NotFound, Staff, TheDesk
from console.charts import Bar, Dot
from console.connections import connections
from console.month import Day, SourceMonth
from landingzone.clock import now
from processor import account_data
from processor.arrivals import Lessons, assess, districts
from processor.night import Stand

_RUNS = 30
_CHARTED = 12
"""Sources of which charts are drawn at once: an account of three hundred schools has as many."""


def pages() -> APIRouter:
    """The routes."""
    router = APIRouter()
    router.add_api_route("/accounts/{account}", show, methods=["GET"])
    return router


def show(
    request: Request, desk: TheDesk, who: Staff, account: str, source: Annotated[str, Query(max_length=255)] = ""
) -> Response:
    """The whole page; with `source` the charts of that source, else of the first ones that files have come for."""
    found = desk.here.accounts.find(account)
    if found is None:
        raise NotFound
    at, settings = now(), desk.here.settings.arrivals
    catalogue = desk.catalogue
    with desk.here.db.read() as tx:
        district = next(districts(tx, [found], desk.here.sources, at))
        seen = assess(district, Lessons(), at, by_default=settings.due, warn_minutes=settings.broadcast_minutes)
        sources = month.month(tx, Stand(district, seen), at)
        past = month.past_runs(tx, found.id, most=_RUNS)
        active = {
            one.arrival.source: account_data.active_of_source(tx, catalogue, found.id, one.arrival.source)
            for one in sources
        }
    came = [one for one in sources if any(day.files for day in one.days)]
    charted = [one for one in came if one.arrival.source == source] or came[:_CHARTED]
    return desk.page(
        request,
        "account.html",
        who,
        account=found,
        outlook=seen,
        sources=[*came, *(one for one in sources if one not in came)],
        active=active,
        charted=charted,
        others=[one.arrival.source for one in came if one not in charted],
        drawn={one.arrival.source: _drawn(number, one) for number, one in enumerate(charted)},
        clock_of=charts.clock,
        keys=[key for key in desk.keys.of(account) if key.revoked_at is None],
        connections=connections(desk.here, found),
        runs=past,
        waiting=[one for one in past if not one.outcome],
        inbox=desk.here.zone.waiting(account),
    )


def _drawn(number: int, one: SourceMonth) -> tuple[Markup, Markup]:
    """The charts of a source's rows and arrival times."""
    name, days = one.arrival.source, one.days
    read = [day.rows["read"] for day in days if day.rows["read"]]
    about = (
        f"{len(read)} of {len(days)} days with rows; at most {max(read, default=0):,}. The table below has each day."
    )
    rows = charts.bars(f"rows-{number}", f"Rows of {name}, by day", about, [_bar(day) for day in days])
    late = sum(1 for day in days if day.came is not None and day.due is not None and day.came > day.due)
    told = f"It came on {sum(1 for day in days if day.files)} of {len(days)} days, after its due time on {late}."
    dots = [Dot(_label(day), day.came, day.due) for day in days]
    return rows, charts.times(f"times-{number}", f"When {name} came, by day", told, dots)


def _bar(day: Day) -> Bar:
    parts = tuple((kind, day.rows[kind]) for kind in ("unchanged", "changed", "added", "rejected"))
    return Bar(_label(day), parts)


def _label(day: Day) -> str:
    return f"{day.day:%b} {day.day.day}"
