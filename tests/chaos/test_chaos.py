"""What `make chaos` does, in short: every kind of trouble; nothing is lost, doubled, or out of order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
FILES = 40
SHORT = f"--seconds 7 --seed 1 --accounts 10 --files {FILES} --longest 2.5 --beat 0.4"


@pytest.mark.timeout(400)
@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can mount a small disk")
def test_two_doors_and_three_processors_bring_all_to_its_end_whatever_befalls_them() -> None:
    done = subprocess.run(
        [sys.executable, RUN, *SHORT.split()], capture_output=True, text=True, check=False, timeout=380
    )
    told = done.stdout[-6000:] + done.stderr[-3000:]
    assert done.returncode == 0, told
    for kind in ("kill processor", "kill door", "stop processor", "restart database", "fill disk", "stall network"):
        assert f"  {kind}" in done.stdout, told
    assert f"{FILES} successes seen" in done.stdout, told
