r"""The rules of a feed as Polars expressions: how a value is written in the account's data, and what is a fault.

Pure. One small function per kind of field; each rule says where it comes from. The reference is the vendor's data guide
(sections I and II, appendices A and B), the design is docs/design.md, "Sources and feeds".

Values come trimmed of white space, never null; "" is an empty value.
"""

import datetime as dt
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
_WHITE_OF_ASCII: Final = " " + "".join(map(chr, (*range(9, 14), *range(28, 32))))
_UNSEEN: Final = "".join(
    map(
        chr,
        (
            *(0x85, 0xA0, 0xAD, 0x1680, 0x180E, *range(0x2000, 0x2010), 0x2028, 0x2029, *range(0x202A, 0x2030)),
            *(*range(0x205F, 0x206A), 0x3000, 0xFEFF),
        ),
    )
)
"""What nobody sees, beyond ASCII: white space, characters of no width, marks of direction, the byte order mark."""
_WHITE: Final = _WHITE_OF_ASCII + _UNSEEN
_UNSEEN_WITHIN: Final = "[\\x00-\\x08\\x0e-\\x1f\\x7f" + "".join(f"\\x{{{ord(each):x}}}" for each in _UNSEEN) + "]"

_NULL_AS_TEXT: Final = "NULL"
_NULL: Final = r"(?i)^(?:\\N|[(<\[{]null[)>\]}])$"
"""How databases write that there is no value, beside `NULL`, which is also a surname."""
_CELL_ERROR: Final = r"^#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|FIELD!|ERROR!|GETTING_DATA|#{2,})$"
"""What a spreadsheet shows where it has no value to show."""
_NOTHING: Final = r"(?i)^(?:null|none|nil|n/?a\.?|not applicable|undefined|unknown|[^\p{L}\p{N}]+)$"
_NO_ID: Final = (
    r"(?i)^(?:null|none|nil|n/a|nan|undefined|unknown|not applicable"
    r"|(?:grand |sub)?-?totals?(?:[ :=].*)?|(?:record|row) count.*|end of (?:file|report)|eof"
    r"|[^\p{L}\p{N}]+|#.+[!?]|#n/a)$"
)
_REWRITTEN: Final = r"^(?:[0-9](?:\.[0-9]+)?[eE]\+[0-9]{1,3}|[0-9]{1,3}(?:,[0-9]{3})+|=.*|'.*)$"
_NUMBER: Final = r"^[0-9]+\.0$"
_DIGITS_AND_POINT: Final = r"^[0-9]{7,}\.[0-9]+$"
_ODD_TIDY: Final = f"{_NULL}|{_CELL_ERROR}|{_NOTHING}|{_NO_ID}|{_REWRITTEN}|{_NUMBER}|^$|^NULL$"
_ODD: Final = f"{_ODD_TIDY}|{_UNSEEN_WITHIN}"
_MONTH_AND_DAY: Final = r"^([0-9]{1,2})[/-]([0-9]{1,2})[/-](?:20)?([0-9]{2})\b"
_NEAR_DAYS: Final = 3
_ALL_ALIKE: Final = [str(digit) * 10 for digit in range(2, 10)]


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


def trimmed(column: str, *, plain: bool = False, joined: bool = True) -> pl.Expr:
    """A value without what nobody sees around it (white space, a byte order mark from files that were joined).

    `plain`: it holds nothing beyond ASCII; `joined`: letters and their accents may stand apart, and are put together,
    so that one name is one value however a system stores it (Unicode, form C).
    """
    value = pl.col(column)
    if plain:
        return value.str.strip_chars(_WHITE_OF_ASCII)
    return (value.str.normalize("NFC") if joined else value).str.strip_chars(_WHITE)


def has_extension(value: pl.Expr) -> pl.Expr:
    """A phone number with an extension, which cannot be dialled (design: "an extension (x12, ext. 12) is cut")."""
    return value.str.contains(_EXTENSION)


def phone(value: pl.Expr) -> pl.Expr:
    """Ten digits, as far as formatting goes.

    Reference, appendix A, "Phone Number w/ Area Code": ten digits; formatting characters are stripped. Design: a
    leading +1 or 1 goes too, and an extension. A number that a spreadsheet wrote (`9195550123.0`) is read as the
    number it was; any other decimal is a fault. Letters stay, so that `555-CALL-NOW` is a fault and not a wrong number.
    """
    bare = value.str.replace(_EXTENSION, "").str.replace(_SPREADSHEET_NUMBER, "$1")
    digits = bare.str.replace_all(_FORMATTING, "").str.replace(_LEADING_ONE, "$1")
    return (
        pl.when(bare.str.contains(_DIGITS_AND_POINT))
        .then(bare)
        .when(digits.is_in(["NULL", "null"]))
        .then(pl.lit(""))
        .otherwise(digits)
    )


