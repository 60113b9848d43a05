"""A visitor: one connection that a key has opened, as the rest of the door sees it."""

from dataclasses import dataclass

import structlog

_log = structlog.get_logger("sftpd")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is at the door. Kept from the login on: after a lost connection asyncssh can no longer be asked.

    Attributes:
        account: the account's name.
        session: the connection's id in the log.
        peer: the client's address.
        key_fingerprint: SHA256:... of the key that opened.
    """

    account: str
    session: str = ""
    peer: str = ""
    key_fingerprint: str = ""

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that says who."""
        known = {"account": self.account, "session": self.session, "peer": self.peer}
        bound: structlog.typing.FilteringBoundLogger = _log.bind(**{k: v for k, v in known.items() if v})
        return bound
