"""Strays: runs that have their account's turn, and that nobody works on or will.

They should not be, and each would keep its account waiting for ever: whoever was to take one up has died of it, too;
DBOS has given a workflow up; a power cut has taken the last notes of a run, but not those of its workflow.
"""

from datetime import timedelta

import structlog

from landingzone.clock import iso, now
from processor import run as runs
from processor import turns
from processor.context import Context
from processor.durable import Durable

LOOKS = 15
"""Through so many looks, one each beat, a run must be nobody's; that it waits for a worker so long does no harm."""
_NOT_BEGUN_FOR = timedelta(seconds=60)
_AT_ONCE = 200

log = structlog.get_logger()


class Strays:
    """Finds strays, and puts them back into the queue.

    Args:
        here: the processor's context.
        durable: what they are enqueued with.
    """

    def __init__(self, here: Context, durable: Durable) -> None:
        self._here = here
        self._durable = durable
        self._looks = 0
        self._nobodys: dict[str, int] = {}

    def forget(self) -> None:
        """What was seen so far counts no more: the database was away."""
        self._nobodys.clear()

    def look(self) -> None:
        """Look once."""
        self._looks += 1
        with self._here.db.read() as tx:
            nobodys, own = runs.begun(tx, owner=None), runs.begun(tx, owner=self._here.owner)
        if dropped := set(own) - self._here.in_hand:  # its workflow has ended here without bringing it to its end
            with self._here.db.write() as tx:
                runs.give_up(tx, dropped, owner=self._here.owner)
        self._nobodys = {run_id: self._nobodys.get(run_id, 0) + 1 for run_id in nobodys}
        found = [run_id for run_id, looks in self._nobodys.items() if looks >= LOOKS][:_AT_ONCE]
        if found:
            self._durable.revive(found, begun=True)
            self._nobodys.clear()
        if self._looks % LOOKS == 0:
            found += self._not_begun()
        if found:
            log.warning("run.strayed", runs=len(found))

    def _not_begun(self) -> list[str]:
        """Revive runs that have had their turn for long, and of which the queue knows nothing."""
        before = iso(now() - _NOT_BEGUN_FOR)
        with self._here.db.read() as tx:
            waiting = [turn.run_id for turn in turns.unclaimed(tx, before=before)[:_AT_ONCE]]
        return self._durable.revive(waiting, begun=False)
