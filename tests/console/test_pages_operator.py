"""The operators' reading side over HTTP: files go in by SFTP, and the pages say what became of them."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from console.desk import Desk
from console.role import Role
from landingzone import audit
from landingzone.command import Installation

SERVICE = "_shared_console"
HEADER = "Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone\r\n"


def students(numbers: range, *, first_name: str = "Alice") -> bytes:
    rows = (f"S{n},{first_name},Quimby,20255501{n:02},001,20255502{n:02}\r\n" for n in numbers)
    return (HEADER + "".join(rows)).encode()


@pytest.fixture
def send(service: Any, make_account: Any, account: str, put: Any) -> Callable[..., str]:
    """Sends a file by SFTP; gives the id of its landing."""
    key = make_account()
    sent = 0

    def send(name: str, content: bytes) -> str:
        nonlocal sent
        put(key, name, content)
        sent += 1
        return str(service.landed(account, count=sent, seconds=90)[-1].id)

    return send


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    """What `look` sees, once that is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return found


def test_a_file_is_on_tonight_on_its_account_and_on_its_run(signed_in: Any, send: Any, account: str) -> None:
    landing = send("students.csv", students(range(10, 40)) + b"S99,Bob,,2025550199,001,\r\n")
    operator = signed_in(Role.OPERATOR)

    def there() -> Any:
        page = operator.get(f"/tonight?text={account}")
        return page if f'id="{account}.students" class="state in"' in page.text else None

    tonight = until(there)
    assert len(tonight.content) < 300_000
    seen = tonight.text.split("seen=")[1].split('"')[0]
    htmx = {"hx-request": "true"}
    part = operator.get(f"/tonight/grid?text={account}&seen={seen}", headers=htmx)
    assert part.status_code == 204 or part.text.startswith('<div id="grid"')
    assert operator.get("/tonight/grid", follow_redirects=False).headers["location"] == "/tonight"
    run = operator.get(f"/runs/{landing}:1")
    assert "Imported, but some rows were rejected." in run.text
    assert "Compared with what stands" in run.text
    assert ">30 added</a>" in run.text
    rows = operator.get(f"/runs/{landing}:1/rows?feed=students&kind=added")
    assert "<h1>30 students added by students.csv</h1>" in rows.text
    assert "Quimby" in rows.text
    page = operator.get(f"/accounts/{account}")
    assert f'href="/runs/{landing}:1"' in page.text
    assert "The door was opened." in page.text
    assert '<svg class="chart"' in page.text
    assert "style=" not in page.text


def test_the_file_can_be_taken_out_again_and_the_trail_says_by_whom(
    here: Installation, signed_in: Any, send: Any, account: str
) -> None:
    content = students(range(10, 30)) + b"S99,Bob,,2025550199,001,\r\n"
    landing = send("students.csv", content)
    operator = signed_in(Role.OPERATOR)
    file = operator.get(f"/runs/{landing}:1/file")
    assert file.content == content
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''students.csv"
    assert b"S99" in operator.get(f"/runs/{landing}:1/rejects").content
    downloaded = audit.records(here.db, account=account, action="run.downloaded")
    assert [one.detail["what"] for one in downloaded] == ["file", "rejects"]
    assert downloaded[0].actor.endswith("(console)")


def test_what_is_held_says_why_and_is_approved_rejected_and_undone(
    here: Installation, signed_in: Any, send: Any, account: str
) -> None:
    send("students.csv", students(range(10, 60)))
    held = send("students.csv", students(range(10, 20)))
    operator = signed_in(Role.OPERATOR)
    assert f'href="/runs/{held}:1"' in operator.get("/held").text
    page = operator.get(f"/runs/{held}:1").text
    assert "An unusual share of what stands would be deactivated." in page
    assert "40 deactivated" in page
    assert "Quimby" in page  # an example
    approved = operator.post(f"/runs/{held}:1/approve", {"reason": "They moved away"})
    assert approved.url.path == f"/runs/{held}:2"
    until(lambda: "Undo it" in operator.get(f"/runs/{held}:2").text)
    (record,) = audit.records(here.db, account=account, action="run.approve")
    assert record.detail["reason"] == "They moved away"
    assert "This was attempt 1." in operator.get(f"/runs/{held}:1").text
    undone = operator.post(f"/runs/{held}:2/revert")
    assert undone.url.path == f"/runs/{held}:3"
    until(lambda: "back to what it was before this file" in operator.get(f"/runs/{held}:3").text)
    again = send("students.csv", students(range(10, 21)))
    assert operator.post(f"/runs/{again}:1/reject").status_code == 422
    operator.post(f"/runs/{again}:1/reject", {"reason": "Half of it is missing"})
    until(lambda: "Half of it is missing" in operator.get(f"/runs/{again}:2").text)
    assert operator.post(f"/runs/{again}:1/approve").status_code == 409


