"""Every stock client lands its file whole: the receipt has the SHA-256 of what was sent."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

SERVICE = "_shared_whole"
SIZE = 3_000_000
"""More than one window of every client, and no multiple of a block."""


@pytest.fixture
def sent(client: Any) -> Path:
    return client.file("students.csv", os.urandom(SIZE))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_landed(service: Any, sent: Path, name: str = "students.csv") -> None:
    (landed,) = service.landed(count=1)
    assert (landed.name, landed.bytes, landed.sha256) == (name, SIZE, sha256(sent))


def assert_done(done: Any) -> None:
    assert done.returncode == 0, done.stderr + done.stdout


def test_openssh_sftp_put(service: Any, client: Any, sent: Path) -> None:
    assert_done(client.sftp("put students.csv"))
    assert_landed(service, sent)


def test_openssh_sftp_put_with_flush_and_times(service: Any, client: Any, sent: Path) -> None:
    os.utime(sent, (1_700_000_000, 1_700_000_000))
    done = client.sftp("put -f -p students.csv", "ls -l students.csv")
    assert_done(done)
    assert "2023" in done.stdout
    assert_landed(service, sent)


def test_openssh_sftp_put_under_a_temporary_name_then_rename(service: Any, client: Any, sent: Path) -> None:
    assert_done(client.sftp("put students.csv students.csv.part", "rename students.csv.part students.csv"))
    assert_landed(service, sent)


def test_openssh_sftp_put_under_an_unexpected_name_then_rename(service: Any, client: Any, sent: Path) -> None:
    assert_done(client.sftp("put students.csv export-7", "rename export-7 students.csv"))
    assert_landed(service, sent)


def test_openssh_sftp_reput_after_a_cut(service: Any, client: Any, sent: Path) -> None:
    whole = sent.read_bytes()
    ssh = client.paramiko()
    file = ssh.open_sftp().open("students.csv", "wb")
    file.write(whole[:1_000_000])
    file.flush()
    ssh.get_transport().sock.close()
    service.wait_for("upload.cut", bytes=1_000_000)
    assert not service.landed()
    assert_done(client.sftp("reput students.csv"))
    assert_landed(service, sent)
    assert service.wait_for("file.landed")["resumed"] is True


def test_openssh_scp_speaks_sftp(service: Any, client: Any, sent: Path) -> None:
    assert_done(client.scp(sent, f"{client.account}@127.0.0.1:"))
    assert_landed(service, sent)


def test_openssh_scp_with_times_and_a_folder_as_the_target(service: Any, client: Any, sent: Path) -> None:
    assert_done(client.scp("-p", sent, f"{client.account}@127.0.0.1:/"))
    assert_landed(service, sent)


def test_openssh_scp_of_a_name_that_has_landed_lands_a_second_file(service: Any, client: Any, sent: Path) -> None:
    assert_done(client.scp(sent, f"{client.account}@127.0.0.1:"))
    sent.write_bytes(b"student_id\n1\n")
    assert_done(client.scp(sent, f"{client.account}@127.0.0.1:"))
    assert [landed.bytes for landed in service.landed(count=2)] == [SIZE, 13]


def test_an_upload_in_the_steps_of_winscp(service: Any, client: Any, sent: Path) -> None:
    whole = sent.read_bytes()
    ssh = client.paramiko()
    with ssh.open_sftp().open("students.csv.filepart", "wb") as part:
        part.write(whole[:1_000_000])
        part.flush()
        assert part.stat().st_size == 1_000_000
        ssh.get_transport().sock.close()
    service.wait_for("upload.cut", bytes=1_000_000)
    with client.paramiko() as again:
        sftp = again.open_sftp()
        with sftp.open("students.csv.filepart", "r+b") as part:
            part.seek(sftp.stat("students.csv.filepart").st_size)
            part.write(whole[1_000_000:])
        sftp.utime("students.csv.filepart", (1_700_000_000, 1_700_000_000))
        with pytest.raises(FileNotFoundError):
            sftp.stat("students.csv")
        sftp.rename("students.csv.filepart", "students.csv")
        sftp.chmod("students.csv", 0o644)
        assert sftp.stat("students.csv").st_mtime == 1_700_000_000
    assert_landed(service, sent)


def test_paramiko_put_with_confirm(service: Any, client: Any, sent: Path) -> None:
    with client.paramiko() as ssh:
        attributes = ssh.open_sftp().put(str(sent), "students.csv", confirm=True)
    assert attributes.st_size == SIZE
    assert_landed(service, sent)


def lftp(client: Any, *commands: str) -> Any:
    ssh = " ".join(("ssh", "-a", "-x", *client.options))
    first = (
        "set net:max-retries 1; set cmd:fail-exit yes",
        f'set sftp:connect-program "{ssh}"',
        f"open -u {client.account}, sftp://127.0.0.1:{client.port}",
    )
    return client.run("lftp", "-c", "; ".join((*first, *commands)))


def test_lftp_put(service: Any, client: Any, sent: Path) -> None:
    assert_done(lftp(client, "put students.csv"))
    assert_landed(service, sent)


def test_lftp_put_with_a_temporary_name(service: Any, client: Any, sent: Path) -> None:
    assert_done(lftp(client, "set xfer:use-temp-file yes", "put students.csv"))
    assert_landed(service, sent)


def test_lftp_mirror_of_a_folder(service: Any, client: Any, sent: Path) -> None:
    outbox = client.folder / "outbox"
    outbox.mkdir()
    sent.rename(outbox / "students.csv")
    assert_done(lftp(client, "mirror -R outbox /"))
    assert_landed(service, outbox / "students.csv")


def rclone(client: Any, *arguments: str) -> Any:
    remote = (
        f":sftp,host=127.0.0.1,port={client.port},user={client.account},key_file={client.key},"
        f"known_hosts_file={client.known_hosts}:"
    )
    config = ("--config", str(client.folder / "rclone.conf"), "--retries", "1", "--low-level-retries", "1")
    return client.run("rclone", *config, *(argument.replace("REMOTE", remote) for argument in arguments))


def test_rclone_copy(service: Any, client: Any, sent: Path) -> None:
    outbox = client.folder / "outbox"
    outbox.mkdir()
    sent.rename(outbox / "students.csv")
    assert_done(rclone(client, "copy", "outbox", "REMOTE"))
    assert_landed(service, outbox / "students.csv")
    (client.folder / "rclone.conf").unlink(missing_ok=True)


def test_rclone_copy_once_more_sends_nothing_again(service: Any, client: Any, sent: Path) -> None:
    outbox = client.folder / "outbox"
    outbox.mkdir()
    sent.rename(outbox / "students.csv")
    os.utime(outbox / "students.csv", (1_700_000_000, 1_700_000_000))
    assert_done(rclone(client, "copy", "outbox", "REMOTE"))
    assert_done(rclone(client, "copy", "outbox", "REMOTE"))
    assert_landed(service, outbox / "students.csv")


def test_curl_upload(service: Any, client: Any, sent: Path, lacking: Any) -> None:
    if "sftp" not in client.run("curl", "--version").stdout:
        lacking("this curl was built without SFTP")
    md5 = hashlib.md5(__import__("base64").b64decode(client.host_keys[0].split()[1])).hexdigest()
    done = client.run(
        *("curl", "-sS", "--key", client.key, "--pubkey", f"{client.key}.pub", "--hostpubmd5", md5),
        *("-T", sent, f"sftp://{client.account}@127.0.0.1:{client.port}/students.csv"),
    )
    assert_done(done)
    assert_landed(service, sent)
