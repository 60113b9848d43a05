"""The gate: where connections come through a TCP balancer, it reads who is behind it before SSH sees any byte.

A connection of a balancer's address must begin with a PROXY header; one of any other address is passed on as it is, so
that a header of a stranger's is what it is: no SSH. Nothing of this is in the way where no balancer is declared.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import structlog

from landingzone.settings import DoorSettings
from sftpd.proxy_header import ProxyHeader, ProxyHeaderError, parse_proxy_header
from sftpd.transport import Transport

_log = structlog.get_logger("sftpd")

Behind = Callable[[], Transport]


class ProxyGate:
    """Listens in asyncssh's place; given to it as the `tunnel` through which its connections come.

    Args:
        settings: gives those that hold now.
        most: gives how many connections may be waiting for their header.
        options: how to listen, as loop.create_server takes it.
    """

    def __init__(self, settings: Callable[[], DoorSettings], most: Callable[[], int], **options: Any) -> None:  # noqa: ANN401
        self._settings = settings
        self._most = most
        self._options = options
        self._waiting: OrderedDict[_Newcomer, None] = OrderedDict()

    async def create_server(
        self, factory: Callable[[str, int], Transport], host: str, port: int
    ) -> asyncio.AbstractServer:
        """Listen; `factory` makes the SSH connection of who has come through."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: _Newcomer(self, lambda: factory(host, port)), host, port, **self._options
        )

    def wait_for_header(self, one: "_Newcomer", address: str) -> float | None:
        """Let a newcomer wait, for so many seconds; None: it comes from no balancer. Too many: the oldest has to go."""
        settings = self._settings()
        if not settings.is_balancer(address):
            return None
        self._waiting[one] = None
        if len(self._waiting) > self._most():
            next(iter(self._waiting)).refuse("crowded_out")
        return settings.login_seconds

    def waits_no_more(self, one: "_Newcomer") -> None:
        """A newcomer has come through, or is gone."""
        self._waiting.pop(one, None)


class _Newcomer(asyncio.Protocol):
    """One connection, until it is known where it comes from."""

    def __init__(self, gate: ProxyGate, behind: Behind) -> None:
        self._gate = gate
        self._ssh: Transport | None = behind()  # from now on it counts the time for a login
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._peer = ""
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if name else ""
        seconds = self._gate.wait_for_header(self, self._peer)
        if seconds is None:
            self._pass_on(self._transport)
        else:
            self._late = asyncio.get_running_loop().call_later(seconds, self.refuse, "late")

    def data_received(self, data: bytes) -> None:
        """Take in the header."""
        if self._transport is None:
            return
        self._data += data
        try:
            header = parse_proxy_header(self._data)
        except ProxyHeaderError:
            self.refuse("missing" if self._data.startswith(b"SSH-") else "malformed")
            return
        if header is not None:
            self._pass_on(self._transport, header)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the library's signature
        """It is gone. Balancers see so whether anybody listens: nothing to tell, unless it had begun to speak."""
        if self._transport is not None and self._data:
            self.refuse("cut")
        self._done()

    def refuse(self, reason: str) -> None:
        """Close the connection."""
        transport = self._transport
        self._done()
        if transport is not None:
            transport.abort()
            _log.warning("proxy.refused", reason=reason, peer=self._peer)

    def _pass_on(self, transport: asyncio.Transport, header: ProxyHeader | None = None) -> None:
        """Let SSH have the connection, from its first byte on."""
        ssh, self._ssh = self._ssh, None
        self._done()
        assert ssh is not None
        transport.set_protocol(ssh)
        ssh.connection_made(_Balanced(transport, header, self._peer) if header else transport)
        if header is not None and (rest := self._data[header.length :]):
            ssh.data_received(rest)

    def _done(self) -> None:
        self._gate.waits_no_more(self)
        self._transport = None
        if self._late is not None:
            self._late.cancel()
        if self._ssh is not None:
            self._ssh.never_begun()
            self._ssh = None


class _Balanced(asyncio.Transport):
    """A connection's transport, which says what stands in the header: whose it is, or that it is the balancer's own.

    The balancer's own: version 2 has a command for it; in version 1, its look shows its own address as the client's.
    """

    def __init__(self, transport: asyncio.Transport, header: ProxyHeader, balancer: str) -> None:
        super().__init__()
        self._transport = transport
        self._told: dict[str, Any] = {"balancers_own": True}
        if header.address and header.address != balancer:
            self._told = {"peername": (header.address, header.port)}
        for name in ("write", "abort", "close", "is_closing", "pause_reading", "resume_reading"):
            setattr(self, name, getattr(transport, name))

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - the library's signature
        """What is known of the connection."""
        return self._told[name] if name in self._told else self._transport.get_extra_info(name, default)
