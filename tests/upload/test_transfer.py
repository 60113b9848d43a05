"""The transfer at the real front door: resumed only from what is proven, landed once, whatever answer is lost."""

import hashlib
import random
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upload.command import Setup
from upload.connection import Line, connect, load_keys
from upload.errors import KeyUnusable, LoginRefused, NotDelivered
from upload.folder import Folder
from upload.host_key import HostKeyChanged, Pins
from upload.outgoing import Outgoing
from upload.parcel import Parcel, pack
from upload.patience import Patience
from upload.run import quieten, way
from upload.transfer import deliver

SIZE = 3_000_000


class Sending:
    """A parcel of chance bytes and a line for it; `on` says what is done when an event is noted."""

    def __init__(self, uploader: Any, *, seconds: float = 30, size: int = SIZE, **patience: float) -> None:
        quieten()
        path = uploader.folder / "data.csv"
        path.write_bytes(random.Random(1).randbytes(size))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.parcel = pack(Outgoing("students", "students", path, "students.csv", 0, size, sha256), "never")
        uploader.settle("students")
        waits = {"silence": 2.0, "first": 0.05, "longest": 0.5, **patience}
        self.way = way(Setup(Folder(uploader.folder)), Patience(time.monotonic() + seconds, **waits))
        self.line = Line(self.way, self.note)
        self.events: list[str] = []
        self.values: dict[str, dict[str, Any]] = {}
        self.on: dict[str, Callable[[], object]] = {}
        self.at_half: Callable[[], object] | None = None

    def note(self, event: str, **values: Any) -> None:
        self.events.append(event)
        self.values[event] = values
        self.on.pop(event, lambda: None)()

    def at(self, parcel: Parcel, confirmed: int) -> None:
        if self.at_half and confirmed >= parcel.bytes // 2:
            at_half, self.at_half = self.at_half, None
            at_half()

    def hang_up(self) -> None:
        assert self.line._connection
        self.line._connection._transport.sock.close()

    def go(self) -> None:
        deliver(self.parcel, self.line, self.note, self)
        self.line.close()


def assert_landed_once(service: Any, sending: Sending) -> None:
    (landed,) = service.landed(count=1)
    assert (landed.name, landed.sha256) == ("students.csv", sending.parcel.sha256)
    assert service.uploads() == {}


def test_what_was_cut_goes_on_where_it_is_proven_to_be_ours(service: Any, uploader: Any) -> None:
    sending = Sending(uploader)
    sending.at_half = sending.hang_up
    sending.go()
    assert sending.values["upload.resumed"]["proven"] >= SIZE // 2
    assert sending.values["file.sent"]["from_byte"] == sending.values["upload.resumed"]["proven"]
    assert_landed_once(service, sending)


def test_bytes_that_are_not_ours_are_not_gone_on_from(service: Any, uploader: Any) -> None:
    sending = Sending(uploader)
    ours = sending.parcel.path.read_bytes()
    session = connect(sending.way, sending.note).session()
    handle, _ = session.reopen("students.csv.part", create=True) or (b"", 0)
    path = uploader.folder / "other"
    path.write_bytes(ours[:200_000] + b"something else that is longer than the rest" * 80_000)
    with path.open("rb") as content:
        session.write(handle, content, 0, lambda _: None)
    session.get_channel().get_transport().close()
    service.wait_for("upload.cut")
    sending.go()
    assert sending.values["upload.resumed"]["proven"] <= 200_000
    assert_landed_once(service, sending)


def on_the_way(trouble: Any, service: Any, uploader: Any) -> Any:
    """What the uploader takes for the server from now on."""
    uploader.port = trouble.port
    uploader.host_keys = [line.replace(f":{service.port} ", f":{trouble.port} ") for line in uploader.host_keys]
    return trouble


def test_a_lost_answer_to_the_rename_lands_nothing_twice(
    service: Any, uploader: Any, make_trouble: Callable[..., Any]
) -> None:
    trouble = on_the_way(make_trouble(1, ("pass",)), service, uploader)
    sending = Sending(uploader)
    sending.on["file.sent"] = trouble.deafen
    sending.go()
    assert "file.landed_unheard" in sending.events
    assert sending.events.count("file.sent") == 1
    assert_landed_once(service, sending)


