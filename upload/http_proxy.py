"""A way out through an HTTP proxy, by CONNECT.

python-socks reads its answer in one piece, and with it what a server that speaks first has said already, as SSH does.
"""

import base64
import socket

MOST_BYTES = 16 << 10
"""A longer answer is none."""


def http_connect(
    proxy: tuple[str, int], target: tuple[str, int], user: str, password: str, seconds: float
) -> socket.socket:
    """A socket to the target, through the proxy. Raises OSError, also where the proxy refuses."""
    connected = socket.create_connection(proxy, timeout=seconds)
    try:
        _ask(connected, target, user, password)
    except BaseException:
        connected.close()
        raise
    return connected


def _ask(connected: socket.socket, target: tuple[str, int], user: str, password: str) -> None:
    host = f"[{target[0]}]" if ":" in target[0] else target[0]
    lines = [f"CONNECT {host}:{target[1]} HTTP/1.1", f"Host: {host}:{target[1]}"]
    if user:
        proof = base64.b64encode(f"{user}:{password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {proof}")
    connected.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = connected.recv(1)  # not one byte more than its answer: the rest is the server's
        if not byte or len(answer) > MOST_BYTES:
            raise OSError("the proxy gave no answer")
        answer += byte
    words = answer.split(b"\r\n", 1)[0].decode(errors="replace").split(maxsplit=2)
    if len(words) < 2 or not words[1].startswith("2"):  # noqa: PLR2004 - version and code
        raise OSError(f"the proxy refuses: {' '.join(words[1:])}")
