"""What a district's own staff sees: how its files stand, its receipts, and nothing of any other district."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from console.role import Role
from keys.store import Keys
from landingzone import landing_record
from landingzone.command import Installation
from landingzone.host_key_files import fingerprints
from landingzone.landing import Landing

SERVICE = "_shared_console"

STUDENTS = b"""student_id,first_name,last_name,phone,school_id
1,Ada,Lovelace,919-555-0101,014
2,Alan,Turing,12,014
3,Grace,=HYPERLINK(x),919-555-0103,014
4,Edsger,Dijkstra,919-555-0104,014
5,Barbara,Liskov,919-555-0105,014
6,Donald,Knuth,919-555-0106,014
"""
Land = Callable[..., Landing]


@pytest.fixture
def land(here: Installation, account: str) -> Land:
    """Lands a file as a door does, and waits for its receipt."""

    def put(content: bytes = STUDENTS, name: str = "students.csv", of: str = account) -> Landing:
        upload, descriptor = here.zone.begin_upload(of, name)
        os.write(descriptor, content)
        landing = here.zone.new_landing(of, name)
        with here.db.write() as tx:
            landing = landing_record.note_in_order(
                tx, landing, here.zone.new_landing, size=len(content), mtime=time.time(), key_fingerprint="SHA256:test"
            )
        here.zone.land(upload, landing, descriptor)
        os.close(descriptor)
        until = time.monotonic() + 60
        while not (here.zone.receipts_folder(of) / f"{landing.id}-{name}.receipt.json").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        return landing

    return put


@pytest.fixture
def staff(make_account: Any, signed_in: Any, account: str, service: Any) -> Any:
    make_account()
    return signed_in(Role.DISTRICT, account=account)


def test_the_first_page_says_how_each_file_stands(staff: Any, land: Land) -> None:
    empty = staff.get("/")
    assert empty.url.path == "/files-today"
    assert "No file has come yet" in empty.text
    assert "students.csv" in empty.text
    landing = land()
    page = staff.get("/files-today").text
    assert f'<a href="/receipts/{landing.id}">students.csv</a>' in page
    assert "Taken over, but some rows were left out." in page


def test_a_receipt_says_which_rows_were_left_out_and_gives_them_as_files(staff: Any, land: Land, here: Any) -> None:
    landing = land()
    page = staff.get(f"/receipts/{landing.id}")
    assert "line 3: <code" in page.text
    assert "does not come to exactly 10 digits" in page.text
    own = here.zone.receipts_folder(landing.account)
    for ending, kind in (("receipt.json", "application/json"), ("receipt.txt", "text/plain; charset=utf-8")):
        got = staff.get(f"/receipts/{landing.id}/{ending}")
        assert got.content == (own / f"{landing.id}-students.csv.{ending}").read_bytes()
        assert got.headers["content-type"] == kind
        assert got.headers["content-disposition"].startswith(
            f'attachment; filename="{landing.id}-students.csv.{ending}'
        )
    rejects = own / f"{landing.id}-students.csv.rejects.csv"
    kept = rejects.read_bytes()
    assert staff.get(f"/receipts/{landing.id}/rejects.csv").content == kept
    rejects.unlink()
    assert staff.get(f"/receipts/{landing.id}/rejects.csv").content == kept
    assert json.loads(staff.get(f"/receipts/{landing.id}/receipt.json").content)["rows"]["rejected"] == 1


def test_what_has_no_rejects_has_no_such_file(staff: Any, land: Land) -> None:
    landing = land(STUDENTS.replace(b",12,", b",919-555-0102,"))
    assert "Rows that were left out" not in staff.get(f"/receipts/{landing.id}").text
    assert staff.get(f"/receipts/{landing.id}/rejects.csv").status_code == 404


def test_receipts_are_listed_by_day(staff: Any, land: Land) -> None:
    landing = land()
    day = f"{landing.landed_at:%Y-%m-%d}"
    for path in ("/receipts", f"/receipts?day={day}"):
        page = staff.get(path).text
        assert day in page
        assert landing.id in page
    assert landing.id not in staff.get("/receipts?day=2026-01-31").text
    assert landing.id not in staff.get(f"/receipts?before={landing.id}").text
    assert staff.get("/receipts?day=2026-02-31").status_code == 404
    assert staff.get("/receipts?day=yesterday").status_code == 422


def test_another_districts_files_are_not_there(
    staff: Any, land: Land, here: Any, signed_in: Any, make_account: Any
) -> None:
    other = f"{staff_account(staff)}-x"
    make_account(other)
    landing = land(of=other)
    unknown = landing.id[:-4] + "0000"
    for ending in ("", "/receipt.json", "/receipt.txt", "/rejects.csv"):
        foreign = staff.get(f"/receipts/{landing.id}{ending}")
        assert foreign.status_code == 404
        assert foreign.text == staff.get(f"/receipts/{unknown}{ending}").text.replace(unknown, landing.id)
    assert landing.id not in staff.get("/receipts").text
    assert signed_in(Role.DISTRICT, account=other).get(f"/receipts/{landing.id}").status_code == 200
    assert staff.get(f"/accounts/{other}/as-district").status_code == 404


def staff_account(visitor: Any) -> str:
    page = visitor.get("/connect").text
    return str(page.split("<dt>User</dt><dd><code>")[1].split("<")[0])


def test_an_operator_sees_what_the_district_sees_and_a_viewer_no_rows(
    make_account: Any, signed_in: Any, land: Land, account: str
) -> None:
    make_account()
    landing = land()
    operator = signed_in(Role.OPERATOR)
    page = operator.get(f"/accounts/{account}/as-district").text
    assert landing.id in page
    assert "/send" not in page
    assert operator.get(f"/receipts/{landing.id}").status_code == 200
    assert operator.get("/files-today").status_code == 404
    viewer = signed_in(Role.VIEWER)
    assert viewer.get(f"/receipts/{landing.id}").status_code == 404
    assert viewer.get(f"/receipts/{landing.id}/rejects.csv").status_code == 404


def test_how_to_connect_shows_host_keys_and_own_keys(staff: Any, here: Any) -> None:
    page = staff.get("/connect").text
    shown = [one.fingerprint for one in fingerprints(here.settings.root) if one.kind != "ecdsa"]
    assert shown
    assert all(fingerprint in page for fingerprint in shown)
    assert "students.csv" in page
    (key,) = Keys(here.db).of(staff_account(staff))
    assert key.fingerprint in page
    assert "Revoke" not in page


def test_a_file_of_an_unknown_name_is_told_of(staff: Any, land: Land) -> None:
    landing = land(b"x\r\n1\r\n", "böse <b>.csv")
    page = staff.get(f"/receipts/{landing.id}").text
    assert "nobody expects a file of this name" in page
    assert "<b>" not in page
    got = staff.get(f"/receipts/{landing.id}/receipt.txt")
    assert f'filename="{landing.id}-b_se _b_.csv.receipt.txt"' in got.headers["content-disposition"]
