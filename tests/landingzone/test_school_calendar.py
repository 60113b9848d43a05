"""The school calendar: what is kept, and what a calendar's file may hold."""

import json
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landingzone.calendar_file import MOST_BYTES, read_calendar
from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.school_calendar import CalendarError, Days, SchoolCalendar, TimeOff, parse_days

BEGIN, END = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//district//EN\r\n", "END:VCALENDAR\r\n"
days = st.dates(date(2026, 1, 1), date(2027, 12, 31))
times_off = st.builds(
    lambda first, more, reason: TimeOff(first, first + timedelta(days=more), reason),
    days,
    st.integers(0, 30),
    st.sampled_from(["", "Winter break", "Snow"]),
)


def event(summary: str, *lines: str) -> str:
    return "\r\n".join(["BEGIN:VEVENT", "UID:1@x", f"SUMMARY:{summary}", *lines, "END:VEVENT", ""])


def ics(*events: str) -> bytes:
    return (BEGIN + "".join(events) + END).encode()


@given(st.lists(times_off, max_size=12), days)
def test_a_day_is_off_if_any_time_off_holds_it(off: list[TimeOff], day: date) -> None:
    assert (Days(off)(day) is not None) == any(one.first <= day <= one.last for one in off)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-11-31", "2026-11-27..2026-11-26", "2026-11-26..2062-11-27", "", ".."]
)
def test_what_is_no_day_is_refused_in_words(text: str) -> None:
    with pytest.raises(CalendarError):
        parse_days(text)


def test_days_are_kept_once_for_one_account_or_for_all_and_can_be_taken_back(here: Installation) -> None:
    here.accounts.add("springfield", actor="test")
    here.accounts.add("shelbyville", actor="test")
    kept = SchoolCalendar(here.db)
    thanksgiving = parse_days("2026-11-26..2026-11-27", "Thanksgiving")
    assert kept.add([thanksgiving], account=None, actor="test") == 1
    assert kept.add([thanksgiving], account=None, actor="test") == 0
    kept.add([parse_days("2026-12-01", "Snow")], account="springfield", actor="test")
    with here.db.read() as tx:
        here_off, there_off = SchoolCalendar.days_of(tx, ["springfield", "shelbyville"]).values()
    assert (here_off(date(2026, 12, 1)), there_off(date(2026, 12, 1))) == ("Snow", None)
    assert here_off(date(2026, 11, 27)) == there_off(date(2026, 11, 27)) == "Thanksgiving"
    assert kept.remove(parse_days("2026-11-01..2026-12-31"), account="springfield", actor="test") == 1
    assert [one.account for one in kept.all()] == [""]
    with pytest.raises(CalendarError):
        kept.add([thanksgiving], account="ogdenville", actor="test")


def test_of_an_icalendar_whole_days_with_the_words_count() -> None:
    content = ics(
        event("No School - Thanksgiving", "DTSTART;VALUE=DATE:20261126", "DTEND;VALUE=DATE:20261128"),
        event("No school: teachers", "DTSTART;VALUE=DATE:20261009"),
        event("NO SCHOOL week", "DTSTART;VALUE=DATE:20270315", "DURATION:P5D"),
        event("Picture day", "DTSTART;VALUE=DATE:20261010"),
        event("No school after noon", "DTSTART:20261011T120000Z", "DTEND:20261011T160000Z"),
        event("Chess club", "DTSTART;VALUE=DATE:20261012", "RRULE:FREQ=WEEKLY"),
        event("No school, called off", "DTSTART;VALUE=DATE:20261012", "STATUS:CANCELLED"),
    )
    assert [(str(off), off.reason) for off in read_calendar(content, containing=["no school"])] == [
        ("2026-10-09", "No school: teachers"),
        ("2026-11-26..2026-11-27", "No School - Thanksgiving"),
        ("2027-03-15..2027-03-19", "NO SCHOOL week"),
    ]
    assert len(read_calendar(content, containing=["no school", "picture"])) == 4
    with pytest.raises(CalendarError, match="Picture day"):
        read_calendar(content)


@pytest.mark.parametrize(
    "content",
    [
        ics(event("x", "DTSTART;VALUE=DATE:20261126", "RRULE:FREQ=DAILY")),
        ics(event("x", "DTSTART;VALUE=DATE:20261126", "DTEND;VALUE=DATE:20991126")),
        ics(event("x", "DTSTART;VALUE=DATE:20261126", "DTEND;VALUE=DATE:20261125")),
        ics(*[event("x", "DTSTART;VALUE=DATE:20261126")] * 5000),
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n",
        BEGIN.encode() * 3,
        b"2026-11-26,,,,\n",
        b"2026-11-26\nsoon\n",
        b"\xff\xfe\x00",
        b"x" * (MOST_BYTES + 1),
        b"2026-11-26," + b"x" * 300,
    ],
    ids=range(11),
)
def test_a_calendar_that_cannot_be_followed_is_refused_whole(content: bytes) -> None:
    with pytest.raises(CalendarError):
        read_calendar(content, everything=True)


def test_a_csv_holds_days_last_days_and_reasons() -> None:
    content = (
        b"\xef\xbb\xbfday,last,reason\r\n2026-11-26,2026-11-27,Thanksgiving\r\n\r\n2026-12-01\r\n2026-12-02,Snow\r\n"
    )
    assert [(str(off), off.reason) for off in read_calendar(content)] == [
        ("2026-11-26..2026-11-27", "Thanksgiving"),
        ("2026-12-01", ""),
        ("2026-12-02", "Snow"),
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                "DTSTART;VALUE=DATE:20261126",
                "DTSTART:2026",
                "DTEND;VALUE=DATE:x",
                "DURATION:-P1D",
                "SUMMARY",
                "BEGIN:VEVENT",
                "END:VEVENT",
                "RRULE:",
                "DTSTART;TZID=Nowhere:20261126T000000",
                "\x00",
                ":",
                ";;",
                " folded",
                "DTSTART;VALUE=DATE:00000000",
            ]
        ),
        max_size=12,
    )
)
@example(["DTSTART;VALUE=DATE:20261126", "DTEND;VALUE=DATE:x"])
def test_whatever_an_icalendar_holds_it_is_read_or_refused(lines: list[str]) -> None:
    try:
        found = read_calendar(ics(event("x", *lines)), everything=True)
    except LandingZoneError:
        return
    assert all(off.first <= off.last for off in found)


def test_the_commands_add_list_import_and_remove(
    here: Installation, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    from pathlib import Path

    from landingzone.cli import app

    here.accounts.add("springfield", actor="test")
    file = Path(str(tmp_path)) / "district.ics"
    file.write_bytes(ics(event("No School", "DTSTART;VALUE=DATE:20261009")))

    def run(*words: str) -> str:
        app(["--root", str(here.settings.root), "calendar", *words], standalone_mode=False)
        return capsys.readouterr().out

    run("add", "2026-11-26..2026-11-27", "--reason", "Thanksgiving")
    run("add", "springfield", "2026-12-01", "2026-12-02", "--reason", "Snow")
    assert "would be added" in run("import", str(file), "springfield", "--containing", "no school", "--dry-run")
    run("import", str(file), "springfield", "--containing", "no school")
    listed = json.loads(run("list", "springfield", "--json"))
    assert [(one["account"], one["first"]) for one in listed] == [
        ("springfield", "2026-10-09"),
        ("", "2026-11-26"),
        ("springfield", "2026-12-01"),
        ("springfield", "2026-12-02"),
    ]
    run("remove", "springfield", "2026-12-01..2026-12-31")
    assert len(json.loads(run("list", "--json"))) == 2
