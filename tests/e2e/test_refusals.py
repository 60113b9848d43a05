"""Whoever has no key for the account stays outside, and inside there is nothing but SFTP. Shown with stock clients."""

import socket
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import paramiko
import pytest

from keys.public_key import PublicKey
from keys.store import Keys
from landingzone.clock import now
from landingzone.command import Installation

SECRET_USER = "Tr0ub4dor3"
PASSWORD = "correct horse battery staple"


def assert_refused(done: Any) -> None:
    assert done.returncode != 0, done.stdout
    assert "Permission denied (publickey)" in done.stderr


def public(key: Path) -> PublicKey:
    return PublicKey.parse(key.with_name(f"{key.name}.pub").read_bytes())


# Ways to log in


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_password_is_never_asked_for(service: Any, client: Any, method: str) -> None:
    options = [option for option in client.options if option != "BatchMode=yes"]
    options = [*options, "BatchMode=no", "-o", f"PreferredAuthentications={method}", "-o", "PubkeyAuthentication=no"]
    where = ("-p", str(service.port), f"{client.account}@127.0.0.1", "true")
    assert_refused(client.run("sshpass", "-p", PASSWORD, "ssh", *options, *where))


@pytest.mark.parametrize("method", ["password", "keyboard-interactive", "none"])
def test_a_client_that_tries_it_unasked_is_told_that_only_keys_open(service: Any, client: Any, method: str) -> None:
    transport = paramiko.Transport(("127.0.0.1", service.port))
    attempts = {
        "password": lambda: transport.auth_password(client.account, PASSWORD, fallback=False),
        "keyboard-interactive": lambda: transport.auth_interactive(client.account, lambda *_: [PASSWORD]),
        "none": lambda: transport.auth_none(client.account),
    }
    try:
        transport.start_client(timeout=20)
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            attempts[method]()
        assert refused.value.allowed_types == ["publickey"]
    finally:
        transport.close()
    service.wait_for("login.refused", reason="no_key_offered")
    assert not any(PASSWORD in line for line in service.log_lines())


def test_an_unknown_key_is_refused(service: Any, client: Any, make_key: Callable[..., Path]) -> None:
    client.key = make_key("stranger")
    assert_refused(client.sftp("ls"))
    refused = service.wait_for("login.refused", reason="unknown_key")
    assert refused["account"] == client.account
    assert refused["key_fingerprint"] == public(client.key).fingerprint


def test_a_revoked_key_is_refused(service: Any, client: Any, here: Installation) -> None:
    assert client.sftp("ls").returncode == 0
    Keys(here.db).revoke(client.account, public(client.key).fingerprint, actor="test")
    assert_refused(client.sftp("ls"))
    service.wait_for("login.refused", reason="key_revoked")


def test_a_key_of_another_account_is_refused(service: Any, client: Any, make_account: Callable[..., Path]) -> None:
    client.key = make_account(f"{client.account}-not")
    assert_refused(client.sftp("ls"))
    service.wait_for("login.refused", reason="unknown_key", account=client.account)


def test_an_expired_key_is_refused(service: Any, client: Any, here: Installation, monkeypatch: Any) -> None:
    key = public(client.key)
    Keys(here.db).revoke(client.account, key.fingerprint, actor="test")
    soon = now() + timedelta(seconds=1)
    Keys(here.db).add(client.account, key, expires_at=soon, again=True, actor="test")
    while now() < soon:
        pass
    assert_refused(client.sftp("ls"))
    service.wait_for("login.refused", reason="key_expired")


def test_a_key_is_refused_from_the_wrong_network(
    service: Any, make_client: Callable[..., Any], make_account: Callable[..., Path]
) -> None:
    far = make_client(service, "far", key=make_account("far", networks=("192.0.2.0/24", "2001:db8::/32")))
    near = make_client(service, "near", key=make_account("near", networks=("127.0.0.0/8",)))
    assert_refused(far.sftp("ls"))
    assert near.sftp("ls").returncode == 0
    service.wait_for("login.refused", reason="wrong_network", account="far")


def test_a_disabled_account_is_refused_and_opens_again(service: Any, client: Any, here: Installation) -> None:
    here.accounts.set_enabled(client.account, False, actor="test")
    assert_refused(client.sftp("ls"))
    service.wait_for("login.refused", reason="account_disabled")
    here.accounts.set_enabled(client.account, True, actor="test")
    assert client.sftp("ls").returncode == 0


@pytest.mark.parametrize("user", [SECRET_USER, "nobody-here", "../etc", "SPRINGFIELD", "spring field"])
def test_a_user_name_that_is_no_account_is_refused_and_not_logged(service: Any, client: Any, user: str) -> None:
    client.account = user
    assert client.sftp("ls").returncode != 0
    refused = service.wait_for("login.refused", reason="unknown_account")
    assert refused["account"] is None
    assert not any(user in line for line in service.log_lines())


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("ssh-ed25519", {}),
        ("ecdsa-sha2-nistp256", {}),
        ("ecdsa-sha2-nistp384", {}),
        ("ecdsa-sha2-nistp521", {}),
        ("ssh-rsa", {"key_size": 3072}),
    ],
)
def test_every_accepted_kind_of_key_opens_the_door(
    service: Any, client: Any, here: Installation, make_key: Callable[..., Path], algorithm: str, options: Any
) -> None:
    client.key = make_key("another", algorithm, **options)
    key = Keys(here.db).add(client.account, public(client.key), actor="test")
    done = client.sftp("ls")
    assert done.returncode == 0, done.stderr
    until = time.monotonic() + 10
    while (used := Keys(here.db).get(client.account, str(key.id))).last_used_at is None and time.monotonic() < until:
        time.sleep(0.02)
    assert used.last_used_from == "127.0.0.1"
    assert used.last_used_client is not None
    assert used.last_used_client.startswith("SSH-2.0-OpenSSH")


