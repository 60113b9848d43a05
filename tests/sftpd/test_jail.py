"""Nothing that a client asks for, in whatever order, reads or writes outside its account's own folders."""

import asyncio
import contextlib
import hashlib
import inspect
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import FXF_APPEND, FXF_CREAT, FXF_EXCL, FXF_READ, FXF_TRUNC, FXF_WRITE
from asyncssh.sftp import SFTPAttrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.landing import IdMaker
from sftpd.jail import Jail
from sftpd.refusal import Denied, Missing
from sftpd.visitor import Visitor

ACCOUNT = "springfield"
SECRET = b"\xa5" * 64  # a byte that no example writes
ID = IdMaker()()


def set_traps(root: Path) -> None:
    """Another account's files, and links, pipes and devices that lead out of this account's folders."""
    for kind in ("uploads", "inbox", "receipts"):
        other = root / kind / "shelbyville"
        other.mkdir(exist_ok=True)
        (other / f"{ID}.secret.csv").write_bytes(SECRET)
        folder = root / kind / ACCOUNT
        for name in ("link.csv", f"{ID}.link.csv"):
            (folder / name).symlink_to(other / f"{ID}.secret.csv")
        for name in ("folder", f"{ID}.folder"):
            (folder / name).symlink_to(other)
        for name in ("pipe.csv", f"{ID}.pipe.csv"):
            os.mkfifo(folder / name)
        with contextlib.suppress(PermissionError):  # devices can only be made by root
            for name in ("zero.csv", f"{ID}.zero.csv"):
                os.mknod(folder / name, 0o600 | 0o020000, os.makedev(1, 5))
        os.link(other / f"{ID}.secret.csv", root / "uploads" / ACCOUNT / f"{IdMaker()()}.hard-{kind}.csv")
    os.link(root / "inbox" / "shelbyville" / f"{ID}.secret.csv", root / "inbox" / ACCOUNT / f"{IdMaker()()}.hard.csv")
    (root / "receipts" / ACCOUNT / f"{ID}-students.csv.receipt.txt").write_bytes(b"a receipt")
    (root / "receipts" / ACCOUNT / ".half.part").write_bytes(SECRET)


def picture(root: Path) -> dict[str, str]:
    """Everything outside of the account's own uploads and inbox, and the traps inside: path -> what is there."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        own = name.startswith((f"uploads/{ACCOUNT}/", f"inbox/{ACCOUNT}/"))
        if name.startswith("landingzone.db") or (own and path.is_file() and not path.is_symlink()):
            continue
        what = str(path.readlink()) if path.is_symlink() else oct(path.lstat().st_mode)
        found[name] = what + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
    return found


def own_names(root: Path) -> set[bytes]:
    """The plain names of the files that the account has made itself: some examples give them a trap's name."""
    paths = [*(root / "uploads" / ACCOUNT).iterdir(), *(root / "inbox" / ACCOUNT).iterdir()]
    plain = [path for path in paths if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_nlink == 1]
    return {path.name.encode().partition(b".")[2] for path in plain}


