"""How an upload ends, and the exit code that says so to the script or the scheduler that called it."""

from collections.abc import Iterable
from enum import IntEnum


class Ending(IntEnum):
    """How a source's upload ended; the value is the exit code. A code's meaning never changes."""

    IMPORTED = 0
    """Delivered and imported, or nothing had changed; of `check`: nothing stands against sending."""
    FAILED = 1
    """The program itself failed; the log says where."""
    WRONG_SETTINGS = 2
    """The command's words or the settings cannot be used. Nothing was sent."""
    IMPORTED_WITH_REJECTS = 10
    """Delivered and imported, but some rows were rejected."""
    HELD = 11
    """Delivered; the vendor has to look at it first. Nothing was changed there."""
    REJECTED = 12
    """Delivered; the file cannot be used. Nothing was changed there."""
    MISCOUNTED = 13
    """Delivered and imported, but the vendor read another number of rows than was sent: tell them."""
    NOT_DELIVERED = 20
    """The file could not be extracted or did not arrive whole. Nothing was changed there."""
    NO_RECEIPT = 21
    """Delivered; no receipt came within the deadline."""
    REFUSED = 22
    """The check refused to send: the file is clearly broken. `--send-anyway` sends it all the same."""
    ANOTHER_RUN = 23
    """Another run is under way in this folder. Nothing was done."""
    HOST_KEY_CHANGED = 24
    """The server is not the one that is pinned. Nothing was sent, and nothing will be until somebody has asked."""

    @property
    def said(self) -> str:
        """For people.

        >>> Ending.NO_RECEIPT.said
        'no receipt'
        """
        return self.name.lower().replace("_", " ")


_FROM_BEST_TO_WORST = (
    Ending.IMPORTED,
    Ending.IMPORTED_WITH_REJECTS,
    Ending.MISCOUNTED,
    Ending.NO_RECEIPT,
    Ending.HELD,
    Ending.REJECTED,
    Ending.REFUSED,
    Ending.NOT_DELIVERED,
    Ending.ANOTHER_RUN,
    Ending.HOST_KEY_CHANGED,
    Ending.WRONG_SETTINGS,
    Ending.FAILED,
)


def worst(endings: Iterable[Ending]) -> Ending:
    """What the exit code of several sources says: the worst of them; of none, that all is well.

    >>> worst([Ending.IMPORTED, Ending.NOT_DELIVERED, Ending.HELD]).name
    'NOT_DELIVERED'
    """
    return max(endings, key=_FROM_BEST_TO_WORST.index, default=Ending.IMPORTED)
