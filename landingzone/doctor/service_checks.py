"""Checks of what runs: database, limits of the system, the two parts."""

import fcntl
import os
import resource
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path

from landingzone.db import Database, newest_revision
from landingzone.doctor.finding import Finding, Severity
from landingzone.errors import NotInitialised
from landingzone.settings import Settings
from landingzone.zone import Zone

_QUICK_CHECK_MEBIBYTES = 1024
_MUCH_LOG = 512 << 20
_SPARE_WATCHES = 2
_FILES_BESIDE = 200
"""Open files of the front door beside those of its connections."""
_OLDEST_ASYNCSSH = (2, 24, 1)
_BANNER_SECONDS = 5.0
_SLOW_SECONDS = 0.05
_CLOCK_SECONDS = 2.0
_PROXY_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
"""The PROXY header, version 2, of who speaks for itself."""


def database(settings: Settings, *, thorough: bool) -> Iterator[Finding]:
    """The database is there, of this version's form, whole, and not growing without end."""
    db = Database(settings.url)
    try:
        db.require()
    except NotInitialised as missing:
        yield Finding("database", Severity.PROBLEM, "There is no database.", str(missing))
        return
    if not db.is_up_to_date:
        found = f"The database has form {db.revision}, this version wants {newest_revision()}."
        yield Finding("database", Severity.PROBLEM, found, "Restart the service: it brings the database to its form.")
    elif db.file is None:
        yield from _server(db)
    else:
        yield from _whole(db, thorough=thorough)
    if db.is_up_to_date and db.revision != newest_revision():
        found = f"The database has form {db.revision}, newer than this version's {newest_revision()}; that serves."
        yield Finding("database", Severity.WARNING, found, "A newer version runs elsewhere: update this node soon.")
    if db.file is not None:
        for path in (db.file, settings.root / "workflows.db"):
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size > _MUCH_LOG:
                found = f"{log.name} has {log.stat().st_size >> 20:,} MiB: something reads one old state for long."
                yield Finding("database", Severity.WARNING, found, "Look for a forgotten sqlite3 shell, then restart.")
    db.close()


def _server(db: Database) -> Iterator[Finding]:
    """A PostgreSQL server: how fast it answers, what it is, and whether text and time are as they must be."""
    question = "SELECT current_setting('server_version'), current_setting('server_encoding'), {}, {}"
    used = "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
    query = question.format(used, "extract(epoch FROM clock_timestamp())")
    with db.read() as tx:
        tx.exec_driver_sql("SELECT 1")
        began = time.time()
        release, encoding, connections, clock = tx.exec_driver_sql(query).one()
        took = time.time() - began
    difference = abs(float(clock) - began - took / 2)
    found = f"PostgreSQL {release.split()[0]} answers in {took * 1000:.1f} ms, in form {db.revision}; "
    yield Finding("database", Severity.OK, f"{found}{connections} connections are open.")
    if took > _SLOW_SECONDS:
        found = f"The database needs {took * 1000:.0f} ms for an answer."
        yield Finding("database", Severity.WARNING, found, "Bring it nearer: a small file costs dozens of answers.")
    if encoding != "UTF8":
        advice = "Create the database anew with ENCODING 'UTF8' TEMPLATE template0."
        yield Finding("database", Severity.PROBLEM, f"The database keeps text as {encoding}, not UTF8.", advice)
    if difference > _CLOCK_SECONDS:
        found = f"This machine's clock and the database server's differ by {difference:.0f} s."
        yield Finding("database", Severity.WARNING, found, "Let both follow the same time servers (chrony, timesyncd).")


