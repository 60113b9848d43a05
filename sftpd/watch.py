"""The watch: looks at the database several times a second, in a thread of its own, for what must hold at once.

Who is inside and may no longer be; which penalties hold. It writes down what was gathered meanwhile: login attempts and
failed logins. While nothing has changed a look costs next to nothing: SQLite tells a kept connection whether anybody
has written (`PRAGMA data_version`), and every change of keys and accounts leaves an audit record.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from keys.key import Refusal
from keys.store import Keys, Opened
from landingzone import audit, login_attempt, open_session, penalty
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.login_attempt import LoginAttempt
from landingzone.open_session import OpenSession
from landingzone.penalty import Penalty, Tally
from landingzone.refused_logins import RefusedLogins
from landingzone.settings import LimitSettings
from landingzone.tables import audit as audit_table

LOOK_AT_ALL_SECONDS = 30.0
"""How often all who are inside are looked at, also if nothing seems to have changed."""
SUM_SECONDS = 5.0
"""How often the sums of refused logins are written."""
TELL_SECONDS, TELL_AGAIN_SECONDS = 2.0, 30.0
"""How often it is written down who is inside: after a change, and otherwise."""
_MOST_AT_ONCE = 100
_CAUSES = {
    Refusal.ACCOUNT_DISABLED: "account.disabled",
    Refusal.REVOKED: "key.revoked",
    Refusal.RETIRED: "key.retired",
    Refusal.CERTIFICATE_REVOKED: "certificate.revoked",
    Refusal.UNKNOWN_AUTHORITY: "ca.removed",
}


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who is inside, as far as it matters whether he still may be.

    Attributes:
        session: the connection's id.
        opened: what it was opened with.
        until: the moment from which the key no longer opens, ISO 8601; empty: never.
    """

    session: str
    opened: Opened
    until: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has found.

    Attributes:
        unwelcome: the sessions that have to end, and why.
        penalties: those that hold now; None: as before.
        begun: penalties that begin now.
    """

    unwelcome: dict[str, Refusal] = field(default_factory=dict)
    penalties: list[Penalty] | None = None
    begun: list[Penalty] = field(default_factory=list)


class Watch:
    """Looks, always in the same thread.

    Args:
        db: the database.
        notes: the same with `normal` durability, for what is written here.
        keys: tells who may be inside.
        refused: the sums of refused logins, which are written from here.
        node: the door's name.
    """

    def __init__(self, db: Database, notes: Database, keys: Keys, refused: RefusedLogins, *, node: str) -> None:
        self._db = db
        self._node = node
        self._told: frozenset[Guest] | None = None
        self._told_at = 0.0
        self._refused = refused
        self._notes = notes
        self._keys = keys
        self._connection: sa.PoolProxiedConnection | None = None
        self._version: int | None = None
        self._audited: int | None = None
        self._known: frozenset[Guest] = frozenset()
        self._looked_at_all = 0.0
        self._summed = 0.0

    def look(
        self, guests: frozenset[Guest], tally: Tally, attempts: Iterable[LoginAttempt], limits: LimitSettings
    ) -> Seen:
        """Write down what was gathered, and look for what must hold at once. Raises SQLAlchemyError."""
        try:
            begun = self._write(tally, list(attempts), limits)
            self._tell(guests)
            changed = self._has_changed()
            penalties = self._holding() if changed or tally else None
            return Seen(self._unwelcome(guests, changed=changed), penalties, begun)
        except sa.exc.SQLAlchemyError:
            self.close()  # and with it forget what was seen: the next look is at all
            raise

    def finish(self, tally: Tally, attempts: Iterable[LoginAttempt], limits: LimitSettings) -> None:
        """Write down what is left, and close. Raises SQLAlchemyError."""
        try:
            self._write(tally, list(attempts), limits)
            self._refused.flush()
            with self._notes.write() as tx:
                open_session.forget(tx, self._node)
        finally:
            self.close()

    def close(self) -> None:
        """Close the kept connection; a further look begins anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = self._audited = None

    def _holding(self) -> list[Penalty]:
        with self._db.read() as tx:
            return penalty.holding(tx)

    def _write(self, tally: Tally, attempts: list[LoginAttempt], limits: LimitSettings) -> list[Penalty]:
        if time.monotonic() - self._summed > SUM_SECONDS:
            self._summed = time.monotonic()
            self._refused.flush()
        if not tally and not attempts:
            return []
        with self._notes.write() as tx:
            if attempts:
                login_attempt.note(tx, attempts, now())
            return penalty.write(tx, tally, limits)

    def _tell(self, guests: frozenset[Guest]) -> None:
        """Write down who is inside, for people: shortly after a change, and now and then that this door lives."""
        since = time.monotonic() - self._told_at
        if since < (TELL_SECONDS if guests != self._told else TELL_AGAIN_SECONDS):
            return
        before, at = self._told or frozenset(), iso(now())
        came = [
            OpenSession(self._node, one.session, one.opened.account, one.opened.fingerprint, one.opened.address, at)
            for one in guests - before
        ]
        went = [one.session for one in before - guests]
        with self._notes.write() as tx:
            if self._told is None:
                open_session.forget(tx, self._node)
            for first in range(0, max(len(came), len(went), 1), _MOST_AT_ONCE):
                some = slice(first, first + _MOST_AT_ONCE)
                open_session.note(tx, self._node, came[some], went[some])
        self._told, self._told_at = guests, time.monotonic()

    def _has_changed(self) -> bool:
        """Whether anybody has written since the last look; SQLite can tell, PostgreSQL cannot."""
        if not self._db.is_sqlite:
            return True
        if self._connection is None:
            self._connection = self._db.engine.raw_connection()
        cursor = self._connection.cursor()  # in no transaction, which would see one version for ever
        version = int(cursor.execute("PRAGMA data_version").fetchone()[0])
        cursor.close()
        changed, self._version = version != self._version, version
        return changed

    def _unwelcome(self, guests: frozenset[Guest], *, changed: bool) -> dict[str, Refusal]:
        """Which sessions have to end: asked of new ones, of those whose time is up, after a change of all."""
        at = iso(now())
        asked = {guest for guest in guests if guest not in self._known or (guest.until and guest.until <= at)}
        all_at_once = time.monotonic() - self._looked_at_all > LOOK_AT_ALL_SECONDS
        if all_at_once or (changed and self._has_audited()):
            self._looked_at_all, asked = time.monotonic(), set(guests)
        refused = self._keys.no_longer_open(guest.opened for guest in asked)
        self._known = guests
        return {guest.session: refused[guest.opened] for guest in asked if guest.opened in refused}

    def _has_audited(self) -> bool:
        with self._db.read() as tx:
            newest = tx.execute(sa.select(sa.func.max(audit_table.c.id))).scalar()
        changed, self._audited = newest != self._audited, newest
        return changed


