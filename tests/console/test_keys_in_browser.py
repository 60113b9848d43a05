import socket
import time
from pathlib import Path
from typing import Any

import paramiko
import pytest

from console.role import Role
from landingzone import audit
from landingzone.command import Installation

SERVICE = "_shared_console"
pytestmark = pytest.mark.timeout(400)


def session_with(key: Path, account: str, port: int) -> paramiko.SFTPClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port, account, key_filename=str(key), allow_agent=False, look_for_keys=False)
    return client.open_sftp()


def add_key(page: Any, account: str, public: str, *, rotate: bool = False) -> None:
    page.goto(f"/accounts/{account}/keys")
    page.get_by_label("Public key").fill(public)
    if rotate:
        page.get_by_label("Take the place of another key").check()
        page.get_by_label("or until so many logins with the new one").fill("1")
    page.get_by_role("button", name="Look at it first").click()


def ended_because_of(here: Installation, account: str) -> list[int]:
    """The audit records for which sessions of the account have ended."""
    return [one.detail["because_of"] for one in audit.records(here.db, account=account, action="session.ended")]


def test_a_key_is_added_used_rotated_and_revoked_while_its_session_runs(
    open_page: Any, here: Installation, make_key: Any, account: str, service: Any
) -> None:
    here.accounts.add(account, title="", time_zone="UTC", actor="test")
    here.zone.prepare_account(account)
    old, new = make_key("old"), make_key("new")
    page = open_page()
    add_key(page, account, old.with_name("old.pub").read_text())
    fingerprint = page.locator("dd code").first.inner_text()
    assert fingerprint.startswith("SHA256:")
    with pytest.raises(paramiko.AuthenticationException):  # nothing is saved before it was looked at
        session_with(old, account, service.port)
    page.get_by_role("button", name="Let it open the account").click()
    assert page.get_by_role("cell", name="active").count() == 1

    session_with(old, account, service.port).close()
    until = time.monotonic() + 30
    while page.reload() and "127.0.0.1" not in page.get_by_role("table").inner_text():  # noted after the login
        assert time.monotonic() < until, page.inner_text("main")

    add_key(page, account, new.with_name("new.pub").read_text(), rotate=True)
    page.get_by_role("button", name="Rotate to it").click()
    assert page.get_by_role("heading", name="Rotations").is_visible()
    inside = session_with(new, account, service.port)
    retired = page.get_by_role("row").filter(has_text="old@test").get_by_text("retired")
    until = time.monotonic() + 30
    while page.goto(f"/accounts/{account}/keys") and not retired.count():
        assert time.monotonic() < until, page.inner_text("main")

    row = page.get_by_role("row").filter(has_text="new@test").filter(has=page.get_by_text("active"))
    row.get_by_role("link", name="Revoke").click()
    until = time.monotonic() + 30
    while page.get_by_text("1 open session").count() == 0:
        assert time.monotonic() < until, page.inner_text("main")
        page.reload()
    page.get_by_label("Reason").fill("lost laptop")
    page.get_by_role("button", name="Revoke it").click()
    page.get_by_text("lost laptop").wait_for()
    with pytest.raises((OSError, EOFError, socket.error)):
        for _ in range(100):
            inside.listdir("/")
            time.sleep(0.1)
    revoked = audit.records(here.db, account=account, action="key.revoked")[-1]
    assert (revoked.actor.endswith("(console)"), revoked.detail["reason"]) == (True, "lost laptop")
    until = time.monotonic() + 30
    while revoked.id not in ended_because_of(here, account):  # the trail hears of it after the session has ended
        assert time.monotonic() < until, ended_because_of(here, account)
        time.sleep(0.1)


def test_who_signs_in_needs_no_mouse(open_page: Any, make_person: Any) -> None:
    person = make_person(Role.VIEWER)
    page = open_page(None)
    page.goto("/keys")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_label("User name").focus()
    page.keyboard.type(person.name)
    page.keyboard.press("Tab")
    page.keyboard.type(person.password)
    page.keyboard.press("Tab")
    page.keyboard.type(person.code)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Keys", exact=True).wait_for()