# What a key does not open


def test_a_command_is_refused(service: Any, client: Any, tmp_path: Path) -> None:
    done = client.ssh("touch", str(tmp_path / "touched"))
    assert done.returncode != 0
    assert not (tmp_path / "touched").exists()
    assert "exec request failed" in done.stderr


def test_a_shell_is_refused(service: Any, client: Any) -> None:
    for arguments in ((), ("-tt",)):
        done = client.ssh(*arguments, input="echo open\n")
        assert done.returncode != 0
        assert "open" not in done.stdout
        assert ("PTY allocation" if arguments else "shell") + " request failed" in done.stderr


def test_the_old_scp_is_refused(service: Any, client: Any) -> None:
    sent = client.file("students.csv", b"student_id\n1\n")
    done = client.scp("-O", sent, f"{client.account}@127.0.0.1:")
    assert done.returncode != 0
    assert not service.landed()
    assert not service.uploads()


def test_another_subsystem_is_refused(service: Any, client: Any) -> None:
    done = client.ssh("-s", "netconf")
    assert done.returncode != 0
    assert "subsystem request failed" in done.stderr


@pytest.fixture
def secret_server() -> Any:
    """Something on the server's own network that must not be reached."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        yield listening


def test_a_local_port_is_not_forwarded(service: Any, client: Any, secret_server: socket.socket) -> None:
    port = secret_server.getsockname()[1]
    done = client.ssh("-W", f"127.0.0.1:{port}", input="hello")
    assert done.returncode != 0
    assert "administratively prohibited" in done.stderr or "open failed" in done.stderr
    with pytest.raises(TimeoutError):
        secret_server.accept()


def test_a_dynamic_forwarding_reaches_nothing(service: Any, client: Any, secret_server: socket.socket) -> None:
    port = secret_server.getsockname()[1]
    with client.paramiko() as ssh, pytest.raises(paramiko.ChannelException):
        ssh.get_transport().open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 1), timeout=10)
    with pytest.raises(TimeoutError):
        secret_server.accept()


def test_a_remote_port_is_not_forwarded(service: Any, client: Any) -> None:
    done = client.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22")
    assert done.returncode != 0
    assert "remote port forwarding failed" in done.stderr


def test_an_agent_and_a_display_are_not_forwarded(service: Any, client: Any) -> None:
    with client.paramiko() as ssh:
        channel = ssh.get_transport().open_session()
        with pytest.raises(paramiko.SSHException):
            channel.request_x11()
        channel = ssh.get_transport().open_session()
        with pytest.raises(paramiko.SSHException):
            channel.get_pty()
        channel = ssh.get_transport().open_session()
        channel.request_forward_agent(lambda _: None)
        assert ssh.open_sftp().listdir("/") == ["receipts"]
    sockets = subprocess.run(
        ["ls", "-l", f"/proc/{service.process.pid}/fd"], capture_output=True, text=True, check=True
    )
    assert "agent" not in sockets.stdout


def test_the_server_offers_nothing_else(service: Any, client: Any, need: Callable[[str], str]) -> None:
    done = subprocess.run(
        [need("ssh"), *client.options, "-v", "-p", str(service.port), f"{client.account}@127.0.0.1", "-s", "sftp"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=30,
    )
    told = done.stderr.decode()
    assert "Authentications that can continue: publickey\n" in told.replace("\r", "")
    assert "remote software version landingzone" in told
    assert "cipher: aes128-ctr" in told or "cipher: aes128-gcm@openssh.com" in told


def test_no_secret_reaches_the_log(own_service: Any, client: Any, make_key: Callable[..., Path]) -> None:
    row = b"student_id,first_name,last_name\n4711,Lisa,Simpson-Bouvier\n"
    client.file("students.csv", row)
    client.file("Lisa Simpson-Bouvier.csv", row)
    done = client.sftp("put students.csv", 'put "Lisa Simpson-Bouvier.csv"', "ls -la", "-get nothing.csv")
    assert done.returncode == 0, done.stderr
    stranger = make_key("stranger")
    client.key = stranger
    client.sftp("ls")
    own_service.wait_for("session.closed")
    own_service.wait_for("login.refused")
    own_service.stop()
    log = "\n".join(own_service.log_lines())
    body = stranger.read_text().splitlines()[1]
    for secret in ("Simpson", "Bouvier", "Lisa", "4711", "PRIVATE KEY", body, str(own_service.root)):
        assert secret not in log
