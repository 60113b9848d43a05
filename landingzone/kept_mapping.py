"""An account's own mapping of a source's columns to the feed's fields. Pure: the district's own program shares it."""

from dataclasses import dataclass, field
from typing import Any

NO_COLUMN = ""
"""In place of a header name: the account's files give nothing for this field, whatever their columns are called."""


@dataclass(frozen=True, slots=True)
class KeptMapping:
    """An account's own mapping of one source.

    Attributes:
        headers: canonical field name to the header name that the account uses for it, or NO_COLUMN.
        positions: canonical field name to the column's position, from 0, for files without a header row.
        widths: widths of the columns in characters, where the file has neither separators nor header.
    """

    headers: dict[str, str] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    widths: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"headers": self.headers, "positions": self.positions, "widths": list(self.widths)}

    @classmethod
    def from_dict(cls, kept: dict[str, Any] | None) -> "KeptMapping | None":
        """The mapping that `as_dict` gave; None for None."""
        return cls(kept["headers"], kept["positions"], tuple(kept["widths"])) if kept is not None else None
