"""File name patterns: how an account's files are recognised by name. Pure.

Literal text, case ignored; `{date}` stands for any date, `{school}` for a school's code. There is no bare `*`: what
could mean any file would take files for what they are not.
"""

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from landingzone.errors import LandingZoneError
from landingzone.landing import NameRefused, check_name

#: What `.csv` at a pattern's end also stands for: the same rows as text or spreadsheet, or compressed.
_KINDS, _PACKED = ("csv", "txt", "tsv", "xlsx", "xlsm", "xls"), ("gz", "zip", "zst")
_CSV_ENDING = rf"\.(?:(?:{'|'.join(_KINDS)})(?:\.(?:{'|'.join(_PACKED)}))?|zip)"
#: 20260131, 2026-01-31, 01-31-2026, 013126, with -, _ or . between the parts.
DATE = r"(?:[0-9]{4}[-_.]?[0-9]{2}[-_.]?[0-9]{2}|[0-9]{2}[-_.]?[0-9]{2}[-_.]?[0-9]{4}|[0-9]{6})"
SCHOOL = r"(?P<school>[0-9a-z][0-9a-z-]*)"
_PLACE = re.compile(r"\{([^{}]*)\}")
_TEMPORARY = re.compile(
    r"\..+|.+\.(filepart|part|partial|tmp|temp|upload|uploading|crdownload|download|swp)|.+~|\$.+|~.+",
    re.IGNORECASE | re.DOTALL,
)


class PatternError(LandingZoneError):
    """This pattern cannot be used."""


def is_temporary(name: str) -> bool:
    """Whether clients are known to use such a name only until their rename: it never matches and never settles.

    >>> [is_temporary(n) for n in ("students.csv.filepart", ".in.students.csv.", "students.csv")]
    [True, True, False]
    """
    return bool(_TEMPORARY.fullmatch(name))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A file name, or a pattern for several.

    >>> Pattern("students_{school}.csv").match("Students_014.CSV.gz")
    'students_014'
    >>> Pattern("students.csv").match("students2.csv") is None
    True
    """

    text: str

    @property
    def is_per_school(self) -> bool:
        """Whether each school's file is a source of its own."""
        return "{school}" in self.text

    def match(self, file_name: str) -> str | None:
        """The name of the source that a file of that name belongs to; None if it does not match."""
        if is_temporary(file_name):
            return None
        found = _compile(self.text).fullmatch(file_name.strip())
        if not found:
            return None
        return self.source_name.replace("{school}", found["school"].lower()) if self.is_per_school else self.source_name

    def name_for(self, file_name: str, *, day: date, school: str = "") -> str:
        """A name that matches, for a file of another name, whose ending it has where the pattern leaves that open.

        >>> Pattern("students_{date}.csv").name_for("Book1.XLSX", day=date(2026, 1, 31))
        'students_20260131.xlsx'
        >>> Pattern("students.csv").name_for("export.dat", day=date(2026, 1, 31))
        'students.csv'
        """
        ending = re.search(_CSV_ENDING + "$", file_name, re.IGNORECASE)
        named = self.text.replace("{date}", f"{day:%Y%m%d}").replace("{school}", school.lower())
        if ending and named.lower().endswith(".csv"):
            named = named[: -len(".csv")] + ending[0].lower()
        return named

    @property
    def source_name(self) -> str:
        """What a source of this pattern is called unless it is given a name: the stem, without the date.

        >>> Pattern("Daily-Students_{date}.csv").source_name
        'daily-students'
        """
        stem = re.sub(r"\.(csv|txt|tsv|xlsx|xlsm|xls|zip|gz|zst)$", "", self.text, flags=re.IGNORECASE)
        return re.sub(r"[-_. ]*\{date\}", "", stem).strip("-_. ").lower() or "files"


