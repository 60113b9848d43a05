"""The watch on the inboxes: signals do not make it deaf."""

import subprocess
import sys
from pathlib import Path

WAITS = """
import signal, sys, time
from pathlib import Path
from processor.inbox_watch import InboxWatch
watch = InboxWatch(Path(sys.argv[1]), "native")
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.00013)
until = time.monotonic() + 3
while time.monotonic() < until:
    watch.wait(0.002)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_that_comes_as_the_time_is_up_does_not_make_it_wait_for_ever(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WAITS, str(tmp_path)], check=True, timeout=60)
