"""From batches of read rows to accepted rows, rejects and warnings, by the rules of the feed.

Pure: no database, no server. A row with a fault in a required field, or in one that is part of a key, is rejected; a
fault in an optional one blanks that value with a warning. Of rows that are identical one is taken; of different rows
with one key the first. Counts add up, always: rows read = rows accepted + rows rejected, where `collapsed` rows count
as accepted and give no record of their own.

Where a row gives several records (processor/giving.py), a record that came before is not given again: a row none of
whose records is new is collapsed, or rejected if one differs; a row with a new one is accepted, with a warning if
another differs. A families row is one row of its student, whatever it gives.
"""

import datetime as dt
import functools
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl

from landingzone.feed import LANDING_DAY, Feed, Field, Kind
from processor import codes, rules
from processor.distinct import DistinctIds
from processor.duplicates import DIFFERENT, IDENTICAL, NEW, Entering, Repeats, Seen
from processor.giving import Part, parts_of
from processor.hashing import Hasher, Placed
from processor.mapping import Mapping
from processor.reading import Batch, Damage
from processor.reading.table import shorten
from processor.records import Records
from processor.rows import apart

_LINES_KEPT: Final = 20
_FORMS_KEPT: Final = 5000
"""Different values of a field up to which lost leading zeros are looked for."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an account has chosen.

    Attributes:
        strict_alt_phone: expected fields (the alternative phone of students and staff) are required, to the letter of
            the reference's appendix A.
        reject_limit: rejects kept in memory as `Reject` for the receipt; the batches' frames name them all.
    """

    strict_alt_phone: bool = False
    reject_limit: int = 100


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not accepted.

    Attributes:
        line: physical line in the customer's own file.
        field: canonical name; several joined by `+` for a key; empty for the whole line.
        value: as read, shortened to 200 characters.
        code: see `processor.codes`.
        message: what to do.
    """

    line: int
    field: str
    value: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RowWarning:
    """Something about accepted rows that their sender should know, counted over the file.

    Attributes:
        code: see `processor.codes`.
        field: canonical name, empty where it is about whole rows.
        message: what to do.
        count: rows concerned.
        lines: the first 20 of them.
    """

    code: str
    field: str
    message: str
    count: int
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after the rules.

    Attributes:
        accepted: `line` (Int64), then every field that the file may have (`Mapping.fields`, String, normalised, "" for
            empty); rising lines, identical rows collapsed.
        rejects: `line` (Int64), `field`, `value`, `code`, `message` (String), then the columns as read, `c0`, `c1`, ...
            (null for a damaged line, which has none). One row for each rejected row, damaged lines included; rising
            lines.
        records: what the batch says, by feed (see `Records`); the first is what the file's rows are counted as.
        collapsed: rows that repeat an earlier row in every field; accepted, without a record of their own.
        read: rows of the batch; always accepted.height + collapsed + rejects.height.
    """

    accepted: pl.DataFrame
    rejects: pl.DataFrame
    records: tuple[Records, ...]
    collapsed: int
    read: int


class _Effect(StrEnum):
    """What a broken rule does to the row."""

    REJECT = "reject"
    BLANK = "blank"
    TELL = "tell"
    REWRITE = "rewrite"
    """The value is read without the `.0` at its end."""
    LEAVE_OUT = "leave out"
    """The group of columns with this number gives nothing; the row stays."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule as it is applied: `broken` is true in the rows that break it, `suspect` (quickly found) at least there."""

    field: Field
    code: str
    effect: _Effect
    message: str
    broken: pl.Expr
    suspect: pl.Expr