def email(value: pl.Expr) -> pl.Expr:
    """An address without what a list or a mail program puts around it: `<a@example.org>;`."""
    bare = value.str.strip_prefix("mailto:").str.strip_chars(" ;,<>")
    return pl.when(bare == _NULL_AS_TEXT).then(pl.lit("")).otherwise(bare)


def date(value: pl.Expr) -> pl.Expr:
    """A date as yyyy-mm-dd, if it is written in one of the ways that leave no doubt; else as it stands.

    Reference, appendix A, "Absence Date": mm/dd/yyyy is preferred. A time of day is set aside.
    """
    value = pl.when(is_null(value)).then(pl.lit("")).otherwise(value)
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


def periods(value: pl.Expr, sign: str = "") -> pl.Expr:
    """Names of periods, with a comma between them; empty for the whole day.

    Reference, appendix A, "Periods Missed": a record for each, one field, or several fields. A range is kept as it
    stands, since it may as well be a name. In a column with a `sign` (a number or a letter) a mark such as X stands for
    it.
    """
    value = pl.when(is_null(value)).then(pl.lit("")).otherwise(value)
    value = pl.when(value.str.contains(_NUMBERS)).then(value.str.replace_all(r"\s+", ",")).otherwise(value)
    value = value.str.replace_all(_BETWEEN_PERIODS, ",").str.strip_chars(",")
    value = value.str.replace_all(_NUMBER_OF_SPREADSHEET, "$1")
    lower = value.str.to_lowercase()
    if not sign:
        return pl.when(lower.is_in(_WHOLE_DAY)).then(pl.lit("")).otherwise(value)
    marked = pl.when(lower.is_in([*_MISSED, sign.lower()])).then(pl.lit(sign))
    return marked.when(lower.is_in(_NOT_MISSED)).then(pl.lit("")).otherwise(value)


def normalised(field: Field, value: pl.Expr) -> pl.Expr:
    """A trimmed value as the account's data holds it. Faulty values come out in some form; `faults` tells them.

    Of defaults only that of a date is filled in: what an empty language means is decided where it is read
    (`processor.merged`), or a file that is silent would speak against one that says something.
    """
    if field.kind is Kind.PHONE:
        value = phone(value)
    elif field.kind is Kind.EMAIL:
        value = email(value)
    elif field.kind is Kind.DATE:
        value = date(value)
    elif field.kind is Kind.PERIODS:
        value = periods(value, field.sign if field.number else "")
    if field.default and field.kind is Kind.DATE:
        return pl.when(value == "").then(pl.lit(field.default)).otherwise(value)
    return value


def faults(
    field: Field, value: pl.Expr, *, identifier: bool = False, required: bool = True, odd: pl.Expr | None = None
) -> list[Fault]:
    """The rules that a normalised value, if it is not empty, must keep.

    `odd`: where a rule of text may be broken (see `odd_text`), if that is known already.
    """
    if field.kind is Kind.PHONE:
        return [Fault("phone_digits", "phone_blanked", not_ten_digits(value))]
    if field.kind is Kind.DATE:
        return [Fault("date_invalid", "date_blanked", no_date(value))]
    found = [Fault("email_invalid", "email_blanked", no_email(value))] if field.kind is Kind.EMAIL else []
    if identifier:
        found += _faults_of_identifier(value, odd)
    elif field.kind is not Kind.EMAIL and not is_name(field):
        words = value.str.contains(_CELL_ERROR if required else f"{_CELL_ERROR}|{_NOTHING}") & (value != _NULL_AS_TEXT)
        found.append(Fault("cell_error", "placeholder_blanked", words, odd))
    elif is_name(field):
        found.append(Fault("cell_error", "placeholder_blanked", value.str.contains(_CELL_ERROR), value < "0"))
    if field.max_length is not None:
        suspect = value.str.len_bytes() > field.max_length
        found.append(Fault("too_long", "too_long_blanked", longer_than(value, field.max_length), suspect))
    return found


def _faults_of_identifier(value: pl.Expr, odd: pl.Expr | None) -> list[Fault]:
    """What cannot name anybody, or names somebody else: by an identifier people are told apart."""
    return [
        Fault("id_rewritten", "id_blanked", value.str.contains(_REWRITTEN), odd),
        Fault("id_no_value", "id_blanked", value.str.contains(_NO_ID), odd),
        Fault("id_unseen", "id_blanked", value.str.contains(_UNSEEN_WITHIN), odd),
    ]


