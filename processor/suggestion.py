"""What a file might be: proposes a feed and which column is which, by header names and by what the values look like.

Pure. A proposal is for a person to confirm (`landingzone feeds suggest`); nothing is imported by it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from landingzone.feed import Catalogue, Feed, Field, Kind, comparable
from landingzone.kept_mapping import KeptMapping
from processor import rules
from processor.mapping import looks_like_header, resolve
from processor.reading import open_file

_ROWS_LOOKED_AT: Final = 5000
_SURE: Final = 0.35
"""Confidence from which on a column is proposed for a field."""
_MOSTLY: Final = 0.5
_FEW: Final = 60
"""So many different values and fewer are taken for a code: a school, a grade, a language."""
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_NAME: Final = re.compile(r"[^\W\d_](?:[^@\d]|\d{1,2}(?!\d))*")
_MEANING_NOTHING: Final = frozenset({"number", "no", "code", "w", "the", "of", "num", "nbr"})
_SHORT: Final = {
    "stu": "student", "pupil": "student", "perm": "student", "tel": "phone", "ph": "phone", "cell": "phone",
    "mobile": "phone", "fname": "first", "lname": "last", "surname": "last", "given": "first", "mail": "email",
    "sch": "school", "campus": "school", "building": "school", "bldg": "school", "crs": "course", "sect": "section",
    "parent": "guardian", "contact": "guardian", "lang": "language", "gr": "grade", "lvl": "level", "abs": "absence",
    "dt": "date", "per": "period", "pd": "period", "tchr": "teacher", "emp": "staff", "employee": "staff",
    "alternative": "alt", "alternate": "alt", "secondary": "alt", "relationship": "category", "relation": "category",
}  # fmt: skip
_CODES: Final = frozenset({"school_id", "language", "grade", "gender", "category", "period", "reason", "position"})
_NAMES: Final = frozenset({"first_name", "last_name", "instructor"})


@dataclass(frozen=True, slots=True)
class SuggestedColumn:
    """A column that may hold a field.

    Attributes:
        position: from 0.
        header: its name in the file; None without a header line.
        field: canonical name.
        confidence: 0 to 1.
        reasons: a few words each.
    """

    position: int
    header: str | None
    field: str
    confidence: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a file may hold.

    Attributes:
        feed: its name.
        confidence: 0 to 1.
        columns: in the order of the file.
        missing: required fields for which no column is proposed.
        ignored: names (or numbers, from 1) of columns that are proposed for nothing.
        mapping: what would be kept for the source; empty where the known header names say it all.
    """

    feed: str
    confidence: float
    columns: tuple[SuggestedColumn, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    mapping: KeptMapping


@dataclass(frozen=True, slots=True)
class _Column:
    """What a column looks like: shares (0 to 1) of its values that are filled, or of the filled ones that are so."""

    header: str | None
    filled: float
    phones: float
    emails: float
    dates: float
    words: float
    distinct: int
    unique: float


def suggest(path: Path, catalogue: Catalogue, *, feed: str | None = None) -> list[Suggestion]:
    """Propose what a file holds, the likeliest first; with `feed`, only how its columns fit that one.

    Of columns with one name none is proposed: they cannot be told apart.

    Only the first rows are looked at. Raises UnreadableFile; KeyError if there is no such feed.
    """
    feeds = [catalogue[feed]] if feed is not None else list(catalogue.values())

    def has_header(record: tuple[str, ...]) -> bool:
        return any(looks_like_header(one, record) for one in feeds)

    with open_file(path, name=path.name, has_header=has_header) as opened:
        frames = [batch.frame for batch in islice(opened.batches(), 1)]
        header, width = opened.header, opened.width
    rows = frames[0].head(_ROWS_LOOKED_AT) if frames else None
    if header is None and rows is not None and rows.height and are_words(first := rows.drop("line").row(0)):
        header, rows = first, rows[1:]
    columns = [_look(rows, at, header[at] if header and at < len(header) else None) for at in range(width)]
    found = [_fit(one, columns, header, path.stem) for one in feeds]
    return sorted((one for one in found if one.columns or feed), key=lambda one: -one.confidence)


def are_words(record: Sequence[str]) -> bool:
    """Whether a first record that no feed knows looks like names: each begins with a letter and differs, none holds a
    number of three digits or an address.
    """
    names = [value for value in record if value]
    return 1 < len(names) == len(set(names)) and all(_NAME.fullmatch(name) for name in names)


def _look(rows: pl.DataFrame | None, at: int, header: str | None) -> _Column:
    values = pl.Series(dtype=pl.String) if rows is None else rows.select(rules.trimmed(f"c{at}")).to_series()
    named = values.filter(values != "").alias("v")
    if not len(named):
        return _Column(header, 0, 0, 0, 0, 0, 0, 0)
    value = pl.col("v")
    shares = named.to_frame().select(
        phones=(~rules.not_ten_digits(rules.phone(value))).mean(),
        emails=(~rules.no_email(value)).mean(),
        dates=(~rules.no_date(rules.date(value))).mean(),
        words=(value.str.contains(r"\p{L}{2}") & ~value.str.contains("[0-9@]")).mean(),
        distinct=value.n_unique(),
    )
    phones, emails, dates, words, distinct = shares.row(0)
    return _Column(header, len(named) / len(values), phones, emails, dates, words, distinct, distinct / len(named))


def _fit(feed: Feed, columns: Sequence[_Column], header: tuple[str, ...] | None, stem: str) -> Suggestion:
    mapping = resolve(feed, header, len(columns))
    known = {} if header is None else mapping.columns
    names = Counter(comparable(name) for name in header or ())
    told_apart = [at for at, column in enumerate(columns) if names[comparable(column.header or "")] < 2]  # noqa: PLR2004
    weighed = [
        (confidence, at, field, reasons)
        for field in mapping.fields
        for at in told_apart
        for confidence, reasons in [_weigh(feed, field, columns[at], known=known.get(field.name) == at)]
        if confidence >= _SURE
    ]
    taken: dict[int, SuggestedColumn] = {}
    given: set[str] = set()
    for confidence, at, field, reasons in sorted(weighed, key=lambda one: -one[0]):
        if at not in taken and field.name not in given:
            taken[at] = SuggestedColumn(at, columns[at].header, field.name, round(confidence, 2), reasons)
            given.add(field.name)
    proposed = tuple(taken[at] for at in sorted(taken))
    required = [field.name for field in mapping.fields if field.required and field.number <= 1]
    missing = tuple(name for name in required if name not in given)
    return Suggestion(
        feed=feed.name,
        confidence=round(_likelihood(feed, proposed, required, columns, stem), 2),
        columns=proposed,
        missing=missing,
        ignored=tuple(column.header or str(at + 1) for at, column in enumerate(columns) if at not in taken),
        mapping=_to_keep(proposed, known, with_header=header is not None),
    )


def _likelihood(
    feed: Feed, proposed: Sequence[SuggestedColumn], required: Sequence[str], columns: Sequence[_Column], stem: str
) -> float:
    """How sure the required fields are, how much of the file is used, and whether the key is one."""
    by_field = {each.field: each for each in proposed}
    sure = sum(by_field[name].confidence for name in required if name in by_field) / max(len(required), 1)
    used = len(proposed) / max(len(columns), 1)
    likelihood = 0.6 * sure + 0.3 * used + (0.1 if comparable(feed.name) in comparable(stem) else 0.0)
    if len(feed.key) == 1 and feed.key[0] in by_field:
        key = columns[by_field[feed.key[0]].position]
        likelihood *= 1.0 if key.unique > _MOSTLY or not key.distinct or feed.gives else 0.6
    return min(likelihood, 1.0)


def _to_keep(proposed: Sequence[SuggestedColumn], known: dict[str, int], *, with_header: bool) -> KeptMapping:
    if not with_header:
        return KeptMapping(positions={each.field: each.position for each in proposed})
    return KeptMapping(
        headers={each.field: each.header for each in proposed if each.header and known.get(each.field) != each.position}
    )


def _weigh(feed: Feed, field: Field, column: _Column, *, known: bool) -> tuple[float, tuple[str, ...]]:
    """How likely a column holds a field, and why."""
    named, why_named = (1.0, "a known header name") if known else _by_name(field, column.header)
    looks, why_looks = _by_values(feed, field, column)
    reasons = tuple(why for why in (why_named, why_looks) if why)
    if looks < 0:
        return (0.3 if not known else 0.6) * named, reasons
    if known:
        return 0.9 + 0.1 * looks, reasons
    if column.header is None:
        return 0.7 * looks, reasons
    return (0.7 * named + 0.3 * looks if named else 0.4 * looks), reasons


def _by_name(field: Field, header: str | None) -> tuple[float, str]:
    if not header:
        return 0.0, ""
    own, best, like = _words(header), 0.0, ""
    for name in (field.label, field.name, *field.headers):
        words = _words(name)
        shared = 2 * len(own & words) / max(len(own) + len(words), 1)
        alike = SequenceMatcher(None, comparable(header), comparable(name)).ratio()
        score = max(0.9 * shared, 0.8 * alike if alike > 0.75 else 0.0)  # noqa: PLR2004 - a slip of the pen or two
        if score > best:
            best, like = score, name
    return (best, f"named like {like}") if best > 0.4 else (0.0, "")  # noqa: PLR2004 - one common word of many is chance


def _words(name: str) -> frozenset[str]:
    """The words of a header name that mean something, in one form each.

    >>> sorted(_words("StuPermID")), sorted(_words("Primary phone no."))
    (['id', 'student'], ['phone', 'primary'])
    """
    words = (word.lower() for word in _WORD.findall(name))
    return frozenset(_SHORT.get(word, word) for word in words if word not in _MEANING_NOTHING)


def _by_values(feed: Feed, field: Field, column: _Column) -> tuple[float, str]:
    """How well values fit a field, from 0 to 1, and why; below 0 where they speak against it."""
    if not column.distinct:
        return 0.0, ""
    shares = {Kind.PHONE: (column.phones, "phone numbers"), Kind.EMAIL: (column.emails, "e-mail addresses")}
    shares[Kind.DATE] = (column.dates, "dates")
    if field.kind in shares:
        share, what = shares[field.kind]
        return (share, f"{share:.0%} are {what}") if share > _MOSTLY else (-1.0, f"only {share:.0%} are {what}")
    for kind, (share, what) in shares.items():
        if share > _MOSTLY and not (kind is Kind.PHONE and field.name.endswith("_id")):
            return -1.0, f"{share:.0%} are {what}"
    if field.name.endswith(tuple(_NAMES)):
        return (column.words, "words without digits") if column.words > _MOSTLY else (-1.0, "not words")
    if feed.key == (field.name,):
        certain = 0.5 if column.phones > _MOSTLY else 1.0
        return (certain * column.unique, "every value differs") if column.unique > 0.99 else (0.0, "")  # noqa: PLR2004
    if field.name in _CODES:
        few = column.distinct <= _FEW
        return (_MOSTLY, f"{column.distinct} different values") if few else (0.0, "")
    return 0.0, ""