class Validator:
    """Checks the batches of one file, in order. Its state: keys seen so far (see `duplicates`), and counts.

    Args:
        feed: what the file holds.
        mapping: which column is what.
        options: what the account has chosen.
        effective_date: the day that an event without a date happened on: that of the landing; by default today.
        entering: who tells which rows repeat a key, and where they are listed, if each row is one record of the feed
            with no other fields; by default it is told here.
    """

    def __init__(
        self,
        feed: Feed,
        mapping: Mapping,
        options: Options | None = None,
        *,
        effective_date: dt.date | None = None,
        entering: Entering | None = None,
    ) -> None:
        self._feed = feed
        self._mapping = mapping
        self._options = options or Options()
        self.effective_date = effective_date or dt.datetime.now().astimezone().date()
        self._fields = [self._dated(field) for field in mapping.fields]
        self._names = ["line", *(field.name for field in self._fields)]
        self._kinds = _Kind.all_of(feed, self._fields)
        self._key_columns = {*feed.key, *(column for kind in self._kinds for part in kind.parts for column in part.key)}
        self._identifiers = rules.identifiers(feed, self._fields)
        self._rules = [rule for field in self._fields for rule in self._rules_of(field)] + self._rules_of_numbers()
        self._masks = [rule.suspect.alias(str(at)) for at, rule in enumerate(self._rules)]
        self._key = list(feed.key)
        self._hasher = Hasher(self._names[1:], feed.key)
        self._no_rejects = pl.DataFrame(schema=_REJECT_SCHEMA)
        self._rows_decide = not feed.gives and not any(part.spread for kind in self._kinds for part in kind.parts)
        self._rows_decide |= not feed.has_table
        alike = self._rows_decide and feed.has_table and self._names[1:] == list(feed.field_names)
        self._entering: Entering | None = entering if alike else None
        self._seen: Entering = self._entering or Seen()
        self._shared = {name: Seen() for name in feed.shared_is_warned}
        self._distinct = DistinctIds(
            [[field.name for field in self._fields if name in {field.name, _template(field)}] for name in feed.distinct]
        )
        self._longest_forms: dict[str, dict[str, str]] = {name: {} for name in self._identifiers}
        self._warned: dict[tuple[str, str], tuple[int, list[int]]] = {}
        self._reject_counts: Counter[str] = Counter()
        self._rejects: list[Reject] = []
        self.read = 0
        self.accepted = 0
        self.rejected = 0
        self.collapsed = 0

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds whose records the file gives; the first is what its rows are counted as."""
        return tuple(kind.feed for kind in self._kinds)

    def check(self, batch: Batch) -> Checked:
        """Apply every rule to a batch. Batches must come in the order of the file."""
        for kind in self._kinds:
            kind.begin(all_kept=bool(batch.damaged))
        values, faulty = self._apply_rules(batch)
        good = values.filter(~faulty.mask) if faulty else values
        good, repeated, collapsed = self._apart(batch.frame, good)
        for name in list(self._longest_forms):
            self._warn_look_alikes(good, name)
        self._distinct.add(good)
        rejected = [faulty.rows] if faulty else []
        if repeated is not None:
            rejected.append(repeated)
            self._keep(values.join(repeated, on="line", how="semi"))
        if batch.damaged:
            rejected.append(_damage_rows(batch.damaged))
        rejects = self._together(batch.frame, rejected)
        self._count(batch, rejects, collapsed)
        records = tuple(kind.spoken() for kind in self._kinds)
        return Checked(good, rejects, records, collapsed, batch.frame.height + len(batch.damaged))

    def warnings(self) -> list[RowWarning]:
        """What the sender should know about the accepted rows so far, in the order of the feed's fields."""
        warned = dict(self._warned)
        for name, (count, lines) in self._distinct.clashes().items():
            warned["id_shared", name] = (count, lines[:_LINES_KEPT])
        order = {name: at for at, name in enumerate(["", *self._names[1:]])}
        absent = [
            RowWarning("expected_missing", name, self._warning_text("expected_missing", name, 0), self.accepted, ())
            for name in self._mapping.missing_expected
        ]
        return absent + [
            RowWarning(code, name, self._warning_text(code, name, count), count, tuple(lines))
            for (code, name), (count, lines) in sorted(
                warned.items(), key=lambda item: (order.get(item[0][1], len(order)), item[0])
            )
        ]

    def reject_counts(self) -> dict[str, int]:
        """Rejected rows so far by code, damaged lines included."""
        return dict(self._reject_counts)

    def rejects(self) -> list[Reject]:
        """The first rejects (`Options.reject_limit`), damaged lines included."""
        return list(self._rejects)

    def _dated(self, field: Field) -> Field:
        return replace(field, default=self.effective_date.isoformat()) if field.default == LANDING_DAY else field

    def _rules_of(self, field: Field) -> list[_Rule]:
        value = pl.col(field.name)
        if field.required and field.number > 1:
            return self._rules_of_further(field)
        required = field.required or (field.expected and self._options.strict_alt_phone)
        found = []
        null = rules.null_in_name(value) if rules.is_name(field) else rules.is_null(value)
        if required:
            empty = (value == "") | null if field.kind is Kind.TEXT else value == ""
            found.append(self._rule(field, "required_empty", empty, _Effect.REJECT, self._odd(field)))
        if field.name not in self._mapping.columns:
            return found
        if not required and field.kind is Kind.TEXT and field.name not in self._key_columns:
            found.append(self._rule(field, "null_left_out", null, _Effect.BLANK, self._odd(field)))
        if field.required_with:
            empty = (value == "") & (pl.col(field.required_with) != "")
            found.append(self._rule(field, "required_empty", empty, _Effect.REJECT))
        if field.expected and not required:
            found.append(self._rule(field, "expected_empty", value == "", _Effect.TELL))
        found += self._remarks_on(field)
        return found + self._faults_of(field, required=required or field.name in self._key_columns)

    def _remarks_on(self, field: Field) -> list[_Rule]:
        """What is told of a value beyond its faults, or is done to it."""
        value = pl.col(field.name)
        found = []
        if field.kind is Kind.PHONE:
            found.append(self._rule(field, "extension_cut", pl.col(f"x {field.name}"), _Effect.TELL))
            found.append(self._rule(field, "phone_undialable", rules.undialable(value), _Effect.TELL))
        if field.kind is Kind.PERIODS:
            found.append(self._rule(field, "period_range", rules.has_range(value), _Effect.TELL))
        if field.kind is Kind.DATE:
            found.append(self._rule(field, "date_day_first", pl.col(f"d {field.name}"), _Effect.REJECT))
        if rules.is_name(field):
            odd, suspect = rules.doubtful_name(value), rules.perhaps_doubtful_name(value)
            found.append(self._rule(field, "name_doubtful", odd, _Effect.TELL, suspect))
        elif field.kind is Kind.TEXT:
            number = rules.like_a_number(value)
            found.append(self._rule(field, "number_like", number, _Effect.REWRITE, self._odd(field)))
        return found

    def _faults_of(self, field: Field, *, required: bool) -> list[_Rule]:
        value = pl.col(field.name)
        found = []
        for fault in self._faults(field, required=required):
            broken = (value != "") & fault.broken
            if field.required_with and not required:
                beside = broken & (pl.col(field.required_with) != "")
                found.append(self._rule(field, fault.code, beside, _Effect.REJECT, fault.suspect))
            code, effect = (fault.code, _Effect.REJECT) if required else (fault.blanked, _Effect.BLANK)
            found.append(self._rule(field, code, broken, effect, fault.suspect))
        return found

    def _faults(self, field: Field, *, required: bool) -> list[rules.Fault]:
        return rules.faults(
            field,
            pl.col(field.name),
            identifier=field.name in self._identifiers,
            required=required,
            odd=self._odd(field),
        )

    @staticmethod
    def _odd(field: Field) -> pl.Expr | None:
        """Where a text may break a rule; None for fields of another kind."""
        return pl.col(f"odd {field.name}") if _is_text(field) else None

    def _rules_of_further(self, field: Field) -> list[_Rule]:
        """A required field of a further group: where it is empty or faulty, and the group is not empty, that is left
        out.
        """
        value = pl.col(field.name)
        group = [each.name for each in self._fields if each.number == field.number]
        empty = (value == "") & pl.any_horizontal(pl.col(name) != "" for name in group)
        faults = [((value != "") & fault.broken, fault.suspect) for fault in self._faults(field, required=True)]
        found = [
            self._rule(field, "group_left_out", wrong, _Effect.LEAVE_OUT, suspect)
            for wrong, suspect in [(empty, None), *faults]
        ]
        if field.kind is Kind.PHONE and field.name in self._mapping.columns:
            found.append(self._rule(field, "extension_cut", pl.col(f"x {field.name}"), _Effect.TELL))
        return found

    def _rules_of_numbers(self) -> list[_Rule]:
        """Numbered columns of periods are looked at together."""
        numbered = [each for each in self._fields if each.kind is Kind.PERIODS and each.number]
        if not numbered:
            return []
        broken = rules.periods_unclear([(each.sign, each.name) for each in numbered])
        return [self._rule(numbered[0], "periods_unclear", broken, _Effect.REJECT)]

    def _rule(self, field: Field, code: str, broken: pl.Expr, effect: _Effect, suspect: pl.Expr | None = None) -> _Rule:
        message = codes.message(code, field=field.label, limit=field.max_length or 0)
        return _Rule(field, code, effect, message, broken, broken if suspect is None else suspect)

    def _columns(self, batch: Batch) -> list[pl.Expr]:
        """The line, every field's value, and what a value no longer shows: whether a phone as it was read has an
        extension, whether a date may be written with the day first.
        """
        extensions, orders = [], []
        for field in self._fields:
            position = self._mapping.columns.get(field.name)
            if position is not None and field.kind is Kind.PHONE:
                extensions.append(rules.has_extension(pl.col(f"c{position}")).alias(f"x {field.name}"))
            if position is not None and field.kind is Kind.DATE:
                order = rules.day_first(rules.trimmed(f"c{position}"), self.effective_date)
                orders.append(order.alias(f"d {field.name}"))
        return [pl.col("line"), *(self._value(field, batch) for field in self._fields), *extensions, *orders]

    def _value(self, field: Field, batch: Batch) -> pl.Expr:
        position = self._mapping.columns.get(field.name)
        if position is None:
            absent = field.default if field.kind is Kind.DATE else ""
            return pl.lit(absent, dtype=pl.String).alias(field.name)
        column = f"c{position}"
        trimmed = rules.trimmed(column, plain=batch.plain, joined=batch.accents_apart)
        value = pl.col(column) if batch.tidy else trimmed
        return rules.normalised(field, value).alias(field.name)

    def _apply_rules(self, batch: Batch) -> tuple[pl.DataFrame, "_Faulty | None"]:
        """Reject by required fields, blank by optional ones; gives all values, and the rows that are to be rejected."""
        read = batch.frame
        wide = read.select(self._columns(batch))
        values = wide[self._names]
        wide = wide.with_columns(
            rules.odd_text(wide[field.name], tidy=batch.tidy).alias(f"odd {field.name}")
            for field in self._fields
            if _is_text(field)
        )
        masks = wide.select(self._masks)
        suspected = [at for at, mask in enumerate(masks.get_columns()) if mask.any()]
        masks = masks.with_columns(self._look_closely(wide, at, masks[str(at)]) for at in suspected)
        broken = [(self._rules[at], masks[str(at)]) for at in suspected if masks[str(at)].any()]
        rejecting = [mask for rule, mask in broken if rule.effect is _Effect.REJECT]
        mask = functools.reduce(operator.or_, rejecting) if rejecting else None
        self._note_days(values, masks)
        numbers = [(rule.field.name, where) for rule, where in broken if rule.effect is _Effect.REWRITE]
        values = values.with_columns(
            pl.when(pl.lit(where)).then(pl.col(name).str.strip_suffix(".0")).otherwise(pl.col(name)).alias(name)
            for name, where in numbers
        )
        blank: dict[str, pl.Series] = {}
        left_out: dict[int, pl.Series] = {}
        warned: dict[tuple[str, str], pl.Series] = {}
        for rule, where in broken:
            if rule.effect is _Effect.REJECT:
                continue
            name, number = rule.field.name, rule.field.number
            told = where if mask is None else where & ~mask
            if rule.effect is _Effect.LEAVE_OUT:
                told = told & ~left_out[number] if number in left_out else told
                left_out[number] = left_out[number] | told if number in left_out else told
            before = warned.get((rule.code, name))
            warned[rule.code, name] = told if before is None else before | told
            if rule.effect is _Effect.BLANK:
                blank[name] = blank[name] | where if name in blank else where
        for (code, name), where in warned.items():
            self._warn(code, name, values["line"].filter(where))
        for number, where in left_out.items():
            self._keep(values.filter(where), masks.filter(where), number=number)
            group = [field.name for field in self._fields if field.number == number]
            blank |= {name: blank[name] | where if name in blank else where for name in group}
        if blank:
            values = values.with_columns(
                pl.when(pl.lit(where)).then(pl.lit("")).otherwise(pl.col(name)).alias(name)
                for name, where in blank.items()
            )
        return values, None if mask is None else self._reject(read, values, masks, mask)

    def _look_closely(self, wide: pl.DataFrame, at: int, suspect: pl.Series) -> pl.Series:
        """Where a rule is broken, of the rows in which that may be."""
        rule = self._rules[at]
        if rule.suspect is rule.broken:
            return suspect
        if suspect.all():
            return wide.select(rule.broken.alias(str(at))).to_series()
        found = suspect.to_numpy().copy()
        found[found] = wide.filter(suspect).select(rule.broken).to_series().to_numpy()
        return pl.Series(str(at), found)

    def _reject(self, read: pl.DataFrame, values: pl.DataFrame, masks: pl.DataFrame, mask: pl.Series) -> "_Faulty":
        """The rows that break a rejecting rule, each with the first one that it breaks."""
        rows, masks, values = read.filter(mask), masks.filter(mask), values.filter(mask)
        rejecting = [at for at, rule in enumerate(self._rules) if rule.effect is _Effect.REJECT]
        first = masks.select(pl.coalesce(pl.when(pl.col(str(at))).then(at) for at in rejecting)).to_series()
        told = [self._rules[at] for at in first]
        described = pl.DataFrame(
            {
                "line": rows["line"],
                "field": [rule.field.name for rule in told],
                "value": [self._shown(rows, row, rule.field.name) for row, rule in enumerate(told)],
                "code": [rule.code for rule in told],
                "message": [rule.message for rule in told],
            },
            schema=_REJECT_SCHEMA,
        )
        self._keep(values, masks)
        return _Faulty(mask, pl.concat([described, rows.drop("line")], how="horizontal"))

    def _keep(self, rows: pl.DataFrame, masks: pl.DataFrame | None = None, *, number: int | None = None) -> None:
        """What rows name that are not taken is kept as it stands; `number`: only that group of theirs is not taken."""
        for kind in self._kinds:
            for part in kind.parts:
                if number in {None, part.number}:
                    unread = None if masks is None else self._broken(masks, part.key)
                    readable = rows if unread is None else rows.filter(~unread)
                    kind.keep(part.records(readable), all_kept=readable.height < rows.height)

    def _broken(self, masks: pl.DataFrame, columns: Iterable[str]) -> pl.Series | None:
        """The rows in which one of these columns has no value that can be told; None if there is none."""
        wanted = set(columns)
        found = [
            masks[str(at)]
            for at, rule in enumerate(self._rules)
            if rule.field.name in wanted and rule.effect in {_Effect.REJECT, _Effect.LEAVE_OUT}
        ]
        found = [mask for mask in found if mask.any()]
        return functools.reduce(operator.or_, found) if found else None

    def _note_days(self, values: pl.DataFrame, masks: pl.DataFrame) -> None:
        """The days that rows name, rejected or not."""
        for kind in self._kinds:
            for part in kind.parts if kind.feed.days else ():
                columns = [part.columns[name] for name in kind.feed.days]
                unread = self._broken(masks, columns)
                named = (values if unread is None else values.filter(~unread))[columns].unique()
                kind.cover(named.rename(dict(zip(columns, kind.feed.days, strict=True))))

    def _shown(self, rows: pl.DataFrame, row: int, field: str) -> str:
        position = self._mapping.columns.get(field)
        return "" if position is None else shorten(rows[f"c{position}"][row].strip())

    def _apart(self, read: pl.DataFrame, values: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None, int]:
        """Set rows that repeat apart, and take what the others give: rows, rejects, and how many collapse."""
        if not values.height:
            return values, None, 0
        if not self._rows_decide:
            return self._apart_by_records(read, values)
        values, repeated, collapsed, placed = self._apart_repeated(read, values)
        for kind in self._kinds:
            if kind.feed is self._feed:
                kind.take(values[["line", *self._feed.field_names]], None if self._entering is None else placed)
            else:
                given = kind.records(values)
                found = kind.repeats(given)
                kind.take(given if found is None else given.filter(pl.Series(found.status == NEW)))
                if found is not None:
                    different = given["line"].filter(pl.Series(found.status == DIFFERENT))
                    self._warn("details_differ", kind.feed.key[0], different.unique(maintain_order=True))
        return values, repeated, collapsed

    def _apart_by_records(
        self, read: pl.DataFrame, values: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame | None, int]:
        given = [(kind, kind.records(values)) for kind in self._kinds]
        found = [kind.repeats(records) for kind, records in given]
        if all(each is None for each in found):
            for kind, records in given:
                kind.take(records)
            return values, None, 0
        told = []
        for at, ((kind, records), repeats) in enumerate(zip(given, found, strict=True)):
            status = np.zeros(records.height, dtype=np.uint8) if repeats is None else repeats.status
            kind.take(records.filter(pl.Series(status == NEW)))
            told.append(
                records.select(
                    "line",
                    pl.lit(at).alias("kind"),
                    pl.Series("new", status == NEW),
                    pl.Series("differs", status == DIFFERENT),
                    pl.Series("first", records["line"] if repeats is None else repeats.first),
                    pl.concat_str(kind.feed.key, separator=", ").alias("shown"),
                )
            )
        differing = pl.col("differs")
        rows = (
            pl.concat(told)
            .group_by("line")
            .agg(
                pl.col("new").any(),
                differing.any(),
                *(pl.col(name).filter(differing).first() for name in ("kind", "first", "shown")),
            )
            .sort("line")
        )
        for (at,), mixed in rows.filter(pl.col("new") & differing).group_by("kind"):
            self._warn("details_differ", self._kinds[int(str(at))].feed.key[0], mixed["line"])
        rejected = rows.filter(~pl.col("new") & differing)
        identical = rows.filter(~pl.col("new") & ~differing)
        self._warn("identical_rows", "", identical["line"])
        keys = [self._kinds[at].feed for at in rejected["kind"]]
        repeated = self._as_repeated(read, rejected, keys) if rejected.height else None
        left = values.filter(~pl.col("line").is_in(rows.filter(~pl.col("new"))["line"].implode()))
        return left, repeated, identical.height

    def _apart_repeated(
        self, read: pl.DataFrame, values: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame | None, int, Placed]:
        """Collapse identical rows and reject later rows of a key that came before with other details."""
        hashes = self._hasher.rows(values)
        found, at = self._seen.enter(hashes, values["line"].to_numpy())
        placed = Placed(hashes.key, hashes.check, hashes.row, at)
        for name, seen in self._shared.items():
            self._warn_shared(name, seen, values, hashes.columns, found)
        if found is None:
            return values, None, 0, placed
        identical = pl.Series(found.status == IDENTICAL)
        different = pl.Series(found.status == DIFFERENT)
        self._warn("identical_rows", "", values["line"].filter(identical))
        repeated = None
        if different.any():
            rows = values.filter(different).select(
                "line",
                pl.Series("first", found.first[found.status == DIFFERENT]),
                pl.concat_str(self._key, separator=", ").alias("shown"),
            )
            repeated = self._as_repeated(read, rows, [self._feed] * rows.height)
        left = values.filter(~(identical | different))
        return left, repeated, int(identical.sum()), placed.only(found.status == NEW)

    @staticmethod
    def _as_repeated(read: pl.DataFrame, rows: pl.DataFrame, feeds: Sequence[Feed]) -> pl.DataFrame:
        """Rejects of rows (`line`, `first`, `shown`) whose key, that of a feed, came before with other details."""
        labels = {feed.name: " and ".join(feed.field(name).label for name in feed.key) for feed in feeds}
        described = pl.DataFrame(
            {
                "line": rows["line"],
                "field": ["+".join(feed.key) for feed in feeds],
                "value": list(map(shorten, rows["shown"])),
                "code": ["duplicate_key"] * rows.height,
                "message": [
                    codes.message("duplicate_key", field=labels[feed.name], line=first)
                    for feed, first in zip(feeds, rows["first"], strict=True)
                ],
            },
            schema=_REJECT_SCHEMA,
        )
        return described.join(read, on="line", how="left", maintain_order="left")

    def _warn_shared(
        self, name: str, seen: Seen, values: pl.DataFrame, hashes: pl.DataFrame, found: Repeats | None
    ) -> None:
        kept = (values[name] != "").to_numpy()
        if found is not None:
            kept &= found.status == NEW
        lines = values["line"].to_numpy()[kept]
        own = hashes[name].to_numpy()[kept]
        repeats = seen.add(key=own, check=own, row=own, line=lines)
        if repeats is not None:
            self._warn("shared_value", name, pl.Series(lines[repeats.status != NEW]))

    def _warn_look_alikes(self, good: pl.DataFrame, name: str) -> None:
        """Warn of identifiers that are another one without its leading zeros (`14` where `014` came before), or in
        other letters (`a1` where `A1` came before).

        Only of fields with few different values, such as schools: more cannot be kept for a file of any length.
        """
        longest = self._longest_forms[name]
        column = good[name]
        values = set(column if len(column) <= _FORMS_KEPT else column.unique())
        if len(longest) + len(values) > _FORMS_KEPT:
            del self._longest_forms[name]
            return
        zeros, letters = [], []
        for value in sorted(values):
            if value.isascii() and value.isdecimal():
                number = value.lstrip("0")
                longest[number] = max(longest.get(number, ""), value, key=len)
                zeros.append(value)
            elif longest.setdefault(value.casefold(), value) != value:
                letters.append(value)
        short = [value for value in zeros if len(value) < len(longest[value.lstrip("0")])]
        for code, found in (("zeros_lost", short), ("case_differs", letters)):
            if found:
                self._warn(code, name, good["line"].filter(good[name].is_in(found)))

    def _warn(self, code: str, name: str, lines: pl.Series) -> None:
        if not len(lines):
            return
        count, kept = self._warned.get((code, name), (0, []))
        kept.extend(lines.head(_LINES_KEPT - len(kept)).to_list())
        self._warned[code, name] = (count + len(lines), kept)

    def _warning_text(self, code: str, name: str, count: int) -> str:
        if not name:
            return codes.message(code, count=count)
        field = self._labelled(name)
        return codes.message(code, field=field.label, limit=field.max_length or 0, count=count)

    def _labelled(self, name: str) -> Field:
        try:
            return self._feed.field(name)
        except KeyError:
            return next(kind.feed.field(name) for kind in self._kinds if name in kind.feed.column_names)

    def _together(self, read: pl.DataFrame, rejected: list[pl.DataFrame]) -> pl.DataFrame:
        if rejected:
            rejects = pl.concat(rejected, how="diagonal") if len(rejected) > 1 else rejected[0]
            missing = [name for name in read.columns if name not in rejects.columns]
            return rejects.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing).sort(
                "line", maintain_order=True
            )
        if self._no_rejects.width == len(_REJECT_SCHEMA):
            as_read = {name: pl.String() for name in read.columns if name != "line"}
            self._no_rejects = pl.DataFrame(schema=pl.Schema({**_REJECT_SCHEMA, **as_read}))
        return self._no_rejects

    def _count(self, batch: Batch, rejects: pl.DataFrame, collapsed: int) -> None:
        read = batch.frame.height + len(batch.damaged)
        self.read += read
        self.rejected += rejects.height
        self.accepted += read - rejects.height
        self.collapsed += collapsed
        if not rejects.height:
            return
        self._reject_counts.update(rejects["code"].to_list())
        room = max(self._options.reject_limit - len(self._rejects), 0)
        self._rejects.extend(Reject(*row) for row in rejects.head(room).select(_REJECT_SCHEMA.names()).iter_rows())


