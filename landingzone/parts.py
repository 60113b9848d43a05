"""The parts of one host: which front doors and processors `serve` runs, and what tells them apart.

The first of each bears the installation's node name. A further one is `<node>.2`, `<node>.3`: names that stay the same
from one start to the next, because what a process leaves undone is taken up under its name.
"""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from landingzone.errors import LandingZoneError
from landingzone.settings import DoorSettings, Settings

STATUS_STEP = 2
"""How far the status ports of two doors, or two processors, lie apart: those of the two kinds lie side by side."""


class PartsError(LandingZoneError):
    """These parts cannot run side by side."""

    exit_code = 2


def commands(
    settings: Settings, *, doors: int, processors: int, port: int | None = None, console: bool = False
) -> dict[str, list[str]]:
    """The parts' names, and the arguments of their command lines. Raises PartsError where two would share a port.

    `port` is the front doors', if it is not the settings'.
    """
    of_door = ["--port", str(port)] if port is not None else []
    if doors > 1:
        of_door.append("--share-port")
    ports = settings.status
    made = {
        **_of_kind(settings, "sftpd", doors, ports.door_port, of_door),
        **_of_kind(settings, "processor", processors, ports.processor_port, []),
        **_of_kind(settings, "console", int(console), ports.console_port, []),
    }
    kinds = ((ports.door_port, doors), (ports.processor_port, processors), (ports.console_port, int(console)))
    taken = [first + STATUS_STEP * number for first, count in kinds for number in range(count) if first]
    if ports.enabled and (twice := [port for port, count in Counter(taken).items() if count > 1]):
        raise PartsError(
            f"Two parts would serve their metrics on port {twice[0]}: set [status] door_port, processor_port and"
            f" console_port further apart, or to even and odd numbers. Each further part takes a port {STATUS_STEP}"
            " above the last."
        )
    return made


def _of_kind(settings: Settings, kind: str, count: int, status_port: int, further: list[str]) -> dict[str, list[str]]:
    made = {}
    for number in range(1, count + 1):
        own = []
        if number > 1:
            own = ["--node", f"{settings.node}.{number}"]
            if status_port:
                own += ["--status-port", str(status_port + STATUS_STEP * (number - 1))]
        name = kind if number == 1 else f"{kind}.{number}"
        made[name] = ["--root", str(settings.root), kind, *further, *own]
    return made


@contextmanager
def held_port(door: DoorSettings, doors: int) -> Iterator[int | None]:
    """A free port for several doors where the settings leave it to the system; None: it is theirs to find.

    While it is held nobody else is given it; nobody is let in here, which takes a socket that listens.
    """
    if door.port or doors == 1:
        yield None
        return
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((door.host, 0))
        yield held.getsockname()[1]
