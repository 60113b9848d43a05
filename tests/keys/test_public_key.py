"""What may open a door is read; everything else gets one clear reason and is never repeated."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.public_key import MAX_INPUT_BYTES, PublicKey, PublicKeyError

ACCEPTED = [
    ("ssh-ed25519", {}, 256),
    ("ecdsa-sha2-nistp256", {}, 256),
    ("ecdsa-sha2-nistp384", {}, 384),
    ("ecdsa-sha2-nistp521", {}, 521),
    ("ssh-rsa", {"key_size": 3072}, 3072),
    ("ssh-rsa", {"key_size": 4096}, 4096),
]


def string(part: bytes) -> bytes:
    return len(part).to_bytes(4) + part


def line_of(*parts: bytes) -> str:
    return f"{parts[0].decode()} {base64.b64encode(b''.join(map(string, parts))).decode()} me@school"


@pytest.fixture(scope="module")
def ed25519() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519", comment="lisa@school")


@pytest.fixture(scope="module")
def line(ed25519: asyncssh.SSHKey) -> str:
    return ed25519.export_public_key("openssh").decode()


@pytest.mark.parametrize(("algorithm", "options", "bits"), ACCEPTED)
@pytest.mark.parametrize("form", ["openssh", "rfc4716"])
def test_every_accepted_kind_is_read_in_both_forms(
    algorithm: str, options: dict[str, int], bits: int, form: str, tmp_path: Path, need: Callable[[str], str]
) -> None:
    private = asyncssh.generate_private_key(algorithm, comment="me@school", **options)
    key = PublicKey.parse(private.export_public_key(form))
    assert (key.algorithm, key.bits, key.comment) == (algorithm, bits, "me@school")
    file = tmp_path / "key.pub"
    file.write_text(f"{key.line} {key.comment}\n")
    command = [need("ssh-keygen"), "-l", "-f", file]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"{bits} {key.fingerprint} me@school")


def test_keys_on_security_keys_are_read(ed25519: asyncssh.SSHKey) -> None:
    point = ed25519.public_data[-32:]
    key = PublicKey.parse(line_of(b"sk-ssh-ed25519@openssh.com", point, b"ssh:"))
    assert (key.algorithm, key.bits) == ("sk-ssh-ed25519@openssh.com", 256)
    curve = asyncssh.generate_private_key("ecdsa-sha2-nistp256").public_data[-65:]
    key = PublicKey.parse(line_of(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", curve, b"ssh:"))
    assert key.bits == 256


def test_a_block_made_by_openssh_is_read(line: str, tmp_path: Path, need: Callable[[str], str]) -> None:
    (tmp_path / "key.pub").write_text(line)
    command = [need("ssh-keygen"), "-e", "-m", "RFC4716", "-f", tmp_path / "key.pub"]
    block = subprocess.run(command, capture_output=True, check=True).stdout
    assert PublicKey.parse(block).line == " ".join(line.split()[:2])


@pytest.mark.parametrize(
    "change",
    [
        lambda line: f"\n\n# our key\n  {line}\r\n\r\n",
        lambda line: "\ufeff" + line,
        lambda line: line.encode("utf-16"),
        lambda line: line.replace(" ", "\t"),
        lambda line: line.encode(),
    ],
)
def test_what_surrounds_a_key_does_not_matter(line: str, change: Callable[[str], str | bytes]) -> None:
    assert PublicKey.parse(change(line)) == PublicKey.parse(line)


def test_control_characters_in_a_comment_are_left_out(line: str) -> None:
    words = line.split()[:2]
    assert PublicKey.parse(" ".join([*words, "a\x1b[31mb\x07 c"])).comment == "a[31mb c"


def rsa_line(modulus: int, exponent: int = 65537) -> str:
    def mpint(number: int) -> bytes:
        return number.to_bytes(number.bit_length() // 8 + 1)

    return line_of(b"ssh-rsa", mpint(exponent), mpint(modulus))


REFUSED = [
    ("", "no key in this"),
    ("# only a comment", "no key in this"),
    ("hello there", "not a public key"),
    ("<html><body>Not found</body></html>", "not a public key"),
    ("ssh-ed25519", "ends after the key's type"),
    ("ssh-ed25519 not*base64", "damaged or cut"),
    ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA", "damaged or cut"),
    ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA", "cut"),
    (line_of(b"ssh-dss", b"\1"), "DSA keys are no longer safe"),
    (line_of(b"ssh-ed448", b"\1" * 57), "Ed448"),
    (line_of(b"ssh-made-up", b"\1"), "not a public key"),
    (line_of(b"ssh-ed25519", b"\1" * 31), "do not make a key"),
    (line_of(b"ssh-ed25519", b"\1" * 32, b"more"), "do not make a key"),
    (line_of(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\1" * 64), "do not make a key"),
    (line_of(b"ecdsa-sha2-nistp256", b"nistp384", b"\x04" + b"\1" * 64), "do not make a key"),
    (line_of(b"sk-ssh-ed25519@openssh.com", b"\1" * 32, b"https://evil"), "do not make a key"),
    (line_of(b"ssh-ed25519-cert-v01@openssh.com", b"\1"), "certificate"),
    (rsa_line((1 << 1023) + 1), "this one has 1024"),
    (rsa_line((1 << 2047) + 1), "this one has 2048"),
    (rsa_line((1 << 16384) + 1), "this one has 16385"),
    (rsa_line(1 << 3071), "do not make a key"),
    (rsa_line((1 << 3071) + 1, exponent=1), "do not make a key"),
    (rsa_line((1 << 3071) + 1, exponent=(1 << 100) + 1), "do not make a key"),
    (line_of(b"ssh-rsa", b"\0\1\0\1", b"\0\0" + ((1 << 3071) + 1).to_bytes(384)), "do not make a key"),
    ("x" * (MAX_INPUT_BYTES + 1), "larger than"),
    (b"\xff\xff\x00\x01", "not text"),
    ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "last line"),
    ("-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----", "damaged, or of a kind"),
    ("-----BEGIN PUBLIC KEY-----\nMCow\n", "last line"),
    ("-----BEGIN PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\n", "several keys"),
    ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "neither an OpenSSH line"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 2\nAAAA\n", "cut or damaged"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "no public part"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\nAAAA\n", "no public part"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\nPublic-Lines: ²\nAAAA\n", "cut or damaged"),
    ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n", "treat it as lost"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_everything_else_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(PublicKeyError, match=reason):
        PublicKey.parse(text)


def test_options_before_the_key_are_refused_by_name(line: str) -> None:
    options = 'command="echo ssh-rsa",from="192.0.2.0/24",no-pty '
    with pytest.raises(PublicKeyError, match=r"\(command, from, no-pty\)"):
        PublicKey.parse(options + line)


def test_several_keys_at_once_are_refused(line: str, ed25519: asyncssh.SSHKey) -> None:
    with pytest.raises(PublicKeyError, match="several keys"):
        PublicKey.parse(line + line)
    with pytest.raises(PublicKeyError, match="several keys"):
        PublicKey.parse(ed25519.export_public_key("rfc4716") * 2)


def test_a_line_broken_by_a_mail_program_is_refused(line: str) -> None:
    with pytest.raises(PublicKeyError, match="broken into several"):
        PublicKey.parse(line[:40] + "\n" + line[40:])


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
def test_a_private_key_is_refused_and_nothing_of_it_repeated(form: str) -> None:
    private = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_private_key(form).decode()
    for text in (private, f"my key:\n{private}", private.encode("utf-16")):
        with pytest.raises(PublicKeyError, match="treat it as lost") as refused:
            PublicKey.parse(text)
        assert not any(part in str(refused.value) for part in private.splitlines()[1:-1])


def ppk(line: str, rest: str = "") -> str:
    """A key file of PuTTY's, version 3."""
    kind, encoded = line.split()[:2]
    body = "\n".join(encoded[at : at + 64] for at in range(0, len(encoded), 64))
    count = body.count("\n") + 1
    head = f"PuTTY-User-Key-File-3: {kind}\r\nEncryption: none\r\nComment: lisa@school\r\nPublic-Lines: {count}"
    return f"{head}\r\n{body}\r\n{rest}"


