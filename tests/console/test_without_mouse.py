"""Every form of the console, sent with the keys of a keyboard alone."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyotp
import pytest
from starlette.routing import Match

from console.app import page_routes
from console.desk import Desk
from console.role import Role

SERVICE = "_shared_console"
pytestmark = pytest.mark.timeout(400)

MOST_TABS = 600
PASSWORD = "correct horse battery staple"
SHOWS_FOCUS = """element => element.matches(':focus-visible') && (
    getComputedStyle(element).outlineStyle !== 'none' || getComputedStyle(element).boxShadow !== 'none')"""
SEARCHES = {"/tonight", "/accounts", "/audit", "/search", "/receipts"}


class Keyboard:
    """A page whose reader has no mouse. What is focused is shown, and every form sent is remembered."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.sent: set[str] = set()
        page.on("request", self._note)
        self.choosers: list[Any] = []
        page.on("filechooser", self._choose)

    def _choose(self, chooser: Any) -> None:
        self.choosers.append(chooser)

    def _note(self, request: Any) -> None:
        if not request.is_navigation_request():
            return
        parts = urlsplit(request.url)
        if request.method == "POST" or parts.query:
            scope = {"type": "http", "method": request.method, "path": parts.path, "root_path": ""}
            self.sent |= {route.path for route in page_routes() if route.matches(scope)[0] is Match.FULL}

    def reach(self, what: Any) -> None:
        """Go on with the tabulator until something has the focus, and shows it."""
        for _ in range(MOST_TABS):
            if what.evaluate("element => element === document.activeElement"):
                assert what.evaluate(SHOWS_FOCUS), f"nobody sees that {what} has the focus"
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"{what} is not reached by keyboard on {self.page.url}")

    def write(self, label: str, text: str) -> None:
        """Fill in a field."""
        self.reach(self.page.get_by_label(label, exact=True))
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def choose(self, label: str, option: str) -> None:
        """Choose of a list, by its first letters."""
        box = self.page.get_by_label(label, exact=True)
        self.reach(box)
        self.page.keyboard.type(option)
        assert box.evaluate("element => element.selectedOptions[0].label.trim()").startswith(option)

    def file(self, label: str, path: Path) -> None:
        """Choose a file."""
        self.reach(self.page.get_by_label(label, exact=True))
        self.page.keyboard.press("Enter")
        until = time.monotonic() + 30
        while not self.choosers:
            assert time.monotonic() < until, f"{label} opens no list of files"
            self.page.wait_for_timeout(20)
        self.choosers.pop().set_files(path)

    def press(self, name: str, *, role: str = "button", key: str = "Enter", within: Any = None) -> None:
        """Press a button, or follow a link."""
        where = within or self.page
        self.reach(where.get_by_role(role, name=name, exact=True).first)
        with self.page.expect_navigation():
            self.page.keyboard.press(key)

    def enter(self) -> None:
        """Send the form that the focus is in."""
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")


def test_all_forms_are_sent_without_a_mouse(
    open_page: Any,
    make_account: Any,
    account: str,
    make_key: Any,
    make_person: Any,
    workbook: Any,
    desk: Desk,
    send: Any,
    roster: Any,
    tmp_path: Path,
) -> None:
    make_account()
    operator = Keyboard(open_page(make_person(Role.OPERATOR)))
    people(operator)
    looking_for(operator, account)
    keys(operator, account, make_key)
    decisions(operator, account, send, roster)
    operator.press("Sign out")

    district = Keyboard(open_page(make_person(Role.DISTRICT, account=account)))
    sending(district, account, workbook, tmp_path)
    receipts(district)

    newcomer = Keyboard(open_page(None))
    welcome(newcomer, desk)
    posts = {route.path for route in page_routes() if "POST" in route.methods}
    assert (posts | SEARCHES) - operator.sent - district.sent - newcomer.sent == set()


def people(operator: Keyboard) -> None:
    """Users, the own account, and other sessions of it."""
    name = "no-mouse@example.org"
    page = operator.page
    page.goto("/users")
    operator.write("User name", name)
    operator.write("Full name", "Ada Lovelace")
    operator.choose("Role", "viewer")
    operator.press("Add, and make the link")
    page.get_by_text("Send this link to").wait_for()
    operator.press(f"New link for {name}", key="Space")
    operator.press(f"Disable {name}", key="Space")
    operator.press(f"Enable {name}")


def looking_for(operator: Keyboard, account: str) -> None:
    """The forms that ask, and the audit trail's proof."""
    page = operator.page
    for path, label in (("/tonight", "Account"), ("/accounts", "Name or title"), ("/audit", "Account")):
        page.goto(path)
        operator.write(label, account)
        operator.enter()
        assert account in page.url
    page.goto("/tonight")
    operator.choose("State", "held")
    operator.press("Show")
    page.goto("/")
    operator.write("Search", account)
    operator.enter()
    page.goto("/audit")
    operator.press("Prove that it is whole")
    page.get_by_text("records are whole").wait_for()


