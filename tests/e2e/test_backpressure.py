"""A door whose queue or disk is nearly full refuses what is new, finishes what it has begun, opens again by itself."""

import errno
import os
from typing import Any

import pytest

from landingzone.command import Installation
from landingzone.zone import Zone, free_bytes, open_again


def test_a_full_queue_refuses_new_files_only_and_ends_by_itself(
    make_service: Any, make_client: Any, here: Installation
) -> None:
    service = make_service(limits__queue_files=3)
    client = make_client(service)
    with client.paramiko() as ssh:
        sftp = ssh.open_sftp()
        under_way = sftp.open("staff.csv", "wb")
        under_way.write(b"staff_id\n")
        for name in ("students.csv", "students.csv", "sections.csv"):
            sftp.open(name, "wb").close()
        service.wait_for("door.full", reason="queue", waiting=3, seconds=20)
        with pytest.raises(OSError, match="Too many files wait to be imported"):
            sftp.open("students.csv", "wb")
        service.wait_for("upload.refused", reason="queue_full")
        under_way.write(b"1\n")
        under_way.close()
        landed = here.zone.waiting(client.account)
        assert len(landed) == 4
        assert sftp.listdir("/receipts") == []
        for landing in landed[:2]:
            here.zone.claim(landing)
        service.wait_for("door.accepts_again", waiting=2, seconds=20)
        sftp.open("students.csv", "wb").close()
    assert len(service.landed()) == 3


def test_a_disk_that_is_nearly_full_refuses_new_files_only(make_service: Any, make_client: Any, root: Any) -> None:
    floor = int(free_bytes(root) / 1.1) >> 20  # a tenth more than the floor is free
    service = make_service(limits__free_mebibytes=floor)
    client = make_client(service)
    service.wait_for("door.full", reason="disk")
    with client.paramiko() as ssh, pytest.raises(OSError, match="disk is full"):
        ssh.open_sftp().open("students.csv", "wb")
    assert not service.events("door.disk_low")


def test_a_stale_handle_is_opened_anew_once(monkeypatch: pytest.MonkeyPatch, here: Installation) -> None:
    upload, descriptor = here.zone.begin_upload("springfield", "students.csv")
    os.close(descriptor)
    really, stale = os.open, [1]

    def open_(path: Any, flags: int, *more: Any) -> int:
        if stale and stale.pop():
            raise OSError(errno.ESTALE, "Stale file handle")
        return really(path, flags, *more)

    monkeypatch.setattr(os, "open", open_)
    os.close(here.zone.reopen_upload(upload))
    stale[:] = [1, 1]
    with pytest.raises(FileNotFoundError):
        open_again(here.zone.upload_path(upload), os.O_RDONLY)


def test_what_nfs_keeps_of_a_removed_file_is_no_file_of_anybodys(here: Installation) -> None:
    zone: Zone = here.zone
    zone.prepare_account("springfield")
    (zone.folder("inbox", "springfield") / ".nfs0000000000000001").touch()
    assert zone.dropped_by_hand("springfield") == []
