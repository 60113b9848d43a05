"""The server: speaks SSH, lets key pairs in and nothing else, and gives each session its jail."""

import asyncio
import contextlib
import resource
import secrets
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import asyncssh
import sqlalchemy as sa
import structlog

from keys.store import Admission, Key, Keys, Refusal
from landingzone.account import AccountError, check_account_name
from landingzone.command import Installation
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.metrics import Metrics, Part
from sftpd import door_status, handler
from sftpd.expectation import Expectation
from sftpd.host_key import load_host_keys
from sftpd.jail import Jail
from sftpd.receiving import Receiving
from sftpd.view import View
from sftpd.visitor import Visitor

# The client's order decides. OpenSSH's puts ChaCha20 first, which costs this server 1.3 times the CPU of AES in counter
# mode and 1.8 times that of GCM; every client of the last ten years knows AES: so ChaCha20 is not offered.
ALGORITHMS = {
    "kex_algs": (
        "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
        "ecdh-sha2-nistp521,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256"
    ),
    "encryption_algs": ("aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"),
    # the plain ones are for curl, PHP and Twisted clients, which know no others
    "mac_algs": "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512",
    "signature_algs": (
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256,"
        "sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com"
    ),
    "compression_algs": "none",
}
VERSION = "landingzone"
"""What follows SSH-2.0- in the greeting: no version that tells an attacker what to try."""
HOUSEKEEPING_SECONDS = 60.0
NOTE_SECONDS = 5
"""How long the note on a landing waits for the database, which an import may keep busy; then the file lands without."""
LINGER_SECONDS = 0.5
"""How long a stopping server waits after the last change: a client that closed its upload may want to rename it."""

_log = structlog.get_logger("sftpd")


class DoorError(LandingZoneError):
    """The front door cannot be opened."""


class Door:
    """The front door of one installation: what all connections share."""

    def __init__(self, here: Installation) -> None:
        self.settings = here.settings.door
        self.readers = ThreadPoolExecutor(4, thread_name_prefix="door-read")
        self.writers = ThreadPoolExecutor(8, thread_name_prefix="door-write")  # apart: a login never waits for a write
        self.keys = Keys(here.db)
        self.connections: set[Connection] = set()
        notes = _impatient(Database(here.settings.url, durability="normal"))
        expectation = Expectation(here.sources.of, self.readers)
        self.receiving = Receiving(here.zone, here.db, notes, expectation, self.settings, self.writers)
        self.view = View(here.zone, self.receiving.recent)
        self._zone = here.zone

    async def listen(self) -> asyncssh.SSHAcceptor:
        """Start to listen. Raises DoorError if the address is taken, HostKeyError without a host key."""
        handler.install()
        options = asyncssh.SSHServerConnectionOptions(
            server_host_keys=load_host_keys(self._zone.root),
            server_version=VERSION,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_pty=False,
            allow_scp=False,
            line_editor=False,
            sftp_factory=self._jail,
            sftp_version=3,
            login_timeout=self.settings.login_seconds,
            keepalive_interval=self.settings.keepalive_seconds,
            **ALGORITHMS,
        )
        try:
            return await asyncssh.listen(
                self.settings.host,
                self.settings.port,
                options=options,
                server_factory=lambda: Connection(self),
                backlog=1024,
            )
        except OSError as error:
            raise DoorError(f"Cannot listen on {self.settings.host}:{self.settings.port}: {error.strerror}.") from None

    async def keep_house(self) -> None:
        """Discard what has expired, for ever and ever."""
        while True:
            try:
                self.receiving.recent.tidy()
                for account in self._zone.accounts_with("uploads"):
                    self.receiving.expire(account)
                    await asyncio.sleep(0)  # thousands of accounts must not make a session wait
            except OSError:
                _log.exception("door.housekeeping_failed")
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def drain(self) -> list[str]:
        """Let the uploads under way finish, for a bounded time; the ids of those that were given up."""
        self.receiving.stopping = True
        until = time.monotonic() + self.settings.drain_seconds
        while time.monotonic() < until:
            lingers = self.connections and time.monotonic() - self.receiving.last_change < LINGER_SECONDS
            if not self.receiving.busy and not lingers:
                break
            await asyncio.sleep(0.05)
        await self.receiving.work_done(seconds=10)
        return self.receiving.give_up()

    def _jail(self, channel: asyncssh.SSHServerChannel[bytes]) -> Jail:
        return Jail(channel, channel.get_extra_info("visitor"), self.view, self.receiving)


