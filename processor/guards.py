"""Guards: when a run is held for an operator instead of being applied. Pure.

A half file or a changed export must not deactivate a district (design, Feeds). Thresholds are settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from landingzone.feed import Feed, Mode
from landingzone.settings import GuardSettings
from processor.changes import Changes
from processor.examination import Examined

CODES = {
    "no_rows": "The file has no rows at all.",
    "many_rejected": "An unusual share of the rows was rejected.",
    "many_deactivated": "An unusual share of what stands would be deactivated.",
    "column_missing": "The header no longer gives a required column.",
    "columns_by_position": "There is no header line, and nobody has confirmed what the columns are.",
    "truncated": "The file looks cut off.",
    "contacts_changed": "An unusual share of phone numbers or e-mail addresses would change.",
    "phone_shared": "One phone number would suddenly serve many.",
}
"""Every reason for which a run is held."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a run waits for an operator.

    Attributes:
        code: stable, see CODES.
        message: for people, with the figures.
        figures: what is compared when an approval computes the changes again: bigger is worse.
    """

    code: str
    message: str
    figures: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For the receipt and for an approval."""
        return {"code": self.code, "message": self.message, "figures": self.figures}

    def approved_by(self, request: dict[str, Any] | None) -> bool:
        """Whether an operator has approved this very hold, and it has not become worse since."""
        if request is None or request["kind"] != "approve":
            return False
        shown = (hold["figures"] for hold in request["holds"] if hold["code"] == self.code)
        return any(all(value <= had.get(name, -1) for name, value in self.figures.items()) for had in shown)


def check_rows(settings: GuardSettings, feed: Feed, *, read: int, rejected: int, empty_means: str) -> Hold | None:
    """The guards that need not know what stands: no rows at all (unless that is good news), too many rejected."""
    if read == 0 and empty_means == "nothing":
        return None
    if read == 0:
        return Hold(
            "no_rows",
            f"The file holds no {feed.name} rows. If that is right, tell us; otherwise send it again.",
            {},
        )
    if read >= settings.reject_from_rows and rejected > settings.reject_share * read:
        return Hold(
            "many_rejected",
            f"{rejected:,} of {read:,} rows ({rejected / read:.0%}) were rejected; more than "
            f"{settings.reject_share:.0%} has to be looked at first. Correct the export and send the whole file again.",
            {"rejected": rejected},
        )
    return None


def check_changes(settings: GuardSettings, mode: Mode, changes: Changes) -> Hold | None:
    """The guard against mass deactivation; events are exempt (absences shrink during a morning)."""
    going, standing = changes.deactivated.height, changes.standing
    allowed = settings.deactivate_share if standing >= settings.deactivate_from_rows else 0.5
    if mode is Mode.EVENTS or not standing or going <= allowed * standing:
        return None
    return Hold(
        "many_deactivated",
        f"{going:,} of {standing:,} {changes.feed.name} rows ({going / standing:.0%}) are no longer listed and would "
        f"be deactivated; more than {allowed:.0%} at once has to be looked at first. "
        "If the file is not whole, send it again; if it is right, tell us.",
        {"deactivated": going},
    )


def check_truncation(settings: GuardSettings, found: Examined, *, resumed: bool, last_read: int | None) -> Hold | None:
    """A quote that is never closed at the end is proof enough; of the weaker signs two must come together."""
    few = last_read is not None and found.read < settings.few_rows_share * last_read
    signs = {
        "the last line has no end": found.ends_without_line_end,
        "the last line is not a whole record": found.last_line_damaged,
        "the upload was continued after a cut": resumed,
        f"{found.read:,} rows came, where the last file had {last_read or 0:,}": few,
    }
    weak = [sign for sign, seen in signs.items() if seen]
    if not found.open_quote_at_end and len(weak) < 2:  # noqa: PLR2004 - two weak signs
        return None
    told = ["a quoted value is never closed at the end of the file"] if found.open_quote_at_end else weak
    return Hold(
        "truncated",
        f"The file looks cut off: {' and '.join(told)}. Send it again; if it is whole, tell us.",
        {"missing": max((last_read or 0) - found.read, 0)},
    )


def check_contacts(settings: GuardSettings, changes: Changes) -> Hold | None:
    """Wrong numbers call wrong parents: many contacts that change at once, or one number that suddenly serves many."""
    listed = changes.unchanged + changes.changed.height
    for name, differ in changes.contacts_changed.items():
        if listed >= settings.contacts_from_rows and differ > settings.contacts_share * listed:
            label, share = changes.feed.field(name).label, settings.contacts_share
            return Hold(
                "contacts_changed",
                f"{label} would change in {differ:,} of {listed:,} {changes.feed.name} records "
                f"({differ / listed:.0%}); more than {share:.0%} at once has to be looked at first. "
                "See whether columns were exchanged or rows shifted; if it is right, tell us.",
                {f"changed_{name}": differ},
            )
    now, before = changes.busiest
    if now >= settings.shared_phone and now > 2 * before:
        return Hold(
            "phone_shared",
            f"One phone number would serve {now:,} {changes.feed.name} records, {before:,} until now. "
            "See whether a placeholder or another column has taken its place; if it is right, tell us.",
            {"records": now},
        )
    return None


def check_positions(feed: Feed, found: Examined, *, confirmed: list[str]) -> Hold | None:
    """The order of columns without names is a guess, until somebody has looked once at a file of that form."""
    if not found.by_position or list(found.by_position) == confirmed:
        return None
    order = ", ".join(feed.field(name).label for name in found.by_position)
    return Hold(
        "columns_by_position",
        f"The file has no header line. Its columns would be taken in this order: {order}. If that is right, tell "
        "us, and later files of this form are taken; it is safer to send column names.",
        {"columns": len(found.by_position)},
    )


def missing_columns(
    feed: Feed, missing: tuple[str, ...], header: tuple[str, ...] | None, last: Sequence[str] | None = None
) -> Hold:
    """The hold of a file whose header no longer gives a required column."""
    labels = ", ".join(f"{feed.field(name).label} ({name})" for name in missing)
    twice = sorted({name for name in header or () if name and (header or ()).count(name) > 1})
    again = f" {', '.join(twice)} stands more than once: name each column once." if twice else ""
    new = [name for name in header or () if name not in (last or header or ())]
    gone = [name for name in last or () if name not in (header or ())]
    changed = f" The header has changed: {', '.join(gone)} of the last file is gone" if gone else ""
    changed += (f", {', '.join(new)} is new." if new else ".") if gone else ""
    seen = f" The header reads: {', '.join(header)}." if header else " The file has no header line."
    return Hold(
        "column_missing",
        f"No column gives {labels}, which {feed.name} needs.{again}{changed}{seen}",
        {"missing": len(missing)},
    )
