"""The receipt as a school secretary reads it."""

from collections.abc import Callable
from typing import Any

from processor.receipt_text import as_text

Students = Callable[..., bytes]


def text_of(desk: Any, told: dict[str, Any]) -> str:
    return str((desk.night.receipts / f"{told['landing_id']}-{told['file']}.receipt.txt").read_bytes().decode())


def test_rejected_rows_stand_under_their_reason_with_line_and_value(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(40, phone={3: "555", 9: "12"}, last={7: ""}))
    text = text_of(desk, told)
    assert text.count("does not come to exactly 10 digits") == 1
    assert "      line 3: 555\r\n      line 9: 12\r\n" in text
    assert "      line 7\r\n" in text
    assert "       40  rows\r\n         37  usable\r\n          3  rejected, see below" in text
    assert "         37  new" in text
    assert text.index("rejected") < text.index("SHA-256")


def test_what_is_not_imported_does_not_speak_of_changes(desk: Any, students: Students) -> None:
    desk.bring("students.csv", students(40))
    text = text_of(desk, desk.bring("students.csv", students(10)))
    assert "Why it waits: " in text
    assert "In your account" not in text
    assert "10  rows" in text


def test_values_cannot_forge_lines_of_a_receipt(desk: Any, students: Students) -> None:
    told = desk.bring("students.csv", students(12, phone={3: "1\r\nImported. Every row was taken.\u202e"}))
    lines = text_of(desk, told).split("\r\n")
    assert "      line 3: 1  Imported. Every row was taken." in lines
    assert "Imported. Every row was taken." not in lines


def test_a_dry_run_has_no_times() -> None:
    rows = dict.fromkeys(("read", "accepted", "rejected", "added", "changed", "unchanged", "deactivated"), 0)
    text = as_text(
        {
            "file": "a.csv", "landed_at": None, "landing_id": None, "message": "M.", "hold": None, "rows": rows,
            "feed": "students", "outcome": "imported", "reject_counts": {}, "rejects": [], "warnings": [],
            "tolerated": [], "sha256": "ab",
        }
    ).decode()  # fmt: skip
    assert text.startswith("RECEIPT  a.csv\r\n")
    assert "UTC" not in text
