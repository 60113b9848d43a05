"""A full disk: the client gets an error, nothing lands or stays in the way; with room again the upload works."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

MEBIBYTE = 1 << 20


@pytest.fixture
def root(_empty_root: Path, tmp_path: Path, lacking: Any) -> Iterator[Path]:
    """An empty zone on a disk of 8 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(disk)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        lacking(f"a small disk can only be mounted by root: {mounted.stderr.strip()}")
    try:
        yield Path(shutil.copytree(_empty_root, disk / "root"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def own_service(make_service: Callable[..., Any]) -> Any:
    """A front door that uses the small disk to its end."""
    return make_service(limits__free_mebibytes=0)


@contextlib.contextmanager
def filled(root: Path, *, left: int = 0) -> Iterator[None]:
    """Fill the disk but for some bytes."""
    filler = root / "filler"
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - left)
    try:
        yield
    finally:
        filler.unlink()


@pytest.mark.parametrize("arguments", ["", "-f "])
def test_a_disk_that_fills_up_during_an_upload(own_service: Any, client: Any, root: Path, arguments: str) -> None:
    content = client.file("students.csv", os.urandom(2 * MEBIBYTE)).read_bytes()
    with filled(root, left=MEBIBYTE):
        done = client.sftp(f"put {arguments}students.csv")
        assert done.returncode != 0
        assert own_service.landed() == []
        assert own_service.uploads() == {}
        own_service.wait_for("upload.refused", reason="disk_full")
        assert client.sftp("ls -l").returncode == 0
    assert client.sftp(f"put {arguments}students.csv").returncode == 0
    (landed,) = own_service.landed(count=1)
    assert landed.sha256 == hashlib.sha256(content).hexdigest()


def test_a_client_that_does_not_read_the_answers_sees_that_its_file_is_not_there(
    own_service: Any, client: Any, root: Path
) -> None:
    sent = client.file("students.csv", os.urandom(2 * MEBIBYTE))
    with (
        filled(root, left=MEBIBYTE),
        client.paramiko() as ssh,
        pytest.raises(OSError, match=r"disk is full|no such file"),
    ):
        ssh.open_sftp().put(str(sent), "students.csv", confirm=True)
    assert own_service.landed() == []
    with client.paramiko() as ssh:
        ssh.open_sftp().put(str(sent), "students.csv", confirm=True)
    assert len(own_service.landed(count=1)) == 1


def test_a_disk_without_room_for_the_note_lands_nothing(own_service: Any, client: Any, root: Path) -> None:
    def land() -> None:
        file = sftp.open("students.csv", "wb")
        file.write(b"student_id\n1\n")
        sftp._request(paramiko.sftp.CMD_CLOSE, file.handle)

    def land_until_the_log_is_full() -> None:
        for _ in range(2000):  # the database's log has some room of its own: some landings still fit
            land()

    with client.paramiko() as ssh:
        sftp = ssh.open_sftp()
        land()
        with filled(root), pytest.raises(OSError, match="disk is full"):
            land_until_the_log_is_full()
        before = len(own_service.landed())
        assert own_service.uploads() == {}, own_service.log_lines()
        land()
    own_service.landed(count=before + 1)


def test_a_cut_upload_can_be_resumed_once_there_is_room(
    make_service: Callable[..., Any], make_client: Callable[..., Any], root: Path
) -> None:
    service = make_service(limits__free_mebibytes=0)
    client = make_client(service)
    content = client.file("students.csv", os.urandom(2 * MEBIBYTE)).read_bytes()
    ssh = client.paramiko()
    file = ssh.open_sftp().open("students.csv", "wb")
    file.write(content[:MEBIBYTE])
    file.stat()
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut", bytes=MEBIBYTE)
    with filled(root):
        assert client.sftp("ls -l students.csv").returncode == 0
        assert service.uploads() == {".students.csv": MEBIBYTE}
    assert client.sftp("reput students.csv").returncode == 0
    (landed,) = service.landed(count=1)
    assert landed.sha256 == hashlib.sha256(content).hexdigest()
