"""The archive: one suite for its stores, and runs through the real import step on object storage and encrypted."""

import hashlib
import logging
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
import zstandard

from landingzone.landing import Landing
from landingzone.settings import ArchiveSettings
from landingzone.zone import write_file
from processor.archive import Archive, DamagedCopy, folder_of
from processor.archive_cipher import Cipher, CipherError, IdentityMissing, identities_in
from processor.archive_store import ArchiveAway, Kept, LocalStore, ObjectStore, Store

FOLDER = "springfield/2026/01/31/0199"
Students = Callable[..., bytes]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that speaks S3, with a bucket; the environment has its credentials, as an operator's would."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/districts", method="PUT"))
    names = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    yield url
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value
    server.stop()


@pytest.fixture(params=["local", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        (tmp_path / "archive").mkdir()
        return LocalStore(tmp_path / "archive")
    url = request.getfixturevalue("endpoint")
    return ObjectStore(ArchiveSettings(url=f"s3://districts/{tmp_path.name}", endpoint=url), tmp_path)


def read(store: Store, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


# The contract of a store


@pytest.mark.parametrize("name", ["students.csv.zst", "Schüler 5%+#&?=~*{x}.csv.zst", "'\"`$(a);b.csv", ".hidden"])
@pytest.mark.parametrize("size", [0, 3, 6 << 20])
def test_what_is_put_is_given_back_as_it_was(store: Store, tmp_path: Path, name: str, size: int) -> None:
    content, file = os.urandom(size), tmp_path / "file"
    write_file(file, content)
    store.put(FOLDER, {name: file, "1.receipt.txt": b"told"})
    assert not file.exists()
    assert read(store, f"{FOLDER}/{name}") == content
    assert (store.size(f"{FOLDER}/{name}"), store.size(f"{FOLDER}/other")) == (size, None)
    assert store.names(FOLDER) == sorted([name, "1.receipt.txt"])
    assert Kept(f"{FOLDER}/{name}", size) in list(store.everything("springfield"))


def test_folders_are_told_and_removed_with_all_that_is_in_them(store: Store) -> None:
    other = "springfield/2026/02/01/0200"
    store.put(FOLDER, {"a": b"12", "b": b"345"})
    store.put(other, {"a": b"1"})
    store.put("springfield-2/2026/01/31/1", {"a": b"1"})
    assert store.folders("springfield/2026") == ["01", "02"]
    assert store.remove(FOLDER) == (2, 5)
    assert store.remove(FOLDER) == (0, 0)
    assert store.folders("springfield/2026") == ["02"]
    assert store.remove("springfield") == (1, 1)
    assert [one.key for one in store.everything("")] == ["springfield-2/2026/01/31/1/a"]
    assert store.folders("") == ["springfield-2"]


def test_what_is_put_again_takes_the_place_of_what_was_there(store: Store) -> None:
    store.put(FOLDER, {"1.receipt.txt": b"held"})
    store.put(FOLDER, {"1.receipt.txt": b"superseded"})
    assert read(store, f"{FOLDER}/1.receipt.txt") == b"superseded"


def test_what_is_not_there_is_told_so(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        read(store, f"{FOLDER}/nothing")
    assert (store.names("nobody"), store.folders("nobody"), list(store.everything("nobody"))) == ([], [], [])


def test_a_store_can_be_tried_out_and_nothing_is_left(store: Store) -> None:
    store.check()
    assert list(store.everything("")) == []


def test_a_store_that_is_away_says_so_and_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.archive_store._TRIED_FOR", 0.5)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    away = ObjectStore(ArchiveSettings(url="s3://districts", endpoint="http://127.0.0.1:9"), tmp_path)
    file = tmp_path / "file"
    write_file(file, b"content")
    for ask in (lambda: away.put(FOLDER, {"a": file}), lambda: away.size("a"), lambda: away.names("a"), away.check):
        with pytest.raises(ArchiveAway) as told:
            ask()
        assert "127.0.0.1" not in str(told.value)
    assert file.read_bytes() == b"content"


# Encryption


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    file = tmp_path / "identity.txt"
    made = pyrage.x25519.Identity.generate()
    file.write_text(f"# created: today\n# public key: {made.to_public()}\n{made}\n")
    file.chmod(0o600)
    return file


def recipient(identity: Path) -> str:
    return identity.read_text().splitlines()[1].removeprefix("# public key: ")


def test_an_identity_that_others_can_read_or_that_is_none_is_refused_without_its_text(identity: Path) -> None:
    identity.chmod(0o644)
    with pytest.raises(CipherError, match="chmod 600"):
        identities_in(identity)
    identity.chmod(0o600)
    identity.write_text("AGE-SECRET-KEY-1NONSENSE")
    with pytest.raises(CipherError) as told:
        identities_in(identity)
    assert "NONSENSE" not in str(told.value)
    with pytest.raises(CipherError):
        Cipher(["age1nonsense"])


def test_only_the_identity_opens_what_was_encrypted(store: Store, here: Any, identity: Path) -> None:
    here.zone.prepare_account("springfield")
    landing = here.zone.new_landing("springfield", "students.csv")
    cipher = Cipher([recipient(identity)], identity)
    archive = Archive(here.zone, store, cipher)
    claimed = here.zone.claimed_path(landing)
    claimed.parent.mkdir()
    content = os.urandom(300_000) * 4
    claimed.write_bytes(content)
    _keep(archive, landing, content)
    assert store.names(folder_of(landing)) == ["students.csv.zst.age"]
    assert read(store, f"{folder_of(landing)}/students.csv.zst.age").startswith(b"age-encryption.org/v1")
    with pytest.raises(IdentityMissing):
        Archive(here.zone, store, Cipher([recipient(identity)])).restore(landing)
    assert not claimed.parent.exists()
    assert archive.restore(landing)
    assert claimed.read_bytes() == content
    assert Archive(here.zone, store, Cipher((), identity)).has(landing)


def test_what_is_not_what_arrived_is_never_kept(store: Store, here: Any) -> None:
    here.zone.prepare_account("springfield")
    landing = here.zone.new_landing("springfield", "students.csv")
    claimed = here.zone.claimed_path(landing)
    claimed.parent.mkdir()
    claimed.write_bytes(b"changed on the disk")
    with pytest.raises(DamagedCopy):
        _keep(Archive(here.zone, store, Cipher()), landing, b"what arrived")
    assert claimed.is_file()
    assert store.names(folder_of(landing)) == []


def _keep(archive: Archive, landing: Landing, content: bytes) -> None:
    from processor.run import Run, State

    sha256 = hashlib.sha256(content).hexdigest()
    ids = (1, f"{landing.id}:1", landing.id, 1, 1, landing.account, landing.name, None, None, None)
    archive.keep(Run(*ids, State.APPLIED, None, None, None, "", "", None, sha256, None, None, 0, 0), sha256=sha256)


# Runs


def command(night: Any, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "landingzone", "--root", str(night.here.settings.root), *arguments]
    settings = {**os.environ, **night.settings, **environment}
    return subprocess.run(program, capture_output=True, text=True, check=False, env=settings)


@pytest.fixture
def far(night: Any, endpoint: str, identity: Path, tmp_path: Path) -> Any:
    """A night whose archive is in object storage, encrypted."""
    night.settings |= {
        "LANDINGZONE_ARCHIVE__URL": f"s3://districts/{tmp_path.name}",
        "LANDINGZONE_ARCHIVE__ENDPOINT": endpoint,
        "LANDINGZONE_ARCHIVE__AGE_RECIPIENTS": f'["{recipient(identity)}"]',
    }
    return night


def test_files_are_kept_far_away_encrypted_and_come_back_for_approval_and_revert(
    far: Any, students: Students, identity: Path, endpoint: str, tmp_path: Path
) -> None:
    far.start(archive__age_identity=identity)
    first = far.land("students.csv", students(40, phone={3: "12"}))
    assert far.receipt(first)["outcome"] == "imported_with_rejects"
    assert (far.receipts / f"{first.id}-students.csv.rejects.csv").is_file()
    held = far.land("students.csv", students(10))
    far.receipt(held, outcome="held")
    refused = command(far, "runs", "approve", held.id)
    assert (refused.returncode, "age_identity" in refused.stderr) == (1, True)
    given = {"LANDINGZONE_ARCHIVE__AGE_IDENTITY": str(identity)}
    assert command(far, "runs", "approve", held.id, **given).returncode == 0
    assert far.receipt(held, outcome="imported")["attempt"] == 2
    assert command(far, "runs", "revert", held.id, **given).returncode == 0
    assert far.receipt(held, outcome="reverted")["attempt"] == 3
    assert sum(row[-1] for row in far.rows("students")) == 39
    kept = ObjectStore(ArchiveSettings(url=f"s3://districts/{tmp_path.name}", endpoint=endpoint), tmp_path)
    keys = [one.key for one in kept.everything("")]
    assert len(keys) > 8
    assert all(key.endswith(".age") for key in keys)
    assert not any((far.here.settings.root / "archive").rglob("*.*"))
    far.stop()

    out = tmp_path / "out"
    out.mkdir()
    assert "age_identity" in command(far, "archive", "restore", first.id, "--to", str(out)).stderr
    assert list(out.iterdir()) == []
    restored = command(far, "archive", "restore", first.id, "--to", str(out), "--identity", str(identity))
    assert restored.returncode == 0, restored.stderr
    assert (out / "students.csv").read_bytes() == students(40, phone={3: "12"})
    again = command(far, "archive", "restore", first.id, "--to", str(out), "--identity", str(identity))
    assert "already" in again.stderr
    assert first.id in command(far, "archive", "list", "springfield").stdout


def test_while_the_store_is_away_runs_wait_and_nothing_is_lost(night: Any, students: Students, endpoint: str) -> None:
    away = {"LANDINGZONE_ARCHIVE__URL": "s3://districts/later", "LANDINGZONE_ARCHIVE__ENDPOINT": "http://127.0.0.1:9"}
    night.settings |= away
    night.start()
    landing = night.land("students.csv", students(40))
    assert night.outcome(landing) == "imported"
    _wait_for(night, '"archive_away"')
    night.kill()
    night.settings["LANDINGZONE_ARCHIVE__ENDPOINT"] = endpoint
    night.start()
    assert night.receipt(landing)["outcome"] == "imported"
    assert night.left_over() == []
    store = ObjectStore(ArchiveSettings(url="s3://districts/later", endpoint=endpoint), night.here.settings.root)
    packed = read(store, f"{folder_of(landing)}/students.csv.zst")
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == students(40)


def _wait_for(night: Any, text: str) -> None:
    import time

    until = time.monotonic() + 60
    while text not in night.log:
        assert time.monotonic() < until, night.log[-3000:]
        time.sleep(0.1)
