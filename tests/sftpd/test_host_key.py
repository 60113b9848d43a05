"""The server's keys are made once, readable by nobody else, never replaced but by a next one that was offered."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from landingzone.host_key_files import KINDS, fingerprints, path_of
from sftpd.host_key import (
    HostKeyError,
    add_next,
    ensure_host_keys,
    host_keys,
    load_host_keys,
    promote,
)


def test_a_key_of_each_kind_is_made_once_and_kept(tmp_path: Path) -> None:
    ensure_host_keys(tmp_path)
    first = {kind: path_of(tmp_path, kind).read_bytes() for kind in KINDS}
    ensure_host_keys(tmp_path)
    for known in host_keys(tmp_path):
        path = path_of(tmp_path, known.kind)
        assert path.read_bytes() == first[known.kind]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert asyncssh.read_public_key(f"{path}.pub").get_fingerprint() == known.fingerprint
    assert [(known.kind, known.bits) for known in host_keys(tmp_path)] == [
        ("ed25519", 256),
        ("ecdsa", 256),
        ("rsa", 3072),
    ]


def test_keys_of_other_kinds_are_not_added_to_those_that_clients_know(tmp_path: Path) -> None:
    ensure_host_keys(tmp_path)
    for kind in ("ecdsa", "rsa"):
        path_of(tmp_path, kind).unlink()
    ensure_host_keys(tmp_path)
    assert [known.kind for known in host_keys(tmp_path)] == ["ed25519"]


def test_two_processes_that_start_at_once_agree_on_their_keys(tmp_path: Path) -> None:
    def start(_: int) -> set[str]:
        ensure_host_keys(tmp_path)
        return {known.fingerprint for known in host_keys(tmp_path) if known.kind == "ed25519"}

    with ThreadPoolExecutor(4) as threads:
        found = set().union(*threads.map(start, range(4)))
    assert len(found) == 1


def test_a_missing_or_damaged_key_is_told_and_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(HostKeyError, match="landingzone init"):
        load_host_keys(tmp_path)
    ensure_host_keys(tmp_path)
    path = path_of(tmp_path, "ed25519")
    path.write_bytes(b"damaged")
    ensure_host_keys(tmp_path)
    with pytest.raises(HostKeyError, match="ssh_host_ed25519_key cannot be read"):
        load_host_keys(tmp_path)
    assert path.read_bytes() == b"damaged"


def test_a_next_key_takes_the_place_of_the_one_in_use(tmp_path: Path) -> None:
    ensure_host_keys(tmp_path)
    before = host_keys(tmp_path)[0]
    coming = add_next(tmp_path, "ed25519")
    assert [known.state for known in host_keys(tmp_path)] == ["current"] * 3 + ["next"]
    with pytest.raises(HostKeyError, match="already"):
        add_next(tmp_path, "ed25519")
    assert promote(tmp_path, "ed25519").fingerprint == coming.fingerprint
    assert host_keys(tmp_path)[0].fingerprint == coming.fingerprint
    assert len(host_keys(tmp_path)) == 3
    kept = asyncssh.read_private_key(path_of(tmp_path, "ed25519", "previous"))
    assert kept.get_fingerprint() == before.fingerprint
    with pytest.raises(HostKeyError, match="no next"):
        promote(tmp_path, "ed25519")


def test_an_rsa_key_signs_with_sha2_only_unless_the_listener_is_for_old_systems(tmp_path: Path) -> None:
    ensure_host_keys(tmp_path)
    assert [name for pair in load_host_keys(tmp_path) for name in pair.host_key_algorithms] == [
        b"ssh-ed25519",
        b"rsa-sha2-512",
        b"rsa-sha2-256",
    ]
    old = [name for pair in load_host_keys(tmp_path, legacy=True) for name in pair.host_key_algorithms]
    assert old[1] == b"ecdsa-sha2-nistp256"
    assert old[-1] == b"ssh-rsa"


def test_whoever_shows_fingerprints_reads_no_private_key(tmp_path: Path) -> None:
    assert fingerprints(tmp_path) == []
    ensure_host_keys(tmp_path)
    add_next(tmp_path, "rsa")
    known = [(key.kind, key.state, key.fingerprint) for key in host_keys(tmp_path)]
    for kind in KINDS:
        path_of(tmp_path, kind).write_bytes(b"")
    assert [(one.kind, one.state, one.fingerprint) for one in fingerprints(tmp_path)] == known
    path_of(tmp_path, "rsa").with_name("ssh_host_rsa_key.pub").write_text("nonsense")
    assert len(fingerprints(tmp_path)) == len(known) - 1
