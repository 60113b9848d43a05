"""The carrier by SFTP: one session, for parcels and for receipts."""

from upload.connection import BROKEN, Line
from upload.delivery import Progress
from upload.parcel import Parcel
from upload.patience import Patience
from upload.run_log import Note
from upload.transfer import deliver

FOLDER = "/receipts"


class SftpCarrier:
    """See `upload.carrier.Carrier`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @property
    def patience(self) -> Patience:
        """How long is waited."""
        return self._line.way.patience

    def deliver(self, parcel: Parcel, note: Note, progress: Progress) -> None:
        """Send a parcel until it has arrived, once."""
        deliver(parcel, self._line, note, progress)

    def receipts(self) -> list[str]:
        """The file names of all receipts."""
        session = self._line.session()
        try:
            return list(session.listdir(FOLDER))
        except BROKEN as error:
            raise self._line.lost(error) from error

    def receipt(self, name: str, most: int) -> bytes | None:
        """The first bytes of a receipt; None if there is none of that name."""
        session = self._line.session()
        try:
            found = session.look_into(f"{FOLDER}/{name}")
            if found is None:
                return None
            handle, size = found
            data = b"".join(session.read(handle, min(size, most)))
            session.end(handle)
        except BROKEN as error:
            raise self._line.lost(error) from error
        return data

    def close(self) -> None:
        """Hang up."""
        self._line.close()