@dataclass(frozen=True, slots=True)
class _Faulty:
    """Rows that break a rule: where they are in the batch, and how they are told."""

    mask: pl.Series
    rows: pl.DataFrame


class _Kind:
    """Records of one feed that a file gives, and which of their keys it must not be taken to have dropped."""

    def __init__(self, feed: Feed, parts: list[Part], *, unique: bool) -> None:
        self.feed = feed
        self.parts = parts
        self._seen = None if unique else Seen()
        self._hasher = Hasher(feed.field_names, feed.key)
        self.begin(all_kept=False)

    @classmethod
    def all_of(cls, feed: Feed, fields: Sequence[Field]) -> list["_Kind"]:
        """What the rows of a file give, by feed: the file's own records first."""
        parts = parts_of(feed, fields)
        feeds = {part.feed.name: part.feed for part in parts}
        alone = not feed.gives and not any(part.spread for part in parts)
        kinds = []
        for name, given in feeds.items():
            own = [part for part in parts if part.feed.name == name]
            by_row = not feed.has_table and len(own) == 1 and own[0].key == feed.key
            kinds.append(cls(given, own, unique=alone or by_row))
        return kinds

    def begin(self, *, all_kept: bool) -> None:
        """A batch begins; `all_kept`: it has lines that nothing can be told of."""
        self._rows: pl.DataFrame | None = None
        self._placed: Placed | None = None
        self._kept: list[pl.DataFrame] = []
        self._all_kept = all_kept
        self._covers: list[pl.DataFrame] = []

    def records(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What rows give: `line`, and the feed's fields; in the order of the lines."""
        given = [part.records(rows) for part in self.parts]
        return given[0] if len(given) == 1 else pl.concat(given).sort("line", maintain_order=True)

    def repeats(self, records: pl.DataFrame) -> Repeats | None:
        """Which records came before; None if all are new."""
        if self._seen is None or not records.height:
            return None
        hashes = self._hasher.rows(records)
        return self._seen.add(key=hashes.key, check=hashes.check, row=hashes.row, line=records["line"].to_numpy())

    def take(self, records: pl.DataFrame, placed: Placed | None = None) -> None:
        """These are given."""
        self._rows, self._placed = records, placed

    def keep(self, records: pl.DataFrame, *, all_kept: bool) -> None:
        """These are named by rows that are not taken; `all_kept`: by such rows others may be named, too."""
        if records.height:
            self._kept.append(apart(records.select(self.feed.key)))
        self._all_kept |= all_kept

    def cover(self, days: pl.DataFrame) -> None:
        """These days are named."""
        self._covers.append(days)

    def spoken(self) -> Records:
        """What the batch says."""
        nothing = pl.DataFrame(schema=dict.fromkeys(self.feed.field_names, pl.String))
        return Records(
            self.feed,
            rows=nothing if self._rows is None else self._rows.drop("line"),
            kept=pl.concat(self._kept) if self._kept else nothing.select(self.feed.key),
            keep_all=self._all_kept,
            covers=pl.concat(self._covers).unique() if self._covers else None,
            placed=self._placed,
        )


_REJECT_SCHEMA: Final = pl.Schema(
    {"line": pl.Int64, "field": pl.String, "value": pl.String, "code": pl.String, "message": pl.String}
)


def _is_text(field: Field) -> bool:
    return field.kind is Kind.TEXT and not rules.is_name(field)


def _damage_rows(damaged: tuple[Damage, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [(each.line, "", each.value, each.code, codes.message(each.code)) for each in damaged],
        schema=_REJECT_SCHEMA,
        orient="row",
    )


def _template(field: Field) -> str:
    """The name under which a numbered field is declared."""
    return field.name.replace(f"_{field.sign.lower()}", "_#", 1) if field.number else field.name
