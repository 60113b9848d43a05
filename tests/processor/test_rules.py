"""The rules, value by value."""

from dataclasses import replace

import polars as pl
import pytest

from landingzone.feed import Field, Kind, load_catalogue
from processor import codes, rules

PHONE = Field("phone", "Phone", kind=Kind.PHONE, max_length=10)
EMAIL = Field("email", "Email", kind=Kind.EMAIL, max_length=100)
TEXT = Field("name", "Name")


def broken(field: Field, value: str) -> list[str]:
    frame = pl.DataFrame({"c0": [value]}).select(rules.normalised(field, rules.trimmed("c0")).alias("v"))
    return [fault.code for fault in rules.faults(field, pl.col("v")) if frame.select(fault.broken).item()]


def phone(value: str) -> str:
    return pl.DataFrame({"c0": [value]}).select(rules.normalised(PHONE, rules.trimmed("c0"))).item()


@pytest.mark.parametrize(
    "written",
    [
        "9195552809", "919-555-2809", "(919) 555-2809", "919.555.2809", "919 555 2809", " 919/555/2809 ",
        "1-919-555-2809", "+1 (919) 555-2809", "19195552809", "919\u2011555\u20112809",
        "919-555-2809 x676", "919-555-2809x676", "919-555-2809 ext. 12", "919-555-2809 Ext 12", "919-555-2809, ext: 12",
        "919-555-2809 extension 12", "919-555-2809 #12", "9195552809.0", "19195552809.00",
    ],
)  # fmt: skip
def test_phones_come_to_their_ten_digits(written: str) -> None:
    assert phone(written) == "9195552809"
    assert broken(PHONE, written) == []


@pytest.mark.parametrize(
    "written",
    [
        "555-2809", "919-555-28091", "919-555-CALL", "9195552809 9195552810", "919-555-2809 home", "+44 20 7946 0958",
        "2-919-555-2809", "\uff19\uff11" + "95552809", "919555280O", "x676", "9.195552809E9",
    ],
)  # fmt: skip
def test_what_is_no_phone_is_never_made_one(written: str) -> None:
    assert phone(written) == "" or broken(PHONE, written) == ["phone_digits"]


@pytest.mark.parametrize("written", ["", "   ", "(   )   -    ", "-", "+"])
def test_a_phone_of_formatting_alone_is_empty(written: str) -> None:
    assert phone(written) == ""


@pytest.mark.parametrize(
    ("written", "cut"), [("919-555-2809 x676", True), ("919-555-2809", False), ("#9195552809", False)]
)
def test_an_extension_is_noticed(written: str, cut: bool) -> None:
    assert pl.DataFrame({"c0": [written]}).select(rules.has_extension(pl.col("c0"))).item() is cut


@pytest.mark.parametrize(
    "written",
    ["a@example.org", "a.b+c@x-y.k12.nc.us", "o'neil@example.org", "josé@exämple.de", "a_b@1st.example.org", "A@B.CO"],
)
def test_addresses_that_mail_could_reach(written: str) -> None:
    assert broken(EMAIL, written) == []


@pytest.mark.parametrize(
    "written",
    [
        "a", "a@", "@example.org", "a@example", "a@@example.org", "a b@example.org", "a@exa mple.org", "a@example.org.",
        "a@.example.org", "a@example..org", ".a@example.org", "a.@example.org", "a..b@example.org", "a@-x.org",
        "a@example.org;b@example.org", "a@example.org, b@example.org", "A <a@example.org>", "a@example.org\nb", "none",
    ],
)  # fmt: skip
def test_what_is_no_address(written: str) -> None:
    assert broken(EMAIL, written) == ["email_invalid"]


def test_lengths_count_characters_not_bytes() -> None:
    assert broken(TEXT, "é" * 255) == []
    assert broken(TEXT, "é" * 256) == ["too_long"]
    assert broken(EMAIL, "a" * 88 + "@example.org") == []
    assert broken(EMAIL, "a" * 89 + "@example.org") == ["too_long"]


def test_a_field_without_a_limit_takes_any_length() -> None:
    assert broken(Field("description", "Description", max_length=None), "x" * 100_000) == []


def test_an_empty_language_stays_empty_and_an_empty_date_is_the_day_of_landing() -> None:
    language = load_catalogue()["students"].field("language")
    frame = pl.DataFrame({"c0": ["", "  ", "es"]}).select(rules.normalised(language, rules.trimmed("c0")))
    assert frame.to_series().to_list() == ["", "", "es"]
    date = replace(load_catalogue()["attendance"].field("absence_date"), default="2026-01-30")
    frame = pl.DataFrame({"c0": ["", "NULL", "1/2/2026"]}).select(rules.normalised(date, rules.trimmed("c0")))
    assert frame.to_series().to_list() == ["2026-01-30", "2026-01-30", "2026-01-02"]


IDENTIFIER = Field("student_id", "Student ID", required=True)


def identifier_faults(written: str) -> list[str]:
    frame = pl.DataFrame({"c0": [written]}).select(rules.trimmed("c0").alias("v"))
    found = rules.faults(IDENTIFIER, pl.col("v"), identifier=True)
    suspected = [each.code for each in found if each.suspect is None or frame.select(each.suspect).item()]
    broken = [each.code for each in found if frame.select(each.broken).item()]
    assert set(broken) <= set(suspected)
    return broken


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("1.23457E+08", "id_rewritten"), ("1.2e+16", "id_rewritten"), ("1,001", "id_rewritten"),
        ("12,345,678", "id_rewritten"), ('="0012"', "id_rewritten"), ("'0012", "id_rewritten"),
        ("null", "id_no_value"), ("None", "id_no_value"), ("n/a", "id_no_value"), ("nan", "id_no_value"),
        ("undefined", "id_no_value"), ("-", "id_no_value"), ("----------", "id_no_value"), ("#N/A", "id_no_value"),
        ("#REF!", "id_no_value"), ("#NAME?", "id_no_value"), ("Total", "id_no_value"), ("TOTAL:  412", "id_no_value"),
        ("Grand Total", "id_no_value"), ("Record count: 12", "id_no_value"), ("End of file", "id_no_value"),
        ("1\u00a0001", "id_unseen"), ("10\u200b01", "id_unseen"), ("10\u00ad01", "id_unseen"),
        ("a\u202db", "id_unseen"),
    ],
)  # fmt: skip
def test_what_names_nobody_or_somebody_else_is_no_identifier(written: str, code: str) -> None:
    assert identifier_faults(written) == [code]


@pytest.mark.parametrize(
    "written",
    [
        "1", "001", "MATH345-1", "0,0", "1E5", "12E", "NA", "N1", "TOT-1", "Nora", "#12", "A-1", "O'Neil-3", "1.5",
        "é1", "Totals2", "a b", "S#4", "12+", "E+1", "10-01-2026", "x@y", "\u200b1001\u200b", "\u202d77\u202c",
    ],
)  # fmt: skip
def test_identifiers_of_every_kind_are_taken(written: str) -> None:
    assert identifier_faults(written) == []


def test_every_code_has_a_sentence_that_says_something_and_holds_no_unknown_blank() -> None:
    for each in codes.ALL:
        assert codes.message(each.code, field="F", limit=1, line=1, count=1).endswith(".")
        assert each.doc.endswith(".")
    assert len(codes.by_code()) == len(codes.ALL)
