"""Receipts as the API tells them, and what is left out for those who may not see what stands in the files."""

from pydantic import Field

from console import run_sight
from console.api.model import Model, Moment
from console.role import Principal
from processor import receipt
from processor.outcome import Outcome
from processor.run import Run


class RowCounts(Model):
    """Rows: read = accepted + rejected, always; accepted = added + changed + unchanged + reactivated + collapsed."""

    read: int
    accepted: int
    rejected: int
    added: int
    changed: int
    unchanged: int
    deactivated: int
    reactivated: int = 0
    collapsed: int = 0


class RejectAnswer(Model):
    """A rejected row: its physical line in the file as it was sent, the field, the value, why, and what to do."""

    line: int | None
    field: str | None
    value: str | None
    code: str
    message: str


class WarningAnswer(Model):
    """Something about rows that were imported."""

    code: str
    field: str | None = None
    count: int
    message: str
    lines: list[int]


class ToleratedAnswer(Model):
    """A departure from the ideal format that was read all the same."""

    code: str
    message: str


class HoldAnswer(Model):
    """Why a run waits for an operator; `figures` is what an approval is held to."""

    code: str
    message: str
    figures: dict[str, int] = Field(default_factory=dict)


class ReceiptAnswer(Model):
    """What became of one landing, as the customer reads it. A viewer's has no values and no examples."""

    landing_id: str
    attempt: int
    account: str
    source: str | None
    file: str
    bytes: int
    sha256: str
    feed: str | None
    outcome: Outcome
    landed_at: Moment
    finished_at: Moment | None
    resumed: bool
    rows: RowCounts
    rejects: list[RejectAnswer]
    reject_counts: dict[str, int]
    warnings: list[WarningAnswer]
    tolerated: list[ToleratedAnswer]
    hold: HoldAnswer | None
    message: str


def receipt_of(run: Run, who: Principal) -> ReceiptAnswer:
    """The receipt of a run with an outcome, as far as a person may see it."""
    told = receipt.body(run)
    return ReceiptAnswer(**(told if who.may_see_rows else run_sight.without_rows(told)))
