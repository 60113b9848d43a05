"""Certificates of a trusted authority open what they name, shown with OpenSSH's own client and signing."""

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

import paramiko
import pytest

from keys.authority import Authorities, Revoked
from keys.public_key import PublicKey
from landingzone import audit
from landingzone.command import Installation


@pytest.fixture
def authority(make_key: Any) -> Path:
    """The private key of an authority that nobody knows yet."""
    made: Path = make_key("authority")
    return made


def public(key: Path) -> PublicKey:
    return PublicKey.parse(key.with_name(f"{key.name}.pub").read_bytes())


def sign(need: Any, authority: Path, key: Path, *options: str) -> Path:
    """Sign a key; the certificate lies beside it, where OpenSSH looks for it. Returns the key's path."""
    command = [need("ssh-keygen"), "-q", "-s", authority, *options, f"{key}.pub"]
    subprocess.run(command, check=True, capture_output=True)
    return key


@pytest.fixture
def certified(need: Any, make_client: Any, service: Any, here: Installation, make_key: Any, account: str) -> Any:
    """Makes a client whose key only its certificate makes good."""

    def make(authority: Path, *options: str, algorithm: str = "ssh-ed25519", **of_key: Any) -> Any:
        if here.accounts.find(account) is None:
            here.accounts.add(account, actor="test")
            here.zone.prepare_account(account)
        key = make_key(f"key-{len(options)}-{algorithm}", algorithm, **of_key)
        return make_client(service, key=sign(need, authority, key, *options))

    return make


@pytest.mark.parametrize(
    ("algorithm", "of_key"), [("ssh-ed25519", {}), ("ecdsa-sha2-nistp256", {}), ("ssh-rsa", {"key_size": 3072})]
)
def test_a_certified_key_opens_and_sends(
    service: Any, certified: Any, here: Installation, make_key: Any, account: str, algorithm: str, of_key: Any
) -> None:
    authority = make_key("ca", algorithm, **of_key)
    made = Authorities(here.db).add(public(authority), actor="test")
    client = certified(authority, "-I", "x", "-n", account, "-z", "42", algorithm=algorithm, **of_key)
    client.file("students.csv", b"x")
    done = client.sftp("put students.csv")
    assert done.returncode == 0, done.stderr
    assert len(service.landed(count=1)) == 1
    opened = service.wait_for("session.opened", account=account)
    assert (opened["authority"], opened["serial"]) == (made.fingerprint, 42)
    assert opened["key_fingerprint"] == public(client.key).fingerprint


def test_what_is_wrong_with_a_certificate_is_told_to_the_operator(
    service: Any, certified: Any, here: Installation, authority: Path, account: str
) -> None:
    ours = ("-I", "x", "-z", "8")
    for options, reason in (
        ((*ours, "-n", account), "unknown_authority"),
        ((*ours, "-n", "somebody-else"), "wrong_principal"),
        ((*ours, "-n", account, "-V", "20200101:20200102"), "certificate_expired"),
        ((*ours, "-n", account, "-V", "20990101:20990102"), "certificate_not_yet_valid"),
        ((*ours, "-n", account, "-O", "source-address=192.0.2.0/24"), "wrong_network"),
        ((*ours, "-n", account, "-O", "force-command=true"), "certificate_unusable"),
        (ours, "certificate_unusable"),
    ):
        done = certified(authority, *options).sftp("ls")
        assert "Permission denied (publickey)" in done.stderr
        told = service.wait_for("login.refused", reason=reason, account=account)
        assert told["key_fingerprint"].startswith("SHA256:")
        if reason == "unknown_authority":
            Authorities(here.db).add(public(authority), account=account, actor="test")


def test_a_forged_certificate_opens_nothing(
    service: Any, certified: Any, here: Installation, authority: Path, account: str
) -> None:
    """The authority is named rightly, and what it has signed was changed after: for another account."""
    Authorities(here.db).add(public(authority), actor="test")
    other = "x" * len(account)
    client = certified(authority, "-I", "x", "-n", other)
    path = client.key.with_name(f"{client.key.name}-cert.pub")
    kind, encoded, *_ = path.read_text().split()
    forged = base64.b64decode(encoded).replace(other.encode(), account.encode())
    key = paramiko.Ed25519Key.from_private_key_file(str(client.key))
    key.load_certificate(f"{kind} {base64.b64encode(forged).decode()}")
    transport = paramiko.Transport(("127.0.0.1", service.port))
    try:
        transport.start_client(timeout=20)
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey(account, key)
    finally:
        transport.close()
    service.wait_for("login.refused", reason="certificate_unusable", account=account)
    assert service.events("session.opened", account=account) == []


def test_a_revoked_certificate_ends_its_session(
    service: Any, certified: Any, here: Installation, authority: Path, account: str
) -> None:
    authorities = Authorities(here.db)
    client = certified(authority, "-I", "x", "-n", account, "-z", "77")
    made = authorities.add(public(authority), account=account, actor="test")
    where = ("-P", str(service.port), f"{account}@127.0.0.1")
    session = subprocess.Popen(
        ["sftp", *client.options, *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        service.wait_for("session.opened", account=account)
        authorities.revoke(str(made.id), Revoked.SERIAL, "77", reason="lost", actor="lisa")
        service.wait_for("session.ended", account=account, reason="certificate_revoked", seconds=5)
        _, told = session.communicate(timeout=20)
        assert "This certificate has been revoked." in told
    finally:
        session.kill()
    assert "Permission denied" in client.sftp("ls").stderr

    until = time.monotonic() + 10
    while not (ended := audit.records(here.db, account=account, action="session.ended")) and time.monotonic() < until:
        time.sleep(0.05)
    assert (ended[0].detail["by"], ended[0].detail["reason"]) == ("lisa", "certificate_revoked")