def _whole(db: Database, *, thorough: bool) -> Iterator[Finding]:
    assert db.file is not None
    size = db.file.stat().st_size >> 20
    if size > _QUICK_CHECK_MEBIBYTES and not thorough:
        found = (
            f"The database answers, in form {db.revision}; its {size:,} MiB were not read through (--thorough does)."
        )
        yield Finding("database", Severity.OK, found)
        return
    with db.read() as tx:
        said = str(tx.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    if said == "ok":
        yield Finding("database", Severity.OK, f"The database is whole, in form {db.revision}, {size:,} MiB.")
    else:
        advice = "Stop the service, keep a copy of the root as it is, and restore the backup."
        yield Finding("database", Severity.PROBLEM, "The database is damaged (PRAGMA quick_check).", advice)


def watching(settings: Settings) -> Iterator[Finding]:
    """The system allows as many watched folders as there are inboxes."""
    if settings.processor.watch != "native":
        yield Finding("watch", Severity.OK, "New files are noticed by polling.")
        return
    inboxes = len(Zone(settings.root).accounts_with("inbox"))
    watches, instances = (_kernel(f"fs/inotify/{name}") for name in ("max_user_watches", "max_user_instances"))
    if watches is None or instances is None:
        yield Finding("watch", Severity.OK, "The system does not say how many folders may be watched.")
    elif watches < inboxes * _SPARE_WATCHES + 100:
        found = f"{inboxes:,} inboxes are watched, and the system allows a user {watches:,} watches in all."
        advice = f"sysctl -w fs.inotify.max_user_watches={max(65536, inboxes * 8)}   (and in /etc/sysctl.d)"
        yield Finding("watch", Severity.PROBLEM if watches <= inboxes else Severity.WARNING, found, advice)
    elif instances < 8:  # noqa: PLR2004 - fewer are used up by a desktop alone
        found = f"The system allows a user {instances} inotify instances."
        yield Finding("watch", Severity.WARNING, found, "sysctl -w fs.inotify.max_user_instances=128")
    else:
        yield Finding("watch", Severity.OK, f"{inboxes:,} inboxes are watched; {watches:,} watches are allowed.")


def open_files(settings: Settings) -> Iterator[Finding]:
    """The front door may open as many files as its limits let people in."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.limits.sessions * 3 + settings.limits.unauthenticated + _FILES_BESIDE
    if most != resource.RLIM_INFINITY and most < wanted:
        found = f"A process may open {most:,} files here; {settings.limits.sessions:,} sessions may need {wanted:,}."
        yield Finding("open_files", Severity.WARNING, found, "Set LimitNOFILE=65536 in the unit, as deploy/ has it.")
    else:
        yield Finding("open_files", Severity.OK, f"A process may open {most:,} files.")


def processor(settings: Settings) -> Iterator[Finding]:
    """An import runs for this zone, and its main loop turns."""
    alive = []
    for path in sorted(settings.root.glob(".processor-*.lock")):
        node = path.name.removeprefix(".processor-").removesuffix(".lock")
        age = time.time() - path.stat().st_mtime
        if not _is_held(path):
            continue
        alive.append(node)
        if age > settings.status.stalled_seconds:
            found = f"The import of {node} runs, but its main loop has not turned for {age:.0f} seconds."
            advice = "See `journalctl -u landingzone -p warning`; then restart it: nothing is lost."
            yield Finding("processor", Severity.PROBLEM, found, advice)
        else:
            yield Finding("processor", Severity.OK, f"The import of {node} runs.")
    if not alive:
        advice = "Start the service: `systemctl start landingzone`, or `landingzone serve`. What has landed waits."
        yield Finding("processor", Severity.PROBLEM, "No import runs for this zone.", advice)


def front_door(settings: Settings) -> Iterator[Finding]:
    """Something that speaks SSH answers at the front door."""
    door = settings.door
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(door.host, door.host)  # noqa: S104 - compared
    try:
        with socket.create_connection((host, door.port), timeout=_BANNER_SECONDS) as connection:
            if door.is_balancer(connection.getsockname()[0]):
                connection.sendall(_PROXY_LOCAL)
            greeting = connection.recv(255)
    except OSError as error:
        found = f"Nobody answers at port {door.port} ({error.strerror or type(error).__name__})."
        advice = "Start the service; if it runs, see `journalctl -u landingzone -p warning`."
        yield Finding("door", Severity.PROBLEM, found, advice)
        return
    if greeting.startswith(b"SSH-2.0-landingzone"):
        yield Finding("door", Severity.OK, f"The front door answers at port {door.port}.")
    else:
        found = f"At port {door.port} somebody else answers: {greeting[:40].decode('ascii', 'replace').strip()!r}."
        yield Finding("door", Severity.PROBLEM, found, "Give the front door a port of its own ([door] port).")


def risky_settings(settings: Settings) -> Iterator[Finding]:
    """What is set, and weakens something."""
    if settings.door.legacy_port:
        advice = "Find out with `landingzone doctor ACCOUNT` who still needs it, and switch it off when nobody does."
        yield Finding(
            "legacy", Severity.WARNING, "A second port offers algorithms that are weak ([door] legacy_port).", advice
        )
    if settings.status.enabled and not ip_address(settings.status.host).is_loopback:
        found = f"Metrics are served on {settings.status.host}, without a password."
        yield Finding("status", Severity.WARNING, found, "Put them on 127.0.0.1, or let a firewall keep others out.")
    if not settings.reserve_mebibytes:
        advice = "Set reserve_mebibytes: without it a full disk cannot even be recorded."
        yield Finding("reserve", Severity.WARNING, "No room is kept back for a full disk.", advice)
    told = version("asyncssh")
    if tuple(int(part) for part in told.split(".")[:3] if part.isdigit()) < _OLDEST_ASYNCSSH:
        advice = "Install what requirements.lock names: earlier ones have known holes (GHSA-qr67-gv47-xwwh)."
        yield Finding("versions", Severity.PROBLEM, f"asyncssh {told} is installed.", advice)


def _kernel(name: str) -> int | None:
    try:
        return int(Path(f"/proc/sys/{name}").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock; asked for a moment with one that others can share."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