def test_a_putty_key_file_is_refused_and_its_public_part_alone_is_read(line: str) -> None:
    secret = "AAAAIHNlY3JldHNlY3JldHNlY3JldHNlY3JldHNlY3JldHNl"
    with pytest.raises(PublicKeyError, match="treat it as lost") as refused:
        PublicKey.parse(ppk(line, f"Private-Lines: 1\r\n{secret}\r\nPrivate-MAC: 00\r\n"))
    assert secret not in str(refused.value)
    assert PublicKey.parse(ppk(line)) == PublicKey.parse(line)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_what_puttygen_writes_is_read_or_refused(kind: str, tmp_path: Path, need: Callable[[str], str]) -> None:
    puttygen, private = need("puttygen"), tmp_path / "key.ppk"
    (tmp_path / "empty").touch()
    make = [puttygen, "-q", "-t", kind, "--new-passphrase", "empty", "-C", "lisa@school", "-o", private]
    subprocess.run([*make, *(["-b", "3072"] if kind == "rsa" else [])], cwd=tmp_path, check=True)
    told = {}
    for form in ("public", "public-openssh"):
        command = [puttygen, private, "-O", form, "-o", tmp_path / form]
        subprocess.run(command, cwd=tmp_path, check=True)
        told[form] = PublicKey.parse((tmp_path / form).read_bytes())
    assert told["public"] == told["public-openssh"]
    assert told["public"].comment == "lisa@school"
    text = private.read_text()
    with pytest.raises(PublicKeyError, match="treat it as lost"):
        PublicKey.parse(text)
    assert PublicKey.parse(text[: text.index("Private-Lines")]) == told["public"]


