"""The HTTP API over the real service: the same functions as the pages and the command line, for programs."""

import hashlib
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from console.desk import Desk
from console.role import Role
from landingzone import audit
from landingzone.clock import now
from landingzone.command import Installation

SERVICE = "_shared_console"
both_databases = pytest.mark.both_databases
ROWS = "Student ID,First Name,Last Name,Phone,School ID\r\n"
GOOD = ROWS + "".join(f"{n},Ann{n},Lee,91955501{n:02},014\r\n" for n in range(1, 9))
BAD = ROWS + "1,Ann,Lee,9195550123,014\r\n2,Bo,Secretname,12,014\r\n"
EMPTY = ROWS


def problem(answer: httpx2.Response, status: int, code: str) -> str:
    """The message of a problem, which has to be that one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert set(told) == {"code", "message"}
    assert told["code"] == code
    return str(told["message"])


@pytest.fixture
def operator(call: Any) -> Any:
    return call()


# Tokens


def test_a_token_speaks_for_its_user_until_it_is_revoked(call: Any, operator: Any, desk: Desk) -> None:
    viewer = call(Role.VIEWER)
    me = viewer.get("/me").json()
    assert me["role"] == "viewer"
    assert viewer.get("/status").status_code == 200
    assert desk.tokens.get(me["token"]).last_used_from == "127.0.0.1"
    assert operator.post(f"/tokens/{me['token']}/revoke", reason="lost").json()["state"] == "revoked"
    answer = viewer.get("/me")
    assert "revoked" in problem(answer, 401, "token_refused")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "www-authenticate" not in operator.get("/me").headers


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer lza_wrong", "Basic YTpi", "Bearer lzu_" + "a" * 43])
def test_without_a_token_that_opens_nothing_is_told(console_url: str, shown: str) -> None:
    with httpx2.Client(
        base_url=f"{console_url}/api/v1", headers={"authorization": shown} if shown else {}, timeout=60
    ) as http:
        for path in ("/me", "/runs", "/nothing-of-the-kind"):
            problem(http.get(path), 401, "token_refused")
        assert http.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_a_session_of_a_browser_is_no_token(signed_in: Any) -> None:
    visitor = signed_in()
    problem(visitor.get("/api/v1/me"), 401, "token_refused")


def test_a_users_token_goes_with_the_user_and_an_accounts_token_is_of_another_kind(
    call: Any, operator: Any, desk: Desk, console_url: str, make_account: Any, account: str
) -> None:
    make_account()
    made = operator.post("/tokens", account=account, label="sis", expires="2090-01-31").json()
    assert made["secret"].startswith("lzu_")
    assert made["token"]["expires_at"] == "2090-02-01T00:00:00.000Z"
    other = httpx2.get(f"{console_url}/api/v1/me", headers={"authorization": f"Bearer {made['secret']}"}, timeout=60)
    assert "lza_" in problem(other, 401, "token_refused")
    viewer = call(Role.VIEWER)
    name = viewer.get("/me").json()["user"]
    assert operator.post(f"/users/{name}/disable").json()["enabled"] is False
    problem(viewer.get("/me"), 401, "token_refused")
    assert operator.post(f"/users/{name}/enable").json()["enabled"] is True
    assert viewer.get("/me").status_code == 200
    assert made["secret"] not in operator.get("/tokens", account=account).text


# What is asked


def test_what_is_not_in_the_document_is_refused_in_words_and_without_what_was_sent(operator: Any) -> None:
    assert "acount" in problem(operator.get("/runs", acount="x"), 422, "invalid")
    assert "2 times" in problem(operator.http.get("/runs?limit=1&limit=2"), 422, "invalid")
    told = problem(operator.post("/accounts", name="Not A Name", other=1), 422, "invalid")
    assert "body.name" in told
    assert "Not A Name" not in told
    problem(operator.http.post("/accounts", content=b"{", headers={"content-type": "application/json"}), 422, "invalid")
    problem(operator.get("/nothing"), 404, "not_found")
    answer = operator.http.request("PATCH", "/accounts")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    problem(operator.http.post("/accounts", content=b"x" * (2 << 20)), 413, "too_large")


@both_databases
def test_a_listing_comes_in_pages(operator: Any, account: str) -> None:
    names = [f"{account}-{letter}" for letter in "abc"]
    for name in names:
        assert operator.post("/accounts", name=name, title="Paged").status_code == 201
    found, after = [], account
    while after is not None:
        page = operator.get("/accounts", limit=2, after=after).json()
        assert len(page["items"]) <= 2
        found += [one["name"] for one in page["items"]]
        after = page["next"]
    assert [name for name in found if name in names] == names
    assert len(found) == len(set(found))


# Accounts and what is expected of them


@both_databases
def test_an_account_is_made_set_shut_and_opened(operator: Any, here: Installation, account: str) -> None:
    made = operator.post("/accounts", name=account, title="Springfield", time_zone="America/Chicago")
    assert made.status_code == 201
    assert (here.settings.root / "inbox" / account).is_dir()
    assert "already" in problem(operator.post("/accounts", name=account), 409, "refused")
    assert "time zone" in problem(operator.post("/accounts", name=f"{account}-x", time_zone="Mars"), 409, "refused")
    set_ = operator.put(f"/accounts/{account}/options", reject_share=0.5, strict_alt_phone=True).json()
    assert (set_["options"]["reject_share"], set_["options"]["strict_alt_phone"]) == (0.5, True)
    assert operator.put(f"/accounts/{account}/options", reject_share=None).json()["options"]["reject_share"] is None
    assert operator.post(f"/accounts/{account}/disable").json()["enabled"] is False
    assert operator.post(f"/accounts/{account}/enable").json()["enabled"] is True
    shown = operator.get(f"/accounts/{account}").json()
    assert (shown["title"], shown["time_zone"], shown["rows"]["students"]) == ("Springfield", "America/Chicago", 0)
    me = operator.get("/me").json()
    assert {one.actor for one in audit.records(here.db, account=account)} == {f"{me['user']} (token {me['token']})"}
    trail = operator.get("/audit", account=account, action="account").json()["items"]
    assert trail[0]["action"] == "account.enabled"
    verdict = operator.post("/audit/verify").json()
    assert (verdict["broken"], verdict["at_record"]) == (None, None)
    assert operator.post("/audit/verify", kept=verdict["head"]).json()["broken"] is None


@both_databases
def test_what_is_expected_of_an_account_is_declared_mapped_and_retired(
    operator: Any, here: Installation, make_account: Any, account: str
) -> None:
    make_account()
    feeds = operator.get("/feeds").json()["items"]
    assert {"students", "attendance"} <= {one["name"] for one in feeds}
    fields = operator.get("/feeds/students").json()["fields"]
    assert next(one for one in fields if one["name"] == "phone")["required"] is True
    problem(operator.get("/feeds/nothing"), 404, "not_found")
    made = operator.put(
        f"/accounts/{account}/sources/sis", pattern="sis_{date}.csv", feed="students", due="Mon-Thu 6:00"
    ).json()
    assert (made["due"], made["mode"], made["mapping"]) == ("Mon-Thu 06:00", "full", None)
    folder = {"pattern": "exports/sis_{date}.csv", "feed": "students"}
    assert "name alone" in problem(operator.put(f"/accounts/{account}/sources/sis", **folder), 409, "refused")
    problem(operator.put(f"/accounts/{account}/sources/a%2Fb", **{**folder, "pattern": "a.csv"}), 404, "not_found")
    where = f"/accounts/{account}/sources/sis/mapping"
    mapped = operator.put(where, headers={"phone": "Home Tel"}, positions={"student_id": 1}).json()
    assert mapped["mapping"] == {"headers": {"phone": "Home Tel"}, "positions": {"student_id": 1}, "widths": []}
    kept = here.sources.get(account, "sis").mapping
    assert kept is not None
    assert kept.positions == {"student_id": 0}
    assert "no field" in problem(operator.put(where, headers={"shoe_size": "x"}), 422, "invalid")
    assert operator.http.delete(where).json()["mapping"] is None
    names = [one["name"] for one in operator.get(f"/accounts/{account}/sources").json()["items"]]
    assert "sis" in names
    retired = operator.post(f"/accounts/{account}/sources/sis/retire", rows="keep").json()
    assert retired == {"deactivated": 0, "kept": 0}
    problem(operator.post(f"/accounts/{account}/sources/sis/retire", rows="keep"), 404, "not_found")


@both_databases
def test_days_off_broadcasts_and_addresses_are_kept(operator: Any, make_account: Any, account: str) -> None:
    make_account()
    days = {"first": "2090-11-26", "last": "2090-11-27", "account": account}
    assert operator.post("/calendar", **days, reason="Thanksgiving").json() == {"changed": 1}
    assert operator.get("/calendar", account=account).json()["items"] == [{**days, "reason": "Thanksgiving"}]
    backwards = {**days, "last": "2090-11-01"}
    assert "before the first" in problem(operator.post("/calendar", **backwards), 409, "refused")
    assert operator.post("/calendar/remove", **days).json() == {"changed": 1}
    where = f"/accounts/{account}/broadcasts/absences"
    assert operator.put(where, times="10:00", feeds=["attendance"]).json()["times"] == "10:00"
    assert operator.get("/broadcasts", account=account).json()["items"][0]["feeds"] == ["attendance"]
    seen = operator.get(f"/accounts/{account}/outlook", at="2090-11-27T09:30:00Z").json()
    assert (seen["missing"][0]["broadcast"], seen["missing"][0]["goes_out_at"][:16]) == ("absences", "2090-11-27T10:00")
    assert operator.http.delete(where).status_code == 204
    problem(operator.http.delete(where), 404, "not_found")
    where = f"/accounts/{account}/notices"
    assert operator.put(where, addresses=["it@example.org"]).json() == {"addresses": ["it@example.org"]}
    assert operator.put(where, addresses=[]).json() == {"addresses": []}


# Keys


def test_a_key_is_looked_at_added_rotated_and_revoked(
    operator: Any, make_account: Any, make_key: Any, account: str
) -> None:
    make_account()
    text = make_key("second").with_name("second.pub").read_text()
    seen = operator.post("/keys/look", public_key=text).json()
    added = operator.post(f"/accounts/{account}/keys", public_key=text, label="sis", networks=["192.0.2.0/24"])
    assert added.status_code == 201
    key = added.json()["key"]
    assert (key["fingerprint"], key["state"], key["networks"]) == (seen["fingerprint"], "active", ["192.0.2.0/24"])
    assert "already" in problem(operator.post(f"/accounts/{account}/keys", public_key=text), 409, "refused")
    problem(operator.post("/keys/look", public_key="no key"), 409, "refused")
    third = make_key("third").with_name("third.pub").read_text()
    begun = operator.post(
        f"/accounts/{account}/keys/rotate", public_key=third, replaces=[key["id"]], overlap_hours=24, uses=2
    )
    assert (begun.status_code, begun.json()["state"], begun.json()["old_keys"]) == (201, "waiting", [key["id"]])
    assert operator.get("/keys/rotations", account=account).json()["items"][0]["id"] == begun.json()["id"]
    revoked = operator.post(f"/accounts/{account}/keys/{key['id']}/revoke", reason="lost").json()
    assert (revoked["state"], revoked["revoked_reason"]) == ("revoked", "lost")
    assert operator.get(f"/accounts/{account}/keys/{key['id']}").json() == revoked
    assert len(operator.get("/keys", account=account).json()["items"]) == 3
    codes = [one["code"] for one in operator.get("/keys/findings", account=account).json()["items"]]
    assert "never_used" in codes
    problem(operator.get(f"/accounts/{account}/keys/999999"), 404, "not_found")


# Runs


@both_databases
def test_a_run_its_receipt_its_rejects_and_its_file(
    operator: Any, call: Any, make_account: Any, send: Any, here: Installation, account: str
) -> None:
    make_account()
    run = send(account, "students.csv", BAD)
    district, viewer = call(Role.DISTRICT, account=account), call(Role.VIEWER)
    for caller in (operator, district):
        shown = caller.get(f"/runs/{run.id}").json()
        assert (shown["outcome"], shown["rows"]["rejected"]) == ("imported_with_rejects", 1)
        assert shown["receipt"]["rejects"][0]["value"] == "12"
        assert shown["receipt"] == caller.get(f"/runs/{run.landing_id}/receipt").json()
        csv = caller.get(f"/runs/{run.id}/rejects")
        assert csv.headers["content-type"] == "text/csv; charset=utf-8"
        assert "Secretname" in csv.text
        assert "students.csv" in caller.get(f"/runs/{run.id}/receipt.txt").text
    file = operator.get(f"/runs/{run.id}/file")
    assert hashlib.sha256(file.content).hexdigest() == run.sha256
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''students.csv"
    problem(district.get(f"/runs/{run.id}/file"), 403, "not_allowed")
    seen = viewer.get(f"/runs/{run.id}")
    assert seen.json()["receipt"]["rejects"][0]["value"] is None
    assert seen.json()["receipt"]["reject_counts"] == {"phone_digits": 1}
    assert "Secretname" not in seen.text
    for path in (f"/runs/{run.id}/rejects", f"/runs/{run.id}/receipt.txt", f"/runs/{run.id}/file"):
        problem(viewer.get(path), 403, "not_allowed")
    assert [one["id"] for one in district.get("/runs").json()["items"]] == [run.id]
    assert [one["run"] for one in viewer.get("/search", q=run.sha256).json()["files"]] == [run.id]
    assert viewer.get(f"/runs/{run.id}/changes").json()["feeds"][0]["added"] == 1
    (row,) = operator.get(f"/runs/{run.id}/changes/students/added").json()["items"]
    assert {"field": "first_name", "now": "Ann", "before": None} in row["values"]
    downloads = audit.records(here.db, account=account, action="run.downloaded")
    assert [one.detail["what"] for one in downloads] == ["rejects", "file"]
    problem(operator.get(f"/runs/{'0' * 8}-0000-7000-8000-{'0' * 12}"), 404, "not_found")


@both_databases
def test_a_held_run_is_approved_rejected_and_undone_and_many_at_once(
    operator: Any, make_account: Any, send: Any, here: Installation, account: str, end: Any
) -> None:
    make_account()
    first = send(account, "students.csv", GOOD)
    held = send(account, "students.csv", EMPTY)
    listed = operator.get("/runs", account=account, state="held").json()["items"]
    assert [(one["id"], one["hold"]["code"]) for one in listed] == [(held.id, "no_rows")]
    assert operator.get("/status").json()["held"] >= 1
    results = operator.post("/runs/answers", action="reject", runs=[held.id, first.id], reason="half a file").json()
    asked, refused = results["results"]
    assert (asked["asked"], refused["problem"]["code"]) == (f"{held.landing_id}:2", "refused")
    rejected = end(held.landing, attempt=2)
    assert rejected.outcome == "rejected"
    assert "half a file" in operator.get(f"/runs/{rejected.id}/receipt").json()["message"]
    again = send(account, "students.csv", EMPTY)
    operator.post(f"/runs/{again.id}/approve")
    assert end(again.landing, attempt=2).report["hold"]["code"] == "many_deactivated"
    approved = operator.post(f"/runs/{again.landing_id}/approve").json()["asked"]
    assert end(again.landing, attempt=3).outcome == "imported"
    assert operator.get(f"/accounts/{account}").json()["rows"]["students"] == 0
    problem(operator.post(f"/runs/{again.landing_id}/approve"), 409, "refused")
    assert operator.post(f"/runs/{approved}/revert", through=False).json()["asked"] == f"{again.landing_id}:4"
    assert end(again.landing, attempt=4).outcome == "reverted"
    assert operator.get(f"/accounts/{account}").json()["rows"]["students"] == 8
    me = operator.get("/me").json()
    actors = {one.actor for one in audit.records(here.db, account=account, action="run")}
    assert actors == {f"{me['user']} (token {me['token']})"}


@both_databases
def test_how_an_account_stands(
    operator: Any, call: Any, make_account: Any, send: Any, here: Installation, account: str
) -> None:
    make_account()
    past = now() - timedelta(minutes=5)
    for feed in ("students", "staff"):
        here.sources.expect(account, f"{feed}.csv", feed=here.catalogue[feed], due=f"daily {past:%H:%M}", actor="test")
    send(account, "students.csv", GOOD)
    seen = call(Role.DISTRICT, account=account).get(f"/accounts/{account}/outlook").json()
    timings = {one["source"]: one["timing"] for one in seen["arrivals"]}
    assert (timings["students"], timings["staff"]) == ("in", "late")
    late = operator.get("/outlook", timing="late", after=account[:-1] or "a", limit=200).json()["items"]
    assert [one["source"] for one in next(each for each in late if each["account"] == account)["arrivals"]] == ["staff"]


@both_databases
def test_recipients_are_read_in_pages_and_only_by_operators(
    operator: Any, call: Any, make_account: Any, send: Any, account: str
) -> None:
    make_account()
    send(account, "students.csv", GOOD)
    where = f"/accounts/{account}/recipients"
    found, after = [], None
    while True:
        page = operator.get(where, school="014", limit=3, **({"after": after} if after else {})).json()
        found += [one["student_id"] for one in page["items"]]
        if (after := page["next"]) is None:
            break
    assert found == [str(n) for n in range(1, 9)]
    counts = operator.get(f"{where}/counts").json()
    assert (counts["students"], counts["own_contacts"], counts["staff"]) == (8, 8, None)
    assert operator.get(where, school="015").json()["items"] == []
    assert "staff" in problem(operator.get(where, staff=True, grade="5"), 409, "refused")
    problem(operator.get(where, after="garbage"), 409, "refused")
    problem(operator.get(where, as_user="nobody"), 409, "refused")
    for role in (Role.VIEWER, Role.DISTRICT):
        caller = call(role, account=account if role is Role.DISTRICT else None)
        problem(caller.get(where), 403, "not_allowed")
    send(account, "enrollments.csv", "Student ID,School ID,Section ID\r\n77,014,1\r\n")
    findings = call(Role.DISTRICT, account=account).get(f"/accounts/{account}/integrity").json()["items"]
    assert {one["code"] for one in findings} == {"reference_missing", "feed_never_sent"}


PEOPLE = {
    "students": [
        "student_id,first_name,last_name,phone,school_id,language,grade",
        "s1,Ada,Diaz,206-555-0001,001,es,3",
        "s2,Ben,Diaz,206-555-0001,001,es,5",
        "s3,Cem,Kaya,206-555-0003,002,en,3",
    ],
    "guardians": [
        "guardian_id,student_id,category,first_name,last_name,phone,language",
        "g1,s1,Mother,Eva,Diaz,206-555-0101,es",
        "g1,s2,Mother,Eva,Diaz,206-555-0101,es",
        "g2,s2,Father,Leo,Diaz,206-555-0102,en",
    ],
    "sections": [
        "staff_id,school_id,section_id,period,course_name",
        "t1,001,A,1,Art",
        "t2,002,B,2,Biology",
    ],
    "enrollments": [
        "student_id,school_id,section_id,period,course_name",
        "s1,001,A,,",
        "s2,001,A,,",
        "s3,002,B,,",
    ],
    "teachers": [
        "teacher_id,first_name,last_name,user_name,email",
        "t1,Tia,Ames,tames,tames@example.com",
        "t2,Tom,Bell,tbell,tbell@example.com",
    ],
    "staff": [
        "staff_id,first_name,last_name,phone,school_id,position",
        "t1,Tia,Ames,206-555-0201,001,Teacher",
        "t3,Pat,Poe,206-555-0203,001,Nurse",
        "t4,Kim,Poe,206-555-0204,002,Nurse",
    ],
    "attendance": ["student_id,absence_date,period", "s2,01/30/2026,"],
}


def all_pages(caller: Any, path: str, **asked: Any) -> list[dict[str, Any]]:
    """Every item of a listing, asked for two at a time."""
    found: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        answer = caller.get(path, limit=2, **asked, **after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 2
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


@both_databases
@pytest.mark.timeout(180)
def test_each_condition_chooses_recipients_and_pages_break_within_a_student_too(
    operator: Any, make_account: Any, send: Any, account: str
) -> None:
    make_account()
    for feed, lines in PEOPLE.items():
        run = send(account, f"{feed}.csv", "\n".join([*lines, ""]))
        assert run.outcome == "imported", run.report
    where = f"/accounts/{account}/recipients"
    everybody = [("s1", "g1"), ("s2", "g1"), ("s2", "g2"), ("s3", "s3")]
    expected: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
        ({}, everybody),
        ({"school": "001"}, everybody[:3]),
        ({"school": ["001", "002"], "grade": "3"}, [("s1", "g1"), ("s3", "s3")]),
        ({"section": "A"}, everybody[:3]),
        ({"course": "Biology"}, [("s3", "s3")]),
        ({"period": "1"}, everybody[:3]),
        ({"language": "EN"}, [("s2", "g2"), ("s3", "s3")]),
        ({"absent_on": "2026-01-30"}, [("s2", "g1"), ("s2", "g2")]),
        ({"as_user": "tbell"}, [("s3", "s3")]),
        ({"staff": True}, [("", "t1"), ("", "t3"), ("", "t4")]),
        ({"staff": True, "position": "Nurse", "school": "001"}, [("", "t3")]),
    ]
    for asked, meant in expected:
        found = [(one["student_id"], one["contact_id"]) for one in all_pages(operator, where, **asked)]
        assert found == meant, asked
        counts = operator.get(f"{where}/counts", **asked).json()
        assert (counts["students"] or counts["staff"]) == len(meant if "staff" in asked else {one[0] for one in meant})
    assert [one["id"] for one in all_pages(operator, "/runs", account=account)] == [
        one["id"] for one in operator.get("/runs", account=account, limit=200).json()["items"]
    ]
    assert len(all_pages(operator, "/runs", account=account)) == len(PEOPLE)


@both_databases
def test_the_trail_is_read_in_pages_newest_first(operator: Any, here: Installation, account: str) -> None:
    assert operator.post("/accounts", name=account).status_code == 201
    for share in (0.1, 0.2, 0.3, 0.4):
        assert operator.put(f"/accounts/{account}/options", reject_share=share).status_code == 200
    kept = [one.id for one in audit.records(here.db, account=account)]
    assert len(kept) == 5
    assert [one["id"] for one in all_pages(operator, "/audit", account=account)] == sorted(kept, reverse=True)
    today = f"{now():%Y-%m-%d}"
    chosen = all_pages(operator, "/audit", account=account, action="account.options", since=today)
    assert [one["detail"]["options"]["reject_share"] for one in chosen] == [0.4, 0.3, 0.2, 0.1]
    assert all_pages(operator, "/audit", account=account, since="2090-01-01") == []


# The door


@both_databases
def test_who_has_to_wait_is_let_go_and_the_doctor_explains(
    operator: Any, here: Installation, make_account: Any, account: str
) -> None:
    from landingzone import penalty

    make_account()
    tally = penalty.Tally()
    tally.failed["198.51.100.7", account] += 1000
    with here.db.write() as tx:
        penalty.write(tx, tally, here.settings.limits)
    listed = operator.get("/penalties", limit=200).json()["items"]
    assert [one["address"] for one in listed if one["account"] == account] == ["198.51.100.7"]
    assert operator.post("/penalties/lift", address="198.51.100.7", account=account).json() == {"places": 1}
    problem(operator.post("/penalties/lift", address="198.51.100.7", account=account), 409, "refused")
    said = operator.get(f"/accounts/{account}/doctor").json()
    assert (said["healthy"], [one["check"] for one in said["findings"]]) == (True, ["logins"])


def test_users_are_invited(operator: Any, console_url: str, account: str) -> None:
    name = f"{account}@example.org"
    made = operator.post("/users", name=name, role="viewer", full_name="Seymour")
    assert made.status_code == 201
    assert made.json()["link"].startswith(f"{console_url}/invitation/")
    assert "Seymour" in httpx2.get(made.json()["link"], timeout=60).text
    again = operator.post(f"/users/{name}/invite").json()
    assert httpx2.get(made.json()["link"], timeout=60).status_code == 409
    assert httpx2.get(again["link"], timeout=60).status_code == 200
    problem(operator.post("/users", name=f"x{name}", role="district"), 409, "refused")
    problem(operator.post("/users/nobody-at-all/invite"), 404, "not_found")
    assert name in [one["name"] for one in operator.get("/users", limit=200).json()["items"]]
