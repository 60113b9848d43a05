"""The front door's status: what must hold for it to be ready, and the figures that only it knows."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncssh

from landingzone import zone_status
from landingzone.backpressure import Full
from landingzone.command import Installation
from landingzone.host_key_files import FOLDER
from landingzone.metrics import Metrics
from landingzone.status import Status

if TYPE_CHECKING:
    from sftpd.server import Door

BEAT_SECONDS = 0.5


def status_of(here: Installation, door: "Door", acceptor: asyncssh.SSHAcceptor, metrics: Metrics) -> Status:
    """The door's status; started by who made it."""

    def files_of_the_zone() -> Mapping[str, float | Mapping[str, float]]:
        return {**zone_status.disk(here.settings.root), **zone_status.database_bytes(here.settings, here.db)}

    pressure = door.rooms.backpressure
    metrics.look_up("door_full", lambda: {what.value: float(what in pressure.full) for what in Full})
    metrics.look_up("door_queue_files", lambda: pressure.waiting)
    metrics.look_up("door_connections", lambda: len(door.connections))
    metrics.look_up("door_uploads_open", lambda: door.receiving.open_uploads)
    metrics.look_up("door_received_bytes", lambda: door.receiving.received_bytes)
    checks = {
        "listening": lambda: bool(acceptor.is_serving()),
        "database": lambda: zone_status.answers(here.db),
        "host_key": lambda: any((here.settings.root / FOLDER).glob("ssh_host_*_key")),
        "disk": lambda: zone_status.above_floor(here.settings),
    }
    port = here.settings.status.door_port
    return Status(metrics, here.settings.status, port=port, checks=checks, samples=(files_of_the_zone,))


async def keep_beating(status: Status) -> None:
    """Say that the event loop turns, and how late it wakes: every session waits as long."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        status.metrics.observe("door_loop_lag_seconds", max(0.0, loop.time() - due))
        status.beat()
