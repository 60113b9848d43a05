"""Sending a file by hand, as a school secretary does: choose, say what the columns hold, look, confirm."""

import io
import json
import re
import stat
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from console.drafts import Drafts, Sender
from console.role import Role
from landingzone import audit
from landingzone.clock import iso, now
from landingzone.kept_mapping import NO_COLUMN, KeptMapping
from landingzone.tables import accounts, landings
from landingzone.tables import drafts as table
from processor.account_data import table_of

SERVICE = "_shared_console"

ODD = (
    b"Perm No;Child's first name;Child's surname;Handy;Campus;Remarks\r\n"
    b"1;Ada;Lovelace;919-555-0101;014;\r\n"
    b"2;Alan;Turing;12;014;=1+1\r\n"
    b"3;Grace;Hopper;919-555-0103;014;<b>x</b>\r\n"
    b"4;Edsger;Dijkstra;919-555-0104;014;\r\n"
    b"5;Barbara;Liskov;919-555-0105;014;\r\n"
)
ODD_COLUMNS = {"c0": "student_id", "c1": "first_name", "c2": "last_name", "c3": "phone", "c4": "school_id", "c5": ""}
PLAIN = b"student_id,first_name,last_name,phone,school_id,alt_phone\n1,Ada,Lovelace,9195550101,014,\n"
KNOWN = "student_id first_name last_name phone school_id"


@pytest.fixture
def staff(make_account: Any, signed_in: Any, account: str, service: Any) -> Any:
    make_account()
    return signed_in(Role.DISTRICT, account=account)


def choose(staff: Any, content: bytes, name: str = "Book1.csv", source: str = "") -> httpx2.Response:
    """Step 1, with everything that the server redirects to."""
    return staff.post("/send", {"source": source}, files={"file": (name, content)})


def draft_of(page: httpx2.Response) -> str:
    found = re.fullmatch(r"/send/([0-9a-f-]{36})(/.*)?", page.url.path)
    assert found, (page.url, page.text[:3000])
    return found[1]


def say(staff: Any, page: httpx2.Response, columns: dict[str, str], **more: str) -> httpx2.Response:
    """Step 2."""
    shown = re.search(r'name="shown_for" value="([^"]*)"', page.text)
    assert shown, page.text
    source, _, header = shown[1].partition("/")
    data = {"source": source, "shown_for": shown[1], "do": "check", **({"header": header} if header else {})}
    return staff.post(f"/send/{draft_of(page)}/columns", {**data, **columns, **more})


