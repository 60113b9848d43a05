from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import oidc_provider_mock
import pytest

from console.desk import Desk
from console.role import Role
from landingzone import audit

CLAIMS = {
    "ada": {"email": "Ada@Example.org", "email_verified": True},
    "eve": {"email": "ada@example.org", "email_verified": False},
    "bob": {"email": "bob@example.org", "email_verified": True},
}


@pytest.fixture
def provider() -> Iterator[str]:
    people = [oidc_provider_mock.User(sub=sub, claims=claims) for sub, claims in CLAIMS.items()]
    with oidc_provider_mock.run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def console(provider: str, make_service: Callable[..., Any]) -> str:
    service = make_service(
        "console", console__port=0, console__oidc_issuer=provider, console__oidc_client_id="landingzone",
        console__oidc_client_secret="between us", console__oidc_only=True,
    )  # fmt: skip
    return f"http://127.0.0.1:{service.port}"


def come(console: str, sub: str, *, path: str = "/users") -> httpx2.Response:
    """Sign in at the provider as somebody; the page that comes of it."""
    with httpx2.Client(follow_redirects=True, timeout=30) as browser:
        form = browser.get(f"{console}/oidc/sign-in", params={"next": path})
        assert form.status_code == 200, form.text
        return browser.post(str(form.url), data={"sub": sub})


def test_who_was_added_comes_in_and_nobody_else(desk: Desk, console: str) -> None:
    desk.users.add("ada@example.org", Role.OPERATOR, account=None, actor="test")
    page = come(console, "ada")
    assert (page.status_code, page.url.path) == (200, "/users")
    assert "ada@example.org" in page.text
    assert (desk.users.get("ada@example.org").oidc_subject or "").endswith(" ada")
    unverified = come(console, "eve")
    assert unverified.status_code == 409
    assert "nobody has let you in here" in unverified.text
    assert come(console, "bob").status_code == 409
    desk.users.add("bob@example.org", Role.VIEWER, account=None, actor="test")
    assert come(console, "bob", path="/keys").url.path == "/keys"
    signed_in = [one.detail["by"] for one in audit.records(desk.here.db, action="user.signed_in")]
    assert signed_in == ["oidc", "oidc"]


def test_what_was_not_begun_here_comes_to_no_end(console: str) -> None:
    with httpx2.Client(follow_redirects=True, timeout=30) as browser:
        assert browser.get(f"{console}/oidc/back", params={"code": "x", "state": "y"}).status_code == 409
        form = browser.get(f"{console}/oidc/sign-in")
        foreign = browser.get(f"{console}/oidc/back", params={"code": "x", "state": "y"})
        assert foreign.status_code == 409
        assert "did not come to its end" in foreign.text
        assert form.status_code == 200


def test_without_passwords_there_is_no_form_for_them(console: str) -> None:
    page = httpx2.get(f"{console}/sign-in")
    assert 'name="password"' not in page.text
    given = {"name": "ada", "password": "x", "code": "1"}
    assert httpx2.post(f"{console}/sign-in", data=given, headers={"origin": console}).status_code == 404
