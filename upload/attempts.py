"""What became of the last attempts, source by source: counts, hashes, codes and times, kept in the state folder."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upload.outcome import Ending
from upload.private_file import create

KEPT = 20
FILE = "attempts.json"


@dataclass(frozen=True)
class Attempt:
    """One attempt to send one file.

    Attributes:
        key: the source's name, with its school where each has a file.
        feed: its feed.
        began: UTC, ISO 8601.
        ending: how it ended.
        why: in a sentence, where it did not go well; no personal data.
        file: its name at the server; empty if it came to none.
        rows: data rows that were sent.
        bytes: that travelled.
        sha256: of those.
        outcome: the receipt's; empty without one.
        landing_id: the receipt's.
        rejected: rows that were not taken.
        after: the newest landing id of that name before it was sent: its own is above.
        log: the name of the log's file.
    """

    key: str
    feed: str
    began: str
    ending: Ending
    why: str = ""
    file: str = ""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    outcome: str = ""
    landing_id: str = ""
    rejected: int = 0
    after: str = ""
    log: str = ""
    words: str = field(default="", repr=False)
    """What people are told of it now; not kept."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values, without the words."""
        return {name: value for name, value in asdict(self).items() if name != "words"} | {"ending": self.ending.name}


def load(state: Path) -> dict[str, list[Attempt]]:
    """The last attempts of each key, newest first; what cannot be read counts for none."""
    try:
        found = json.loads((state / FILE).read_bytes())
        return {
            key: [Attempt(**{**one, "ending": Ending[one["ending"]]}) for one in attempts]
            for key, attempts in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def add(state: Path, attempts: list[Attempt]) -> None:
    """Keep these beside the earlier ones; whole or not at all."""
    known = load(state)
    for one in attempts:
        known[one.key] = [one, *known.get(one.key, [])][:KEPT]
    _save(state, known)


def replace(state: Path, attempt: Attempt) -> None:
    """Keep this in place of the newest one of its key: its receipt has come."""
    known = load(state)
    known[attempt.key] = [attempt, *known.get(attempt.key, [])[1:]]
    _save(state, known)


def _save(state: Path, known: dict[str, list[Attempt]]) -> None:
    told = {key: [one.as_dict() for one in attempts] for key, attempts in known.items()}
    part = state / f".{FILE}.{secrets.token_hex(4)}"
    with create(part) as file:
        file.write(json.dumps(told, indent=1).encode())
    part.replace(state / FILE)