class Connection(asyncssh.SSHServer):
    """One connection, from its first byte on."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._session = secrets.token_hex(6)
        self._began = time.monotonic()
        self._peer = ""
        self._visitor: Visitor | None = None
        self._admitted: Key | None = None
        self._refused: set[tuple[str, str]] = set()
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Somebody is there."""
        self._connection = conn
        peer = conn.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._door.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._door.connections.discard(self)
        seconds = round(time.monotonic() - self._began, 1)
        if self._visitor:
            error = type(exc).__name__ if exc else None
            self._visitor.log.info("session.closed", seconds=seconds, error=error)
        elif not self._refused:
            reason = "key_not_proven" if self._admitted else "no_key_offered"
            _log.info("login.refused", reason=reason, session=self._session, peer=self._peer, seconds=seconds)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Everybody has to show a key."""
        return True

    def public_key_auth_supported(self) -> bool:
        """The only way in."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether a key opens an account; asked when it is offered, and again when it is proven."""
        fingerprint = key.get_fingerprint("sha256")
        admission = await self._ask(username, fingerprint)
        self._admitted = admission.key
        if admission.refusal and (username, fingerprint) not in self._refused:
            self._refused.add((username, fingerprint))
            self._tell_refused(username, fingerprint, admission.refusal)
        return admission.key is not None

    def auth_completed(self) -> None:
        """The key has been proven. Before anything else: who is this."""
        conn, used = (
            self._connection,
            self._admitted,
        )  # asyncssh asks for one key at a time: the last one is the proven one
        assert conn is not None
        assert used is not None
        self._visitor = Visitor(used.account, self._session, self._peer, used.fingerprint)
        conn.set_extra_info(visitor=self._visitor)
        client = str(conn.get_extra_info("client_version", ""))
        self._visitor.log.info("session.opened", key_fingerprint=used.fingerprint, client=client[:100])
        self._door.writers.submit(self._note_use, used, client)

    def _note_use(self, key: Key, client: str) -> None:
        """Note the use of a key, in a thread. A comfort: who has proven a key is let in without it."""
        try:
            self._door.keys.note_use(key, address=self._peer, client=client)
        except sa.exc.SQLAlchemyError:
            _log.exception("door.error", request="note_use", account=key.account, session=self._session)

    def close(self) -> None:
        """Say goodbye."""
        if self._connection:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "The server is being restarted.")

    async def _ask(self, username: str, fingerprint: str) -> Admission:
        try:
            check_account_name(username)
        except AccountError:
            return Admission(refusal=Refusal.UNKNOWN_ACCOUNT)
        loop, keys = asyncio.get_running_loop(), self._door.keys
        return await loop.run_in_executor(
            self._door.readers, lambda: keys.admit(username, fingerprint, address=self._peer)
        )

    def _tell_refused(self, username: str, fingerprint: str, refusal: Refusal) -> None:
        """Log it. A user name that is no account's is not repeated: people type passwords there."""
        account = None if refusal is Refusal.UNKNOWN_ACCOUNT else username
        _log.warning(
            "login.refused",
            reason=refusal.value,
            account=account,
            key_fingerprint=fingerprint,
            session=self._session,
            peer=self._peer,
        )


async def run(here: Installation, *, stop: asyncio.Event | None = None, metrics: Metrics | None = None) -> None:
    """Serve until SIGTERM or SIGINT (or `stop` is set), then let uploads under way finish, for a bounded time.

    `metrics` is what the log is counted into.

    Raises DoorError if the address is taken, HostKeyError without a host key.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _raise_file_limit()
    door = Door(here)
    await door.receiving.take_up()
    acceptor = await door.listen()
    housekeeping = asyncio.create_task(door.keep_house())
    status = door_status.status_of(here, door, acceptor, metrics or Metrics(Part.DOOR))
    pulse = asyncio.create_task(door_status.keep_beating(status))
    status.start()
    _log.info("door.opened", host=door.settings.host, port=acceptor.get_port())
    try:
        await stop.wait()
    finally:
        _log.info("door.closing", connections=len(door.connections))
        status.stop()
        acceptor.close()
        housekeeping.cancel()
        given_up = await door.drain()
        for connection in list(door.connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(acceptor.wait_closed(), 2)
        pulse.cancel()
        door.readers.shutdown(wait=False, cancel_futures=True)
        door.writers.shutdown(wait=True)
        _log.info("door.closed", given_up=given_up)


def _impatient(database: Database) -> Database:
    """Let a write give up after some seconds: clients wait 15 seconds (WinSCP) for the answer to a close."""
    if database.is_sqlite:

        @sa.event.listens_for(database.engine, "connect")
        def _connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute(f"PRAGMA busy_timeout={NOTE_SECONDS * 1000}").close()

    return database


def _raise_file_limit() -> None:
    """Take as many open files as the system allows: each connection and each upload is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