def record_end(db: Database, guest: Guest, reason: Refusal, *, node: str, uploads: list[str]) -> None:
    """Leave an audit record of a session that was ended: whose, why, by whose change, what was dropped."""
    action = _CAUSES.get(reason)
    with audit.changing(db) as tx:
        cause = None
        if action:
            of_it = (audit_table.c.account.in_(("", guest.opened.account)), audit_table.c.action == action)
            columns = (audit_table.c.id, audit_table.c.actor, audit_table.c.detail)
            rows = tx.execute(sa.select(*columns).where(*of_it).order_by(audit_table.c.id.desc()).limit(20))
            cause = next((row for row in rows if _is_about(row.detail, guest.opened)), None)
        audit.record(
            tx,
            actor=f"door {node}",
            action="session.ended",
            account=guest.opened.account,
            session=guest.session,
            address=guest.opened.address,
            fingerprint=guest.opened.fingerprint,
            reason=reason.value,
            by=cause.actor if cause else None,
            because_of=cause.id if cause else None,
            uploads=uploads,
        )


def _is_about(detail: dict[str, object], opened: Opened) -> bool:
    """Whether the detail of an audit record, of a change that closes something, is about what opened a session."""
    told, signed = detail.get("fingerprint", detail.get("value")), opened.certificate
    of_certificate = (signed.authority, str(signed.serial), signed.key_id) if signed else ()
    return told in {None, opened.fingerprint, *of_certificate}
