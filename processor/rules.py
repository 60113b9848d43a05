r"""The rules of a feed as Polars expressions: how a value is written in the account's data, and what is a fault.

Pure. One small function per kind of field; each rule says where it comes from. The reference is the vendor's data guide
(sections I and II, appendices A and B), the design is docs/design.md, "Sources and feeds".

Values come trimmed of white space, never null; "" is an empty value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import polars as pl

from landingzone.feed import Feed, Field, Kind

_EXTENSION: Final = r"(?i)[\s,;.]*(?:ext(?:ension|n)?|x|#)[\s.:#]*[0-9]{1,8}\s*$"
_FORMATTING: Final = r"[^\p{L}\p{N}]+"
_SPREADSHEET_NUMBER: Final = r"^([0-9]{10,11})\.0+$"
_LEADING_ONE: Final = r"^1([0-9]{10})$"
_TEN_DIGITS: Final = r"^[0-9]{10}$"
_EMAIL: Final = (
    r"^[^\s@,;:<>()\[\]\\\x22.]+(?:\.[^\s@,;:<>()\[\]\\\x22.]+)*"
    r"@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+\p{L}[\p{L}\p{N}-]*[\p{L}\p{N}]$"
)
_TIME: Final = r"(?:[T ] *[0-9]{1,2}:[0-9:.]+ *(?:[AaPp][Mm])?Z?)?"
_DATES: Final = (
    (rf"^([0-9]{{1,2}})[/-]([0-9]{{1,2}})[/-](20[0-9]{{2}}){_TIME}$", "$3-$1-$2"),
    (rf"^([0-9]{{1,2}})/([0-9]{{1,2}})/([0-9]{{2}}){_TIME}$", "20$3-$1-$2"),
    (rf"^(20[0-9]{{2}})[/-]([0-9]{{1,2}})[/-]([0-9]{{1,2}}){_TIME}$", "$1-$2-$3"),
    (r"^(20[0-9]{2})([0-9]{2})([0-9]{2})(?:\.0+)?$", "$1-$2-$3"),
    (r"^([0-9]{2})([0-9]{2})(20[0-9]{2})$", "$3-$1-$2"),
    (rf"^([0-9]{{1,2}})[ -]([A-Za-z]{{3}})[ -](?:20)?([0-9]{{2}}){_TIME}$", "20$3-$2-$1"),
)
"""Ways to write a date that leave no doubt in a district of the United States, and the same as yyyy-mm-dd.

