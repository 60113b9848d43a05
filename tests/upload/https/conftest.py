"""A district that sends over HTTPS: the whole service with TLS of its own, a token, an authority that few know."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from console.tokens import Tokens
from landingzone.command import Installation
from upload.attempts import Attempt
from upload.carrier import Carrier
from upload.command import Setup
from upload.folder import Folder
from upload.patience import Patience
from upload.run import carrier_of, quieten

_DAY = timedelta(days=1)


def certificates(folder: Path) -> None:
    """An authority, and a server's certificate for `localhost`: authority.pem, certificate.pem, key.pem."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "localhost")]
    at = datetime.now(UTC)
    for number, (key, name) in enumerate(zip(keys, names, strict=True)):
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - _DAY)
            .not_valid_after(at + _DAY)
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )
        if number:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        else:
            kinds = (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
            )
            uses = dict.fromkeys((*kinds, "key_agreement", "encipher_only", "decipher_only"), False)
            made = made.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **uses), critical=True)
        pem = made.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (folder / ("certificate.pem" if number else "authority.pem")).write_bytes(pem)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(keys[1].private_bytes(*form))


@pytest.fixture(scope="session")
def _shared_https(
    _empty_root: Path, tmp_path_factory: pytest.TempPathFactory, service_class: Callable[..., Any]
) -> Iterator[Any]:
    """Front door, processor, and the console with a certificate."""
    folder = tmp_path_factory.mktemp("https")
    certificates(folder)
    root = Path(shutil.copytree(_empty_root, folder / "root"))
    settings = {
        "LANDINGZONE_CONSOLE__PORT": "0",
        "LANDINGZONE_CONSOLE__TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "LANDINGZONE_CONSOLE__TLS_KEY": str(folder / "key.pem"),
    }
    service = service_class(root, folder / "log.json", "serve --console", settings=settings).start()
    service.wait_for("console.opened", seconds=60)
    yield service
    service.stop()


@dataclass
class District:
    """A folder whose settings name an https:// address; the rest is the uploader's."""

    uploader: Any
    port: int
    authority: Path
    token: str
    ca_file: Path | str
    host: str = "localhost"
    extra: str = ""

    def __post_init__(self) -> None:
        self.token_file = self.folder / "token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(f"{self.token}\n")

    @property
    def folder(self) -> Path:
        folder: Path = self.uploader.folder
        return folder

    @property
    def key(self) -> Path:
        key: Path = self.uploader.key
        return key

    def settle(self, *feeds: str) -> None:
        ca_file = f'ca_file = "{self.ca_file}"\n' if self.ca_file else ""
        self.uploader.server = f'url = "https://{self.host}:{self.port}"\n{ca_file}{self.extra}\n'
        self.uploader.settle(*feeds)

    def carrier(self, patience: Patience) -> Carrier:
        quieten()
        self.settle("students")
        return carrier_of(Setup(Folder(self.folder)), patience, lambda *_, **__: None)

    def file(self, name: str, text: str) -> None:
        self.uploader.file(name, text)

    def run(self, **options: Any) -> list[Attempt]:
        attempts: list[Attempt] = self.uploader.run(**options)
        return attempts

    def program(self, *arguments: str) -> Any:
        return self.uploader.program(*arguments)

    def log(self) -> str:
        log: str = self.uploader.log()
        return log


@pytest.fixture
def trouble_port(_shared_https: Any) -> int:
    port: int = _shared_https.events("console.opened")[0]["port"]
    return port


@pytest.fixture
def district(service: Any, here: Installation, make_uploader: Callable[..., Any], trouble_port: int) -> District:
    """The district of the test's account, which has a token."""
    uploader = make_uploader(service)
    token = Tokens(here.db).add_for_account(uploader.account, actor="test").secret
    authority = here.settings.root.parent / "authority.pem"
    return District(uploader, trouble_port, authority, token, authority)


@pytest.fixture
def make_answering(_shared_https: Any) -> Iterator[Callable[[str], int]]:
    """Starts a server with the right certificate that gives one answer to everything; its port."""
    import ssl

    folder, listeners = _shared_https.root.parent, []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    def make(answer: str) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(client, server_side=True) as line:
                        line.recv(1 << 16)
                        line.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode())
                except OSError:
                    continue

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield make
    for listener in listeners:
        listener.close()
