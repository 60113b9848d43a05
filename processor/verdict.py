"""The verdict on a file: how its run ends. Pure; the real run and the dry run judge the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from landingzone.feed import Feed, Mode
from landingzone.settings import GuardSettings
from processor import guards
from processor.examination import Examined
from processor.guards import Hold
from processor.reconcile import Changes
from processor.run import Outcome


@dataclass(frozen=True)
class Verdict:
    """How a run ends, why, and what it waits for if it is held."""

    outcome: Outcome
    reason: str = ""
    hold: Hold | None = None

    @property
    def applies(self) -> bool:
        """Whether the changes are applied."""
        return self.outcome in {Outcome.IMPORTED, Outcome.IMPORTED_WITH_REJECTS, Outcome.UNCHANGED}


def on_rows(feed: Feed, found: Examined, *, known_source: bool) -> Verdict | None:
    """The verdict that the file alone calls for, or None: it is to be compared with what stands.

    A header that no longer gives a required column holds the run; a source's first file without it is rejected.
    """
    if found.missing:
        hold = guards.missing_columns(feed, found.missing, found.header)
        return Verdict(Outcome.HELD, hold=hold) if known_source else Verdict(Outcome.REJECTED, hold.message)
    if found.read and found.read == found.rejected:
        return Verdict(Outcome.REJECTED, "Every row was rejected.")
    return None


def on_changes(
    settings: GuardSettings,
    feed: Feed,
    mode: Mode,
    found: Examined,
    changes: Sequence[Changes],
    *,
    known_source: bool,
    same_file: bool = False,
    request: dict[str, object] | None = None,
) -> Verdict:
    """The verdict after comparing with what stands.

    `same_file`: the source stands at these very bytes, read in the same way. `request` may approve a hold. Unchanged
    are the same bytes, or the same rows; a file in which other rows are rejected is not.
    """
    for hold in (
        guards.check_rows(settings, feed, read=found.read, rejected=found.rejected),
        *(guards.check_changes(settings, mode, one) for one in changes),
    ):
        if hold is not None and not hold.approved_by(request):
            return Verdict(Outcome.HELD, hold=hold)
    if known_source and all(one.empty for one in changes) and (same_file or not found.rejected):
        return Verdict(Outcome.UNCHANGED)
    return Verdict(Outcome.IMPORTED_WITH_REJECTS if found.rejected else Outcome.IMPORTED)
