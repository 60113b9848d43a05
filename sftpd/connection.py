"""One connection, from its first byte on: who is this, may he come in, and when has he to go."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import cast

import asyncssh
import sqlalchemy as sa
import structlog
from asyncssh.public_key import decode_ssh_certificate

from keys.certificate import Certificate, CertificateError
from keys.public_key import fingerprint_of
from keys.store import Admission, CertifiedKey, Key, Refusal
from landingzone.account import AccountError, check_account_name
from landingzone.address import is_exempt, network_of
from landingzone.login_attempt import OPENED, LoginAttempt, OfferedKey
from sftpd.jail import Jail
from sftpd.reception import Reception
from sftpd.refusal import Denied
from sftpd.transport import TooManyRequests, Transport
from sftpd.visitor import Visitor

MAX_NOTED_KEYS = 20
REFUSED_LOGINS = {
    "penalty": "Too many logins from your address have failed. Try again in {seconds} seconds, or call the operator.",
    "too_many_keys": "Too many keys were offered that do not open this account: offer the right one only.",
    "crowded_out": "Others are waiting to log in: log in without a pause.",
    "sessions": "The server has as many sessions as it can hold. Please try again in some minutes.",
    "sessions_per_account": "This account has as many sessions open as it may: close some.",
}
"""What a client is told that has to go before it is inside, by the reason in the log."""
ENDED_SESSIONS = {
    Refusal.UNKNOWN_ACCOUNT: "This account is gone.",
    Refusal.ACCOUNT_DISABLED: "This account has been disabled.",
    Refusal.UNKNOWN_KEY: "This key does not open this account any more.",
    Refusal.REVOKED: "This key has been revoked.",
    Refusal.EXPIRED: "This key has expired.",
    Refusal.RETIRED: "A new key has taken the place of this one.",
    Refusal.WRONG_NETWORK: "This key may no longer come from your address.",
    Refusal.CERTIFICATE_UNUSABLE: "This certificate does not open this account any more.",
    Refusal.UNKNOWN_AUTHORITY: "Who signed this certificate is not trusted any more.",
    Refusal.WRONG_PRINCIPAL: "This certificate does not open this account any more.",
    Refusal.CERTIFICATE_NOT_YET: "This certificate is not valid yet.",
    Refusal.CERTIFICATE_EXPIRED: "This certificate has expired.",
    Refusal.CERTIFICATE_REVOKED: "This certificate has been revoked.",
}
"""What a client is told whose session is ended."""

_log = structlog.get_logger("sftpd")


class Connection(asyncssh.SSHServer):
    """What asyncssh asks about one connection.

    Attributes:
        began: when it came, on the monotonic clock.
        network: where it comes from, see network_of.
        visitor: who is inside; None before the login.
        admitted: the key, or certified key, that opened.
        ending: whether the server has ended the session.
    """

    def __init__(self, reception: Reception, connections: "set[Connection]") -> None:
        self.began = self._active = time.monotonic()
        self.network = ""
        self.visitor: Visitor | None = None
        self.admitted: Key | CertifiedKey | None = None
        self.ending = False
        self._reception = reception
        self._connections = connections
        self._session = secrets.token_hex(6)
        self._peer = ""
        self._balancers_own = False
        self._account = ""
        self._offered: dict[tuple[str, str], OfferedKey] = {}
        self._turned_away: str | None = None
        self._jails: list[Jail] = []
        self._transport: Transport | None = None

    # Coming and going

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Somebody is there."""
        self._connections.add(self)
        transport = self._transport = cast(Transport, conn)
        transport.set_extra_info(login=self)
        transport.auth_limit = (
            2 * self._reception.limits.keys_per_connection + 5
        )  # each key may be asked for, and shown
        peer = conn.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._balancers_own = bool(conn.get_extra_info("balancers_own"))
        self.network = network_of(self._peer)
        if seconds := self._penalty():
            self._turn_away("penalty", seconds=seconds)
        else:
            self._reception.lobby.enter(self, self._reception.limits)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._connections.discard(self)
        self._reception.lobby.leave(self)
        if self.visitor:
            self._reception.went_out(self.visitor.account)
            seconds = round(time.monotonic() - self.began, 1)
            self.visitor.log.info("session.closed", seconds=seconds, error=type(exc).__name__ if exc else None)
        else:
            self._left_outside(exc)

    @property
    def progress(self) -> int:
        """How far the client has come; more is further."""
        return self._transport.progress if self._transport else 0

    def leave_lobby(self) -> None:
        """Somebody else needs the place."""
        self._turn_away("crowded_out")

    def enter(self, jail: Jail) -> None:
        """An SFTP session begins in this connection."""
        self._jails = [*(one for one in self._jails if not one.left), jail]

    @property
    def idle_seconds(self) -> float:
        """How long the client has asked for nothing."""
        return time.monotonic() - max([self._active, *(jail.active for jail in self._jails)])

    def close(self) -> None:
        """Say goodbye."""
        if self._transport:
            self._transport.disconnect(asyncssh.DISC_BY_APPLICATION, "The server is being restarted.")

    def end(self, reason: str, text: str, *, discard: bool = False) -> list[str]:
        """End the session; returns the ids of the uploads that it had open, which are discarded or can be resumed.

        From now on nothing that it has sent, or still sends, can land.
        """
        assert self.visitor is not None
        self.ending = True
        open_uploads = [upload for jail in self._jails for upload in jail.expel(Denied(text), discard=discard)]
        self.visitor.log.warning("session.ended", reason=reason, uploads=open_uploads)
        if self._transport:
            self._transport.refuse(asyncssh.DISC_BY_APPLICATION, text)
        return open_uploads

    # Logging in

    def begin_auth(self, username: str) -> bool:
        """Everybody has to show a key."""
        self._account = username
        return True

    def public_key_auth_supported(self) -> bool:
        """The only way in."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether a key opens an account; asked when it is offered, and again when it is proven."""
        if self._is_barred(username):
            return False
        fingerprint = key.get_fingerprint("sha256")
        admission = await self._ask(username, lambda: self._reception.admit(username, fingerprint, self._peer))
        return self._answer(username, admission, fingerprint, key.algorithm)

    async def validate_certificate(self, username: str, blob: bytes) -> bool:
        """Whether a certificate opens an account; asked before asyncssh looks at it, see Transport."""
        if self._is_barred(username):
            return False
        fingerprint, kind = fingerprint_of(blob), blob[4:68].partition(b"\0")[0]
        try:
            certificate = Certificate.parse(blob)
        except CertificateError:
            admission = Admission(refusal=Refusal.CERTIFICATE_UNUSABLE)
        else:
            fingerprint, kind = certificate.fingerprint, f"{certificate.algorithm} certificate".encode("ascii")
            admission = await self._ask(username, lambda: self._reception.admit(username, certificate, self._peer))
            if admission.key is not None and not _is_signed(blob):
                admission = Admission(refusal=Refusal.CERTIFICATE_UNUSABLE)
        return self._answer(username, admission, fingerprint, kind)

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether an authority is trusted: if it has signed the certificate that was just admitted."""
        used = self.admitted
        signer = key.get_fingerprint("sha256")
        return isinstance(used, CertifiedKey) and (used.account, used.certificate.authority) == (username, signer)

    def auth_completed(self) -> None:
        """The key has been proven. Before anything else: who is this."""
        transport, used = self._transport, self.admitted  # one key at a time is asked for: the last is the proven one
        assert transport is not None
        assert used is not None
        self._reception.lobby.leave(self)
        if reason := self._reception.no_room_for(used.account):
            self._turn_away(reason)
            return
        self._active = time.monotonic()
        self.visitor = Visitor(used.account, self._session, self._peer, used.fingerprint)
        transport.set_extra_info(visitor=self.visitor)
        self._reception.came_in(used.account, self.network)
        signed = {}
        if isinstance(used, CertifiedKey):
            signed = {"authority": used.certificate.authority, "serial": used.certificate.serial}
        self.visitor.log.info("session.opened", key_fingerprint=used.fingerprint, client=self._client, **signed)
        self._reception.writers.submit(self._note_use, used, self._client)
        self._note(OPENED, used.account)

    def _is_barred(self, username: str) -> bool:
        """Whether nothing that is offered is looked at any more."""
        if self._turned_away is None and (seconds := self._penalty(username)):
            self._turn_away("penalty", seconds=seconds)
        return self._turned_away is not None

    async def _ask(self, username: str, ask: Callable[[], Awaitable[Admission]]) -> Admission:
        try:
            check_account_name(username)
        except AccountError:
            return Admission(refusal=Refusal.UNKNOWN_ACCOUNT)
        return await ask()

    def _answer(self, username: str, admission: Admission, fingerprint: str, algorithm: bytes) -> bool:
        self.admitted = admission.key
        refusal = admission.refusal.value if admission.refusal else ""
        self._offer(username, OfferedKey(fingerprint, _printable(algorithm.decode("ascii", "replace")), refusal))
        return admission.key is not None and self._turned_away is None

    def _offer(self, username: str, offered: OfferedKey) -> None:
        """Remember an offered key; log its refusal once; who offers too many has to go."""
        known = (username, f"{offered.algorithm} {offered.fingerprint}")  # a key by itself, and with its certificate
        if known in self._offered:
            return
        self._offered[known] = offered
        if not offered.refusal:
            return
        # A user name that is no account's is not repeated: people type passwords there.
        account = None if offered.refusal == Refusal.UNKNOWN_ACCOUNT else username
        self._reception.refused.note(address=self._peer, account=account or "", reason=offered.refusal)
        self._log.warning("login.refused", reason=offered.refusal, account=account, key_fingerprint=offered.fingerprint)
        if sum(bool(key.refusal) for key in self._offered.values()) >= self._reception.limits.keys_per_connection:
            self._turn_away("too_many_keys")

    def _note_use(self, key: Key | CertifiedKey, client: str) -> None:
        """Note the use of a key, in a thread. A comfort: who has proven a key is let in without it."""
        try:
            self._reception.keys.note_use(key, address=self._peer, client=client)
        except sa.exc.SQLAlchemyError:
            _log.exception("door.error", request="note_use", account=key.account, session=self._session)

    # Staying outside

    def _penalty(self, account: str = "") -> float:
        """How many seconds this address has to wait, at an account or at all."""
        if is_exempt(self.network, self._reception.limits.exempt_networks):
            return 0
        return self._reception.penalties.seconds_left(self.network, account)

    def _turn_away(self, reason: str, *, seconds: float = 0) -> None:
        """Tell a client that it has to go, and why."""
        if self._turned_away:
            return
        self._turned_away = reason
        self._reception.lobby.leave(self)
        if self._transport:
            text = REFUSED_LOGINS[reason].format(seconds=int(seconds) + 1)
            self._transport.refuse(asyncssh.DISC_TOO_MANY_CONNECTIONS, text)

    def _left_outside(self, exc: Exception | None) -> None:
        """Nobody came in: say why, and count it."""
        refused = [key for key in self._offered.values() if key.refusal]
        account = next((user for (user, _), key in self._offered.items() if key.refusal != Refusal.UNKNOWN_ACCOUNT), "")
        reason = self._turned_away or self._why_outside(exc)
        if self._balancers_own and not self._offered and not self._turned_away:
            return  # it looks whether anybody is here, every few seconds, and hangs up as it likes
        if self._turned_away or not refused:
            self._reception.refused.note(address=self._peer, account=account, reason=reason)
            seconds = round(time.monotonic() - self.began, 1)
            self._log.info("login.refused", reason=reason, account=account or None, seconds=seconds)
        if reason not in {"penalty", "crowded_out", "sessions", "sessions_per_account", "nothing_said"}:
            self._reception.failed(self.network, account)
        if self.progress and reason not in {"penalty", "crowded_out"}:
            outcome = refused[-1].refusal if refused and not self._turned_away else reason
            message = _printable(str(exc)) if isinstance(exc, asyncssh.KeyExchangeFailed) else ""
            self._note(outcome, account, message)

    def _why_outside(self, exc: Exception | None) -> str:
        if isinstance(exc, asyncssh.KeyExchangeFailed):
            return "no_common_algorithm"
        if isinstance(exc, TooManyRequests):
            return "too_many_requests"
        if isinstance(exc, asyncssh.HostKeyNotVerifiable):
            return "host_key_not_trusted"
        if isinstance(exc, asyncssh.ConnectionLost) and "timeout" in str(exc).lower():
            return "login_timeout"
        if isinstance(exc, asyncssh.ProtocolError | asyncssh.MACError | UnicodeError):
            return "protocol_error"
        if self._transport and self._transport.old_signature:
            return "old_signature"
        if self.admitted:
            return "key_not_proven"
        return "no_key_offered" if self.progress > 1 else "nothing_said"

    def _note(self, outcome: str, account: str, message: str = "") -> None:
        agreed = dict(self._transport.agreed) if self._transport else {}
        offered = tuple(self._offered.values())[:MAX_NOTED_KEYS]
        self._reception.note(LoginAttempt(account, self._peer, self._client, outcome, offered, agreed, message))

    @property
    def _client(self) -> str:
        version = self._transport.get_extra_info("client_version", "") if self._transport else ""
        return _printable(str(version))[:100]

    @property
    def _log(self) -> structlog.typing.FilteringBoundLogger:
        bound: structlog.typing.FilteringBoundLogger = _log.bind(session=self._session, peer=self._peer)
        return bound


def _is_signed(blob: bytes) -> bool:
    """Whether a certificate bears the signature of the authority that it names."""
    try:
        decode_ssh_certificate(blob)
    except asyncssh.KeyImportError:
        return False
    return True


def _printable(text: str) -> str:
    """At most 1000 characters of what a stranger sent, without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text[:1000])
