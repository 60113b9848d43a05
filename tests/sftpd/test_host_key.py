"""The server's key is made once, readable by nobody else, and never replaced."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from sftpd.host_key import HostKeyError, ensure_host_key, load_host_keys


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = ensure_host_key(tmp_path)
    first = path.read_bytes()
    assert ensure_host_key(tmp_path) == path
    assert path.read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (key,) = load_host_keys(tmp_path)
    public = asyncssh.read_public_key(path.with_suffix(".pub"))
    assert key.get_fingerprint() == public.get_fingerprint()


def test_two_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = {path.read_bytes() for path in threads.map(lambda _: ensure_host_key(tmp_path), range(8))}
    assert len(keys) == 1


def test_a_missing_or_damaged_key_is_told_and_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(HostKeyError, match="landingzone init"):
        load_host_keys(tmp_path)
    path = ensure_host_key(tmp_path)
    path.write_bytes(b"damaged")
    ensure_host_key(tmp_path)
    with pytest.raises(HostKeyError, match="ssh_host_ed25519_key cannot be read"):
        load_host_keys(tmp_path)
    assert path.read_bytes() == b"damaged"
