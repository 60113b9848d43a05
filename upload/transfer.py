"""The transfer: a parcel arrives once, whatever happens to the line, or it is known why not.

It travels under a temporary name and lands by its rename. After a cut it goes on from as far as the server's bytes are
proven to be ours, read back and compared under the server's lock on that upload. The rename alone can end in doubt:
if the answer is lost, the temporary name tells. Still there: it has not landed. Gone: it has, for nothing else takes a
closed upload away; then nothing is sent again, and the receipt has the last word.
"""

from dataclasses import dataclass
from typing import BinaryIO

from upload.connection import BROKEN, Line
from upload.delivery import Journey, Progress, TryAgain, until_delivered
from upload.errors import NotDelivered
from upload.parcel import Parcel
from upload.run_log import Note
from upload.session import Refused, Session

IN_USE_TRIES = 4
"""How often an upload that a broken session still holds is asked for, before the file is sent anew."""


@dataclass
class _Journey(Journey):
    """The same, of one that travels under a temporary name."""

    asked_to_land: bool = False
    in_use: int = 0
    number: int = 1

    @property
    def part(self) -> str:
        """The parcel's name while it travels: one that the server knows for a temporary one."""
        return f"{self.name}.part" if self.number == 1 else f"{self.name}.{self.number}.part"


def deliver(parcel: Parcel, line: Line, note: Note, progress: Progress) -> None:
    """Send a parcel until it has arrived. Raises NotDelivered, and what `connect` raises for good."""
    journey = _Journey(parcel.name)
    until_delivered(
        parcel, journey, lambda log: _attempt(parcel, line, journey, log, progress), line.way.patience, note
    )


def _attempt(parcel: Parcel, line: Line, journey: _Journey, log: Note, progress: Progress) -> None:
    session = line.session()
    try:
        _send(parcel, session, journey, log, progress)
    except Refused as refused:
        log("request.refused", why=str(refused), code=refused.code)
        if refused.final:
            raise NotDelivered(f"The server refused {parcel.name}: {refused}") from None
        raise TryAgain(f"The server refused: {refused}") from None
    except BROKEN as error:
        raise line.lost(error) from error


def _send(parcel: Parcel, session: Session, journey: _Journey, log: Note, progress: Progress) -> None:
    with parcel.path.open("rb") as content:
        handle, offset = _open(parcel, session, content, journey, log)
        if handle is None:
            return

        def moved(count: int) -> None:
            journey.confirmed += count
            progress.at(parcel, journey.confirmed)

        journey.confirmed = offset
        progress.at(parcel, offset)
        content.seek(offset)
        if session.write(handle, content, offset, moved) != parcel.bytes:
            raise NotDelivered(f"{parcel.path.name} was changed while it was being sent.")
    session.end(handle)
    log("file.sent", file=parcel.name, bytes=parcel.bytes, from_byte=offset)
    journey.asked_to_land = True
    try:
        session.rename(journey.part, parcel.name)
    except Refused as refused:
        if not refused.missing:
            raise
        raise TryAgain("The upload was gone when it was to land.") from None


def _open(
    parcel: Parcel, session: Session, content: BinaryIO, journey: _Journey, log: Note
) -> tuple[bytes | None, int]:
    """The parcel's open upload and the offset from which it is to be sent; no upload: it has landed already."""
    try:
        found = session.reopen(journey.part, create=not journey.asked_to_land)
    except Refused as refused:
        journey.in_use += 1
        if not refused.final and not journey.asked_to_land and journey.in_use >= IN_USE_TRIES:
            # a broken session still holds it: anew, under a name that cannot be taken for the other
            journey.number, journey.in_use = journey.number + 1, 0
        raise
    if found is None:
        if not journey.asked_to_land:
            raise TryAgain("The server began no upload.")
        log("file.landed_unheard", file=parcel.name)
        return None, 0
    handle, size = found
    proven = _proven(session, handle, size, content, parcel.bytes)
    if proven < size:
        session.cut(handle, proven)
    if size:
        log("upload.resumed", file=parcel.name, there=size, proven=proven)
    return handle, proven


def _proven(session: Session, handle: bytes, size: int, content: BinaryIO, most: int) -> int:
    """How many bytes of the upload, from its first on, are those of the file."""
    content.seek(0)
    proven = 0
    for data in session.read(handle, min(size, most)):
        ours = content.read(len(data))
        if data != ours:
            return proven
        proven += len(data)
    return proven
