"""Every page, judged by axe-core, in light and dark, wide and narrow."""

import re
from typing import Any

import pytest

from console.app import page_routes
from console.desk import Desk
from console.role import Role
from landingzone.command import Installation

SERVICE = "_shared_console"
pytestmark = pytest.mark.timeout(400)

SKIPPED = ("/", "/oidc/sign-in", "/oidc/back", "/tonight/live", "/tonight/grid")
RULES = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"


def violations(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate(RULES)
    return [
        f"{page.url}: {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found["violations"]
    ]


def pages_of(account: str) -> list[str]:
    """Every page that can be opened without more than an account's name."""
    paths = {route.path.replace("{account}", account) for route in page_routes() if "GET" in route.methods}
    return sorted(path for path in paths if "{" not in path and path not in SKIPPED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("role", list(Role))
def test_no_page_shuts_anybody_out(
    open_page: Any, axe: str, make_account: Any, account: str, role: Role, scheme: str
) -> None:
    make_account()
    page = open_page(role, account=account if role is Role.DISTRICT else None, color_scheme=scheme)
    found, wide, seen = [], page.viewport_size, 0
    for path in pages_of(account):
        answer = page.goto(path)
        if "html" not in answer.headers.get("content-type", "") or answer.status == 404:
            continue
        seen += 1
        found += violations(page, axe)
        for size in (wide, {"width": 360, "height": 740}):
            page.set_viewport_size(size)
            fits = "document.documentElement.scrollWidth <= window.innerWidth"
            assert page.evaluate(fits), f"{path} at {size['width']} pixels"
        page.set_viewport_size(wide)
    assert found == [], "\n".join(found)
    assert seen


def test_forms_that_refuse_say_so_to_everybody(open_page: Any, axe: str) -> None:
    page = open_page()
    page.goto("/users")
    page.get_by_label("User name").fill("!")
    page.get_by_role("button", name="Add, and make the link").click()
    page.get_by_role("alert").filter(has_text="2 to 200 letters").wait_for()
    assert re.search("refused", page.evaluate("document.activeElement.id"))
    assert violations(page, axe) == []


def test_who_is_invited_is_not_shut_out(open_page: Any, axe: str, desk: Desk, here: Installation) -> None:
    desk.users.add("grace@example.org", Role.VIEWER, account=None, actor="test")
    page = open_page(None)
    page.goto(f"/invitation/{desk.users.invite('grace@example.org', hours=1, actor='test')}")
    assert violations(page, axe) == []
    page.goto("/sign-in")
    assert violations(page, axe) == []
