"""The receipt of what was sent: waited for, matched by name, SHA-256 and rows, and told in people's words."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from processor.receipt_text import as_text
from upload.carrier import Carrier
from upload.errors import ConnectionLost, ServerRefused
from upload.outcome import Ending
from upload.parcel import Parcel
from upload.run_log import Note

MOST_BYTES = 8 << 20
"""A receipt has a hundred rejects at most; what is longer is none."""

_NAME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(.+)\.receipt\.json", re.DOTALL)
_LOOK_LONGEST = 10.0

ENDINGS = {
    "imported": Ending.IMPORTED,
    "unchanged": Ending.IMPORTED,
    "imported_with_rejects": Ending.IMPORTED_WITH_REJECTS,
    "held": Ending.HELD,
    "superseded": Ending.REJECTED,
    "rejected": Ending.REJECTED,
    "unrecognised": Ending.REJECTED,
    "withdrawn": Ending.REJECTED,
    "reverted": Ending.REJECTED,
}
"""An outcome -> how the upload ended. `failed` is none: the vendor tries again, and the receipt is waited for."""
_COUNTED = {"imported", "unchanged", "imported_with_rejects"}


class _Rows(BaseModel):
    model_config = ConfigDict(frozen=True)

    read: int
    accepted: int
    rejected: int


class _Told(BaseModel):
    """What must stand in a receipt."""

    model_config = ConfigDict(frozen=True)

    landing_id: str
    attempt: int
    file: str
    sha256: str
    outcome: str
    rows: _Rows
    message: str
    reject_counts: dict[str, int]


@dataclass(frozen=True)
class Receipt:
    """A receipt that belongs to a parcel.

    Attributes:
        told: what it says, checked.
        raw: all of it, as JSON values; may hold personal data.
    """

    told: _Told
    raw: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> "Receipt | None":
        """The receipt of its JSON; None if it is none that can be understood."""
        try:
            raw = json.loads(data)
            return cls(_Told.model_validate(raw), raw)
        except (ValueError, ValidationError, RecursionError):
            return None

    def ending(self, parcel: Parcel) -> Ending:
        """How the parcel ended."""
        ending = ENDINGS.get(self.told.outcome, Ending.NO_RECEIPT)
        if ending is Ending.IMPORTED and self.told.rows.rejected:  # the same bytes again, with the same rejects
            ending = Ending.IMPORTED_WITH_REJECTS
        counted = self.told.outcome not in _COUNTED or self.told.rows.read == parcel.outgoing.rows
        return ending if counted else Ending.MISCOUNTED

    def in_words(self, parcel: Parcel, *, with_values: bool) -> str:
        """As people read it. Without values, which are personal data, where it may end up in a log or a mail."""
        raw = self.raw
        if not with_values:
            raw = {**raw, "rejects": [{**one, "value": ""} for one in raw.get("rejects", [])]}
        try:
            text = as_text(raw).decode().replace("\r\n", "\n")
        except (KeyError, TypeError, ValueError, AttributeError):  # of another version: its sentence says the most
            text = self.told.message
        if self.ending(parcel) is Ending.MISCOUNTED:
            text += (
                f"\nBut {parcel.outgoing.rows:,} rows were sent and {self.told.rows.read:,} were read there. "
                "Tell the vendor, and name the receipt.\n"
            )
        return "".join(char for char in text if char == "\n" or char.isprintable())


def newest(carrier: Carrier, names: Iterable[str]) -> dict[str, str]:
    """The id of the newest receipt of each file name; empty where there is none. Ids of an account rise."""
    found = dict.fromkeys(names, "")
    for landing_id, name in _listed(carrier):
        if name in found and landing_id > found[name]:
            found[name] = landing_id
    return found


class Awaited:
    """Receipts that are waited for: of each parcel the one above what was there before, with the parcel's SHA-256."""

    def __init__(self, parcels: Iterable[Parcel], before: dict[str, str], note: Note) -> None:
        self._open = {parcel.name: parcel for parcel in parcels}
        self._before = before
        self._note = note
        self._strange: set[str] = set()
        self._failed: dict[str, Receipt] = {}

    def come(self, carrier: Carrier) -> Iterator[tuple[Parcel, Receipt]]:
        """Each as it comes, until all have or the deadline has passed."""
        patience, wait = carrier.patience, carrier.patience.look
        while self._open and patience.left > 0:
            found: list[tuple[Parcel, Receipt]] = []
            try:
                self._look_over(carrier, found)
            except ConnectionLost as lost:
                self._note("attempt.failed", why=str(lost))
            yield from found
            if not self._open:
                return
            time.sleep(max(0.0, min(wait, patience.left)))
            wait = patience.look if found else min(wait * 1.2, max(_LOOK_LONGEST, patience.look))

    def look_once(self, carrier: Carrier) -> list[tuple[Parcel, Receipt]]:
        """What is there now. Raises what `connect` raises."""
        found: list[tuple[Parcel, Receipt]] = []
        self._look_over(carrier, found)
        return found

    @property
    def missing(self) -> list[Parcel]:
        """Those whose receipt has not come."""
        return list(self._open.values())

    def failed(self, parcel: Parcel) -> Receipt | None:
        """A receipt that says that the vendor's side has failed and tries again."""
        return self._failed.get(parcel.name)

    def _look_over(self, carrier: Carrier, found: list[tuple[Parcel, Receipt]]) -> None:
        """Add what has come to what was found: what stands there counts, also if the line breaks in the middle."""
        try:
            self._look(carrier, found)
        except ServerRefused as refused:
            self._note("receipts.refused", why=str(refused))

    def _look(self, carrier: Carrier, found: list[tuple[Parcel, Receipt]]) -> None:
        for landing_id, name in sorted(_listed(carrier)):
            parcel = self._open.get(name)
            if parcel is None or landing_id <= self._before.get(name, "") or landing_id in self._strange:
                continue
            receipt = _read(carrier, landing_id, name)
            if receipt is None or receipt.told.sha256 != parcel.sha256 or receipt.told.landing_id != landing_id:
                self._strange.add(landing_id)
                self._note("receipt.of_other_bytes", landing_id=landing_id, file=name)
            elif receipt.told.outcome not in ENDINGS:
                self._failed[name] = receipt
            else:
                del self._open[name]
                self._failed.pop(name, None)
                found.append((parcel, receipt))


def _listed(carrier: Carrier) -> Iterator[tuple[str, str]]:
    """Landing id and file name of every receipt."""
    for name in carrier.receipts():
        found = _NAME.fullmatch(name)
        if found:
            yield found[1], found[2]


def _read(carrier: Carrier, landing_id: str, name: str) -> Receipt | None:
    """A receipt; None if it is gone, or none that can be understood."""
    data = carrier.receipt(f"{landing_id}-{name}.receipt.json", MOST_BYTES)
    return Receipt.of(data) if data is not None else None