NAMES = [
    *(b"students.csv", b"staff.csv", b"x.tmp", b"unknown", b"link.csv", b"folder", b"pipe.csv", b"zero.csv"),
    *(b"hard.csv", b"hard-inbox.csv", b"hard-uploads.csv", b"secret.csv", b".half.part", b"receipts", b".", b"..", b""),
    *(f"{ID}.link.csv".encode(), f"{ID}-students.csv.receipt.txt".encode(), f"{ID}.secret.csv".encode()),
    *(
        b"a\0b",
        b"a\nb",
        b"\xff\xfe.csv",
        b"x" * 255,
        b"x" * 151,
        b"+c.students.csv",
        b"a\\..\\b",
        b"\xc2\x85",
        "é.csv".encode(),
    ),
]
FOLDERS = [
    *(
        b"",
        b"/",
        b"/receipts/",
        b"receipts/",
        b"../shelbyville/",
        b"/../../inbox/shelbyville/",
        b"//",
        b"/./",
        b"folder/",
    ),
    *(
        b"/receipts/../",
        b"/receipts/folder/",
        b"/etc/",
        b"../../../../../../",
        b"/receipts/../../receipts/shelbyville/",
    ),
]
PATHS = st.builds(lambda folder, name: folder + name, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
PATHS |= st.binary(max_size=40)
FLAGS = st.sets(st.sampled_from([FXF_READ, FXF_WRITE, FXF_APPEND, FXF_CREAT, FXF_TRUNC, FXF_EXCL])).map(sum)
OFFSETS = st.sampled_from([0, 1, 5, 1000, 1 << 30, (1 << 63) - 1, (1 << 64) - 1])
STEPS = st.one_of(
    st.tuples(st.just("open"), PATHS, FLAGS),
    st.tuples(st.just("open"), st.sampled_from([b"students.csv", b"x.tmp", b"unknown"]), FLAGS),
    st.tuples(st.just("write"), st.integers(0, 5), OFFSETS, st.sampled_from([b"", b"a", b"some more"])),
    st.tuples(st.just("read"), st.integers(0, 5), OFFSETS, st.sampled_from([0, 10, 1 << 31])),
    st.tuples(st.just("open"), st.sampled_from([b"/receipts/" + name for name in NAMES]), st.just(FXF_READ)),
    st.tuples(st.just("scandir"), st.sampled_from([b"/", b"/receipts", b"."])),
    st.tuples(st.just("read"), st.just(0), st.just(0), st.just(100)),
    st.tuples(st.sampled_from(["close", "fstat", "fsync"]), st.integers(0, 5)),
    st.tuples(st.just("fsetstat"), st.integers(0, 5), st.sampled_from([0, 3, 1 << 40])),
    st.tuples(st.sampled_from(["rename", "posix_rename", "symlink", "link"]), PATHS, PATHS),
    st.tuples(st.just("rename"), st.just(b"x.tmp"), PATHS),
    st.tuples(st.sampled_from(["remove", "stat", "lstat", "rmdir", "readlink", "realpath", "scandir"]), PATHS),
    st.tuples(st.sampled_from(["setstat", "mkdir"]), PATHS, st.sampled_from([None, 0, 1 << 40])),
)

Step = tuple[Any, ...]


async def take(jail: Jail, handles: list[Any], step: Step) -> Any:
    """One request, as the handler of packets would make it; what it answers. A refusal is an answer, too."""
    name, *arguments = step
    try:
        match name:
            case "open":
                handles.append(jail.open(arguments[0], arguments[1], SFTPAttrs()))
                return None
            case "write" | "read" | "close" | "fstat" | "fsync" | "fsetstat":
                if arguments[0] >= len(handles):
                    return None
                handle = handles.pop(arguments[0]) if name == "close" else handles[arguments[0]]
                if name == "fsetstat":
                    arguments = [0, SFTPAttrs(size=arguments[1], permissions=0o4777, mtime=5, atime=5)]
                result = getattr(jail, name)(handle, *arguments[1:])
            case "scandir":
                return [entry async for entry in jail.scandir(arguments[0])]
            case "setstat" | "mkdir":
                result = getattr(jail, name)(arguments[0], SFTPAttrs(size=arguments[1], permissions=0o777))
            case _:
                result = getattr(jail, name)(*arguments)
        return await result if inspect.isawaitable(result) else result
    except (asyncssh.SFTPError, LandingZoneError) as refused:
        return str(refused).encode()


@pytest.fixture(scope="session")
def trapped_root(_empty_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zone with an account and traps; copied for every example."""
    root = Path(shutil.copytree(_empty_root, tmp_path_factory.mktemp("trapped") / "root"))
    here = Installation(root)
    for account in (ACCOUNT, "shelbyville"):
        here.accounts.add(account, title="", time_zone="UTC", actor="test")
        here.zone.prepare_account(account)
    here.db.close()
    return root


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_no_sequence_of_requests_leaves_the_accounts_own_folders(
    trapped_root: Path, build_jail: Callable[..., Jail], steps: list[Step]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(trapped_root, Path(folder) / "root"))
        set_traps(root)
        before = picture(root)
        here = Installation(root)

        async def go() -> None:
            jail = build_jail(here, Visitor(ACCOUNT, "s1", "192.0.2.1", "SHA256:x"))
            handles: list[Any] = []
            for step in steps:
                answer = await take(jail, handles, step)
                if isinstance(answer, bytes) and step[0] != "realpath":
                    assert SECRET[:1] not in answer
                    assert str(root).encode() not in answer
                    assert b"shelbyville" not in answer
                if isinstance(answer, list):
                    names = {entry.filename for entry in answer} - own_names(root)
                    assert not names & {b"link.csv", b"pipe.csv", b"zero.csv", b"folder", b"secret.csv", b".half.part"}
                    assert not any(name.startswith(b"hard") for name in names)
            jail.client_gone()
            jail.exit()

        asyncio.run(go())
        assert picture(root) == before
        here.db.close()


Go = Callable[[Jail], Awaitable[None]]


def carry_out(jail: Jail, go: Go) -> None:
    async def run() -> None:
        await go(jail)
        jail.client_gone()
        jail.exit()

    asyncio.run(run())


def test_links_pipes_and_devices_in_the_folders_are_not_there(
    make_jail: Callable[..., Jail], here: Installation
) -> None:
    jail = make_jail()
    here.accounts.add("shelbyville", title="", time_zone="UTC", actor="test")
    set_traps(here.settings.root)
    names = (b"link.csv", b"folder", b"pipe.csv", b"zero.csv", b"hard.csv", b"hard-inbox.csv", b"secret.csv")
    for name, folder in itertools.product(names, (b"/", b"/receipts/")):
        with pytest.raises(LandingZoneError, match="no such file"):
            jail.stat(folder + name)
        with pytest.raises(LandingZoneError, match="no such file"):
            jail.open(folder + name, FXF_READ, SFTPAttrs())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"a\0b.csv", "control characters"),
        (b"a\nb.csv", "control characters"),
        (b"\xff.csv", "not UTF-8"),
        (b"x" * 151, "151 bytes"),
        (b"x" * 255, "255 bytes"),
        (b"receipts", "folder"),
        (b"..", "folder"),
        (b"deep/students.csv", "no such file"),
        (b"receipts/students.csv", "read-only"),
    ],
)
def test_a_name_that_cannot_land_is_refused_with_the_reason(
    make_jail: Callable[..., Jail], here: Installation, name: bytes, reason: str
) -> None:
    jail = make_jail()
    with pytest.raises(LandingZoneError, match=reason):
        jail.open(b"/" + name, FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
    assert list((here.settings.root / "uploads" / ACCOUNT).iterdir()) == []


def test_an_account_may_do_what_the_policy_says(make_jail: Callable[..., Jail]) -> None:
    async def go(jail: Jail) -> None:
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        jail.write(file, 0, b"student_id\n")
        await jail.close(file)
        assert jail.stat(b"/students.csv").size == 11
        with pytest.raises(Denied, match="cannot be read"):
            jail.open(b"students.csv", FXF_READ, SFTPAttrs())
        with pytest.raises(Denied, match="cannot be deleted"):
            await jail.remove(b"students.csv")
        jail.mkdir(b"/export", SFTPAttrs())
        with pytest.raises(Missing):
            jail.stat(b"/export")

    carry_out(make_jail(read_back=False, delete=False, mkdir="ignore"), go)


def test_a_session_can_have_only_so_many_files_open(make_jail: Callable[..., Jail]) -> None:
    async def go(jail: Jail) -> None:
        for number in range(jail.limits.handles_per_session):
            jail.open(b"%d.csv" % number, FXF_WRITE | FXF_CREAT, SFTPAttrs())
        with pytest.raises(LandingZoneError, match="Too many files"):
            jail.open(b"one-more.csv", FXF_WRITE | FXF_CREAT, SFTPAttrs())

    carry_out(make_jail(), go)


def test_what_landed_is_shown_after_the_import_has_taken_it(make_jail: Callable[..., Jail], here: Installation) -> None:
    async def go(jail: Jail) -> None:
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        jail.write(file, 0, b"student_id\n")
        await jail.close(file)
        (landing,) = here.zone.waiting(ACCOUNT)
        here.zone.claim(landing)
        assert jail.stat(b"/students.csv").size == 11
        jail.setstat(b"/students.csv", SFTPAttrs(atime=7, mtime=7, permissions=0o777))
        assert jail.stat(b"/students.csv").mtime == 7
        assert b"students.csv" in {entry.filename async for entry in jail.scandir(b"/")}
        for request in (
            lambda: jail.open(b"/students.csv", FXF_READ, SFTPAttrs()),
            lambda: jail.open(b"/students.csv", FXF_WRITE | FXF_CREAT | FXF_APPEND, SFTPAttrs()),
            lambda: jail.setstat(b"/students.csv", SFTPAttrs(size=3)),
        ):
            with pytest.raises(LandingZoneError):
                request()
        with pytest.raises(LandingZoneError, match="already been taken"):
            await jail.remove(b"/students.csv")
        with pytest.raises(LandingZoneError, match="cannot be renamed"):
            await jail.rename(b"/students.csv", b"/staff.csv")

    carry_out(make_jail(), go)


def test_two_files_of_one_name_both_land_and_the_newest_is_meant(
    make_jail: Callable[..., Jail], here: Installation
) -> None:
    async def go(jail: Jail) -> None:
        for content in (b"first", b"second!"):
            file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
            jail.write(file, 0, content)
            await jail.close(file)
        assert len(here.zone.waiting(ACCOUNT)) == 2
        assert jail.stat(b"students.csv").size == 7
        file = jail.open(b"students.csv", FXF_READ, SFTPAttrs())
        assert jail.read(file, 0, 100) == b"second!"
        jail.close(file)
        await jail.remove(b"students.csv")
        assert jail.stat(b"students.csv").size == 5

    carry_out(make_jail(), go)


def test_what_waits_can_be_taken_back_and_leaves_a_note(make_jail: Callable[..., Jail], here: Installation) -> None:
    from landingzone import landing_record

    async def go(jail: Jail) -> None:
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        jail.write(file, 0, b"student_id\n")
        await jail.close(file)
        (landing,) = here.zone.waiting(ACCOUNT)
        await jail.remove(b"/students.csv")
        assert here.zone.waiting(ACCOUNT) == []
        with here.db.read() as tx:
            assert landing_record.find(tx, landing.id).withdrawn_at is not None
            assert landing_record.withdrawn_without_run(tx) == [landing]
        with pytest.raises(LandingZoneError, match="no such file"):
            jail.stat(b"/students.csv")

    carry_out(make_jail(), go)


def test_an_upload_deleted_while_it_is_open_does_not_land(make_jail: Callable[..., Jail], here: Installation) -> None:
    async def go(jail: Jail) -> None:
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        jail.write(file, 0, b"student_id\n")
        await jail.remove(b"/students.csv")
        with pytest.raises(LandingZoneError, match="deleted"):
            jail.write(file, 11, b"1\n")
        with pytest.raises(LandingZoneError, match="deleted"):
            await jail.close(file)
        assert here.zone.waiting(ACCOUNT) == []
        assert here.zone.uploads(ACCOUNT) == []

    carry_out(make_jail(), go)


def test_an_upload_renamed_while_it_is_open_lands_under_its_new_name(
    make_jail: Callable[..., Jail], here: Installation
) -> None:
    async def go(jail: Jail) -> None:
        file = jail.open(b"x.tmp", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        jail.write(file, 0, b"student_id\n")
        await jail.rename(b"/x.tmp", b"/students.csv")
        assert here.zone.waiting(ACCOUNT) == []
        await jail.close(file)
        (landing,) = here.zone.waiting(ACCOUNT)
        assert landing.name == "students.csv"

    carry_out(make_jail(), go)


def test_an_empty_file_with_an_expected_name_lands(make_jail: Callable[..., Jail], here: Installation) -> None:
    async def go(jail: Jail) -> None:
        await jail.close(jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs()))
        (landing,) = here.zone.waiting(ACCOUNT)
        assert here.zone.inbox_path(landing).stat().st_size == 0

    carry_out(make_jail(), go)


def test_an_append_that_sends_no_offsets_goes_to_the_end(make_jail: Callable[..., Jail], here: Installation) -> None:
    async def go(jail: Jail) -> None:
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        jail.write(file, 0, b"student_id\n")
        jail._receiving.cut(file)
        jail._open.discard(file)
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_APPEND, SFTPAttrs())
        jail.write(file, 0, b"1\n")
        jail.write(file, 2, b"2\n")
        await jail.close(file)
        (landing,) = here.zone.waiting(ACCOUNT)
        assert here.zone.inbox_path(landing).read_bytes() == b"student_id\n1\n2\n"

    carry_out(make_jail(), go)


def test_exclusive_creation_is_refused_while_a_file_of_that_name_is_there(make_jail: Callable[..., Jail]) -> None:
    async def go(jail: Jail) -> None:
        flags = FXF_WRITE | FXF_CREAT | FXF_EXCL
        await jail.close(jail.open(b"students.csv", flags, SFTPAttrs()))
        with pytest.raises(asyncssh.SFTPFileAlreadyExists):
            jail.open(b"students.csv", flags, SFTPAttrs())

    carry_out(make_jail(), go)


def test_a_write_far_beyond_what_came_is_refused_at_once(make_jail: Callable[..., Jail], here: Installation) -> None:
    async def go(jail: Jail) -> None:
        file = jail.open(b"students.csv", FXF_WRITE | FXF_CREAT | FXF_TRUNC, SFTPAttrs())
        with pytest.raises(LandingZoneError, match="missing"):
            jail.write(file, 1 << 40, b"x")
        with pytest.raises(LandingZoneError, match="grows by being written"):
            jail.fsetstat(file, SFTPAttrs(size=1 << 40))
        (upload,) = here.zone.uploads(ACCOUNT)
        assert here.zone.upload_path(upload).stat().st_size == 0

    carry_out(make_jail(), go)
