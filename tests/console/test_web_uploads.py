"""Uploads over HTTPS where they lie, on both databases: in one hand at a time, landed once, forgotten in time."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from console.web_uploads import Gone, InUse, Landed, NotLanded, Sender, TemporaryName, WebUploads
from landingzone.clock import now
from landingzone.tables import landings, web_uploads

pytestmark = pytest.mark.both_databases

ACCOUNT = "springfield"
CONTENT = b"student_id\n017\n"


@pytest.fixture
def uploads(here: Any, make_account: Callable[..., Path]) -> WebUploads:
    make_account(ACCOUNT)
    return WebUploads(here.zone, here.db, here.sources.of, 6)


SENDER = Sender(ACCOUNT, "token 1", "192.0.2.7")


def write(here: Any, sending: Any, content: bytes = CONTENT) -> None:
    here.zone.upload_path(sending.file).write_bytes(content)


def land(uploads: WebUploads, sending: Any) -> str:
    with uploads.in_hand(sending) as (standing, descriptor):
        return uploads.land(standing, descriptor).landing_id


def noted(here: Any) -> list[Any]:
    with here.db.read() as tx:
        return list(tx.execute(sa.select(landings.c.id, landings.c.resumed, landings.c.bytes).order_by(landings.c.id)))


def test_it_lands_once_under_the_id_that_is_told(uploads: WebUploads, here: Any) -> None:
    sending = uploads.begin(SENDER, "students.csv", len(CONTENT), metadata="filename x")
    write(here, sending, CONTENT[:4])
    standing = uploads.find(ACCOUNT, sending.file.id)
    assert (standing.size, standing.length, standing.metadata) == (4, len(CONTENT), "filename x")
    write(here, uploads.note_resumed(standing))
    landing_id = land(uploads, uploads.find(ACCOUNT, sending.file.id))
    assert [path.name for path in (here.settings.root / "inbox" / ACCOUNT).iterdir()] == [f"{landing_id}.students.csv"]
    assert [tuple(row) for row in noted(here)] == [(landing_id, True, len(CONTENT))]
    with pytest.raises(Landed):
        land(uploads, sending)
    uploads.sweep()
    assert uploads.find(ACCOUNT, sending.file.id).landing_id == landing_id
    with pytest.raises(Gone):
        uploads.find("shelbyville", sending.file.id)


def test_one_process_at_a_time_has_it_in_hand(uploads: WebUploads, here: Any) -> None:
    sending = uploads.begin(SENDER, "students.csv", len(CONTENT))
    write(here, sending)
    other = WebUploads(here.zone, here.db, here.sources.of, 6)
    with uploads.in_hand(sending) as (standing, descriptor):
        with pytest.raises(InUse):
            land(other, sending)
        other.sweep()
        assert noted(here) == []
        uploads.land(standing, descriptor)
        with pytest.raises(Landed):
            land(other, sending)
    assert len(noted(here)) == 1


def test_ids_rise_over_all_ways_in(uploads: WebUploads, here: Any) -> None:
    """A landing that another host noted, whose clock is ahead."""
    from landingzone import landing_record

    with time_machine.travel(now() + timedelta(minutes=5)):
        ahead = type(here.zone)(here.zone.root).new_landing(ACCOUNT, "students.csv")
    with here.db.write() as tx:
        landing_record.note_newest(tx, ahead, size=1, mtime=0)
    sending = uploads.begin(SENDER, "students.csv", len(CONTENT))
    write(here, sending)
    assert land(uploads, sending) > ahead.id


def test_a_landing_that_failed_is_tried_again(uploads: WebUploads, here: Any) -> None:
    sending = uploads.begin(SENDER, "students.csv", len(CONTENT))
    write(here, sending)
    inbox = here.settings.root / "inbox" / ACCOUNT
    inbox.rmdir()
    with pytest.raises(NotLanded):
        land(uploads, sending)
    assert uploads.find(ACCOUNT, sending.file.id).landing_id == ""  # although its row has one
    inbox.mkdir(mode=0o700)
    uploads.sweep()
    landing_id = uploads.find(ACCOUNT, sending.file.id).landing_id
    assert [path.name for path in inbox.iterdir()] == [f"{landing_id}.students.csv"]


def test_what_is_given_up_or_forgotten_leaves_nothing(uploads: WebUploads, here: Any) -> None:
    given_up, forgotten, slow, done = (uploads.begin(SENDER, "students.csv", 100) for _ in range(4))
    with uploads.in_hand(given_up) as (standing, descriptor):
        uploads.discard(standing, descriptor)
    with pytest.raises(Gone):
        uploads.find(ACCOUNT, given_up.file.id)
    write(here, done, b"x" * 100)
    landing_id = land(uploads, done)
    later = now() + timedelta(hours=7)
    at = time.time() + 6 * 3600
    os.utime(here.zone.upload_path(slow.file), (at, at))  # bytes have come an hour ago
    with time_machine.travel(later):
        uploads.sweep()
        assert [one.id for one in here.zone.web_uploads(ACCOUNT)] == [slow.file.id]
        assert uploads.find(ACCOUNT, slow.file.id).size == 0
        for gone in (forgotten, done):
            with pytest.raises(Gone):
                uploads.find(ACCOUNT, gone.file.id)
    with here.db.read() as tx:
        assert tx.execute(sa.select(web_uploads.c.id)).scalars().all() == [slow.file.id]
    assert (here.settings.root / "inbox" / ACCOUNT / f"{landing_id}.students.csv").exists()


def test_what_cannot_begin_leaves_nothing(uploads: WebUploads, here: Any) -> None:
    with pytest.raises(TemporaryName):
        uploads.begin(SENDER, "students.csv.part", 1)
    with pytest.raises(Gone):
        uploads.begin(Sender("nobody", "token 1"), "students.csv", 1)
    assert here.zone.web_uploads("nobody") == []
    assert here.zone.web_uploads(ACCOUNT) == []
