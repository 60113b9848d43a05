"""The server: speaks SSH, lets key pairs in and nothing else, and gives each session its jail."""

import asyncio
import contextlib
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncssh
import sqlalchemy as sa
import structlog

from keys.key import Refusal
from keys.store import CertifiedKey, Keys, Opened
from landingzone import penalty
from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.metrics import Metrics, Part
from landingzone.refused_logins import RefusedLogins
from landingzone.room import Rooms
from sftpd import door_status, handler, transport
from sftpd.algorithms import LEGACY, STANDARD
from sftpd.connection import ENDED_SESSIONS, Connection
from sftpd.expectation import Expectation
from sftpd.host_key import load_host_keys
from sftpd.jail import Jail
from sftpd.proxy_gate import ProxyGate
from sftpd.receiving import Receiving
from sftpd.reception import Reception
from sftpd.view import View
from sftpd.watch import Guest, Watch, record_end

VERSION = "landingzone"
"""What follows SSH-2.0- in the greeting: no version that tells an attacker what to try."""
HOUSEKEEPING_SECONDS = 60.0
WATCH_SECONDS = 0.4
"""How often the database is asked who may no longer be inside; a session ends within two seconds."""
NOTE_SECONDS = 5
"""How long the note on a landing waits for the database, which an import may keep busy; then the file lands without."""
NEEDS_RESTART = ("host", "port", "legacy_port", "share_port")
"""Settings of the door that a reload does not change."""
LINGER_SECONDS = 0.5
"""How long a stopping server waits after the last change: a client that closed its upload may want to rename it."""

_log = structlog.get_logger("sftpd")


class DoorError(LandingZoneError):
    """The front door cannot be opened."""


