"""`landingzone jobs`: what the installation does by itself now and then."""

import typer

from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson


def mount(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(jobs)


def jobs(context: typer.Context, as_json: AsJson = False) -> None:
    """List what the import does by itself now and then: when it is due, who does it, how it ended last."""
    from landingzone import job

    columns = {
        "name": "JOB",
        "due_at": "DUE",
        "started_at": "LAST BEGUN",
        "ended_at": "LAST ENDED",
        "outcome": "OUTCOME",
        "failures": "FAILED SINCE",
        "owner": "UNDER WAY AT",
    }
    empty = "No job is known yet: they are noted when the import starts."
    print_listing(job.known(installation(context).db), columns, as_json=as_json, empty=empty)