def test_a_viewer_sees_the_same_without_people_and_changes_nothing(signed_in: Any, send: Any, account: str) -> None:
    send("students.csv", students(range(10, 60)) + b"S99,Bob,,2025550199,001,\r\n")
    held = send("students.csv", students(range(10, 20)) + b"S99,Zebediah,,2025550199,001,\r\n")
    viewer = signed_in(Role.VIEWER)
    pages = [
        viewer.get(path) for path in (f"/runs/{held}:1", "/held", f"/accounts/{account}", f"/tonight?text={account}")
    ]
    assert {page.status_code for page in pages} == {200}
    assert "40 deactivated" in pages[0].text
    for page in pages:
        assert not [word for word in ("Quimby", "Zebediah", "2025550") if word in page.text]
        assert "<button" not in page.text.split('<main id="main"')[1].replace("<button>Show</button>", "")
    for path in ("file", "rejects", "rows?feed=students&kind=deactivated"):
        assert viewer.get(f"/runs/{held}:1/{path}").status_code == 404
    for path in ("approve", "reject", "retry", "revert"):
        assert viewer.post(f"/runs/{held}:1/{path}", {"reason": "x"}).status_code == 404


def test_a_district_sees_none_of_these_pages(signed_in: Any, send: Any, account: str) -> None:
    landing = send("students.csv", students(range(10, 15)))
    district = signed_in(Role.DISTRICT, account=account)
    for path in (
        "/tonight",
        "/tonight/grid",
        "/tonight/live",
        "/accounts",
        f"/accounts/{account}",
        "/held",
        f"/runs/{landing}:1",
    ):
        assert district.get(path).status_code == 404, path


def test_tonight_tells_an_open_page_that_something_has_changed_until_its_session_ends(
    desk: Desk, signed_in: Any, make_person: Any, send: Any, account: str
) -> None:
    person = make_person()
    operator = signed_in(person=person)
    with operator.http.stream("GET", "/tonight/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "retry: 3000"
        send("students.csv", students(range(10, 15)))
        assert any(line == "event: changed" for line in lines)
        user = desk.users.get(person.name)
        for session in desk.sessions.of(user.id):
            desk.sessions.end(user.id, session.digest)
        assert any(line == "event: ended" for line in lines)
        assert list(lines)[-1:] in ([""], ["data: session"])


def test_what_is_not_there_is_not_found_in_words(signed_in: Any) -> None:
    operator = signed_in(Role.OPERATOR)
    for path in ("/runs/nothing", "/accounts/nobody", "/runs/01900000-0000-7000-8000-000000000000:1/file"):
        page = operator.get(path)
        assert page.status_code == 404
        assert "not there" in page.text
    assert operator.get("/tonight?state=wonderful").status_code == 400
    assert "No account fits." in operator.get("/tonight?text=zzzz").text


@pytest.mark.timeout(400)
def test_pages_with_something_on_them_shut_nobody_out(open_page: Any, axe: str, send: Any, account: str) -> None:
    send("students.csv", students(range(10, 60)) + b"S99,Bob,,2025550199,001,\r\n")
    held = send("students.csv", students(range(10, 20)))
    send("unknown.dat", b"x")
    page = open_page(Role.OPERATOR)
    found = []
    for scheme, width in (("light", 1280), ("light", 360), ("dark", 1280), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        for path in (
            f"/tonight?text={account}",
            "/held",
            f"/accounts/{account}",
            f"/runs/{held}:1",
            f"/runs/{held}:1/rows?feed=students&kind=deactivated",
        ):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (path, width)
            page.evaluate(axe)
            wrong = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
            found += [(path, scheme, width, one["id"], one["nodes"][0]["html"][:150]) for one in wrong["violations"]]
    assert found == []
