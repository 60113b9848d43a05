"""The connection: a way to the server (straight, or through a proxy), its proof, a login, and a watch over silence."""

import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from python_socks import ProxyError, ProxyType
from python_socks.sync import Proxy

from upload.errors import ConnectionLost, KeyUnusable, LoginRefused, UploadError, plain
from upload.host_key import Pins
from upload.http_proxy import http_connect
from upload.patience import Patience
from upload.run_log import Note
from upload.session import Session
from upload.settings import ServerSettings

CIPHERS = ("aes256-gcm@openssh.com", "aes256-ctr")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
KEEPALIVE_SECONDS = 15
AGENT = "agent"

BROKEN = (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError)
"""What is raised when a connection breaks, or speaks nonsense."""

_DEFAULT_PORTS = {"socks5": 1080, "http": 8080}


@dataclass(frozen=True)
class Way:
    """Everything that is needed to reach the server and log in.

    Attributes:
        server: the settings.
        pins: the host keys that it may show.
        key: the private key's file; None: the agent has it.
        patience: how long is waited.
    """

    server: ServerSettings
    pins: Pins
    key: Path | None
    patience: Patience


class _Wire:
    """A socket that knows when something last came."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.heard = time.monotonic()

    def recv(self, size: int) -> bytes:
        data = self._inner.recv(size)
        self.heard = time.monotonic()
        return data

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a socket has
        return getattr(self._inner, name)


class _Transport(paramiko.Transport):  # type: ignore[misc] # paramiko ships no types
    """paramiko's, with what the server says when it hangs up."""

    farewell = ""

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self.farewell = plain(message.get_text())


class Connection:
    """One connection, logged in. It is closed when nothing comes for too long, or the deadline has passed."""

    def __init__(self, transport: _Transport, wire: _Wire, patience: Patience) -> None:
        self._transport = transport
        self._wire = wire
        self._patience = patience
        self._over = threading.Event()
        self.silent = False
        """Whether it was given up because nothing came any more."""
        threading.Thread(target=self._watch, daemon=True, name="silence").start()

    def start(self, algorithms: tuple[str, ...]) -> paramiko.PKey:
        """Agree on keys; the host key that the server has proven to hold."""
        options = self._transport.get_security_options()
        options.ciphers, options.digests, options.key_types = CIPHERS, MACS, algorithms
        self._transport.start_client(timeout=self._patience.silence)
        return self._transport.get_remote_server_key()

    def log_in(self, account: str, keys: Iterator[paramiko.PKey]) -> None:
        """Prove a key; raises LoginRefused if the server takes none."""
        offered = []
        for key in keys:
            try:
                left = self._transport.auth_publickey(account, key)
            except paramiko.AuthenticationException as refused:
                if not self._transport.is_active() or "timeout" in str(refused):  # a cut is no word about the key
                    raise paramiko.SSHException(self._transport.farewell or str(refused)) from None
                offered.append(key.fingerprint)
                continue
            if left:
                raise LoginRefused(f"The server wants more than a key: {plain(', '.join(left))}. Ask the vendor.")
            self._transport.set_keepalive(KEEPALIVE_SECONDS)
            return
        shown = ", ".join(offered) or "none"
        raise LoginRefused(
            f"The server does not take this key for the account {account} (offered: {shown}). Send the vendor the "
            "public key (`landingzone-upload init` shows it) and ask whether it has been added."
        )

    def session(self) -> Session:
        """A new SFTP session."""
        session: Session | None = Session.from_transport(self._transport)
        if session is None:
            raise paramiko.SSHException("The server opens no SFTP session.")
        return session

    def why(self, error: BaseException) -> str:
        """Why it broke, in a sentence's end."""
        if self.silent:
            return f"nothing came from the server for {self._patience.silence:g} seconds"
        return (self._transport.farewell or plain(str(error)) or type(error).__name__).rstrip(".")

    def close(self) -> None:
        """End it; never raises."""
        self._over.set()
        with suppress(*BROKEN):
            self._transport.close()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._patience.silence / 4)):
            self.silent = time.monotonic() - self._wire.heard > self._patience.silence
            if self.silent or self._patience.left < 0:
                self.close()


def connect(way: Way, note: Note) -> Connection:
    """A connection to the pinned server, logged in.

    Raises ConnectionLost, which may pass; HostKeyChanged, LoginRefused, KeyUnusable, which do not.
    """
    shown: list[paramiko.PKey] = []
    for algorithms in way.pins.attempts():
        connection = _open(way)
        try:
            key = connection.start(algorithms)
            if way.pins.hold(key):
                connection.log_in(way.server.account, load_keys(way.key))
                note("connected", host=way.server.host, port=way.server.port, host_key=key.fingerprint)
                return connection
            shown.append(key)
        except paramiko.ssh_exception.IncompatiblePeer as error:
            if "host key" not in str(error):
                connection.close()
                raise ConnectionLost(f"The server offers no cipher of 256 bits that is known here: {error}") from None
        except BROKEN as error:
            connection.close()
            raise ConnectionLost(f"The connection broke: {connection.why(error)}.") from error
        except UploadError:
            connection.close()
            raise
        connection.close()
    note("host_key.changed", shown=[key.fingerprint for key in shown], pinned=sorted(way.pins.fingerprints))
    raise way.pins.changed(shown)


