"""The carrier: brings parcels to the server, and receipts back. By SFTP, or over HTTPS where only port 443 is open."""

from typing import Protocol

from upload.delivery import Progress
from upload.parcel import Parcel
from upload.patience import Patience
from upload.run_log import Note


class Carrier(Protocol):
    """One way to the server, opened when it is needed and anew after a cut; for one thread.

    Everything raises ConnectionLost, which may pass; LoginRefused, KeyUnusable, ServerChanged, which do not.
    """

    @property
    def patience(self) -> Patience:
        """How long is waited."""

    def deliver(self, parcel: Parcel, note: Note, progress: Progress) -> None:
        """Send a parcel until it has arrived, once. Raises NotDelivered."""

    def receipts(self) -> list[str]:
        """The file names of all receipts. Raises ServerRefused."""

    def receipt(self, name: str, most: int) -> bytes | None:
        """The first bytes of a receipt, at most so many; None if there is none of that name. Raises ServerRefused."""

    def close(self) -> None:
        """Hang up."""
