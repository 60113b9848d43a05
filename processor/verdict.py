"""The verdict on a file: how its run ends. Pure; the real run and the dry run judge the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from landingzone.feed import Feed, Mode
from landingzone.settings import GuardSettings
from processor import guards
from processor.changes import Changes
from processor.examination import Examined
from processor.guards import Hold
from processor.outcome import Outcome

_SCHOOLS_SHOWN: Final = 5


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

    def is_about(self, code: str) -> bool:
        """Whether the file is held for this reason."""
        return self.hold is not None and self.hold.code == code


@dataclass(frozen=True)
class Compared:
    """A file beside what its source stands at.

    Attributes:
        feed: what the file holds.
        mode: what it says about rows that it does not list.
        empty_means: of the source: `held`, or `nothing`.
        found: what the file holds.
        changes: what it would change, by kind of record.
        resumed: it was continued after a cut.
        last_read: rows read of the file that the source stands at; None for a source's first file.
        confirmed: the fields that this file's columns were taken for by their place alone, in their order.
        same_file: the source stands at these very bytes, read in the same way.
    """

    feed: Feed
    mode: Mode
    empty_means: str
    found: Examined
    changes: Sequence[Changes]
    resumed: bool = False
    last_read: int | None = None
    confirmed: Sequence[str] = ()
    same_file: bool = False


def on_rows(
    feed: Feed, found: Examined, *, known_source: bool, last_header: Sequence[str] | None = None
) -> Verdict | None:
    """The verdict that the file alone calls for, or None: it is to be compared with what stands.

    A header that no longer gives a required column holds the run; a source's first file without it is rejected.
    """
    if found.missing:
        hold = guards.missing_columns(feed, found.missing, found.header, last_header)
        return Verdict(Outcome.HELD, hold=hold) if known_source else Verdict(Outcome.REJECTED, hold.message)
    if found.read and found.read == found.rejected:
        return Verdict(Outcome.REJECTED, "Not one of its rows can be used; each is listed with what is wrong.")
    return None


def on_changes(what: Compared, settings: GuardSettings, *, request: dict[str, object] | None = None) -> Verdict:
    """The verdict after comparing with what stands; `request` may approve a hold.

    Unchanged are the same bytes, or the same rows; a file in which other rows are rejected is not.
    """
    for hold in _holds(what, settings):
        if not hold.approved_by(request):
            return Verdict(Outcome.HELD, hold=hold)
    nothing_new = what.last_read is not None and all(one.empty for one in what.changes)
    if nothing_new and (what.same_file or not what.found.rejected):
        return Verdict(Outcome.UNCHANGED)
    return Verdict(Outcome.IMPORTED_WITH_REJECTS if what.found.rejected else Outcome.IMPORTED, _not_deactivated(what))


def _not_deactivated(what: Compared) -> str:
    """What is said where a row whose key cannot be told keeps everything that the file does not list."""
    kept = [one.feed.name for one in what.changes if one.kept and one.feed in _kept_whole(what)]
    if what.mode is Mode.DELTA or not kept:
        return ""
    return (
        f"Of {' and '.join(kept)} nothing was deactivated this time, whatever the file no longer lists: of a rejected "
        "row it cannot be told whose it is."
    )


def _kept_whole(what: Compared) -> list[Feed]:
    return [records.feed for records in what.found.records if records.keep_all]


def with_schools(judged: Verdict, gone: Mapping[str, int]) -> Verdict:
    """The same, with the schools of which nobody is listed any more (and how many were): most often the reason."""
    if judged.hold is None or not gone:
        return judged
    told = "; ".join(f"all {count:,} of school {school}" for school, count in list(gone.items())[:_SCHOOLS_SHOWN])
    more = f" and of {len(gone) - _SCHOOLS_SHOWN} further schools" if len(gone) > _SCHOOLS_SHOWN else ""
    message = f"Missing are {told}{more}. {judged.hold.message}"
    return replace(judged, hold=replace(judged.hold, message=message))


def _holds(what: Compared, settings: GuardSettings) -> Iterator[Hold]:
    found, feed = what.found, what.feed
    nothing = found.read == 0 and what.empty_means == "nothing"
    holds = [
        guards.check_positions(feed, found, confirmed=list(what.confirmed)),
        guards.check_truncation(settings, found, resumed=what.resumed, last_read=what.last_read),
        guards.check_rows(settings, feed, read=found.read, rejected=found.rejected, empty_means=what.empty_means),
        *(guards.check_changes(settings, what.mode, one) for one in what.changes if not nothing),
        *(guards.check_contacts(settings, one) for one in what.changes),
    ]
    return (hold for hold in holds if hold is not None)