Eight digits are no riddle: no month is 20. Dots (which most often put the day first), six digits, and a short year
between dashes are.
"""
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PADDING: Final = ((r"^(20[0-9]{2})-([0-9])-", "$1-0$2-"), (r"-([0-9])$", "-0$1"))
_ISO_DATE: Final = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"
_BETWEEN_PERIODS: Final = r"\s*[,;|/&+]+\s*"
_NUMBERS: Final = r"^[0-9]{1,2}(?:\s+[0-9]{1,2})+$"
_NUMBER_OF_SPREADSHEET: Final = r"\b([0-9]{1,2})\.0\b"
_WHOLE_DAY: Final = ("all", "all day", "full day", "whole day")
_MISSED: Final = ("x", "y", "yes", "true", "\u2713", "\u2714")
_NOT_MISSED: Final = ("n", "no", "false")
_RANGE: Final = r"(?:^|,)[0-9]{1,2}\s*-\s*[0-9]{1,2}(?:,|$)"
_WHITE: Final = (
    "".join(
        map(
            chr,
            (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F),
        )
    )
    + "\u3000\ufeff"
)
"""All that Unicode calls white space (as Python's `str.strip` does), and the byte order mark."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that a value can break.

    Attributes:
        code: of the reject where the field is required.
        blanked: of the warning where it is not, and the value is left out.
        broken: over the column's normalised value: true where the rule is broken.
        suspect: the same or more, found more quickly.
    """

    code: str
    blanked: str
    broken: pl.Expr
    suspect: pl.Expr | None = None


def trimmed(column: str) -> pl.Expr:
    """A value without white space around it, nor a byte order mark from files that were joined."""
    return pl.col(column).str.strip_chars(_WHITE)


def has_extension(value: pl.Expr) -> pl.Expr:
    """A phone number with an extension, which cannot be dialled (design: "an extension (x12, ext. 12) is cut")."""
    return value.str.contains(_EXTENSION)


def phone(value: pl.Expr) -> pl.Expr:
    """Ten digits, as far as formatting goes.

    Reference, appendix A, "Phone Number w/ Area Code": ten digits; formatting characters are stripped. Design: a
    leading +1 or 1 goes too, and an extension. A number that a spreadsheet wrote (`9195550123.0`) is read as the
    number it was. Letters stay, so that `555-CALL-NOW` is a fault and not a wrong number.
    """
    bare = value.str.replace(_EXTENSION, "").str.replace(_SPREADSHEET_NUMBER, "$1")
    return bare.str.replace_all(_FORMATTING, "").str.replace(_LEADING_ONE, "$1")


def date(value: pl.Expr) -> pl.Expr:
    """A date as yyyy-mm-dd, if it is written in one of the ways that leave no doubt; else as it stands.

    Reference, appendix A, "Absence Date": mm/dd/yyyy is preferred. A time of day is set aside.
    """
    for form, iso in _DATES:
        value = value.str.replace(form, iso)
    value = value.str.replace_many(
        [f"-{name}-" for name in _MONTHS],
        [f"-{at:02d}-" for at in range(1, len(_MONTHS) + 1)],
        ascii_case_insensitive=True,
    )
    for form, padded in _PADDING:
        value = value.str.replace(form, padded)
    return value


def periods(value: pl.Expr, number: int) -> pl.Expr:
    """Names of periods, with a comma between them; empty for the whole day.

    Reference, appendix A, "Periods Missed": a record for each, one field, or several fields. A range is kept as it
    stands, since it may as well be a name. In a numbered column a mark such as X stands for that number.
    """
    value = pl.when(value.str.contains(_NUMBERS)).then(value.str.replace_all(r"\s+", ",")).otherwise(value)
    value = value.str.replace_all(_BETWEEN_PERIODS, ",").str.strip_chars(",")
    value = value.str.replace_all(_NUMBER_OF_SPREADSHEET, "$1")
    lower = value.str.to_lowercase()
    if not number:
        return pl.when(lower.is_in(_WHOLE_DAY)).then(pl.lit("")).otherwise(value)
    marked = pl.when(lower.is_in(_MISSED)).then(pl.lit(str(number)))
    return marked.when(lower.is_in(_NOT_MISSED)).then(pl.lit("")).otherwise(value)


def normalised(field: Field, value: pl.Expr) -> pl.Expr:
    """A trimmed value as the account's data holds it. Faulty values come out in some form; `faults` tells them."""
    if field.kind is Kind.PHONE:
        value = phone(value)
    elif field.kind is Kind.DATE:
        value = date(value)
    elif field.kind is Kind.PERIODS:
        value = periods(value, field.number)
    if field.default:
        return pl.when(value == "").then(pl.lit(field.default)).otherwise(value)
    return value


def faults(field: Field, value: pl.Expr) -> list[Fault]:
    """The rules that a normalised value, if it is not empty, must keep."""
    if field.kind is Kind.PHONE:
        return [Fault("phone_digits", "phone_blanked", not_ten_digits(value))]
    if field.kind is Kind.DATE:
        return [Fault("date_invalid", "date_blanked", no_date(value))]
    found = [Fault("email_invalid", "email_blanked", no_email(value))] if field.kind is Kind.EMAIL else []
    if field.max_length is not None:
        suspect = value.str.len_bytes() > field.max_length
        found.append(Fault("too_long", "too_long_blanked", longer_than(value, field.max_length), suspect))
    return found


def not_ten_digits(value: pl.Expr) -> pl.Expr:
    """Reference, appendix A, "Phone Number w/ Area Code": 10 numeric digits."""
    return ~value.str.contains(_TEN_DIGITS)


def no_email(value: pl.Expr) -> pl.Expr:
    """One @, no white space, no list of addresses, a domain with a dot: what a mail server could take, not all of
    RFC 5322.

    Reference, I.E1 and appendix A, "Email Address"; the form is ours.
    """
    return ~value.str.contains(_EMAIL)


def no_date(value: pl.Expr) -> pl.Expr:
    """No such day, or not written as a date of this century (see `date`)."""
    return ~value.str.contains(_ISO_DATE) | value.str.to_date("%Y-%m-%d", strict=False).is_null()


def has_range(value: pl.Expr) -> pl.Expr:
    """Periods with a range among them: `1-3`."""
    return value.str.contains(_RANGE)


def periods_unclear(columns: Sequence[tuple[int, str]]) -> pl.Expr:
    """Whether numbered columns (with their numbers) leave open which periods were missed.

    Clear are two ways to write them: each value names the period of its own column, or the columns are filled from the
    first one on with different periods. Anything else may be a code: 1 and 0, A for absent, P for present.
    """
    values = [(number, pl.col(name)) for number, name in columns]
    in_place = pl.all_horizontal(
        (value == "") | (value.str.extract(r"^[^0-9]*0*([1-9][0-9]?)[^0-9]*$").fill_null("") == str(number))
        for number, value in values
    )
    every = pl.concat_list(value for _, value in values).list
    filled = every.eval(pl.element().filter(pl.element() != "")).list
    from_first = pl.all_horizontal(
        pl.lit(value=True),
        *((value == "") | (before != "") for (_, before), (_, value) in pairwise(values)),
    )
    named = pl.all_horizontal((value == "") | (value.str.contains("[0-9]") & (value != "0")) for _, value in values)
    return ~(in_place | (from_first & named & (filled.n_unique() == filled.len())))


def longer_than(value: pl.Expr, limit: int) -> pl.Expr:
    """Reference, all tables, "Max Characters": characters, not bytes."""
    return value.str.len_chars() > limit


def identifiers(feed: Feed, fields: Sequence[Field]) -> tuple[str, ...]:
    """Fields in which `1.0` or a lost leading zero means another record: keys, references, and all that end in _id."""
    named = {*feed.key, *(name for reference in feed.references for name in reference.fields)}
    return tuple(
        each.name for each in fields if each.kind is Kind.TEXT and (each.name in named or each.name.endswith("_id"))
    )


def like_a_number(value: pl.Expr) -> pl.Expr:
    """An identifier that a spreadsheet has rewritten: `1001.0`."""
    return value.str.contains(r"^[0-9]+\.0$")


def perhaps_like_a_number(value: pl.Expr) -> pl.Expr:
    """What `like_a_number` finds, and perhaps more, more quickly."""
    return value.str.ends_with(".0")