def test_a_lost_answer_to_the_close_lands_nothing_twice(
    service: Any, uploader: Any, make_trouble: Callable[..., Any]
) -> None:
    trouble = on_the_way(make_trouble(1, ("pass",)), service, uploader)
    sending = Sending(uploader, size=100_000)
    sending.at_half = trouble.deafen
    sending.go()
    assert sending.values["upload.resumed"]["proven"] == 100_000
    assert sending.values["file.sent"]["from_byte"] == 100_000
    assert_landed_once(service, sending)


def test_an_upload_that_a_dead_session_holds_is_sent_anew_under_another_name(service: Any, uploader: Any) -> None:
    sending = Sending(uploader, size=100_000)
    holding = connect(sending.way, sending.note).session()
    assert holding.reopen("students.csv.part", create=True)
    sending.go()
    (landed,) = service.landed(count=1)
    assert landed.sha256 == sending.parcel.sha256
    assert "request.refused" in sending.events
    holding.get_channel().get_transport().close()


def test_a_changed_host_key_in_the_middle_stops_everything(service: Any, uploader: Any) -> None:
    sending = Sending(uploader)
    other = Pins.of([f"SHA256:{'A' * 43}"], "127.0.0.1", service.port)

    def change() -> None:
        sending.line.way = type(sending.way)(sending.way.server, other, sending.way.key, sending.way.patience)
        sending.hang_up()

    sending.at_half = change
    with pytest.raises(HostKeyChanged, match="is not the pinned one"):
        sending.go()
    assert service.landed() == []


def test_256_bit_ciphers_only_and_gcm_first(service: Any, uploader: Any) -> None:
    sending = Sending(uploader)
    connection = connect(sending.way, sending.note)
    assert connection._transport.local_cipher == "aes256-gcm@openssh.com"
    assert set(connection._transport.get_security_options().ciphers) == {"aes256-gcm@openssh.com", "aes256-ctr"}
    connection.close()


def test_what_never_answers_is_given_up_at_the_deadline_with_a_reason(service: Any, uploader: Any) -> None:
    sending = Sending(uploader, seconds=3, silence=1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = sending.way.server.model_copy(update={"port": silent.getsockname()[1]})
        sending.line.way = type(sending.way)(server, sending.way.pins, sending.way.key, sending.way.patience)
        began = time.monotonic()
        with pytest.raises(NotDelivered, match=r"within the deadline. Last: .*nothing came from the server for 1 sec"):
            sending.go()
        assert time.monotonic() - began < 8


def test_a_key_that_is_not_added_or_cannot_be_used_is_named(
    service: Any, uploader: Any, make_key: Callable[..., Path], tmp_path: Path
) -> None:
    stranger = make_key("stranger")
    uploader.key = stranger
    with pytest.raises(LoginRefused, match="Send the vendor the public key"):
        Sending(uploader).go()
    stranger.chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        list(load_keys(stranger))
    with pytest.raises(KeyUnusable, match="landingzone-upload init"):
        list(load_keys(tmp_path / "none"))
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("PuTTY-User-Key-File-3: ssh-ed25519\n")
    rubbish.chmod(0o600)
    with pytest.raises(KeyUnusable, match="PuTTYgen"):
        list(load_keys(rubbish))
    locked = make_key("locked")
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(locked)], check=True, capture_output=True)
    with pytest.raises(KeyUnusable, match="passphrase"):
        list(load_keys(locked))


def test_the_key_may_stay_with_the_agent(
    service: Any, uploader: Any, need: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    socket_at = uploader.folder / "agent"
    with subprocess.Popen([need("ssh-agent"), "-D", "-a", str(socket_at)], stdout=subprocess.DEVNULL) as agent:
        try:
            while not socket_at.exists():
                time.sleep(0.02)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_at))
            subprocess.run([need("ssh-add"), "-q", str(uploader.key)], check=True, capture_output=True)
            for key in ("agent", f"{uploader.key}.pub"):
                uploader.key = key
                sending = Sending(uploader, size=1000)
                assert sending.line.session().listdir("/")
                sending.line.close()
        finally:
            agent.terminate()


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_proxy_is_a_way_out(service: Any, uploader: Any, make_gate: Callable[[str], Any], scheme: str) -> None:
    gate = make_gate(scheme)
    uploader.extra = f'proxy = "{scheme}://127.0.0.1:{gate.port}"'
    sending = Sending(uploader)
    sending.go()
    assert gate.asked == [("127.0.0.1", service.port)]
    assert_landed_once(service, sending)
    gate.closed = True
    with pytest.raises(NotDelivered, match=f"through {scheme}://127"):
        Sending(uploader, seconds=1).go()
