"""Certificates are read strictly: what is demanded and not known, or is no longer safe, closes the door."""

import base64
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.certificate import MAX_BYTES, Certificate, CertificateError, is_certificate
from keys.key import Refusal
from keys.public_key import PublicKey

NOW = datetime.now(UTC)
HOME = "192.0.2.7"


def blob_of(line: bytes | str) -> bytes:
    return base64.b64decode(line.split()[1])


def print_of(key: asyncssh.SSHKey) -> str:
    return PublicKey.parse(key.export_public_key()).fingerprint


@pytest.fixture(scope="module")
def authority() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(scope="module")
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def sign(authority: asyncssh.SSHKey, key: asyncssh.SSHKey, **options: Any) -> bytes:
    options = {"principals": ["springfield"], "serial": 7, **options}
    return blob_of(authority.generate_user_certificate(key, "lisa", **options).export_certificate())


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_what_openssh_signs_is_read(kind: str, tmp_path: Path, need: Callable[[str], str]) -> None:
    keygen = need("ssh-keygen")

    def make(*arguments: str) -> None:
        subprocess.run([keygen, "-q", *arguments], cwd=tmp_path, check=True, capture_output=True)

    bits = {"rsa": "3072", "ecdsa": "384", "ed25519": "256"}[kind]
    make("-t", kind, "-b", bits, "-N", "", "-f", "ca")
    make("-t", kind, "-b", bits, "-N", "", "-f", "key")
    options = ("-O", "clear", "-O", "source-address=192.0.2.0/24,2001:db8::/32")
    valid = ("-V", "20260101000000Z:20270101000000Z", "-z", "42")
    make("-s", "ca", "-I", "nightly export", "-n", "springfield,shelbyville", *valid, *options, "key.pub")
    found = Certificate.parse(blob_of((tmp_path / "key-cert.pub").read_text()))
    assert found == Certificate(
        fingerprint=PublicKey.parse((tmp_path / "key.pub").read_bytes()).fingerprint,
        algorithm=PublicKey.parse((tmp_path / "key.pub").read_bytes()).algorithm,
        serial=42,
        key_id="nightly export",
        principals=("springfield", "shelbyville"),
        valid_from="2026-01-01T00:00:00.000Z",
        valid_until="2027-01-01T00:00:00.000Z",
        networks=("192.0.2.0/24", "2001:db8::/32"),
        authority=PublicKey.parse((tmp_path / "ca.pub").read_bytes()).fingerprint,
    )


def test_a_certificate_opens_what_it_names_from_where_and_when_it_says(authority: Any, key: Any) -> None:
    at = int(NOW.timestamp())
    valid = {"valid_after": at - 60, "valid_before": at + 60}
    found = Certificate.parse(sign(authority, key, source_address=["192.0.2.0/24"], **valid))
    assert (found.fingerprint, found.authority) == (print_of(key), print_of(authority))
    assert found.closed("springfield", address=HOME, at=NOW) is None
    assert found.closed("springfield", address=None, at=NOW) is None
    assert found.closed("springfield", address="", at=NOW) is Refusal.WRONG_NETWORK
    assert found.closed("shelbyville", address=HOME, at=NOW) is Refusal.WRONG_PRINCIPAL
    assert found.closed("springfield", address="198.51.100.1", at=NOW) is Refusal.WRONG_NETWORK
    hour = timedelta(hours=1)
    assert found.closed("springfield", address=HOME, at=NOW - hour) is Refusal.CERTIFICATE_NOT_YET
    assert found.closed("springfield", address=HOME, at=NOW + hour) is Refusal.CERTIFICATE_EXPIRED
    always = Certificate.parse(sign(authority, key))
    assert (always.valid_from, always.valid_until) == (None, None)


def test_what_is_demanded_and_not_known_closes_the_door(authority: Any, key: Any) -> None:
    with pytest.raises(CertificateError, match="demands force-command"):
        Certificate.parse(sign(authority, key, force_command="internal-sftp"))
    with pytest.raises(CertificateError, match="names no account"):
        Certificate.parse(sign(authority, key, principals=[]))
    with pytest.raises(CertificateError, match="not a user certificate"):
        Certificate.parse(blob_of(authority.generate_host_certificate(key, "x").export_certificate()))


def test_weak_keys_and_weak_signatures_close_the_door(authority: Any, key: Any) -> None:
    weak = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    strong = asyncssh.generate_private_key("ssh-rsa", key_size=3072)
    with pytest.raises(CertificateError, match="this one has 2048"):
        Certificate.parse(sign(authority, weak))
    with pytest.raises(CertificateError, match="this one has 2048"):
        Certificate.parse(sign(weak, key))
    with pytest.raises(CertificateError, match="no longer safe"):
        Certificate.parse(sign(strong, key, sig_alg="ssh-rsa"))
    assert Certificate.parse(sign(strong, key, sig_alg="rsa-sha2-512")).authority == print_of(strong)


def test_a_critical_option_of_tomorrow_closes_the_door(authority: Any, key: Any, tmp_path: Path, need: Any) -> None:
    authority.write_private_key(tmp_path / "ca")
    (tmp_path / "ca").chmod(0o600)
    key.write_public_key(tmp_path / "key.pub")
    command = [
        need("ssh-keygen"),
        "-q",
        "-s",
        "ca",
        "-I",
        "x",
        "-n",
        "springfield",
        "-O",
        "critical:later=1",
        "key.pub",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    with pytest.raises(CertificateError, match="demands later"):
        Certificate.parse(blob_of((tmp_path / "key-cert.pub").read_text()))


def test_a_cut_or_lengthened_certificate_is_refused(authority: Any, key: Any) -> None:
    blob = sign(authority, key)
    assert is_certificate(blob)
    assert not is_certificate(key.public_data)
    for size in range(len(blob)):
        with pytest.raises(CertificateError):
            Certificate.parse(blob[:size])
    with pytest.raises(CertificateError):
        Certificate.parse(blob + b"\0")
    with pytest.raises(CertificateError, match="larger"):
        Certificate.parse(blob + b"\0" * MAX_BYTES)


BLOB = sign(asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519"))


@given(
    st.lists(st.tuples(st.integers(0, len(BLOB) - 1), st.integers(0, 255)), max_size=4),
    st.one_of(st.none(), st.binary(max_size=300)),
)
def test_whatever_is_shown_gives_a_certificate_or_one_clear_error(
    changes: list[tuple[int, int]], other: bytes | None
) -> None:
    blob = bytearray(BLOB)
    for at, value in changes:
        blob[at] = value
    began = time.monotonic()
    try:
        Certificate.parse(bytes(blob) if other is None else other)
    except CertificateError as refused:
        assert 10 < len(str(refused)) < 400
    assert time.monotonic() - began < 5
