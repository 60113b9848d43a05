"""Whether a file is clearly broken, so that it should not be sent. Pure; the server's own guards, as far as they can be
asked here, and one more: the file has less than half the usual rows.
"""

from collections.abc import Iterator
from typing import Final

from landingzone.feed import Feed, Mode
from landingzone.settings import GuardSettings
from processor import guards
from processor.examination import Examined
from upload.last_time import Sent

_USUAL_FROM_ROWS: Final = 20
_USUAL_SHARE: Final = 0.5


def refusal(feed: Feed, found: Examined, before: Sent | None, *, may_be_empty: bool) -> str:
    """Why the file should not be sent, in sentences; empty if nothing speaks against it."""
    return " ".join(_reasons(feed, found, before, may_be_empty=may_be_empty))


def _reasons(feed: Feed, found: Examined, before: Sent | None, *, may_be_empty: bool) -> Iterator[str]:
    if found.missing:
        yield guards.missing_columns(feed, found.missing, found.header, before.header if before else None).message
        return
    if not found.read:
        if not may_be_empty:
            yield "The file is empty: it has no rows. Where that is right, set may_be_empty."
        return
    if found.read == found.rejected:
        yield "Not one of its rows can be used."
    usual = before.usual_rows if before is not None and feed.mode is not Mode.EVENTS else None
    hold = guards.check_truncation(GuardSettings(), found, resumed=False, last_read=usual)
    if hold is not None:
        yield hold.message
    elif usual is not None and usual >= _USUAL_FROM_ROWS and found.read < _USUAL_SHARE * usual:
        yield f"The file has {found.read:,} rows, where it usually has {usual:,}."


def remarks(feed: Feed, found: Examined) -> Iterator[str]:
    """What the server will hold the file for, or what is taken as well as it can be."""
    hold = guards.check_positions(feed, found, confirmed=[])
    if hold is not None:
        yield f"It is held at its first import: {hold.message}"
    if 0 < found.rejected < found.read:
        hold = guards.check_rows(GuardSettings(), feed, read=found.read, rejected=found.rejected, empty_means="held")
        if hold is not None:
            yield f"It would be held: {hold.message}"
    if found.twice:
        yield f"Named more than once, so none of these columns is taken: {', '.join(found.twice)}."
