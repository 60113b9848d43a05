"""What becomes of a file: every end of a run, what it changes, and what its receipt says."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from processor import requests
from processor import run as runs
from processor.archive import folder_of
from processor.run import RunError

pytestmark = pytest.mark.both_databases

Students = Callable[..., bytes]


def rows(told: dict[str, Any], *names: str) -> tuple[int, ...]:
    return tuple(told["rows"][name] for name in names)


def ids(desk: Any, feed: str = "students") -> list[str]:
    """Keys of the active rows."""
    return [row[0] for row in desk.night.rows(feed) if row[-1]]


def test_a_first_file_adds_every_row(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(30))
    assert told["outcome"] == "imported"
    assert rows(told, "read", "accepted", "rejected", "added") == (30, 30, 0, 30)
    assert len(ids(desk)) == 30
    assert told["source"] == told["feed"] == "students"


def test_the_next_day_adds_changes_and_deactivates(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    told = desk.bring("students.csv", students(62, grade={10: "PK"}).replace(b'"1003"', b'"2003"'))
    assert told["outcome"] == "imported"
    assert rows(told, "added", "changed", "unchanged", "deactivated") == (3, 1, 58, 1)
    assert "1003" not in ids(desk)
    assert "2003" in ids(desk)


def test_a_row_that_comes_back_is_active_again(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    desk.bring("students.csv", students(58))
    told = desk.bring("students.csv", students(60))
    assert rows(told, "added", "reactivated", "unchanged") == (2, 2, 58)
    assert len(ids(desk)) == 60


def test_the_same_bytes_are_unchanged_and_not_read_again(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(30))
    told = desk.bring("students.csv", students(30))
    assert told["outcome"] == "unchanged"
    assert rows(told, "read", "accepted", "added", "changed", "unchanged") == (30, 30, 0, 0, 30)


def test_the_same_rows_in_another_order_are_unchanged(desk: Any, students: Students) -> None:
    header, *lines = students(30).splitlines(keepends=True)
    desk.bring("students.csv", students(30))
    assert desk.bring("students.csv", b"".join([header, *lines[::-1]]))["outcome"] == "unchanged"


def test_the_same_bytes_with_rejects_list_the_rejects_again(desk: Any, students: Students) -> None:
    content = students(30, phone={3: "none"})
    desk.bring("students.csv", content)
    told = desk.bring("students.csv", content)
    assert told["outcome"] == "unchanged"
    assert [reject["line"] for reject in told["rejects"]] == [3]


def test_a_rejected_row_keeps_its_record_as_it_was(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(30))
    told = desk.bring("students.csv", students(30, phone={3: "none"}, first={3: "Renamed"}))
    assert told["outcome"] == "imported_with_rejects"
    assert rows(told, "accepted", "rejected", "deactivated") == (29, 1, 0)
    kept = next(row for row in desk.night.rows("students") if row[0] == "1001")
    assert (kept[1], kept[3], kept[-1]) == ("First1", "2065550001", True)


def test_a_rejected_row_without_a_key_deactivates_nothing(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    told = desk.bring("students.csv", students(39, id={3: ""}))
    assert rows(told, "rejected", "deactivated") == (1, 0)
    assert len(ids(desk)) == 40


@pytest.mark.parametrize(
    ("standing", "then", "held"), [(100, 90, False), (100, 89, True), (15, 8, False), (15, 7, True)]
)
def test_a_mass_deactivation_is_held(desk: Any, students: Students, standing: int, then: int, held: bool) -> None:
    desk.bring("students.csv", students(standing))
    told = desk.bring("students.csv", students(then))
    assert (told["outcome"] == "held") is held
    assert len(ids(desk)) == (standing if held else then)
    if held:
        assert told["hold"]["code"] == "many_deactivated"
        assert f"{standing - then} of {standing}" in told["hold"]["message"]
        assert rows(told, "read", "deactivated") == (then, 0)


def test_many_rejects_hold_the_run(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(20))
    told = desk.bring("students.csv", students(20, phone=dict.fromkeys(range(2, 7), "x")))
    assert (told["outcome"], told["hold"]["code"]) == ("held", "many_rejected")
    assert (desk.night.receipts / f"{told['landing_id']}-students.csv.rejects.csv").is_file()


def test_a_file_without_rows_is_held(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(20))
    told = desk.bring("students.csv", students(0))
    assert (told["outcome"], told["hold"]["code"]) == ("held", "no_rows")
    assert len(ids(desk)) == 20


def test_a_header_that_no_longer_gives_a_required_column_is_held(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(20))
    told = desk.bring("students.csv", students(20).replace(b"Phone Number", b"Fax"))
    assert (told["outcome"], told["hold"]["code"]) == ("held", "column_missing")
    assert "Fax" in told["hold"]["message"]


def test_a_first_file_without_a_required_column_is_rejected(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(20).replace(b"Phone Number", b"Fax"))
    assert told["outcome"] == "rejected"
    assert "Phone Number" in told["message"]
    assert ids(desk) == []


def test_an_unexpected_name_is_unrecognised_and_told_what_is_expected(desk: Any, students: Students) -> None:
    told = desk.bring("pupils.csv", students(5))
    assert told["outcome"] == "unrecognised"
    assert "students.csv" in told["message"]
    assert ids(desk) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x01\x02binary\xff" * 100, gzip.compress(b"x" * 1000, mtime=0)[:-4]],
    ids=["nothing", "binary", "cut gzip"],
)
def test_a_file_that_cannot_be_read_is_rejected_with_a_reason(desk: Any, content: bytes) -> None:
    told = desk.bring("students.csv", content)
    assert told["outcome"] in {"rejected", "held"}
    assert ids(desk) == []


def test_a_file_that_vanished_from_the_inbox_was_withdrawn(desk: Any, students: Students) -> None:
    landing = desk.night.land("students.csv", students(5))
    desk.context.zone.withdraw(landing)
    assert desk.take(landing)["outcome"] == "withdrawn"
    assert desk.night.left_over() == []


def test_an_approved_run_is_applied(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    landing = desk.night.land("students.csv", students(10))
    assert desk.take(landing)["outcome"] == "held"
    requests.approve(desk.context.db, desk.context.archive, landing.id, actor="operator")
    told = desk.take(landing)
    assert (told["outcome"], told["attempt"]) == ("imported", 2)
    assert rows(told, "deactivated") == (30,)
    assert len(ids(desk)) == 10


def test_an_approval_is_held_again_if_it_has_become_worse(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    landing = desk.night.land("students.csv", students(30))
    assert desk.take(landing)["outcome"] == "held"
    asked = requests.approve(desk.context.db, desk.context.archive, landing.id, actor="operator")
    table = desk.context.catalogue["students"]
    assert table
    from processor import account_data

    with desk.context.db.write() as tx:
        extra = pl.DataFrame([dict.fromkeys(table.field_names, "9")])
        account_data.add(tx, table, 1, 1, extra)
    told = desk.take(landing)
    assert (asked[-2:], told["outcome"]) == (":2", "held")
    assert told["hold"]["figures"] == {"deactivated": 11}


def test_a_rejected_hold_ends_with_the_operators_reason(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    landing = desk.night.land("students.csv", students(10))
    desk.take(landing)
    requests.reject(
        desk.context.db, desk.context.archive, landing.id, reason="Half of the schools are missing.", actor="operator"
    )
    told = desk.take(landing)
    assert told["outcome"] == "rejected"
    assert "Half of the schools are missing." in told["message"]


def test_a_newer_file_supersedes_a_held_one_and_its_receipt_says_so(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    held = desk.night.land("students.csv", students(10))
    desk.take(held)
    desk.bring("students.csv", students(41))
    assert desk.night.receipt(held)["outcome"] == "superseded"
    with pytest.raises(RunError, match="is superseded"):
        requests.approve(desk.context.db, desk.context.archive, held.id, actor="operator")


def test_an_older_file_never_overwrites_a_newer_one(desk: Any, students: Students) -> None:
    older = desk.night.land("students.csv", students(40))
    desk.bring("students.csv", students(41))
    assert desk.take(older)["outcome"] == "superseded"
    assert len(ids(desk)) == 41
    latest = json.loads((desk.night.receipts / "latest-students.receipt.json").read_bytes())
    assert latest["rows"]["read"] == 41


def test_a_failed_run_can_be_retried_from_the_archive(
    desk: Any, students: Students, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = desk.night.land("students.csv", students(12))
    with monkeypatch.context() as broken:
        broken.setattr("processor.comparison.reconcile", lambda *_a, **_k: 1 / 0)
        told = desk.take(landing)
    assert told["outcome"] == "failed"
    assert "ZeroDivision" not in json.dumps(told)
    assert desk.night.left_over() == []
    requests.retry(desk.context.db, desk.context.archive, landing.id, actor="operator")
    told = desk.take(landing)
    assert (told["outcome"], told["attempt"], len(ids(desk))) == ("imported", 2, 12)


def test_a_successful_run_cannot_be_retried(desk: Any, students: Students) -> None:
    landing = desk.night.land("students.csv", students(12))
    desk.take(landing)
    with pytest.raises(RunError, match="imported"):
        requests.retry(desk.context.db, desk.context.archive, landing.id, actor="operator")


def test_the_receipt_notes_that_the_upload_was_resumed(desk: Any, students: Students) -> None:
    assert desk.bring("students.csv", students(5), resumed=True)["resumed"] is True


def test_the_archive_keeps_original_receipts_rejects_and_changes(desk: Any, students: Students) -> None:
    landing = desk.night.land("students.csv", students(12, phone={4: "?"}))
    desk.take(landing)
    folder = desk.context.zone.root / "archive" / folder_of(landing)
    names = {"students.csv.zst", "1.receipt.json", "1.receipt.txt", "1.rejects.csv", "1.changes.students.parquet"}
    assert {path.name for path in folder.iterdir()} == names
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    changes = pl.read_parquet(folder / "1.changes.students.parquet")
    assert changes["change"].to_list() == ["added"] * 11


def test_the_reject_file_is_safe_in_a_spreadsheet(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(12, first={4: "=cmd|' /C calc'!A0"}, phone={4: "@SUM(1)"}))
    content = (desk.night.receipts / f"{told['landing_id']}-students.csv.rejects.csv").read_text("utf-8-sig")
    assert "\"'=cmd|' /C calc'!A0\"" in content
    assert '"\'@SUM(1)"' in content
    assert "send the whole file again" in content


def test_shared_teacher_ids_are_imported_with_a_warning(desk: Any) -> None:
    content = (
        b"ID#,FirstName,LastName,UserName,Email,Description\r\n"
        b'"10081","Ada","Anders","aanders","aanders@example.com","Elementary"\r\n'
        b'"10081","Mae","Thorn","mthorn","mthorn@example.com","Elementary"\r\n'
    )
    told = desk.bring("teachers.csv", content)
    assert (told["outcome"], told["rows"]["added"]) == ("imported", 2)
    assert told["warnings"][0]["count"] >= 1


def test_an_open_quote_at_the_end_holds_the_run_as_truncated(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    told = desk.bring("students.csv", students(40) + b'"1040","Cut","Off","20655')
    assert (told["outcome"], told["hold"]["code"]) == ("held", "truncated")
    assert len(ids(desk)) == 40


@pytest.mark.parametrize(
    ("signs", "held"),
    [
        ({"no_end": True}, False),
        ({"resumed": True}, False),
        ({"few": True}, False),
        ({"no_end": True, "resumed": True}, True),
        ({"resumed": True, "few": True}, True),
        ({"no_end": True, "few": True}, True),
    ],
)
def test_of_the_weaker_signs_of_truncation_two_must_come_together(
    desk: Any, students: Students, signs: dict[str, bool], held: bool
) -> None:
    desk.bring("students.csv", students(16))
    content = students(11 if "few" in signs else 16, grade={2: "K"})
    told = desk.bring("students.csv", content[:-2] if "no_end" in signs else content, resumed="resumed" in signs)
    assert (told["outcome"] == "held") is held
    assert (told["hold"] or {"code": "truncated"})["code"] == "truncated"


def test_many_changed_phones_hold_the_run_and_an_account_may_set_its_own_threshold(
    desk: Any, students: Students
) -> None:
    desk.bring("students.csv", students(40))
    moved = {line: f"{3105550000 + line}" for line in range(2, 13)}
    told = desk.bring("students.csv", students(40, phone=moved))
    assert (told["outcome"], told["hold"]["code"]) == ("held", "contacts_changed")
    assert "11 of 40" in told["hold"]["message"]
    desk.night.here.accounts.set_options("springfield", {"contacts_share": "0.5"}, actor="test")
    assert desk.bring("students.csv", students(40, phone=moved))["outcome"] == "imported"


def test_a_number_that_suddenly_serves_many_holds_the_run(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(200))
    told = desk.bring("students.csv", students(200, phone=dict.fromkeys(range(2, 32), "9999999999")))
    assert (told["outcome"], told["hold"]["code"]) == ("held", "phone_shared")
    assert "9999999999" not in told["hold"]["message"]


def test_no_rows_can_be_good_news(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(10))
    here = desk.night.here
    here.sources.expect(
        "springfield", "students.csv", feed=here.catalogue["students"], actor="test", empty_means="nothing"
    )
    told = desk.bring("students.csv", students(0))
    assert (told["outcome"], rows(told, "deactivated")) == ("imported", (10,))


def test_a_first_file_that_is_cut_inside_its_last_line_is_held(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(20)[:-30])
    assert (told["outcome"], told["hold"]["code"]) == ("held", "truncated")
    assert ids(desk) == []


def test_the_receipt_says_which_columns_are_new_gone_moved_or_not_used(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(20))
    told = desk.bring("students.csv", students(20).replace(b"Grade", b"Shoe Size"))
    said = {note["code"]: note["message"] for note in told["tolerated"]}
    assert "Shoe Size" in said["columns_unused"]
    assert "new: Shoe Size; gone: Grade" in said["columns_changed"]
    again = desk.bring("students.csv", students(21).replace(b"Grade", b"Shoe Size"))
    assert "columns_changed" not in {note["code"] for note in again["tolerated"]}
    moved = desk.bring(
        "students.csv",
        students(22).replace(b"Grade", b"Shoe Size").replace(b"First Name,Last Name", b"Last Name,First Name"),
    )
    assert "another order" in next(note["message"] for note in moved["tolerated"] if note["code"] == "columns_changed")


def test_a_file_that_is_held_for_two_reasons_is_applied_once_both_are_approved(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    landing = desk.night.land("students.csv", students(10)[:-2])
    codes = []
    for _ in range(2):
        codes.append(desk.take(landing)["hold"]["code"])
        requests.approve(desk.context.db, desk.context.archive, landing.id, actor="operator")
    assert codes == ["truncated", "many_deactivated"]
    assert desk.take(landing)["outcome"] == "imported"
    assert len(ids(desk)) == 10


def test_a_row_whose_key_cannot_be_told_keeps_what_the_file_does_not_list_and_the_receipt_says_so(
    desk: Any, students: Students
) -> None:
    desk.bring("students.csv", students(30))
    told = desk.bring("students.csv", students(29, id={5: "NULL"}))
    assert (told["outcome"], told["rows"]["deactivated"]) == ("imported_with_rejects", 0)
    assert "Of students nothing was deactivated this time" in told["message"]
    told = desk.bring("students.csv", students(29))
    assert (told["rows"]["deactivated"], "this time" in told["message"]) == (1, False)


def test_the_same_bytes_again_end_what_was_held_before_them(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    held = desk.bring("students.csv", students(10))
    assert desk.bring("students.csv", students(60))["outcome"] == "unchanged"
    told = next(desk.night.receipts.glob(f"{held['landing_id']}*.json")).read_text()
    assert '"outcome": "superseded"' in told  # or a late approval would bring back old data


def test_of_columns_without_names_the_order_stays_confirmed_when_the_same_bytes_come_again(
    desk: Any, students: Students
) -> None:
    first, second = (students(count).partition(b"\r\n")[2] for count in (60, 61))
    held = desk.bring("students.csv", first)
    assert held["hold"]["code"] == "columns_by_position"
    context = desk.context
    requests.approve(context.db, context.archive, f"{held['landing_id']}:1", actor="operator")
    with context.db.read() as tx:
        landing = runs.get(tx, held["landing_id"]).landing
    outcomes = [desk.take(landing), desk.bring("students.csv", first), desk.bring("students.csv", second)]
    assert [told["outcome"] for told in outcomes] == ["imported", "unchanged", "imported"]


def test_the_receipt_of_an_approved_file_still_says_imported_after_the_next_one(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(60))
    held = desk.bring("students.csv", students(10))
    context = desk.context
    requests.approve(context.db, context.archive, f"{held['landing_id']}:1", actor="operator")
    with context.db.read() as tx:
        landing = runs.get(tx, held["landing_id"]).landing
    told = desk.take(landing)
    assert (told["outcome"], told["attempt"]) == ("imported", 2)
    desk.bring("students.csv", students(11))
    assert desk.night.receipt(landing) == told
