"""An account's recent connections, in the doctor's words."""

from dataclasses import dataclass

from keys.store import Keys
from landingzone import login_attempt
from landingzone.account import Account
from landingzone.clock import now
from landingzone.command import Installation
from landingzone.doctor.account import Facts, KnownKey, explain, fingerprints
from landingzone.doctor.advice import Advice
from landingzone.login_attempt import OPENED, LoginAttempt

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Connection:
    """One way in which somebody tried to log in, and what the doctor says of it; None where it opened."""

    attempt: LoginAttempt
    advice: Advice | None


def connections(here: Installation, account: Account) -> list[Connection]:
    """The newest of an account, and of its addresses under other names."""
    at, keys = now(), Keys(here.db)
    own = keys.of(account.name)
    attempts = login_attempt.recent(here.db, account.name)
    addresses = {one.address for one in attempts} | {key.last_used_from for key in own if key.last_used_from}
    attempts = login_attempt.recent(here.db, account.name, addresses=addresses)[:_SHOWN]
    offered = fingerprints(attempts)
    opens: dict[str, list[str]] = {}
    for key in keys.of() if offered else ():
        if key.fingerprint in offered and key.closed(at) is None:
            opens.setdefault(key.fingerprint, []).append(key.account)
    known = [
        KnownKey(
            key.id,
            key.label,
            key.fingerprint,
            key.algorithm,
            key.state(at),
            key.closed(at) is None,
            key.networks,
            key.expires_at,
            key.last_used_at,
            key.last_used_from,
            key.last_used_client,
        )
        for key in own
    ]
    facts = Facts(account.name, known=True, enabled=account.enabled, attempts=attempts, keys=known, key_opens=opens)
    return [Connection(one, None if one.outcome == OPENED else explain(one, facts)) for one in attempts]
