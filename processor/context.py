"""What every step of a run works with."""

import os
from dataclasses import dataclass, field
from uuid import uuid4

from landingzone.db import Database
from landingzone.feed import Catalogue
from landingzone.settings import Settings
from landingzone.source import Sources
from landingzone.zone import Zone
from processor.archive import Archive


@dataclass(frozen=True)
class Context:
    """One processor's settings, database, zone, archive, and its name as an owner of runs.

    `progress` is the same database, whose commits may be lost in a power cut (never half of one): for how far a run is
    before and after the commit that counts. A step that is done again for that has no second effect.
    `in_hand` are the runs (by id) that this process has made its own: what it finds taken away from it stays so.
    """

    settings: Settings
    db: Database
    progress: Database
    zone: Zone
    archive: Archive
    catalogue: Catalogue
    sources: Sources
    owner: str
    in_hand: set[str] = field(default_factory=set)


def owner_name(node: str) -> str:
    """The name of this very process: a restarted one is another owner, so that the old one's commits are refused."""
    return f"{node}/{os.getpid()}/{uuid4().hex[:12]}"
