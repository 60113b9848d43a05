"""A key changes without a phone call: real logins count, and the old key's open session ends with the last of them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from landingzone.command import Installation


def test_the_old_key_goes_when_the_new_one_was_used_and_its_session_ends(
    service: Any, client: Any, make_client: Callable[..., Any], here: Installation, make_key: Callable[[str], Path]
) -> None:
    def keys(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), "keys", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    new = make_key("new")
    told = keys("rotate", client.account, f"{new}.pub", "--overlap", "14d", "--uses", "2")
    assert "until that one was used 2 times" in told
    with client.paramiko() as old_session:
        listing = old_session.open_sftp()
        for count in (1, 2):
            assert listing.listdir("/") == ["receipts"]
            assert make_client(service, client.account, key=new).sftp("ls").returncode == 0
            until = time.monotonic() + 15
            while (stands := json.loads(keys("rotations", client.account, "--json"))[0])["uses"] < count:
                assert time.monotonic() < until, stands
        assert stands["state"] == "uses"
        service.wait_for("session.ended", account=client.account, reason="key_retired", seconds=10)
    assert "Permission denied (publickey)" in client.sftp("ls").stderr
    service.wait_for("login.refused", account=client.account, reason="key_retired")
    assert make_client(service, client.account, key=new).sftp("ls").returncode == 0
