"""`landingzone init` and `landingzone settings`: the installation itself."""

import typer

from landingzone.command import installation, print_listing
from landingzone.command_line import AsJson
from landingzone.settings import explain


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(settings)


def settings(context: typer.Context, as_json: AsJson = False) -> None:
    """Print every setting, with where its value came from."""
    here = installation(context)
    columns = {"name": "SETTING", "value": "VALUE", "origin": "FROM", "description": "MEANING"}
    print_listing(explain(here.settings, given=here.given), columns, as_json=as_json, empty="")
