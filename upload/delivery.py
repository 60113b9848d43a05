"""The delivery: attempt after attempt, until the parcel has arrived or the deadline has passed, by any transport."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import stamina

from upload.errors import ConnectionLost, NotDelivered
from upload.parcel import Parcel
from upload.patience import Patience
from upload.run_log import Note


class TryAgain(Exception):
    """This attempt has failed; another may not."""


class Progress(Protocol):
    """Is told how far a parcel is."""

    def at(self, parcel: Parcel, confirmed: int) -> None:
        """So many of its bytes are confirmed by the server."""


@dataclass
class Journey:
    """What is known of a parcel on its way, over all attempts.

    Attributes:
        name: its name at the server.
        confirmed: how many of its bytes the server has, as far as it has said.
    """

    name: str
    confirmed: int = 0


def until_delivered(
    parcel: Parcel, journey: Journey, attempt: Callable[[Note], None], patience: Patience, note: Note
) -> None:
    """Make attempts until one returns. Raises NotDelivered, and whatever but ConnectionLost and TryAgain one raises."""
    log: Note = lambda event, **values: note(event, source=parcel.outgoing.source, **values)  # noqa: E731
    began, why = time.monotonic(), "the deadline has passed"
    while patience.left > 0:
        before = journey.confirmed
        try:
            for tried in _attempts(patience):
                with tried:
                    try:
                        attempt(log)
                    except (ConnectionLost, TryAgain) as error:
                        if patience.left > 0:  # else the deadline itself has cut it, which says nothing
                            why = str(error)
                        log("attempt.failed", why=str(error), confirmed=journey.confirmed, attempt=tried.num)
                        if journey.confirmed > before:
                            raise _Moved from None  # what moves on is tried again without a longer wait
                        raise
        except (_Moved, ConnectionLost, TryAgain):
            continue
        log("file.delivered", file=parcel.name, bytes=parcel.bytes, seconds=round(time.monotonic() - began, 3))
        return
    log("file.not_delivered", why=why)
    raise NotDelivered(f"{parcel.name} did not arrive within the deadline. Last: {why}")


class _Moved(Exception):
    """The attempt has failed, but not before more had arrived."""


def _attempts(patience: Patience) -> Iterable[stamina.Attempt]:
    return stamina.retry_context(
        on=(ConnectionLost, TryAgain),
        attempts=None,
        timeout=max(0.01, patience.left),
        wait_initial=patience.first,
        wait_max=patience.longest,
        wait_jitter=patience.first,
    )
