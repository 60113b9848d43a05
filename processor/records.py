"""Records: what a file says about one kind of thing. Most feeds give one kind, a guardians file guardians and their
associations. Pure data between validating and reconciling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from landingzone.feed import Feed
from processor.hashing import Placed


@dataclass(frozen=True)
class Records:
    """What a file says about the records of one feed.

    Attributes:
        feed: whose records these are: it declares their fields and key.
        rows: one for each key: the feed's fields (String).
        kept: keys (String) that are not to be deactivated although no accepted row gives them: a row that names them
            was rejected. A rejected row is not a removed row (design, Feeds).
        keep_all: the key of some rejected row could not be read, so nothing is deactivated.
        covers: only standing records that agree with a row of this frame are the file's to deactivate (events: the
            dates that the file names); None: all of the source's.
        placed: the hashes of the rows, where they are known already.
    """

    feed: Feed
    rows: pl.DataFrame
    kept: pl.DataFrame
    keep_all: bool
    covers: pl.DataFrame | None = None
    placed: Placed | None = None

    @property
    def days(self) -> list[str]:
        """The days (ISO) of which the file says the whole truth; empty for other than events."""
        return sorted(self.covers.to_series().unique()) if self.covers is not None else []

    def but_for(self, days: Sequence[str]) -> "Records":
        """The same without these days: newer files have said the truth of them."""
        if not days or self.covers is None:
            return self
        (name,) = self.covers.columns
        others = ~pl.col(name).is_in(list(days))
        return replace(self, rows=self.rows.filter(others), covers=self.covers.filter(others))
