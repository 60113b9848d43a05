"""Telling the supervisor how a process is: systemd's notification protocol, sd_notify(3), which `serve` speaks, too."""

import os
import socket


def notify(*said: str) -> bool:
    """Send lines such as `READY=1` to who supervises this process; False if nobody has asked for them.

    A supervisor that is gone is no reason to stop: OSError is left to the caller.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(1)
        out.connect(address)
        out.send("\n".join(said).encode())
    return True