def check_pattern(text: str) -> Pattern:
    """The pattern, if it may be used; raises PatternError, saying what may stand in one."""
    if "/" in text:
        name = text.rpartition("/")[2]
        raise PatternError(
            f"{text!r}: a file lands under its own name, whatever folder it was sent to; give the name alone"
            + (f": {name!r}." if name else ".")
        )
    try:
        check_name(text)
    except NameRefused as refused:
        raise PatternError(str(refused)) from None
    if any(char in text for char in "*?[]"):
        raise PatternError(f"{text!r}: there are no wildcards; write {{date}} or {{school}} where the name varies.")
    places = _PLACE.findall(text)
    unknown = [place for place in places if place not in {"date", "school"}]
    if unknown or text.count("{") != len(places) or text.count("}") != len(places):
        raise PatternError(f"{text!r}: only {{date}} and {{school}} may stand in a pattern.")
    if places.count("school") > 1:
        raise PatternError(f"{text!r}: {{school}} may stand in a pattern once.")
    if not re.search(r"[0-9A-Za-z]", _PLACE.sub("", text).partition(".")[0]):
        raise PatternError(f"{text!r} would match almost any file; begin it with what the file holds.")
    if is_temporary(text):
        raise PatternError(f"{text!r} looks like a temporary name, as clients use until they rename; choose another.")
    return Pattern(text)


@lru_cache(maxsize=4096)
def _compile(text: str) -> re.Pattern[str]:
    stem = re.sub(r"\.csv$", "", text, flags=re.IGNORECASE)
    parts = re.split(r"(\{date\}|\{school\})", stem)
    places = {"{date}": DATE, "{school}": SCHOOL}
    body = "".join(places.get(part) or re.escape(part) for part in parts)
    return re.compile(body + ("" if stem == text else _CSV_ENDING), re.IGNORECASE)


# Overlap: two patterns that could both match one file name

_DIGITS = frozenset("0123456789")
_CODE = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyz-")
_DATE_CHARS = _DIGITS | frozenset("-_.")
_ENDINGS = (".zip", *(f".{kind}{packed}" for kind in _KINDS for packed in ("", *(f".{one}" for one in _PACKED))))
_Ways = list[list[tuple[frozenset[str], int]]]
"""Of each state: the characters that may come next, and the state that follows."""


def overlap(one: Pattern, other: Pattern) -> bool:
    """Whether some file name could match both (a date is taken for any of its characters: rather too often).

    >>> overlap(Pattern("students_{school}.csv"), Pattern("students_east.csv"))
    True
    >>> overlap(Pattern("students_{date}.csv"), Pattern("staff_{date}.csv"))
    False
    """
    (first, first_ends), (second, second_ends) = _ways(one.text), _ways(other.text)
    seen: set[tuple[int, int]] = set()
    todo = [(0, 0)]
    while todo:
        left, right = state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        if left in first_ends and right in second_ends:
            return True
        todo += [
            (to_left, to_right)
            for chars, to_left in first[left]
            for others, to_right in second[right]
            if chars & others
        ]
    return False


def _ways(text: str) -> tuple[_Ways, set[int]]:
    """The states of a pattern, from 0, and those in which a name may end."""
    ways: _Ways = [[]]

    def follow(state: int, chars: frozenset[str], *, again: bool = False) -> int:
        for known, to in ways[state]:
            if known == chars and not again:
                return to
        ways.append([])
        made = len(ways) - 1
        ways[state].append((chars, made))
        if again:
            ways[made].append((chars, made))
        return made

    def spell(state: int, literal: str) -> int:
        for char in literal:
            state = follow(state, _same(char))
        return state

    stem, at = re.sub(r"\.csv$", "", text, flags=re.IGNORECASE), 0
    for part in re.split(r"(\{date\}|\{school\})", stem):
        chars = {"{date}": _DATE_CHARS, "{school}": _CODE}.get(part)
        at = spell(at, part) if chars is None else follow(at, chars, again=True)
    return ways, {at} if stem == text else {spell(at, ending) for ending in _ENDINGS}


def _same(char: str) -> frozenset[str]:
    """What a character of a pattern may stand for, its case aside."""
    forms = (char, char.lower(), char.upper(), char.upper().lower(), char.casefold())
    return frozenset(form[0] for form in forms)
