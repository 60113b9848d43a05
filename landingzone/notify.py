"""systemd's notification protocol, sd_notify(3), both ways: telling a supervisor how a process is, and listening to
those that one supervises.
"""

import os
import socket
import struct
from collections.abc import Iterator

_CREDENTIALS = struct.Struct("3i")
_MOST_BYTES = 4096


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


class Ear:
    """Hears what one's own processes say. Anybody on the machine may speak to it: the system says who it was."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("")  # Linux gives it a free abstract name: nothing to remove, nothing in a folder
        self._socket.setblocking(False)

    @property
    def address(self) -> str:
        """What NOTIFY_SOCKET says to them."""
        name: bytes = self._socket.getsockname()
        return "@" + name[1:].decode("ascii")

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def heard(self) -> Iterator[tuple[int, str]]:
        """What has been said: the speaker's process id, and a line."""
        while True:
            try:
                data, extra, _, _ = self._socket.recvmsg(_MOST_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            for level, kind, content in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    speaker, _, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                    for line in data.decode("ascii", "replace").splitlines():
                        yield speaker, line
