"""The night as an operator sees it: files come by SFTP, the page fills by itself, what is unusual is decided."""

from typing import Any

import pytest

from landingzone import audit
from landingzone.command import Installation
from processor import account_data

SERVICE = "_shared_console"
pytestmark = pytest.mark.timeout(400)


def test_the_night_fills_the_grid_and_a_mass_deletion_is_held_explained_and_approved(
    open_page: Any, make_account: Any, account: str, put: Any, here: Installation, roster: Any
) -> None:
    key = make_account()
    page = open_page()
    page.goto(f"/tonight?text={account}")
    page.get_by_text("Live", exact=True).wait_for()
    cell = page.locator('td[data-feed="students"]')
    page.evaluate("window.loadedOnce = true")

    put(key, "students.csv", roster(40).encode())
    cell.get_by_text("in", exact=False).wait_for(timeout=60_000)

    put(key, "students.csv", roster(15).encode())
    cell.get_by_text("held").wait_for(timeout=60_000)
    assert page.evaluate("window.loadedOnce"), "the page was loaded again, and did not fill by itself"

    cell.get_by_role("link").click()
    page.get_by_role("heading", name="Why it is held").wait_for()
    told = page.inner_text("main")
    assert "25" in told
    assert "deactivated" in told
    page.get_by_label("Why (for the audit trail)").fill("the school year has ended")
    page.get_by_role("button", name="Approve").click()
    page.locator("#run .in").first.wait_for(timeout=60_000)
    with here.db.read() as tx:
        counts = account_data.active_counts(tx, here.catalogue, here.accounts.get(account).id)
    assert counts["students"] == 15
    approved = audit.records(here.db, account=account, action="run.approve")[-1]
    assert approved.actor.endswith("(console)")
    page.goto("/held")
    assert account not in page.inner_text("main")
