"""The report: what a run, or a look before sending, has found of a file. Pure; becomes the body of its receipt."""

from dataclasses import asdict, dataclass, field
from typing import Any

REJECTS_SHOWN = 100
"""How many rejects stand in the receipt itself; the reject file has all."""

ROWS = ("read", "accepted", "rejected", "added", "changed", "unchanged", "deactivated", "reactivated", "collapsed")


@dataclass
class Report:
    """What a run has found; becomes the receipt's body and is kept with the run.

    `steps` says when each state was reached (UTC, ISO 8601); it stands in no receipt.
    `rows` counts: read = accepted + rejected, always; accepted = added + changed + unchanged + collapsed.
    """

    bytes: int = 0
    sha256: str = ""
    source: str | None = None
    feed: str | None = None
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROWS, 0))
    rejects: list[dict[str, Any]] = field(default_factory=list)
    reject_counts: dict[str, int] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    tolerated: list[dict[str, str]] = field(default_factory=list)
    hold: dict[str, Any] | None = None
    header: list[str] | None = None
    by_position: list[str] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    resumed: bool = False
    reason: str = ""
    steps: dict[str, str] = field(default_factory=dict)

    def nothing_applied(self) -> None:
        """The run changes nothing: what would have changed is not to be read as what has."""
        for name in ("added", "changed", "deactivated", "reactivated"):
            self.rows[name] = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)
