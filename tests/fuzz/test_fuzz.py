"""Every target keeps its promise: for what was found before, and for some hundreds of what its coverage leads to."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
INPUTS = 800
"""A number, not a time: the same inputs on every machine, so that a change is judged and not the machine's luck."""


def missing() -> bool:
    """Whether atheris is not there: it has wheels for Linux on x86-64 only. In CI that is no excuse."""
    return importlib.util.find_spec("atheris") is None and not os.environ.get("CI")


def load() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_targets", HERE / "targets.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_targets"] = module
    spec.loader.exec_module(module)
    return module


TARGETS = load().TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_before_stays_mended(name: str) -> None:
    kept = sorted((HERE / "corpus" / name).glob("*"))
    for data in (*TARGETS[name].seeds, *(path.read_bytes() for path in kept), b"", b"\0", b"\xff" * 100):
        TARGETS[name].function(data)


@pytest.mark.skipif(missing(), reason="atheris is not installed")
@pytest.mark.parametrize("name", TARGETS)
def test_some_hundreds_of_inputs_find_nothing(name: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        HERE / "run.py",
        name,
        f"-runs={150 if name == 'sftp_packets' else INPUTS}",
        "-seed=1",
        "-timeout=20",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert (done.returncode, found) == (0, {}), done.stderr[-3000:]