def keys(operator: Keyboard, account: str, make_key: Any) -> None:
    """A key is pasted, another one comes as a file and takes its place, and the first is revoked."""
    page = operator.page
    page.goto(f"/accounts/{account}/keys")
    operator.write("Public key", make_key("pasted").with_name("pasted.pub").read_text().strip())
    operator.write("Label", "pasted")
    operator.press("Look at it first")
    operator.press("Let it open the account")
    operator.file("or its file", make_key("new").with_name("new.pub"))
    operator.reach(page.get_by_label("Open the account beside the others"))
    page.keyboard.press("ArrowDown")
    pasted = page.get_by_label("Which one").locator("option", has_text="pasted").inner_text()
    operator.choose("Which one", pasted)
    operator.write("or until so many logins with the new one", "3")
    operator.press("Look at it first")
    operator.press("Rotate to it")
    page.get_by_role("heading", name="Rotations").wait_for()
    operator.press(f"Revoke key {pasted.split()[0]}", role="link")
    operator.write("Reason", "laptop lost")
    operator.press("Revoke it")
    page.get_by_text("laptop lost").wait_for()


def open_run(operator: Keyboard, run: str, button: str) -> None:
    """The page of a run, once it offers something."""
    until = time.monotonic() + 60
    operator.page.goto(f"/runs/{run}")
    while not operator.page.get_by_role("button", name=button, exact=True).count():
        assert time.monotonic() < until, operator.page.inner_text("main")
        time.sleep(0.1)
        operator.page.reload()


def decisions(operator: Keyboard, account: str, send: Any, roster: Any) -> None:
    """What is held is approved and undone; the next one is rejected, and tried again."""
    send(account, "students.csv", roster(40))
    held = send(account, "students.csv", roster(15)).landing_id
    open_run(operator, f"{held}:1", "Approve")
    operator.write("Why (for the audit trail)", "the year has ended")
    operator.press("Approve")
    open_run(operator, f"{held}:2", "Undo")
    operator.press("Undo", key="Space")
    other = send(account, "students.csv", roster(12)).landing_id
    open_run(operator, f"{other}:1", "Reject")
    operator.write("Reason", "half of it is missing")
    operator.press("Reject")
    open_run(operator, f"{other}:2", "Try again")
    operator.press("Try again")
    open_run(operator, f"{other}:3", "Reject")


def sending(district: Keyboard, account: str, workbook: Any, folder: Path) -> None:
    """A spreadsheet with odd headers is mapped and sent; others are discarded wherever that is offered."""
    page = district.page
    file = folder / "Mappe1.xlsx"
    odd = {
        "Perm No": ("1000", "Student ID"),
        "Vorname": ("First1000", "First"),
        "Nachname": ("Last1000", "Last"),
        "Handy": ("2065550000", "Phone"),
        "Campus": ("014", "School"),
    }
    file.write_bytes(workbook([list(odd), [value for value, _ in odd.values()]]))

    def chosen() -> None:
        page.goto("/send")
        district.choose("What it holds", "Students")
        district.file("File", file)
        district.press("Continue")

    chosen()
    district.press("Discard this file")
    chosen()
    page.goto("/send")
    district.press("Discard Mappe1.xlsx")
    chosen()
    for column, (_, field) in odd.items():
        district.choose(column, field)
    district.press("See what would happen")
    district.press("Send")
    page.get_by_role("heading", name="students.xlsx").wait_for()


def receipts(district: Keyboard) -> None:
    """The receipts of one day."""
    district.page.goto("/receipts")
    district.reach(district.page.get_by_label("Of one day"))
    district.page.keyboard.type(f"{datetime.now(UTC):%m%d%Y}")
    district.enter()
    assert "day=20" in district.page.url


def welcome(newcomer: Keyboard, desk: Desk) -> None:
    """An invitation is taken up, the password changed, another session ended; then out, and in again."""
    page, name = newcomer.page, "welcome@example.org"
    desk.users.add(name, Role.VIEWER, account=None, actor="test")
    page.goto(f"/invitation/{desk.users.invite(name, hours=1, actor='test')}")
    totp = pyotp.TOTP(page.locator("code.long").inner_text())
    newcomer.write("Password", PASSWORD)
    newcomer.write("The same again", PASSWORD)
    newcomer.write("One-time code that it shows", totp.now())
    newcomer.press("Set, and sign in")
    page.goto("/me")
    desk.sign_in.open(desk.users.get(name), address="192.0.2.9", client="another", by="test")
    page.reload()
    newcomer.press("End the session from 192.0.2.9")
    newcomer.write("Present password", PASSWORD)
    newcomer.write("New password", PASSWORD.upper())
    newcomer.write("The new one again", PASSWORD.upper())
    newcomer.enter()
    page.get_by_text("The password is changed.").wait_for()
    newcomer.press("Sign out")
    page.goto("/sign-in")
    newcomer.write("User name", name)
    newcomer.write("Password", PASSWORD.upper())
    newcomer.write("One-time code", totp.at(int(time.time()) + 30))
    newcomer.enter()
    page.get_by_text(name).wait_for()
