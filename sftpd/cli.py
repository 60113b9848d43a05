"""`landingzone sftpd`: the front door alone."""

from typing import Annotated

import typer

from landingzone.command import Installation, installation


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(sftpd)


def sftpd(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.", show_default=False)] = None,
) -> None:
    """Serve the front door alone, without the import step, until SIGTERM."""
    import uvloop

    from landingzone import log
    from landingzone.metrics import Metrics, Part
    from sftpd.server import run

    here = installation(context)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    if given:
        door = here.settings.door.model_copy(update=given)
        here = Installation(**{**here.given, "door": door})
    here.db.migrate()
    metrics = Metrics(Part.DOOR)
    log.configure(here.settings.log, service="sftpd", note=metrics.note)
    uvloop.run(run(here, metrics=metrics))
