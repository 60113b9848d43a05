"""Sending by hand as a school secretary sees it: a spreadsheet with odd headers once, and two clicks from then on."""

from pathlib import Path
from typing import Any

import pytest

from console.role import Role

SERVICE = "_shared_console"
pytestmark = pytest.mark.timeout(400)

HEADER = ["Perm No", "Vorname", "Nachname", "Handy", "Campus"]
FIELDS = ["student_id", "first_name", "last_name", "phone", "school_id"]


def children(count: int) -> list[list[str]]:
    return [HEADER, *([f"{n}", f"First{n}", f"Last{n}", f"919555{n:04}", "014"] for n in range(1000, 1000 + count))]


def test_a_spreadsheet_with_odd_headers_is_mapped_once_and_then_takes_two_clicks(
    open_page: Any, make_account: Any, account: str, workbook: Any, tmp_path: Path
) -> None:
    make_account()
    file = tmp_path / "Mappe1.xlsx"
    file.write_bytes(workbook(children(5)))
    page = open_page(Role.DISTRICT, account=account)
    page.goto("/send")
    page.get_by_label("What it holds").select_option("students")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("heading", name="What does Mappe1.xlsx hold?").wait_for()
    for column, field in zip(HEADER, FIELDS, strict=True):
        page.get_by_label(column, exact=True).select_option(field)
    page.get_by_role("button", name="See what would happen").click()
    page.get_by_text("All of its rows would be taken over.").wait_for()
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_role("heading", name="students.xlsx").wait_for(timeout=60_000)

    file.write_bytes(workbook(children(6)))
    page.goto("/send")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Continue").click()  # the first click
    page.get_by_text("All of its rows would be taken over.").wait_for()
    assert page.locator("dt", has_text="New").locator("xpath=following-sibling::dd").inner_text() == "1"
    page.get_by_role("button", name="Send", exact=True).click()  # the second
    page.locator("text=students.xlsx").first.wait_for(timeout=60_000)
