"""The rules, value by value."""

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


def test_an_empty_value_means_its_default() -> None:
    language = load_catalogue()["students"].field("language")
    frame = pl.DataFrame({"c0": ["", "  ", "es"]}).select(rules.normalised(language, rules.trimmed("c0")))
    assert frame.to_series().to_list() == ["en", "en", "es"]


def test_every_code_has_a_sentence_that_says_something_and_holds_no_unknown_blank() -> None:
    for each in codes.ALL:
        assert codes.message(each.code, field="F", limit=1, line=1, count=1).endswith(".")
        assert each.doc.endswith(".")
    assert len(codes.by_code()) == len(codes.ALL)
