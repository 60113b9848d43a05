"""The real processor, which kills itself with SIGKILL at one moment of a run: `dying_processor.py MOMENT ARGUMENTS...`.

It does so only once the file named by the variable ARMED is there: runs before that go through.
A moment is `before NAME` or `after NAME`, with NAME one of MOMENTS: a function of the import, or a change of state
(`commit:STATE` is the end of the transaction that enters it). The code that runs up to there is the product's own.
With the variable STANDS_STILL it stops there (SIGSTOP) instead of dying.
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: name -> (module, attribute path) of what is wrapped
MOMENTS = {
    "claim": ("landingzone.zone", "Zone.claim"),
    "hash": ("processor.staging", "sha256_of"),
    "recognise": ("processor.import_step", "reading_of"),
    "staging": ("processor.staging", "fresh_staging"),
    "examine": ("processor.account_reading", "examine"),
    "reconcile": ("processor.comparison", "reconcile"),
    "save_changes": ("processor.changes", "Changes.save"),
    "fsync_staging": ("processor.staging", "fsync_staging"),
    "add_rows": ("processor.account_data", "add"),
    "end_rows": ("processor.account_data", "end"),
    "standing": ("processor.standing", "set_to"),
    "commit": ("processor.import_step", "_commit"),
    "compress": ("processor.archive", "Archive._pack"),
    "keep": ("processor.archive", "Archive.keep"),
    "receipt": ("processor.receipt", "write"),
    "receipt_file": ("processor.archive", "Archive.add"),
    "receipt_link": ("processor.receipt", "link_file"),
}
#: the same, of a large file, which is compared while it is read
MOMENTS_OF_LARGE = {
    "load": ("processor.bulk_load", "BulkLoad.add"),
    "finish_load": ("processor.bulk_load", "BulkLoad.finish"),
    "compare": ("processor.listing", "Listing.compare"),
    "keys": ("processor.listing", "Listing._write_keys"),
    "write_listing": ("processor.listing", "Listing.write"),
    "keep_listing": ("processor.listing", "Listing.keep_written"),
    "discard": ("processor.account_data", "discard_load"),
}
MOMENTS_OF_INTEREST = (
    *(f"after {name}" for name in MOMENTS if name not in {"receipt_file", "receipt_link"}),
    *(
        "before claim",
        "before add_rows",
        "before compress",
        "before receipt_file",
        "after receipt_file",
        "before receipt_link",
        "after receipt_link",
    ),
)
STATES = ("claimed", "recognised", "read", "validated", "reconciled", "applied", "archived", "receipted")


def armed() -> bool:
    return Path(os.environ["ARMED"]).exists()


def die() -> None:
    if armed():
        os.kill(os.getpid(), signal.SIGSTOP if os.environ.get("STANDS_STILL") else signal.SIGKILL)


def wrap(when: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def dying(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            die()
        result = function(*arguments, **named)
        die()
        return result

    return dying


def arm(when: str, name: str, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let a moment be noticed; `put` is how an attribute is replaced."""
    if name.startswith("commit:"):
        arm_commit(when, name.partition(":")[2], put)
        return
    module, path = (MOMENTS | MOMENTS_OF_LARGE)[name]
    *outer, last = path.split(".")
    owner = importlib.import_module(module)
    for part in outer:
        owner = getattr(owner, part)
    put(owner, last, wrap(when, getattr(owner, last)))


def arm_commit(when: str, state: str, put: Callable[[Any, str, Any], None]) -> None:
    """Die as the transaction ends in which a run enters a state: before its COMMIT, or after."""
    from landingzone.db import Database
    from processor import run as runs

    entered = False
    advance, own, write = runs.advance, runs.own, Database.write

    def noting(tx: Any, run: Any, to: Any, **named: Any) -> None:
        nonlocal entered
        advance(tx, run, to, **named)
        entered = to.value == state

    def noting_owner(tx: Any, run: Any, owner: str) -> Any:
        nonlocal entered
        owned = own(tx, run, owner)
        entered = state == "claimed"
        return owned

    @contextmanager
    def dying(self: Database, **named: Any) -> Any:
        with write(self, **named) as tx:
            yield tx
            if entered and when == "before":
                die()
        if entered:
            die()

    put(runs, "advance", noting)
    put(runs, "own", noting_owner)
    put(Database, "write", dying)


if __name__ == "__main__":
    moment, *arguments = sys.argv[1:]
    from landingzone.cli import main

    arm(*moment.split(" "))
    sys.argv = ["landingzone", *arguments]
    main()
