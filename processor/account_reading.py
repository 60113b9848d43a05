"""How an account's file is read: its mapping, what it has chosen, and which day a row without a date means."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from landingzone.account import Account
from landingzone.feed import Feed
from landingzone.kept_mapping import KeptMapping
from landingzone.source import Source
from processor.duplicates import Entering
from processor.examination import Examined, OnRows, examine
from processor.validation import Options


@dataclass(frozen=True)
class Reading:
    """What of an account bears on how a file of one source is read.

    Attributes:
        kept: the account's own mapping of the source, if there is one.
        options: what the account has chosen.
        effective_date: the day that a row without a date means: that of the landing, in the account's time zone.
    """

    kept: KeptMapping | None
    options: Options
    effective_date: dt.date

    def examine(
        self,
        path: Path,
        *,
        name: str,
        feed: Feed,
        rejects_to: Path | None = None,
        on_rows: OnRows | None = None,
        entering: Entering | None = None,
    ) -> Examined:
        """Examine a file in this way. Raises UnreadableFile if it cannot be read as a whole."""
        return examine(
            path,
            name=name,
            feed=feed,
            kept=self.kept,
            options=self.options,
            effective_date=self.effective_date,
            rejects_to=rejects_to,
            on_rows=on_rows,
            entering=entering,
        )


def reading_of(account: Account | None, source: Source, landed_at: dt.datetime) -> Reading:
    """How a file of a source that landed at that moment is read; without an account (a dry run) by default, in UTC."""
    if account is None:
        return Reading(source.mapping, Options(), landed_at.astimezone(dt.UTC).date())
    day = landed_at.astimezone(ZoneInfo(account.time_zone)).date()
    return Reading(source.mapping, Options(strict_alt_phone=account.strict_alt_phone), day)
