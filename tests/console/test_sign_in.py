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


def test_who_fails_again_and_again_has_to_wait_and_the_user_does_not(
    desk: Desk, make_person: Any, make_service: Any
) -> None:
    service = make_service("console", console__port=0, limits__login_failures_per_address_and_account=3)
    url, person = f"http://127.0.0.1:{service.port}", make_person()
    with httpx2.Client(base_url=url, headers={"origin": url}, timeout=30) as here:
        given = {"name": person.name, "password": "not it, not it", "code": "123456"}
        assert [here.post("/sign-in", data=given).status_code for _ in range(4)] == [401, 401, 401, 429]
        right = {"name": person.name, "password": person.password, "code": person.code}
        refused = here.post("/sign-in", data=right)
        assert refused.status_code == 429
        assert "Try again in" in refused.text
        another = make_person()
        good = {"name": another.name, "password": another.password, "code": another.code}
        assert here.post("/sign-in", data=good).status_code == 303
    assert person.name not in service.log_file.read_text()


def test_a_form_from_elsewhere_changes_nothing(signed_in: Any, console_url: str) -> None:
    visitor = signed_in()
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": console_url, "sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ):
        answer = visitor.post("/users", {"name": "mallory", "role": "operator"}, headers=headers)
        assert answer.status_code == 403
    visitor.csrf = "0" * 64
    assert visitor.post("/users", {"name": "mallory", "role": "operator"}).status_code == 403
    assert "mallory" not in visitor.get("/users").text


def test_sessions_end_when_they_are_ended_and_when_the_user_is_shut_out(
    desk: Desk, signed_in: Any, make_person: Any
) -> None:
    person = make_person(Role.VIEWER)
    first, second = signed_in(person=person), signed_in(person=person)
    digest = desk.sessions.of(desk.users.get(person.name).id)[0].digest
    first.post(f"/me/sessions/{digest}/end")
    assert second.get("/me").url.path == "/sign-in"
    assert first.get("/me").url.path == "/me"
    desk.users.set_enabled(person.name, enabled=False, actor="test")
    assert first.get("/me").url.path == "/sign-in"


def test_signing_out_ends_the_session_for_good(signed_in: Any) -> None:
    visitor = signed_in()
    cookie = visitor.http.cookies["landingzone"]
    assert visitor.post("/sign-out").url.path == "/sign-in"
    visitor.http.cookies.set("landingzone", cookie)
    assert visitor.get("/me").url.path == "/sign-in"


def test_a_new_password_ends_all_other_sessions(signed_in: Any, make_person: Any) -> None:
    person = make_person()
    first, second = signed_in(person=person), signed_in(person=person)
    given = {"present": "another one", "new": "a new one with words", "again": "a new one with words"}
    assert first.post("/me/password", given).status_code == 422
    assert first.post("/me/password", {**given, "present": person.password}).url.path == "/me"
    assert second.get("/me").url.path == "/sign-in"


def test_nobody_is_sent_elsewhere_after_signing_in(make_person: Any, stranger: Any) -> None:
    person = make_person()
    given = {"name": person.name, "password": person.password, "code": person.code, "next": "//evil.example/x"}
    answer = stranger.http.post("/sign-in", data=given, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_every_answer_binds_the_browser_and_cookies_are_out_of_reach(make_person: Any, stranger: Any) -> None:
    for path in ("/sign-in", "/nothing-here", "/users", "/static/console.css"):
        headers = stranger.http.get(path, follow_redirects=False).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == (
            "no-store" if "static" not in path else "public, max-age=31536000, immutable"
        )
        assert "server" not in headers
    person = make_person()
    given = {"name": person.name, "password": person.password, "code": person.code}
    answer = stranger.http.post("/sign-in", data=given, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_behind_https_the_cookie_is_for_this_host_and_https_only(make_person: Any, make_service: Any) -> None:
    service = make_service("console", console__port=0, console__public_url="https://files.example.org")
    person = make_person()
    given = {"name": person.name, "password": person.password, "code": person.code}
    own = {"origin": "https://files.example.org"}
    answer = httpx2.post(f"http://127.0.0.1:{service.port}/sign-in", data=given, headers=own, timeout=30)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-landingzone=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


def test_who_asks_too_often_waits(make_service: Any) -> None:
    service = make_service("console", console__port=0, console__requests_per_minute=5)
    with httpx2.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=30) as client:
        answers = [client.get("/sign-in").status_code for _ in range(7)]
    assert answers == [200] * 5 + [429] * 2


def test_an_error_page_tells_nothing_of_the_inside(signed_in: Any) -> None:
    visitor = signed_in()
    for path in ("/accounts/none/keys", "/accounts/%2e%2e/keys", "/nothing", "/accounts/x/keys/99/revoke"):
        page = visitor.get(path)
        assert page.status_code in {404, 409}
        assert not re.search(r"Traceback|sqlalchemy|/var/|/tmp/|\.py\b", page.text)
