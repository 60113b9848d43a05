"""Time, in one place: UTC everywhere, ISO 8601 wherever it is written down."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-01-31T06:00:00.000Z`.

    >>> iso(datetime(2026, 1, 31, 6, tzinfo=UTC))
    '2026-01-31T06:00:00.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
