"""`landingzone sftpd`: the front door alone."""

from typing import Annotated

import typer

from landingzone.command import installation


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(sftpd)


def sftpd(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.", show_default=False)] = None,
    share_port: Annotated[
        bool | None, typer.Option("--share-port", help="Listen beside other front doors of this host on that port.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Stable name of this process.", show_default=False)] = None,
    status_port: Annotated[int | None, typer.Option(help="TCP port of its metrics.", show_default=False)] = None,
) -> None:
    """Serve the front door alone, without the import step, until SIGTERM."""
    import uvloop

    from landingzone import log
    from landingzone.metrics import Metrics, Part
    from sftpd.server import run

    here = installation(context)
    door = {"host": host, "port": port, "share_port": share_port}
    here = here.with_given(node=node, door=door, status={"door_port": status_port})
    here.db.migrate()
    metrics = Metrics(Part.DOOR)
    log.configure(here.settings.log, service="sftpd", node=here.settings.node, note=metrics.note)
    uvloop.run(run(here, metrics=metrics))
