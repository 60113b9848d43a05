"""Options of authorized_keys lines hold here or refuse their line by name; none is passed over."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.authorized_keys import ALWAYS_SO, AuthorizedKeysError, RefusedLine, read_file, read_line, write_line
from keys.key import Key, KeyStoreError
from keys.public_key import PublicKey, PublicKeyError
from keys.store import Keys
from landingzone.command import Installation

CHICAGO = ZoneInfo("America/Chicago")
LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAkPmNfrDVQea4sGa2omtHSvFKZOW6TfQjFKEBfrQALG lisa@school"
KEY = PublicKey.parse(LINE)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def new_line(comment: str = "me") -> str:
    return asyncssh.generate_private_key("ssh-ed25519", comment=comment).export_public_key().decode().strip()


@pytest.fixture
def run(here: Installation) -> Run:
    here.accounts.add("springfield", title="", time_zone="America/Chicago", actor="test")

    def landingzone(*arguments: str | Path, given: str = "") -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "landingzone", "--root", str(here.settings.root), "keys", *map(str, arguments)]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)

    return landingzone


@pytest.mark.parametrize(
    ("options", "networks", "expires_at"),
    [
        ("", (), None),
        ("restrict ", (), None),
        ("no-pty,No-X11-Forwarding,no-port-forwarding,no-agent-forwarding,no-user-rc ", (), None),
        ('restrict,command="internal-sftp" ', (), None),
        ('from="192.0.2.7" ', ("192.0.2.7/32",), None),
        ('from="192.0.2.0/24,!192.0.2.7,2001:db8::/32" ', ("192.0.2.0/24", "!192.0.2.7/32", "2001:db8::/32"), None),
        ('from="10.*" ', ("10.0.0.0/8",), None),
        ('from="192.0.2.*,192.0.*.*" ', ("192.0.2.0/24", "192.0.0.0/16"), None),
        ('from="*" ', (), None),
        ('from="*,!192.0.2.7" ', ("0.0.0.0/0", "::/0", "!192.0.2.7/32"), None),
        ('expiry-time="29991231" ', (), "2999-12-31T06:00:00+00:00"),
        ('expiry-time="29991231Z" ', (), "2999-12-31T00:00:00+00:00"),
        ('expiry-time="202607011200" ', (), "2026-07-01T17:00:00+00:00"),
        ('expiry-time="20260701123456Z",restrict\t ', (), "2026-07-01T12:34:56+00:00"),
    ],
)
def test_what_an_option_asks_for_holds(options: str, networks: tuple[str, ...], expires_at: str | None) -> None:
    found = read_line(options + LINE, zone=CHICAGO)
    assert (found.key, found.networks) == (KEY, networks)
    assert (found.expires_at.isoformat() if found.expires_at else None) == expires_at


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ('command="/bin/sh"', "command is refused"),
        ('command="internal-sftp -R"', "command is refused"),
        ("command", "command is refused"),
        ("cert-authority", "cert-authority is refused: trust"),
        ('principals="springfield"', "principals is refused"),
        ('environment="A=1"', "environment is refused"),
        ('permitopen="host:80"', "permitopen is refused"),
        ('tunnel="0"', "tunnel is refused"),
        ("pty", "pty is refused"),
        ("port-forwarding", "port-forwarding is refused"),
        ("no-touch-required", "no-touch-required is refused"),
        ("verify-required", "verify-required is refused"),
        ("some-day", "some-day is refused"),
        ('restrict="x"', "restrict is refused"),
        ("from", "from is refused"),
        ('from="school.example.org"', "only addresses and networks"),
        ('from="*.example.org"', "only addresses and networks"),
        ('from="192.0.2.?"', "only addresses and networks"),
        ('from="192.0.2.7/24"', "only addresses and networks"),
        ('from=""', "only addresses and networks"),
        ('from="1.2.3.4.*"', "only addresses and networks"),
        ('from="192.0.2.7,"', "only addresses and networks"),
        ('from="!!192.0.2.7"', "only addresses and networks"),
        ('from="!192.0.2.7"', "open beside"),
        ('from="192.0.2.7",from="192.0.2.8"', "from stands twice"),
        ('expiry-time="tomorrow"', "no moment"),
        ('expiry-time="20261301"', "no moment"),
        ('expiry-time="00000101"', "no moment"),
        ('expiry-time="2026120112"', "no moment"),
        ("restrict,", "cannot be read"),
        ("restrict,,no-pty", "cannot be read"),
        ("a=b", "cannot be read"),
    ],
)
def test_what_cannot_hold_refuses_the_line_by_name(options: str, told: str) -> None:
    with pytest.raises(KeyStoreError, match=told) as refused:
        read_line(f"{options} {LINE}", zone=CHICAGO)
    assert "AAAA" not in str(refused.value)
    if "=" in options and told.endswith("is refused"):
        assert options.partition('="')[2].rstrip('"') not in str(refused.value)


@pytest.mark.parametrize(
    "line", ["hello", 'from="a b', f'from="a b {LINE}', f"a b {LINE}", "restrict", "restrict ssh-rsa"]
)
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(PublicKeyError):
        read_line(line, zone=UTC)


def test_a_file_is_read_line_by_line() -> None:
    raw = f"# ours\r\n\r\n{LINE}\r\npty {LINE}\n  restrict {LINE}\n".encode("utf-8-sig")
    found = list(read_file(raw, zone=UTC))
    assert [one.line for one in found] == [3, 4, 5]
    assert isinstance(found[1], RefusedLine)
    with pytest.raises(AuthorizedKeysError, match="treat it as lost"):
        list(read_file(asyncssh.generate_private_key("ssh-ed25519").export_private_key(), zone=UTC))
    with pytest.raises(AuthorizedKeysError, match="not text"):
        list(read_file(b"\xff\xfe\x00", zone=UTC))
    with pytest.raises(AuthorizedKeysError, match="larger"):
        list(read_file(b"#" * (1 << 21), zone=UTC))


OPTIONS = st.one_of(
    st.sampled_from(sorted(ALWAYS_SO)),
    st.sampled_from(["pty", "command", "from", "cert-authority", "", ",", '"', "\\", " "]),
    st.builds('{}="{}"'.format, st.sampled_from(["from", "expiry-time", "command", "x"]), st.text(max_size=12)),
    st.builds('from="{}"'.format, st.ip_addresses().map(str)),
    st.builds('expiry-time="{:%Y%m%d%H%M%S}Z"'.format, st.datetimes()),
)


@given(
    st.lists(OPTIONS, max_size=4), st.sampled_from([" ", ",", "", "\t"]), st.one_of(st.just(LINE), st.text(max_size=40))
)
def test_whatever_a_line_holds_it_is_honoured_whole_or_refused(options: list[str], blank: str, rest: str) -> None:
    line = ",".join(options) + blank + rest
    try:
        (found,) = list(read_file(line.encode("utf-8", "surrogatepass"), zone=CHICAGO)) or (None,)
    except (AuthorizedKeysError, ValueError):
        return
    if found is None or isinstance(found, RefusedLine):
        assert found is None or 10 < len(found.reason) < 400
        return
    named = {option.partition("=")[0].lower() for option in options if option}
    assert named <= ALWAYS_SO | {"from", "expiry-time", "command"}
    assert not any(option.startswith("from=") for option in options) or found.networks or '"*"' in line
    assert not any(option.startswith("expiry-time=") for option in options) or found.expires_at is not None


def as_key(networks: tuple[str, ...], expires_at: str | None, label: str) -> Key:
    none = dict.fromkeys(Key.__dataclass_fields__)
    own = {"fingerprint": KEY.fingerprint, "public_key": KEY.line, "label": label, "account": "springfield"}
    return Key(**{**none, **own, "networks": networks, "expires_at": expires_at})  # type: ignore[arg-type]


@given(
    st.lists(st.one_of(st.ip_addresses(v=4, network="192.0.2.0/24"), st.ip_addresses(v=6)), max_size=3, unique=True),
    st.none() | st.datetimes().filter(lambda at: at.year > 1000).map(lambda at: at.replace(microsecond=0)),
    st.text(max_size=30),
)
def test_what_is_exported_is_imported_the_same(addresses: list[object], ends: datetime | None, label: str) -> None:
    networks = tuple(f"{address}/{32 if '.' in str(address) else 128}" for address in addresses)
    expires_at = ends.isoformat(timespec="milliseconds") + "Z" if ends else None
    line = write_line(as_key(networks, expires_at, label))
    assert "\n" not in line
    found = read_line(line, zone=CHICAGO)
    assert (found.key.line, found.networks) == (KEY.line, networks)
    assert found.expires_at == (ends.replace(tzinfo=UTC) if ends else None)


def test_a_file_is_imported_whole_or_not_at_all(run: Run, here: Installation, tmp_path: Path) -> None:
    good = [f'restrict,from="192.0.2.0/24" {new_line("one")}', f'expiry-time="29991231" {new_line("two")}']
    bad = [f"pty {new_line()}", f'expiry-time="20200101" {new_line()}', "what?"]
    file = tmp_path / "authorized_keys"
    file.write_text("\n".join([good[0], *bad, good[1]]) + "\n")
    done = run("import", "springfield", file)
    assert (done.returncode, "Nothing was added" in done.stderr) == (1, True)
    assert "Line 2: The option pty is refused" in done.stderr
    assert Keys(here.db).of("springfield") == []
    file.write_text(f"{good[0]}\n{bad[1]}\n")
    assert run("import", "springfield", file).returncode == 1
    assert Keys(here.db).of("springfield") == []
    file.write_text("\n".join([good[0], *bad, good[1]]) + "\n")
    done = run("import", "springfield", file, "--skip-refused", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, len(told["added"]), [line["line"] for line in told["refused"]]) == (1, 2, [2, 3, 4])
    first, second = Keys(here.db).of("springfield")
    assert (first.label, first.networks) == ("one", ("192.0.2.0/24",))
    assert second.expires_at == "2999-12-31T06:00:00.000Z"
    again = run("import", "springfield", "-", given="\n".join(good))
    assert (again.returncode, "0 keys were added, 2 were there" in again.stdout) == (0, True)
    changed = run("import", "springfield", "-", given=good[0].replace("192.0.2.0", "198.51.100.0"))
    assert (changed.returncode, "opens springfield already" in changed.stderr) == (1, True)


def test_what_is_exported_openssh_reads_and_another_zone_imports(
    run: Run, here: Installation, tmp_path: Path, need: Callable[[str], str]
) -> None:
    here.accounts.add("shelbyville", title="", time_zone="UTC", actor="test")
    store = Keys(here.db)
    for number in range(3):
        store.add("springfield", PublicKey.parse(new_line(f"key {number}")), networks=("192.0.2.0/24",), actor="me")
    store.revoke("springfield", "2", actor="me")
    exported = run("export", "springfield").stdout
    file = tmp_path / "authorized_keys"
    file.write_text(exported)
    told = subprocess.run([need("ssh-keygen"), "-lf", file], capture_output=True, text=True, check=True).stdout
    here_now = [key for key in store.of("springfield") if key.revoked_at is None]
    assert [line.split()[1] for line in told.splitlines()] == [key.fingerprint for key in here_now]
    assert run("import", "shelbyville", file).returncode == 0
    assert [(key.fingerprint, key.networks) for key in store.of("shelbyville")] == [
        (key.fingerprint, key.networks) for key in here_now
    ]
