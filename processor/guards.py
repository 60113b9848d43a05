"""Guards: when a run is held for an operator instead of being applied. Pure.

A half file or a changed export must not deactivate a district (design, Feeds). Thresholds are settings.
"""

from dataclasses import dataclass
from typing import Any

from landingzone.feed import Feed, Mode
from landingzone.settings import GuardSettings
from processor.reconcile import Changes


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a run waits for an operator.

    Attributes:
        code: stable: `many_deactivated`, `many_rejected`, `no_rows`, `column_missing`.
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
        if request is None or request["kind"] != "approve" or request["code"] != self.code:
            return False
        shown = request["figures"]
        return all(value <= shown.get(name, -1) for name, value in self.figures.items())


def check_rows(settings: GuardSettings, feed: Feed, *, read: int, rejected: int) -> Hold | None:
    """The guards that need no knowledge of what stands: no rows at all, too many rejected."""
    if read == 0:
        return Hold(
            "no_rows",
            f"The file holds no {feed.name} rows. If that is right, ask for an approval; otherwise send it again.",
            {},
        )
    if read >= settings.reject_from_rows and rejected > settings.reject_share * read:
        return Hold(
            "many_rejected",
            f"{rejected:,} of {read:,} rows ({rejected / read:.0%}) were rejected; more than "
            f"{settings.reject_share:.0%} waits for an operator. Correct the export and send the whole file again.",
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
        f"be deactivated; more than {allowed:.0%} at once waits for an operator. "
        "If the file is not whole, send it again; if it is right, ask for it to be approved.",
        {"deactivated": going},
    )


def missing_columns(feed: Feed, missing: tuple[str, ...], header: tuple[str, ...] | None) -> Hold:
    """The hold of a file whose header no longer gives a required column."""
    labels = ", ".join(f"{feed.field(name).label} ({name})" for name in missing)
    seen = f" The header reads: {', '.join(header)}." if header else " The file has no header line."
    return Hold(
        "column_missing", f"No column gives {labels}, which {feed.name} needs.{seen}", {"missing": len(missing)}
    )
