"""An account's recent connections, in the doctor's words."""

from dataclasses import dataclass

from landingzone.account import Account
from landingzone.command import Installation
from landingzone.doctor.account import explain
from landingzone.doctor.account_facts import facts_of_logins
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
    facts = facts_of_logins(here, account, most=_SHOWN)
    return [Connection(one, None if one.outcome == OPENED else explain(one, facts)) for one in facts.attempts]