def shown_key(server: ServerSettings, patience: Patience, algorithms: tuple[str, ...] = ()) -> paramiko.PKey | None:
    """The host key that a server shows to whoever asks: nothing is sent, nothing is believed.

    With `algorithms` the key of that kind, None if it has none. Raises ConnectionLost.
    """
    way = Way(server, Pins(server.host, server.port, frozenset()), None, patience)
    for kind in (algorithms,) if algorithms else way.pins.attempts():
        connection = _open(way)
        try:
            return connection.start(kind)
        except paramiko.ssh_exception.IncompatiblePeer:
            continue
        except BROKEN as error:
            raise ConnectionLost(f"The connection broke: {connection.why(error)}.") from error
        finally:
            connection.close()
    if algorithms:
        return None
    raise ConnectionLost("The server has no host key of a kind that is known here.")


def load_keys(path: Path | None) -> Iterator[paramiko.PKey]:
    """The private key of a file, or those of the agent: of a `.pub` file the agent's one. Raises KeyUnusable."""
    if path is not None and path.suffix != ".pub":
        yield _read_key(path)
        return
    wanted = _blob(path) if path is not None else None
    agent = paramiko.Agent()
    try:
        keys = [key for key in agent.get_keys() if wanted is None or key.asbytes() == wanted]
        if not keys:
            raise KeyUnusable("The SSH agent does not hold the key: add it (`ssh-add`), or name a key file.")
        yield from keys
    finally:
        agent.close()


def _blob(path: Path) -> bytes:
    try:
        return bytes(paramiko.PublicBlob.from_file(str(path)).key_blob)
    except (OSError, ValueError, paramiko.SSHException) as wrong:
        raise KeyUnusable(f"The public key {path} cannot be read: {wrong}.") from None


def _read_key(path: Path) -> paramiko.PKey:
    try:
        if sys.platform != "win32" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyUnusable(f"Others may read the private key {path}: take that from them with `chmod 600 {path}`.")
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        raise KeyUnusable(f"There is no private key {path}: make one with `landingzone-upload init`.") from None
    except (paramiko.PasswordRequiredException, TypeError):
        raise KeyUnusable(
            f'The private key {path} has a passphrase: add it to the SSH agent and write key = "agent", or make one '
            "without for this purpose."
        ) from None
    except (OSError, ValueError, UnsupportedAlgorithm, paramiko.SSHException):
        raise KeyUnusable(
            f"{path} is no private key in OpenSSH's form. PuTTYgen converts a .ppk (Conversions, Export OpenSSH key)."
        ) from None


def _open(way: Way) -> Connection:
    """A connection that has not begun to speak. Raises ConnectionLost."""
    server, patience = way.server, way.patience
    seconds = max(0.1, min(patience.silence, patience.left))
    where = f"{server.host}:{server.port}" + (f" through {server.proxy}" if server.proxy else "")
    try:
        inner = _socket(server, seconds)
    except (OSError, ProxyError) as error:
        raise ConnectionLost(f"{where} cannot be reached: {plain(str(error)) or type(error).__name__}.") from error
    with suppress(OSError):
        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wire = _Wire(inner)
    transport = _Transport(wire)
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = max(patience.silence, 1)
    transport.handshake_timeout = max(patience.silence, 1)
    return Connection(transport, wire, patience)


def _socket(server: ServerSettings, seconds: float) -> socket.socket:
    if not server.proxy:
        return socket.create_connection((server.host, server.port), timeout=seconds)
    scheme, host, port, user, password = proxy_of(server)
    if scheme == "http":
        return http_connect((host, port), (server.host, server.port), user, password, seconds)
    proxy = Proxy(ProxyType.SOCKS5, host, port, user or None, password or None, True)  # names: resolved there
    connected: socket.socket = proxy.connect(server.host, server.port, timeout=seconds)
    return connected


def proxy_of(server: ServerSettings) -> tuple[str, str, int, str, str]:
    """The way out that the settings name: scheme, host, port, user and password, the last two perhaps empty."""
    url = urlsplit(server.proxy)
    assert url.hostname
    password = os.environ.get(server.proxy_password_env, "") if server.proxy_password_env else ""
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS[url.scheme], unquote(url.username or ""), password


class Line:
    """The line to the server: one session, made when it is needed and made anew after a cut; for one thread."""

    def __init__(self, way: Way, note: Note, connecting: Callable[[Way, Note], Connection] = connect) -> None:
        self.way = way
        self._note = note
        self._connecting = connecting
        self._connection: Connection | None = None
        self._session: Session | None = None

    def session(self) -> Session:
        """The session. Raises what `connect` raises."""
        if self._session is None:
            self._connection = self._connecting(self.way, self._note)
            try:
                self._session = self._connection.session()
            except BROKEN as error:
                raise self.lost(error) from error
        return self._session

    def lost(self, error: BaseException) -> ConnectionLost:
        """Drop the connection, which has broken; what is told of it."""
        why = self._connection.why(error) if self._connection else plain(str(error))
        self.close()
        return ConnectionLost(f"The connection broke: {why}.")

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._session = None
