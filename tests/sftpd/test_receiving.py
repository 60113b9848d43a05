"""The life of an upload beyond one session: expiry, discarded retries, what a second process may touch."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from landingzone.command import Installation
from landingzone.db import Database
from landingzone.refusal import Refused
from landingzone.zone import Mark, Upload
from sftpd.jail import Jail
from sftpd.refusal import Missing
from sftpd.visitor import Visitor

ACCOUNT = "springfield"


@pytest.fixture
def jail(make_jail: Callable[..., Jail]) -> Jail:
    return make_jail(resume_hours=1, settle_seconds=1)


def left_behind(here: Installation, name: str, *marks: Mark, hours: float = 0, content: bytes = b"some") -> Upload:
    """An upload as an earlier process left it."""
    upload, descriptor = here.zone.begin_upload(ACCOUNT, name)
    os.write(descriptor, content)
    os.close(descriptor)
    for mark in marks:
        upload = here.zone.remark(upload, add=mark)
    then = time.time() - hours * 3600
    os.utime(here.zone.upload_path(upload), (then, then))
    return upload


async def waiting(here: Installation, count: int) -> list[bytes]:
    """What waits in the inbox, in order of landing, once there are that many."""
    for _ in range(1000):
        if len(here.zone.waiting(ACCOUNT)) >= count:
            break
        await asyncio.sleep(0.01)
    return [here.zone.inbox_path(landing).read_bytes() for landing in here.zone.waiting(ACCOUNT)]


def names(here: Installation) -> list[str]:
    return [upload.name for upload in here.zone.uploads(ACCOUNT)]


def test_only_what_nobody_resumed_in_time_expires(jail: Jail, here: Installation) -> None:
    left_behind(here, "old.csv", hours=2)
    left_behind(here, "old.tmp", Mark.CLOSED, hours=2)
    left_behind(here, "settling.csv", Mark.CLOSED, hours=2)
    left_behind(here, "young.csv", hours=0.5)
    live = jail._receiving.begin(jail.visitor, "live.csv")
    os.utime(live.descriptor, (0, 0))
    jail._receiving.expire(ACCOUNT)
    assert names(here) == ["settling.csv", "young.csv", "live.csv"]


def test_an_upload_that_another_process_has_open_is_left_alone(
    jail: Jail, here: Installation, build_jail: Callable[..., Any]
) -> None:
    other = build_jail(here, jail.visitor)
    theirs = other._receiving.begin(jail.visitor, "students.csv")
    theirs.write(0, b"some")
    os.utime(theirs.descriptor, (0, 0))
    jail._receiving.expire(ACCOUNT)
    assert names(here) == ["students.csv"]
    assert jail._receiving.resume(jail.visitor, theirs.upload, appends=True) is None
    jail._receiving.begin(jail.visitor, "students.csv")
    assert names(here) == ["students.csv", "students.csv"]
    with pytest.raises(Missing):
        jail._receiving.discard(jail.visitor, theirs.upload)
    with pytest.raises(Refused):
        asyncio.run(jail._receiving.rename(jail.visitor, theirs.upload, "staff.csv"))


def test_a_new_upload_discards_a_cut_one_but_never_a_closed_one_that_is_about_to_land(
    jail: Jail, here: Installation
) -> None:
    left_behind(here, "pupils.csv")
    left_behind(here, "pupils.csv", Mark.CLOSED)
    left_behind(here, "other.csv")
    jail._receiving.begin(jail.visitor, "pupils.csv")
    assert sorted(names(here)) == ["other.csv", "pupils.csv", "pupils.csv"]
    assert sum(Mark.CLOSED in upload.marks for upload in here.zone.uploads(ACCOUNT)) == 1


def test_what_was_settling_goes_on_settling_from_its_close(jail: Jail, here: Installation) -> None:
    left_behind(here, "pupils.csv", Mark.CLOSED)
    left_behind(here, "pupils.csv.part", Mark.CLOSED)
    left_behind(here, "cut.csv")
    left_behind(here, "broken.csv", Mark.HOLES)

    async def wait() -> None:
        await jail._receiving.take_up()
        await waiting(here, 1)

    asyncio.run(wait())
    assert [landing.name for landing in here.zone.waiting(ACCOUNT)] == ["pupils.csv"]
    assert sorted(names(here)) == ["cut.csv", "pupils.csv.part"]


def test_what_a_crash_stopped_between_close_and_landing_lands_at_the_start(jail: Jail, here: Installation) -> None:
    left_behind(here, "students.csv", Mark.CLOSED)
    left_behind(here, "staff.csv")
    asyncio.run(jail._receiving.take_up())
    assert [landing.name for landing in here.zone.waiting(ACCOUNT)] == ["students.csv"]
    assert names(here) == ["staff.csv"]


@pytest.mark.parametrize("way", ["same name", "rename"])
def test_a_settling_file_lands_before_a_newer_one_of_its_name(jail: Jail, here: Installation, way: str) -> None:
    async def send(name: str, content: bytes) -> None:
        arrival = jail._receiving.begin(jail.visitor, name)
        arrival.write(0, content)
        await jail._receiving.finish(arrival)

    async def go() -> None:
        await send("pupils.csv", b"old")
        if way == "same name":
            await send("pupils.csv", b"new")
        else:
            await send("pupils.tmp", b"new")
            (upload,) = [one for one in here.zone.uploads(ACCOUNT) if one.name == "pupils.tmp"]
            await jail._receiving.rename(jail.visitor, upload, "pupils.csv")
        assert await waiting(here, 1) == [b"old"]
        assert await waiting(here, 2) == [b"old", b"new"]

    asyncio.run(go())


def test_a_file_of_which_a_part_was_refused_does_not_land(jail: Jail, here: Installation) -> None:
    async def go() -> None:
        arrival = jail._receiving.begin(jail.visitor, "students.csv")
        arrival.write(0, b"student_id\n")
        with pytest.raises(Refused):
            arrival.write(1 << 40, b"1\n")
        with pytest.raises(Refused, match="part of this file was refused"):
            await jail._receiving.finish(arrival)

    asyncio.run(go())
    assert here.zone.waiting(ACCOUNT) == []
    assert [here.zone.upload_path(one).read_bytes() for one in here.zone.uploads(ACCOUNT)] == [b"student_id\n"]


def test_a_file_lands_while_the_database_is_away(jail: Jail, here: Installation) -> None:
    def away(_account: str) -> Any:
        raise sa.exc.OperationalError("SELECT", {}, Exception("away"))

    jail._receiving._expectation._sources_of = away

    async def go() -> None:
        arrival = jail._receiving.begin(jail.visitor, "students.csv")
        arrival.write(0, b"student_id\n")
        await jail._receiving.finish(arrival)
        await waiting(here, 1)

    asyncio.run(go())
    assert [landing.name for landing in here.zone.waiting(ACCOUNT)] == ["students.csv"]


def test_a_rename_starts_the_settling_anew(jail: Jail, here: Installation) -> None:
    upload = left_behind(here, "a.part", Mark.CLOSED)

    async def go() -> None:
        await jail._receiving.rename(jail.visitor, upload, "pupils.csv")
        await asyncio.sleep(0.6)
        (renamed,) = here.zone.uploads(ACCOUNT)
        await jail._receiving.rename(jail.visitor, renamed, "scholars.csv")
        await asyncio.sleep(0.6)
        assert here.zone.waiting(ACCOUNT) == []
        await waiting(here, 1)

    asyncio.run(go())
    assert [landing.name for landing in here.zone.waiting(ACCOUNT)] == ["scholars.csv"]


def test_a_file_lands_while_the_database_is_busy_for_long(jail: Jail, here: Installation) -> None:
    jail._receiving._notes = Database(here.settings.url, durability="normal", waits_seconds=0)

    async def go() -> None:
        arrival = jail._receiving.begin(jail.visitor, "students.csv")
        arrival.write(0, b"student_id\n")
        with here.db.write():
            await jail._receiving.finish(arrival)

    asyncio.run(go())
    assert [landing.name for landing in here.zone.waiting(ACCOUNT)] == ["students.csv"]


def test_a_landing_that_fails_is_told_and_leaves_nothing(
    jail: Jail, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        arrival = jail._receiving.begin(Visitor("gone-account", "s1"), "students.csv")
        arrival.write(0, b"student_id\n")
        with pytest.raises(Refused, match="send it again"):
            await jail._receiving.finish(arrival)

    here.zone.prepare_account("gone-account")
    asyncio.run(go())
    assert here.zone.waiting("gone-account") == []
    assert here.zone.uploads("gone-account") == []