def shown_in(page: httpx2.Response) -> str:
    found = re.search(r'name="shown" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


def confirm(staff: Any, page: httpx2.Response) -> httpx2.Response:
    """Step 3."""
    return staff.post(f"/send/{draft_of(page)}", {"shown": shown_in(page)})


def receipt(staff: Any, page: httpx2.Response) -> dict[str, Any]:
    """The receipt of the file on whose page we are, once it is there."""
    until = time.monotonic() + 60
    while (got := staff.get(f"{page.url.path}/receipt.json")).status_code == 404:
        assert time.monotonic() < until, staff.get(page.url.path).text
        time.sleep(0.02)
    told: dict[str, Any] = json.loads(got.content)
    return told


def uploads(here: Any, account: str) -> list[Path]:
    return sorted((here.settings.root / "uploads" / account).iterdir())


def test_odd_headers_are_mapped_once_and_the_second_time_takes_two_requests(
    staff: Any, here: Any, account: str
) -> None:
    page = choose(staff, ODD)
    assert page.url.path.endswith("/columns"), page.text
    assert "<b>x" not in page.text
    assert "&lt;b&gt;x" in page.text
    for name in ("student_id", "first_name", "last_name"):
        assert re.search(rf'<option value="{name}" selected', page.text), name
    page = say(staff, page, ODD_COLUMNS)
    assert page.url.path.endswith("/check"), page.text
    assert "1 row would be left out" in page.text
    assert "does not come to exactly 10 digits" in page.text
    page = confirm(staff, page)
    told = receipt(staff, page)
    assert (told["file"], told["source"], told["outcome"]) == ("students.csv", "students", "imported_with_rejects")
    assert told["rows"]["added"] == 4
    kept = here.sources.get(account, "students").mapping
    assert kept.headers["phone"] == "Handy"
    assert [path.name for path in uploads(here, account)] == []
    changed = [one for one in audit.records(here.db, account=account) if one.action in {"source.mapped", "file.sent"}]
    assert [one.action for one in changed] == ["source.mapped", "file.sent"]
    assert all(one.actor.endswith("(console)") and one.actor.startswith("district-") for one in changed)
    assert changed[1].detail["landing"] == told["landing_id"]

    again = choose(staff, ODD.replace(b";12;", b";919-555-0102;"))
    assert again.url.path.endswith("/check"), again.text
    assert "All of its rows would be taken over" in again.text
    told = receipt(staff, confirm(staff, again))
    assert (told["outcome"], told["rows"]["added"], told["rows"]["unchanged"]) == ("imported", 1, 4)
    assert here.sources.get(account, "students").mapping == kept


def test_a_workbook_lands_as_its_source_with_its_own_ending(staff: Any, workbook: Any) -> None:
    rows = [line.decode().split(",") for line in PLAIN.splitlines()]
    page = choose(staff, workbook(rows), "Mappe 1.XLSX")
    if page.url.path.endswith("/columns"):
        page = say(staff, page, {f"c{at}": name for at, name in enumerate(rows[0])})
    assert "students.xlsx" in page.text
    told = receipt(staff, confirm(staff, page))
    assert (told["file"], told["outcome"], told["rows"]["added"]) == ("students.xlsx", "imported", 1)


def test_a_name_that_is_expected_stays_and_known_columns_are_not_asked_for(staff: Any) -> None:
    page = choose(staff, PLAIN, "Students.CSV")
    assert page.url.path.endswith("/check"), page.text
    told = receipt(staff, confirm(staff, page))
    assert (told["file"], told["outcome"]) == ("Students.CSV", "imported")


def test_without_a_header_the_places_of_the_columns_are_kept(staff: Any, here: Any, account: str) -> None:
    rows = b"".join(b"014\t%d\t919-555-01%02d\tLast%c\tFirst%c\n" % (at, at, 65 + at, 65 + at) for at in range(1, 9))
    page = choose(staff, rows, "roster.txt", source="students")
    assert page.url.path.endswith("/columns")
    columns = {"c0": "school_id", "c1": "student_id", "c2": "phone", "c3": "last_name", "c4": "first_name"}
    page = say(staff, page, columns)
    assert page.url.path.endswith("/check"), page.text
    told = receipt(staff, confirm(staff, page))
    assert (told["file"], told["outcome"], told["rows"]["added"]) == ("students.txt", "imported", 8)
    kept = here.sources.get(account, "students").mapping
    assert kept.positions == {"school_id": 0, "student_id": 1, "phone": 2, "last_name": 3, "first_name": 4}
    again = choose(staff, rows + b"014\t9\t9195550109\tLastX\tFirstX\n", "roster.txt")
    assert again.url.path.endswith("/check"), again.text


def test_somebody_may_say_that_the_first_row_holds_names(staff: Any) -> None:
    rows = b"101,102,103,104,105\n1,Ada,Lovelace,919-555-0101,014\n2,Alan,Turing,919-555-0102,014\n"
    page = choose(staff, rows, source="students")
    assert '<option value="no" selected' in page.text
    draft = draft_of(page)
    page = staff.post(f"/send/{draft}/columns", {"source": "students", "header": "yes", "do": "show"})
    assert '<option value="yes" selected' in page.text
    assert "102</label>" in page.text
    page = say(staff, page, dict(zip(["c0", "c1", "c2", "c3", "c4"], KNOWN.split(), strict=True)))
    assert "<dd>2</dd>" in page.text, page.text
    assert receipt(staff, confirm(staff, page))["rows"]["added"] == 2


def test_a_known_column_that_shall_not_be_used_is_not(staff: Any, here: Any, account: str) -> None:
    rows = b"student_id,first_name,last_name,phone,school_id,email\n1,Ada,Lovelace,9195550101,014,ada@example.org\n"
    page = choose(staff, rows, "students.csv")
    page = staff.get(f"/send/{draft_of(page)}/columns")
    columns = {f"c{at}": name for at, name in enumerate(KNOWN.split())}
    page = say(staff, page, {**columns, "c5": ""})
    assert page.url.path.endswith("/check"), page.text
    assert receipt(staff, confirm(staff, page))["outcome"] == "imported"
    assert here.sources.get(account, "students").mapping.headers["email"] == NO_COLUMN
    rows = table_of(here.catalogue["students"])
    with here.db.read() as tx:
        number = here.sources.find_id(tx, here.accounts.get(account).id, here.sources.get(account, "students"))
        emails = tx.execute(sa.select(rows.c.email).where(rows.c.source_id == number)).scalars().all()
    assert emails == [""]


def test_what_lacks_or_stands_twice_is_said_and_nothing_is_lost(staff: Any, here: Any, account: str) -> None:
    page = choose(staff, ODD)
    lacking = say(staff, page, {**ODD_COLUMNS, "c3": ""})
    assert lacking.status_code == 422
    assert "No column is chosen for Phone Number" in lacking.text
    assert re.search(r'id="c0".*?<option value="student_id" selected', lacking.text, re.DOTALL)
    twice = say(staff, page, {**ODD_COLUMNS, "c5": "phone"})
    assert "is chosen for two columns: 4 and 6" in twice.text
    assert say(staff, page, {**ODD_COLUMNS, "c5": "../../x"}).status_code == 422
    assert len(uploads(here, account)) == 1
    assert here.sources.get(account, "students").mapping is None


def test_a_double_click_sends_once(staff: Any, here: Any, account: str) -> None:
    page = choose(staff, PLAIN, "students.csv")
    answers: list[httpx2.Response] = []
    clicks = [threading.Thread(target=lambda: answers.append(confirm(staff, page))) for _ in range(4)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert len({one.url.path for one in answers}) == 1
    assert answers[0].url.path.startswith("/receipts/")
    assert confirm(staff, page).url == answers[0].url
    receipt(staff, answers[0])
    assert len([one for one in audit.records(here.db, account=account) if one.action == "file.sent"]) == 1
    assert staff.get(f"/send/{draft_of(page)}/columns").url == answers[0].url


def test_what_was_changed_in_another_window_is_shown_before_it_is_sent(staff: Any, here: Any, account: str) -> None:
    page = choose(staff, PLAIN, "students.csv")
    other = staff.get(f"/send/{draft_of(page)}/columns")
    say(
        staff,
        other,
        {f"c{at}": name for at, name in enumerate(["student_id", "last_name", "first_name", "phone", "school_id"])},
    )
    stale = confirm(staff, page)
    assert stale.url.path.endswith("/check")
    assert "Something was changed" in stale.text
    assert len(uploads(here, account)) == 1
    here.sources.keep_mapping(account, "students", KeptMapping({"alt_phone": "Handy"}), actor="operator")
    assert "Something was changed" in confirm(staff, stale).text
    assert confirm(staff, staff.get(f"/send/{draft_of(page)}/check")).url.path.startswith("/receipts/")


def test_a_session_that_ends_in_between_loses_nothing(
    staff: Any, desk: Any, make_person: Any, signed_in: Any, account: str, here: Any
) -> None:
    person = make_person(Role.DISTRICT, account=account)
    first = signed_in(person=person)
    page = choose(first, ODD)
    first.post("/sign-out")
    back = first.post(f"/send/{draft_of(page)}/columns", ODD_COLUMNS, headers={"referer": str(page.url)})
    assert back.url.path == "/sign-in"
    assert back.url.params["next"] == page.url.path
    lost = choose(first, ODD)
    assert lost.url.path == "/sign-in"
    assert len(uploads(here, account)) == 1
    second = signed_in(person=person)
    assert "Book1.csv" in second.get("/send").text
    assert "Perm No" in second.get(f"/send/{draft_of(page)}").text


def test_drafts_are_private_expire_and_are_discarded(staff: Any, here: Any, account: str) -> None:
    page = choose(staff, ODD)
    (path,) = uploads(here, account)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "=Book1.csv" in path.name
    assert here.zone.uploads(account) == here.zone.web_uploads(account) == []
    assert staff.post(f"/send/{draft_of(page)}/discard").url.path == "/send"
    assert uploads(here, account) == []
    gone = staff.get(f"/send/{draft_of(page)}")
    assert gone.status_code == 409
    assert "Choose it again" in gone.text
    choose(staff, ODD)
    with here.db.write() as tx:
        tx.execute(table.update().where(table.c.stored_name == "Book1.csv").values(expires_at=iso(now())))
    Drafts(here).sweep()
    assert uploads(here, account) == []


@pytest.mark.both_databases
@pytest.mark.parametrize("another", [False, True], ids=["", "another-landed-since"])
def test_what_a_crash_has_left_half_sent_lands_once(
    staff: Any, here: Any, account: str, monkeypatch: Any, send: Any, another: bool
) -> None:
    page = choose(staff, PLAIN, "students.csv")
    drafts = Drafts(here)
    draft = drafts.get(account, draft_of(page))
    with monkeypatch.context() as patched:
        patched.setattr(type(here.zone), "land", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            drafts.send(draft, Sender("a", "user a", ""), source="students", name="students.csv", mapping=None)
    assert len(uploads(here, account)) == 1
    later = send(account, "students.csv", PLAIN.decode().replace("Ada", "Eva")).landing_id if another else ""
    drafts.sweep()
    landed = staff.get(f"/send/{draft.id}")
    assert landed.url.path.startswith("/receipts/")
    told = receipt(staff, landed)
    assert told["outcome"] == "imported"
    assert told["landing_id"] > later
    trail = [one.detail for one in audit.records(here.db, account=account) if one.action == "file.sent"]
    assert trail[-1]["landing"] == told["landing_id"]
    assert [one.get("instead_of") for one in trail] == ([None, trail[0]["landing"]] if another else [None])
    with here.db.read() as tx:
        noted = sa.select(landings.c.id).join(accounts).where(accounts.c.name == account)
        assert tx.execute(noted.order_by(landings.c.id)).scalars().all()[-1] == told["landing_id"]


def test_a_file_that_vanished_is_told_of(staff: Any, here: Any, account: str) -> None:
    page = choose(staff, ODD)
    uploads(here, account)[0].unlink()
    for path in ("", "/columns", "/check"):
        answer = staff.get(f"/send/{draft_of(page)}{path}")
        assert answer.status_code == 409
        assert "not here any more" in answer.text


def test_another_districts_drafts_are_not_there(
    staff: Any, make_account: Any, signed_in: Any, account: str, here: Any
) -> None:
    make_account(f"{account}-x")
    other = signed_in(Role.DISTRICT, account=f"{account}-x")
    page = choose(other, ODD)
    for path in ("", "/columns", "/check"):
        assert staff.get(f"/send/{draft_of(page)}{path}").status_code == 409
    assert staff.post(f"/send/{draft_of(page)}", {"shown": "x"}).status_code == 409
    staff.post(f"/send/{draft_of(page)}/discard")
    assert len(uploads(here, f"{account}-x")) == 1
    assert signed_in(Role.OPERATOR).post("/send", files={"file": ("a.csv", ODD)}).status_code == 404


@pytest.mark.parametrize("forged", ["", "0" * 64])
def test_a_form_that_is_not_ours_leaves_nothing(staff: Any, here: Any, account: str, forged: str) -> None:
    answer = staff.post("/send", {"csrf": forged}, files={"file": ("a.csv", ODD)})
    assert answer.status_code == 403
    foreign = staff.post("/send", files={"file": ("a.csv", ODD)}, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert uploads(here, account) == []


def damaged(workbook: Any) -> bytes:
    return workbook([["a", "b"], ["1", "2"]])[:-200]


def blank(_workbook: Any) -> bytes:
    return b"\n\n\n"


def bomb(_workbook: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (80 << 20))
    return made.getvalue()


@pytest.mark.parametrize("make", [damaged, bomb, blank])
def test_what_cannot_be_read_is_said_in_words(staff: Any, make: Any, here: Any, account: str, workbook: Any) -> None:
    page = choose(staff, make(workbook), "students.xlsx")
    assert page.status_code == 422, page.text
    assert "cannot be read" in page.text
    assert "Traceback" not in page.text
    staff.post(f"/send/{draft_of(page)}/discard")
    assert uploads(here, account) == []


def test_a_file_of_three_hundred_columns_can_be_mapped(staff: Any) -> None:
    names = [*KNOWN.split(), *(f"extra {at}" for at in range(295))]
    values = ["1", "Ada", "Lovelace", "9195550101", "014", *("x" * 5000 for _ in range(295))]
    page = choose(staff, f"{','.join(names)}\n{','.join(values)}\n".encode(), source="students")
    page = staff.get(f"/send/{draft_of(page)}/columns")
    assert "x" * 61 not in page.text
    columns = {f"c{at}": KNOWN.split()[at] if at < 5 else "" for at in range(300)}
    page = say(staff, page, columns)
    assert page.url.path.endswith("/check"), page.text[:3000]
    assert receipt(staff, confirm(staff, page))["outcome"] == "imported"


def test_nothing_chosen_and_nothing_in_it_are_told_apart(staff: Any, here: Any, account: str) -> None:
    assert "No file was chosen" in choose(staff, b"", name="").text
    empty = choose(staff, b"", "students.csv")
    assert empty.status_code == 422
    assert "This file is empty" in empty.text
    assert uploads(here, account) == []


def test_a_mass_deletion_is_announced_and_waits_for_an_operator(staff: Any) -> None:
    head = f"{KNOWN.replace(' ', ',')}\n"
    rows = [f"{at},Ada,Lovelace,91955501{at:02d},014\n" for at in range(40)]
    receipt(staff, confirm(staff, choose(staff, (head + "".join(rows)).encode(), "students.csv")))
    page = choose(staff, (head + "".join(rows[:30])).encode(), "students.csv")
    assert "we would look at it first" in page.text
    assert receipt(staff, confirm(staff, page))["outcome"] == "held"


def test_each_school_has_a_file_of_its_own(staff: Any, here: Any, account: str) -> None:
    students = here.catalogue["students"]
    here.sources.expect(account, "students_{school}_{date}.csv", feed=students, actor="test")
    page = choose(staff, PLAIN, "export.csv", source="students_{school}")
    assert page.url.path.endswith("/columns"), page.text
    columns = {f"c{at}": name for at, name in enumerate(KNOWN.split())}
    assert "which school" in say(staff, page, columns).text
    assert "letters, digits and hyphens" in say(staff, page, columns, school="../x").text
    page = say(staff, page, {**columns, "c5": "alt_phone"}, school="014")
    assert page.url.path.endswith("/check"), page.text
    told = receipt(staff, confirm(staff, page))
    assert told["source"] == "students_014"
    assert re.fullmatch(r"students_014_\d{8}\.csv", told["file"])
    assert choose(staff, PLAIN, "export.csv").url.path.endswith("/check")
