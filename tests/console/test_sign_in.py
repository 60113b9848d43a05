import re
from typing import Any

import httpx2
import pyotp
import pytest

from console.desk import Desk
from console.role import Role
from landingzone import audit

SERVICE = "_shared_console"


def test_an_invited_user_sets_a_password_and_a_second_factor_and_is_in(
    desk: Desk, stranger: Any, console_url: str
) -> None:
    desk.users.add("ada@example.org", Role.OPERATOR, account=None, full_name="Ada", actor="test")
    link = f"/invitation/{desk.users.invite('ada@example.org', hours=1, actor='test')}"
    page = stranger.get(link)
    secret = re.search(r'<code class="long">([A-Z2-7]{32})</code>', page.text)[1]  # type: ignore[index]
    assert page.headers["referrer-policy"] == "no-referrer"
    wrong = stranger.post(link, {"password": "short", "again": "short", "code": pyotp.TOTP(secret).now()})
    assert wrong.status_code == 422
    assert "12 to 256 characters" in wrong.text
    given = {"password": "four words like these", "again": "four words like these", "code": pyotp.TOTP(secret).now()}
    done = stranger.post(link, given)
    assert "Ada" in done.text
    assert "/users" in done.text
    spent = stranger.get(link)
    assert spent.status_code == 409
    assert "has been used" in spent.text
    records = audit.records(desk.here.db, action="user")
    actions = [one.action for one in records if one.detail["user"] == "ada@example.org"]
    assert actions == ["user.added", "user.invited", "user.password_set", "user.signed_in"]


def test_name_password_and_code_open_and_a_code_opens_once(make_person: Any, stranger: Any, console_url: str) -> None:
    person = make_person()
    given = {"name": person.name.upper(), "password": person.password, "code": person.code, "next": "/users"}
    page = stranger.post("/sign-in", given)
    assert page.url.path == "/users"
    cookie = stranger.http.cookies.jar
    assert [(one.name, one.path) for one in cookie] == [("landingzone", "/")]
    with httpx2.Client(base_url=console_url, headers={"origin": console_url}) as other:
        again = other.post("/sign-in", data=given)
        assert again.status_code == 401
        assert "is wrong" in again.text


@pytest.mark.parametrize("wrong", ["name", "password", "code"])
def test_whatever_is_wrong_the_answer_is_the_same(make_person: Any, stranger: Any, wrong: str) -> None:
    person = make_person()
    given = {"name": person.name, "password": person.password, "code": person.code}
    given[wrong] = "nobody-of-this-name" if wrong != "code" else "000000"
    page = stranger.post("/sign-in", given)
    assert page.status_code == 401
    assert "Name, password or one-time code is wrong." in page.text
    assert person.password not in page.text