class Door:
    """The front door of one installation: what all connections share."""

    def __init__(self, here: Installation) -> None:
        self.settings = here.settings.door
        self.node = here.settings.node
        self.readers = ThreadPoolExecutor(4, thread_name_prefix="door-read")
        self.writers = ThreadPoolExecutor(8, thread_name_prefix="door-write")
        self.watcher = ThreadPoolExecutor(1, thread_name_prefix="door-watch")
        keys = Keys(here.db)
        notes = here.db.with_durability("normal", waits_seconds=NOTE_SECONDS)
        refused = RefusedLogins(notes)
        self.reception = Reception(keys, refused, self.readers, self.writers, here.settings.limits)
        self.connections: set[Connection] = set()
        expectation = Expectation(here.sources.of, self.readers)
        self.rooms = Rooms(here.zone, here.settings.limits)
        self.rooms.look_at_disk()
        self.receiving = Receiving(here.zone, here.db, notes, expectation, self.settings, self.writers, self.rooms)
        self.view = View(here.zone, self.receiving.recent)
        self._watch = Watch(here.db, notes, keys, refused, node=here.settings.node)
        self._short = False
        self._zone = here.zone
        self._db = here.db
        self._given = here.given
        self._acceptors: list[asyncssh.SSHAcceptor] = []

    async def listen(self) -> list[asyncssh.SSHAcceptor]:
        """Start to listen; where there is one, the listener for old systems is the second.

        Raises DoorError if an address is taken, HostKeyError without a host key.
        """
        handler.install()
        transport.install()
        self._acceptors = [await self._listen(self.settings.port, legacy=False)]
        if self.settings.legacy_port:
            self._acceptors.append(await self._listen(self.settings.legacy_port, legacy=True))
            _log.warning("door.legacy_opened", host=self.settings.host, port=self.settings.legacy_port)
        return self._acceptors

    async def _listen(self, port: int, *, legacy: bool) -> asyncssh.SSHAcceptor:
        options = asyncssh.SSHServerConnectionOptions(
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
            send_server_host_keys=True,
            **self._changeable(legacy=legacy),
            **(LEGACY if legacy else STANDARD),
        )
        how = {"backlog": 1024, "reuse_port": self.settings.share_port}
        gate = ProxyGate(lambda: self.settings, lambda: self.reception.limits.unauthenticated, **how)
        come = {"tunnel": gate} if self.settings.proxy_networks else how
        try:
            return await asyncssh.listen(
                self.settings.host, port, options=options, server_factory=self._connection, **come
            )
        except OSError as error:
            raise DoorError(f"Cannot listen on {self.settings.host}:{port}: {error.strerror}.") from None

    def _changeable(self, *, legacy: bool) -> dict[str, Any]:
        """The options that can change while the door is open. Raises HostKeyError."""
        return {
            "server_host_keys": load_host_keys(self._zone.root, legacy=legacy),
            "login_timeout": self.settings.login_seconds,
            "keepalive_interval": self.settings.keepalive_seconds,
        }

    def reload(self) -> None:
        """Read settings and host keys again; sessions go on. What cannot be used is told, and changes nothing."""
        before = self.settings
        try:
            fresh = Installation(**self._given).settings
            self.settings = fresh.door
            changed = [self._changeable(legacy=legacy) for legacy in (False, True)]
        except LandingZoneError as wrong:
            self.settings = before
            _log.error("door.reload_refused", problem=str(wrong))
            return
        self.reception.limits = self.rooms.limits = fresh.limits
        self.receiving.use(fresh.door)
        for acceptor, options in zip(self._acceptors, changed, strict=False):  # the second only if there is one
            acceptor.update(**options)
        restart = [name for name in NEEDS_RESTART if getattr(before, name) != getattr(fresh.door, name)]
        if bool(before.proxy_networks) is not bool(fresh.door.proxy_networks):
            restart.append("proxy_networks")
        _log.info("door.reloaded", needs_restart=restart)

    async def keep_house(self) -> None:
        """Discard what has expired, for ever and ever."""
        while True:
            try:
                self.receiving.recent.tidy()
                for work in (self.reception.keys.settle, lambda: penalty.forget_old(self._db)):
                    await asyncio.get_running_loop().run_in_executor(self.writers, work)
                for account in self._zone.accounts_with("uploads"):
                    self.receiving.expire(account)
                    await asyncio.sleep(0)  # thousands of accounts must not make a session wait
            except (OSError, sa.exc.SQLAlchemyError):
                _log.exception("door.housekeeping_failed")
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def keep_watch(self) -> None:
        """End the sessions that may no longer be, and let penalties hold, for ever and ever."""
        failing = False
        while True:
            try:
                await self._look()
                failing = False
            except sa.exc.SQLAlchemyError:
                if not failing:
                    _log.exception("door.watch_failed")
                failing = True
            await asyncio.sleep(WATCH_SECONDS)

    async def _look(self) -> None:
        reception, inside = self.reception, self._inside()
        guests = frozenset(guest for guest, _ in inside.values())
        gathered = (reception.penalties.take(), reception.take_attempts())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.watcher, self.look_around)
        short = await loop.run_in_executor(self.watcher, self.rooms.look_at_disk)
        if short is not self._short:
            self._short = short
            if short:
                _log.error("door.disk_low")
            else:
                _log.info("door.disk_recovered")
        seen = await loop.run_in_executor(self.watcher, self._watch.look, guests, *gathered, reception.limits)
        if seen.penalties is not None:
            reception.penalties.hold(seen.penalties)
        for begun in seen.begun:
            _log.warning("penalty.begun", peer=begun.address, account=begun.account or None, until=begun.until)
        for session, reason in seen.unwelcome.items():
            guest, connection = inside[session]
            discard = reason is not Refusal.RETIRED  # the account's new key may resume what its old one began
            uploads = connection.end(reason.value, ENDED_SESSIONS[reason], discard=discard)
            self.writers.submit(self._record_end, guest, reason, uploads)
        for connection in list(self.connections):
            if (
                connection.visitor
                and not connection.ending
                and connection.idle_seconds > reception.limits.idle_minutes * 60
            ):
                connection.end("idle", "Nothing was asked for a long time. Please connect again.")

    def look_around(self) -> None:
        """Look for other doors, in a thread."""
        try:
            self.receiving.neighbours.look(self.settings.remember_minutes)
        except OSError:  # a full disk has no room for the sign that we are here
            _log.exception("door.error", request="look_around")

    def _inside(self) -> "dict[str, tuple[Guest, Connection]]":
        """Who is inside now, by session."""
        found = {}
        for connection in self.connections:
            who, key = connection.visitor, connection.admitted
            if who and key and not connection.ending:
                certificate = key.certificate if isinstance(key, CertifiedKey) else None
                opened = Opened(who.account, who.key_fingerprint, who.peer, certificate)
                guest = Guest(who.session, opened, key.opens_until or "")
                found[who.session] = (guest, connection)
        return found

    def _record_end(self, guest: Guest, reason: Refusal, uploads: list[str]) -> None:
        """Leave the audit record of an ended session, in a thread."""
        try:
            record_end(self._db, guest, reason, node=self.node, uploads=uploads)
        except sa.exc.SQLAlchemyError:
            _log.exception("door.error", request="record_end", account=guest.opened.account, session=guest.session)

    async def finish_watch(self) -> None:
        """Write down what the last moments have gathered."""
        gathered = (self.reception.penalties.take(), self.reception.take_attempts())
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self.watcher, self._watch.finish, *gathered, self.reception.limits)
        except sa.exc.SQLAlchemyError:
            _log.exception("door.watch_failed")

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
        jail = Jail(channel, channel.get_extra_info("visitor"), self.view, self.receiving)
        channel.get_extra_info("login").enter(jail)
        return jail

    def _connection(self) -> Connection:
        return Connection(self.reception, self.connections)


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
    loop.add_signal_handler(signal.SIGHUP, door.reload)
    await door.receiving.take_up()
    door.look_around()
    acceptors = await door.listen()
    acceptor = acceptors[0]
    status = door_status.status_of(here, door, acceptor, metrics or Metrics(Part.DOOR))
    works = (door.keep_house(), door.keep_watch(), door_status.keep_beating(status))
    tasks = [asyncio.create_task(work) for work in works]
    status.start()
    _log.info("door.opened", host=door.settings.host, port=acceptor.get_port())
    try:
        await stop.wait()
    finally:
        _log.info("door.closing", connections=len(door.connections))
        status.stop()
        for each in acceptors:
            each.close()
        given_up = await door.drain()
        for connection in list(door.connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(each.wait_closed() for each in acceptors)), 2)
        for task in tasks:
            task.cancel()
        await door.finish_watch()
        door.readers.shutdown(wait=False, cancel_futures=True)
        door.writers.shutdown(wait=True)
        door.watcher.shutdown(wait=True)
        _log.info("door.closed", given_up=given_up)


def _raise_file_limit() -> None:
    """Take as many open files as the system allows: each connection and each upload is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