def odd_text(values: pl.Series, *, tidy: bool = False) -> pl.Series:
    """Where a text may break a rule of text: neither a whole number, which is found soonest, nor an ordinary word.

    `tidy`: no value holds anything that nobody sees; then the first characters tell most words apart.
    """
    odd = values.cast(pl.Int64, strict=False).is_null()
    if not odd.any():
        return odd
    form = _ODD_TIDY if tidy else _ODD
    if odd.all():
        return values.str.contains(form)
    found = odd.to_numpy().copy()
    found[found] = values.filter(odd).str.contains(form).to_numpy()
    return pl.Series(values.name, found)


def is_name(field: Field) -> bool:
    """Whether a field holds a person's name: almost any word may be one (`Null`, `None`, `Na`)."""
    return field.name.endswith(("first_name", "last_name", "instructor"))


def is_null(value: pl.Expr) -> pl.Expr:
    r"""How databases write an empty value: `NULL`, `(null)`, `\N`."""
    return (value == _NULL_AS_TEXT) | null_in_name(value)


def null_in_name(value: pl.Expr) -> pl.Expr:
    """The same for names of people: `NULL` may be one."""
    return value.str.contains(_NULL)


def doubtful_name(value: pl.Expr) -> pl.Expr:
    """A name that may be a word for nothing, or holds no letter."""
    return value.str.contains(rf"{_NOTHING}|^\P{{L}}+$")


def perhaps_doubtful_name(value: pl.Expr) -> pl.Expr:
    """What `doubtful_name` finds, and perhaps more, more quickly."""
    no, un = (value >= "N") & (value < "O"), (value >= "U") & (value < "V")
    return (value != "") & ((value < "A") | no | un | (value >= "["))


def undialable(value: pl.Expr) -> pl.Expr:
    """Ten digits that no telephone has: an area code begins with 2 to 9, and ten digits alike are a placeholder."""
    return (value != "") & ((value < "2") | value.is_in(_ALL_ALIKE))


def day_first(value: pl.Expr, landing: dt.date) -> pl.Expr:
    """Dates that may be written with the day first, as the others of the same rows (or the day of landing) say.

    Such rows hold a 13th month, and none a 13th day before a month; or each of their dates is, with the day first, of
    the days around the landing, and with the month first of none of these.
    """
    months_and_days = value.str.extract_groups(_MONTH_AND_DAY)
    first, second, year = (months_and_days.struct[at] for at in range(3))
    as_read, other_way = (
        pl.concat_str(pl.lit("20"), year, month.str.zfill(2), day.str.zfill(2)).str.to_date("%Y%m%d", strict=False)
        for month, day in ((first, second), (second, first))
    )
    first, second = first.cast(pl.Int8), second.cast(pl.Int8)
    near = pl.duration(days=_NEAR_DAYS)
    written = first.is_not_null()
    open_ = written & first.is_between(1, 12) & second.is_between(1, 12) & (first != second)
    proves_day = (first > 12) & (second <= 12)  # noqa: PLR2004 - months
    proves_month = (second > 12) & (first <= 12)  # noqa: PLR2004 - months
    around = open_ & ((other_way - landing).abs() <= near) & ((as_read - landing).abs() > near)
    only_around = around.any() & ~(written & ~around).any()
    return open_.fill_null(value=False) & ((proves_day.any() & ~proves_month.any()) | only_around)


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


def periods_unclear(columns: Sequence[tuple[str, str]]) -> pl.Expr:
    """Whether columns with signs (numbers or letters) leave open which periods were missed; of each sign and name.

    Clear are two ways to write them: each value names the period of its own column, or the columns are filled from the
    first one on with different periods (numbers only). Anything else may be a code: 1 and 0, A for absent, P for
    present.
    """
    values = [(sign, pl.col(name)) for sign, name in columns]
    in_place = pl.all_horizontal(
        (value == "") | (value == sign) | (value.str.extract(r"^[^0-9]*0*([1-9][0-9]?)[^0-9]*$").fill_null("") == sign)
        for sign, value in values
    )
    every = pl.concat_list(value for _, value in values).list
    filled = every.eval(pl.element().filter(pl.element() != "")).list
    from_first = pl.all_horizontal(
        pl.lit(value=True),
        *((value == "") | (before != "") for (_, before), (_, value) in pairwise(values)),
    )
    named = pl.all_horizontal((value == "") | (value.str.contains("[0-9]") & (value != "0")) for _, value in values)
    if not all(sign.isdecimal() for sign, _ in columns):
        return ~in_place
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
    """A whole number as a spreadsheet (or pandas) writes it, which is read without its end: `1001.0`."""
    return value.str.contains(_NUMBER)
