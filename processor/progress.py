"""How far a run is before its outcome commits: written down now and then, for those who look.

Each note is a transaction of its own, and most files are through before anybody could look: of them nothing is noted.
"""

import time
from typing import Any

from landingzone.clock import iso, now
from processor import run as runs
from processor.context import Context
from processor.run import Run, State


class Progress:
    """One run's, in one process.

    Attributes:
        source_id: the number of the source that the file was recognised as; None before that.
        steps: when each state was reached, UTC, ISO 8601; kept with the run's outcome.
    """

    def __init__(self, here: Context, run: Run) -> None:
        self._here = here
        self._run = run
        self._noted = time.monotonic()
        self.source_id: int | None = run.source_id
        self.steps: dict[str, str] = {}

    @property
    def values(self) -> dict[str, Any]:
        """The run's columns that are known by now."""
        return {"source_id": self.source_id} if self.source_id is not None else {}

    def begin(self) -> None:
        """It begins, perhaps again. Raises TakenOver if the run is another process's."""
        self.steps[State.CLAIMED.value] = iso(now())
        if self._run.state is not State.CLAIMED:
            self._note(State.CLAIMED)

    def reached(self, state: State) -> None:
        """It is so far; noted if the last note is old enough. Raises TakenOver if the run is another process's then."""
        self.steps[state.value] = iso(now())
        if time.monotonic() - self._noted >= self._here.settings.processor.progress_seconds:
            self._note(state)

    def _note(self, state: State) -> None:
        with self._here.progress.write() as tx:
            runs.advance(tx, self._run, state, owner=self._here.owner, **self.values)
        self._noted = time.monotonic()
