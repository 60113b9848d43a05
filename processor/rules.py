r"""The rules of a feed as Polars expressions: how a value is written in the account's data, and what is a fault.

Pure. One small function per kind of field; each rule says where it comes from. The reference is the vendor's data guide
(sections I and II, appendices A and B), the design is docs/design.md, "Sources and feeds".

Values come trimmed of white space, never null; "" is an empty value.
"""

from dataclasses import dataclass
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


def normalised(field: Field, value: pl.Expr) -> pl.Expr:
    """A trimmed value as the account's data holds it. Faulty values come out in some form; `faults` tells them."""
    if field.kind is Kind.PHONE:
        value = phone(value)
    if field.default:
        return pl.when(value == "").then(pl.lit(field.default)).otherwise(value)
    return value


def faults(field: Field, value: pl.Expr) -> list[Fault]:
    """The rules that a normalised value, if it is not empty, must keep."""
    if field.kind is Kind.PHONE:
        return [Fault("phone_digits", "phone_blanked", not_ten_digits(value))]
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


def longer_than(value: pl.Expr, limit: int) -> pl.Expr:
    """Reference, all tables, "Max Characters": characters, not bytes."""
    return value.str.len_chars() > limit


def identifiers(feed: Feed) -> tuple[str, ...]:
    """Fields in which `1.0` or a lost leading zero means another record: keys, references, and all that end in _id."""
    named = {*feed.key, *(name for reference in feed.references for name in reference.fields)}
    return tuple(each.name for each in feed.fields if each.name in named or each.name.endswith("_id"))


def like_a_number(value: pl.Expr) -> pl.Expr:
    """An identifier that a spreadsheet has rewritten: `1001.0`."""
    return value.str.contains(r"^[0-9]+\.0$")


def perhaps_like_a_number(value: pl.Expr) -> pl.Expr:
    """What `like_a_number` finds, and perhaps more, more quickly."""
    return value.str.ends_with(".0")
