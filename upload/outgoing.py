"""A file ready to be sent: what preparing hands over to sending."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A finished file in the private work folder. Nobody writes to it any more; whoever has sent it removes it.

    Attributes:
        source: the source's name in the settings.
        feed: the feed that it holds.
        path: where it lies.
        name: its plain name at the server.
        rows: data rows in it, damaged ones included: what the receipt must have read.
        bytes: its size.
        sha256: of its bytes, in hexadecimal: what the receipt must name.
    """

    source: str
    feed: str
    path: Path
    name: str
    rows: int
    bytes: int
    sha256: str
