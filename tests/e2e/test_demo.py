"""The demo shows the main job, and says so only if it worked."""

import shutil
import subprocess
import sys
from pathlib import Path


def test_the_demo_comes_out_as_it_should(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "landingzone", "demo", "--keep", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    has_openssh = shutil.which("sftp") and shutil.which("ssh-keygen")
    assert ("Permission denied (publickey)" if has_openssh else "Bad authentication type") in done.stdout
    assert "All came out as it should." in done.stdout
    assert "PRIVATE KEY" not in done.stdout


def test_the_demo_works_without_openssh(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "landingzone", "demo"],
        env={"PATH": str(folder), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "paramiko" in done.stdout
