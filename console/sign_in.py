"""Signing in with a name, a password and a one-time code.

Whatever is wrong, the answer is the same and takes as long: nobody learns which names there are. Failures count as
those at the front door do (landingzone.penalty): for an address, and for it at one name, never for a name alone.
"""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from console import one_time_code
from console.password import Passwords
from console.secret import Secret, SecretError
from console.sessions import Sessions
from console.users import QUERY, User, user_of
from landingzone import audit, penalty
from landingzone.address import is_exempt, network_of
from landingzone.clock import now
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.settings import Settings
from landingzone.tables import users

_log = structlog.get_logger("console")


class SignInRefused(LandingZoneError):
    """Name, password or one-time code is wrong. A code holds for half a minute, and once."""


class SignInTooOften(LandingZoneError):
    """From here signing in has failed too often."""


@dataclass(frozen=True)
class Credentials:
    """What somebody has typed, and from where."""

    name: str
    password: str
    code: str
    address: str
    client: str

    @property
    def place(self) -> tuple[str, str]:
        """What failures are counted for: the network, and the name, of which only a digest is kept."""
        name = hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:20]
        return network_of(self.address), f"console/{name}"


class SignIn:
    """Opens sessions for those who prove who they are."""

    def __init__(
        self, db: Database, settings: Settings, *, passwords: Passwords, secret: Secret, sessions: Sessions
    ) -> None:
        self._db = db
        self._settings = settings
        self._passwords = passwords
        self._secret = secret
        self._sessions = sessions

    def with_password(self, given: Credentials) -> str:
        """The secret of a new session. Raises SignInRefused, or SignInTooOften before anything was looked at."""
        self._require_patience(given)
        with self._db.read() as tx:
            secrets = sa.select(users.c.id, users.c.password_hash, users.c.totp_secret, users.c.totp_last_step)
            kept = tx.execute(secrets.where(users.c.name == given.name, users.c.disabled_at.is_(None))).first()
        right = self._passwords.holds(kept.password_hash if kept else None, given.password)
        step = None
        if kept is not None and right and kept.totp_secret is not None:
            step = self._step(kept.totp_secret, given.code, kept.totp_last_step)
            right = step is not None
        elif kept is not None and right and self._settings.console.second_factor:
            right = False  # one who has none yet gets it by an invitation
        if kept is None or not right or not self._take_step(kept.id, step):
            self._count(given, failed=True)
            _log.warning("console.sign_in_refused", reason="wrong", peer=given.address)
            raise SignInRefused
        self._count(given, failed=False)
        with self._db.read() as tx:
            found = user_of(tx.execute(QUERY.where(users.c.id == kept.id)).one())
        return self.open(found, address=given.address, client=given.client, by="password")

    def open(self, user: User, *, address: str, client: str, by: str) -> str:
        """A session for a user who is proven; audited. Returns its secret."""
        with audit.changing(self._db) as tx:
            secret = self._sessions.begin(tx, user.id, address=address, client=client)
            actor = f"{user.name} (console)"
            audit.record(
                tx,
                actor=actor,
                action="user.signed_in",
                account=user.account or "",
                user=user.name,
                by=by,
                peer=address,
            )
        return secret

    def _step(self, sealed: str, code: str, last: int | None) -> int | None:
        try:
            secret = str(self._secret.open(sealed)["totp"])
        except SecretError:
            _log.error("console.second_factor_unreadable")
            return None
        return one_time_code.matching_step(secret, code, now(), after=last)

    def _take_step(self, user_id: int, step: int | None) -> bool:
        """Note a code as taken; False if another sign-in took it just now."""
        if step is None:
            return True
        newer = sa.or_(users.c.totp_last_step.is_(None), users.c.totp_last_step < step)
        with self._db.write() as tx:
            taken = users.update().where(users.c.id == user_id, newer).values(totp_last_step=step)
            return tx.execute(taken).rowcount == 1

    def _require_patience(self, given: Credentials) -> None:
        network, name = given.place
        with self._db.read() as tx:
            left = max(penalty.seconds_left(tx, network), penalty.seconds_left(tx, network, name))
        if left > 0:
            _log.warning("console.sign_in_refused", reason="penalty", peer=given.address)
            minutes = max(1, round(left / 60))
            raise SignInTooOften(f"From here signing in has failed too often. Try again in {minutes} min.")

    def _count(self, given: Credentials, *, failed: bool) -> None:
        network, name = given.place
        if is_exempt(network, self._settings.limits.exempt_networks):
            return
        tally = penalty.Tally()
        for place in ((network, ""), (network, name)):
            if failed:
                tally.failed[place] += 1
            else:
                tally.opened.add(place)
        with self._db.write() as tx:
            penalty.write(tx, tally, self._settings.limits)
