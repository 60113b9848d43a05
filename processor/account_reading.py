"""How an account's files are read: what it has chosen, and which day a row without a date means."""

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from landingzone.account import Account
from processor.validation import Options


@dataclass(frozen=True)
class Reading:
    """What of an account bears on how its files are read.

    Attributes:
        options: what the account has chosen.
        effective_date: the day that a row without a date means: that of the landing, in the account's time zone.
    """

    options: Options
    effective_date: dt.date


def reading_of(account: Account | None, landed_at: dt.datetime) -> Reading:
    """How a file that landed at that moment is read; without an account (a dry run), as by default, in UTC."""
    if account is None:
        return Reading(Options(), landed_at.astimezone(dt.UTC).date())
    options = Options(strict_alt_phone=account.strict_alt_phone)
    return Reading(options, landed_at.astimezone(ZoneInfo(account.time_zone)).date())
