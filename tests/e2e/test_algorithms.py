"""What the auditors say of the door: ssh-audit finds no failure, and each of its warnings stands here with a reason."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import paramiko
import pytest

from sftpd.algorithms import STANDARD

POST_QUANTUM = "every client before OpenSSH 9.9 (2024) knows no hybrid exchange; who knows it takes it, it comes first"
GROUP_14 = "2048 bits are what clients of the last ten years have beside the curves: PuTTY 0.6x, libssh2 1.8, old Java"
PLAIN_MAC = "curl's libssh2, PHP and Twisted clients know no encrypt-then-MAC"
EXPLAINED = {
    ("curve25519-sha256", "does not provide protection against post-quantum attacks"): POST_QUANTUM,
    ("curve25519-sha256@libssh.org", "does not provide protection against post-quantum attacks"): POST_QUANTUM,
    ("diffie-hellman-group16-sha512", "does not provide protection against post-quantum attacks"): POST_QUANTUM,
    ("diffie-hellman-group14-sha256", "does not provide protection against post-quantum attacks"): POST_QUANTUM,
    ("diffie-hellman-group14-sha256", "2048-bit modulus only provides 112-bits of symmetric strength"): GROUP_14,
    ("hmac-sha2-256", "using encrypt-and-MAC mode"): PLAIN_MAC,
    ("hmac-sha2-512", "using encrypt-and-MAC mode"): PLAIN_MAC,
}
"""The warnings that remain, and why they cannot be avoided without locking somebody out."""


def audit(port: int) -> dict[str, Any]:
    """What ssh-audit tells of a server."""
    # its test of the rate of connections only says so of a server that takes many; penalties end that (test_limits.py)
    command = [sys.executable, "-m", "ssh_audit.ssh_audit", "-j", "--skip-rate-test", "-p", str(port), "127.0.0.1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def notes(told: dict[str, Any], level: str) -> set[tuple[str, str]]:
    """Which algorithm has which note of a level."""
    return {
        (algorithm["algorithm"], note)
        for kind in ("kex", "key", "enc", "mac")
        for algorithm in told[kind]
        for note in algorithm["notes"].get(level, [])
    }


def test_ssh_audit_finds_no_failure_and_no_warning_without_a_reason(own_service: Any) -> None:
    told = audit(own_service.port)
    assert told["kex"][0]["algorithm"] == "mlkem768x25519-sha256"
    assert told["enc"][0]["algorithm"] == "aes128-gcm@openssh.com"
    assert "kex-strict-s-v00@openssh.com" in {one["algorithm"] for one in told["kex"]}
    assert notes(told, "fail") == set()
    assert notes(told, "warn") == set(EXPLAINED)
    assert told["cves"] == []


def test_nmap_sees_key_pairs_only_and_what_is_declared(own_service: Any, need: Callable[[str], str]) -> None:
    scripts = "+ssh2-enum-algos,+ssh-auth-methods,+sshv1"
    command = [need("nmap"), "-Pn", "-n", "-p", str(own_service.port), "--script", scripts, "127.0.0.1"]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100).stdout
    assert re.search(r"Supported authentication methods:\s+\|_\s+publickey\n", told), told
    assert "sshv1" not in told.lower()
    seen = set(re.findall(r"^\|[ _]\s+(\S+)$", told, re.MULTILINE))
    declared = {name for names in STANDARD.values() for name in names.split(",")}
    hosts = {"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}
    pseudo = {"ext-info-s", "kex-strict-s-v00@openssh.com", "publickey"}
    assert seen <= declared | hosts | pseudo
    assert hosts | {"mlkem768x25519-sha256", "aes128-gcm@openssh.com"} <= seen


OLD = ("ssh-rsa", "diffie-hellman-group14-sha1", "aes128-cbc", "hmac-sha1")


@pytest.fixture
def old_client(make_client: Callable[..., Any], make_key: Callable[..., Any], here: Any) -> Callable[..., Any]:
    """Tries to come in the way of an old school system: with an RSA key, SHA-1 and CBC."""
    from keys.public_key import PublicKey
    from keys.store import Keys

    def old(service: Any, port: int, *options: str) -> Any:
        client = make_client(service)
        client.key = make_key("old", "ssh-rsa", key_size=3072)
        public = PublicKey.parse(client.key.with_name("old.pub").read_bytes())
        Keys(here.db).add(client.account, public, actor="test")
        client.known_hosts.write_text(client.known(port))
        where = ("-p", str(port), f"{client.account}@127.0.0.1", "-s", "sftp")
        return client.run("ssh", *client.options, *options, *where, input="")

    return old


def test_old_systems_come_in_by_the_legacy_port_only(
    make_service: Callable[..., Any], old_client: Callable[..., Any]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        legacy = probe.getsockname()[1]
    service = make_service(door__legacy_port=legacy)
    service.wait_for("door.legacy_opened")
    names = ("HostKeyAlgorithms", "KexAlgorithms", "Ciphers", "MACs")
    old = [word for name, value in zip(names, OLD, strict=True) for word in ("-o", f"{name}={value}")]
    done = old_client(service, legacy, *old, "-o", "PubkeyAcceptedAlgorithms=ssh-rsa")
    assert done.returncode == 0, done.stderr

    def refused(word: int) -> str:
        command = ["ssh", "-F", "none", *old[word : word + 2], "-p", str(service.port), "x@127.0.0.1"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stderr

    for word in range(0, len(old), 2):
        assert "no matching" in refused(word)
    for _ in range(50):  # the client may hang up so soon that what it has said is lost with its reset
        if service.events("login.refused", reason="no_common_algorithm"):
            break
        refused(0)
    service.wait_for("login.refused", reason="no_common_algorithm")


def test_a_signature_with_sha1_opens_nothing_at_the_standard_port(
    own_service: Any, client: Any, make_key: Callable[..., Any], here: Any
) -> None:
    from keys.public_key import PublicKey
    from keys.store import Keys

    key = make_key("old", "ssh-rsa", key_size=3072)
    Keys(here.db).add(client.account, PublicKey.parse(key.with_name("old.pub").read_bytes()), actor="test")
    options = [str(key) if option == str(client.key) else option for option in client.options]
    where = ("-p", str(client.port), f"{client.account}@127.0.0.1", "-s", "sftp")
    for accepted, code in (("ssh-rsa", 255), ("rsa-sha2-256", 0)):
        done = client.run("ssh", *options, "-o", f"PubkeyAcceptedAlgorithms={accepted}", *where, input="")
        assert done.returncode == code, done.stderr
    private = paramiko.RSAKey.from_private_key_file(str(key))
    transport = paramiko.Transport(
        ("127.0.0.1", client.port), disabled_algorithms={"pubkeys": ["rsa-sha2-256", "rsa-sha2-512"]}
    )
    transport._preferred_pubkeys = ("ssh-rsa",)
    with pytest.raises(paramiko.SSHException):
        transport.connect(username=client.account, pkey=private)
    transport.close()