@pytest.mark.parametrize(("algorithm", "options", "bits"), ACCEPTED)
def test_pem_public_keys_are_read(
    algorithm: str, options: dict[str, int], bits: int, tmp_path: Path, need: Callable[[str], str]
) -> None:
    private = asyncssh.generate_private_key(algorithm, **options)
    key = PublicKey.parse(private.export_public_key("openssh"))
    forms = ["pkcs8-pem", "pkcs1-pem"] if algorithm == "ssh-rsa" else ["pkcs8-pem"]
    for form in forms:
        found = PublicKey.parse(private.export_public_key(form))
        assert (found.line, found.bits) == (key.line, bits)
    if algorithm != "ssh-ed25519":  # ssh-keygen writes those in no PEM form
        (tmp_path / "key.pub").write_text(key.line)
        command = [need("ssh-keygen"), "-e", "-m", "PKCS8", "-f", tmp_path / "key.pub"]
        assert PublicKey.parse(subprocess.run(command, capture_output=True, check=True).stdout).line == key.line


def test_pem_keys_that_open_nothing_are_refused() -> None:
    for algorithm, told in (("ssh-dss", "not accepted"), ("ssh-ed448", "not accepted"), ("x25519", "not accepted")):
        if algorithm == "x25519":
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

            form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            text = X25519PrivateKey.generate().public_key().public_bytes(*form)
        else:
            text = asyncssh.generate_private_key(algorithm).export_public_key("pkcs8-pem")
        with pytest.raises(PublicKeyError, match=told):
            PublicKey.parse(text)
    weak = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key("pkcs8-pem")
    with pytest.raises(PublicKeyError, match="this one has 2048"):
        PublicKey.parse(weak)


TYPES = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ssh-dss",
    "sk-ssh-ed25519@openssh.com",
    "x-cert-v01@openssh.com",
]
BLOBS = st.lists(st.binary(max_size=70), max_size=4).map(lambda parts: b"".join(map(string, parts)))


@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300),
        st.builds(
            lambda kind, blob, rest: f"{kind} {base64.b64encode(string(kind.encode()) + blob).decode()}{rest}",
            st.sampled_from(TYPES),
            st.one_of(BLOBS, st.binary(max_size=80)),
            st.text(max_size=20),
        ),
        st.builds(
            lambda lines: "\n".join(["---- BEGIN SSH2 PUBLIC KEY ----", *lines, "---- END SSH2 PUBLIC KEY ----"]),
            st.lists(st.text(st.characters(codec="ascii"), max_size=30), max_size=5),
        ),
    )
)
def test_whatever_is_sent_gives_a_key_or_one_clear_error(text: str | bytes) -> None:
    try:
        key = PublicKey.parse(text)
    except PublicKeyError as refused:
        assert 10 < len(str(refused)) < 400
    else:
        assert PublicKey.parse(f"{key.line} {key.comment}").fingerprint == key.fingerprint
