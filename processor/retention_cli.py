"""`landingzone retention`: what is over its time."""

import threading
from typing import Annotated

import typer

from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson


def mount(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(retention)


def retention(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is over its time now; the import does so by itself once a day."""
    from landingzone.job import Daily, Job, Jobs, Work
    from processor.retention import PARTS
    from processor.service import open_context

    here = installation(context)
    opened = open_context(here.settings, here.db)
    told: list[dict[str, object]] = []

    def do(work: Work) -> None:
        for part, remove in PARTS.items():
            found = remove(opened, work, remove=not dry_run)
            told.extend({"part": part, "what": what, "count": count} for what, count in found.items())

    if dry_run:
        do(Work(here.db, "retention", opened.owner, threading.Event()))
    else:
        from datetime import time

        daily = Daily(time.fromisoformat(here.settings.retention.at))
        if not Jobs(here.db, (), owner=opened.owner).now(Job("retention", daily, do)):
            typer.echo(
                "Another process is at it just now: `landingzone jobs` shows which. Nothing was done here.", err=True
            )
            raise typer.Exit(1)
    print_listing(
        told, {"part": "PART", "what": "WHAT", "count": "WOULD GO" if dry_run else "REMOVED"}, as_json=as_json, empty=""
    )
