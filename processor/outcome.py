"""How a run ends. Pure: receipts speak of it, and the district's own program reads those."""

from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended. Whatever the end, the file is archived and a receipt written."""

    IMPORTED = "imported"
    IMPORTED_WITH_REJECTS = "imported_with_rejects"
    UNCHANGED = "unchanged"
    HELD = "held"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    UNRECOGNISED = "unrecognised"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"
    REVERTED = "reverted"


#: Ends after which an operator may ask for another attempt of the same file.
RETRYABLE = (Outcome.FAILED, Outcome.UNRECOGNISED, Outcome.HELD, Outcome.REJECTED)
#: Ends after which a source stands at the run's file.
APPLIED = (Outcome.IMPORTED, Outcome.IMPORTED_WITH_REJECTS, Outcome.UNCHANGED)
#: Ends that a newer full file of the same source makes pointless.
SUPERSEDABLE = (Outcome.HELD, Outcome.FAILED)
