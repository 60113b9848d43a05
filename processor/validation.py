"""From batches of read rows to accepted rows, rejects and warnings, by the rules of the feed.

Pure: no database, no server. A row with a fault in a required field is rejected; a fault in an optional one blanks
that value with a warning. Of rows that are identical one is taken; of different rows with one key the first. Counts
add up, always: rows read = rows accepted + rows rejected, where `collapsed` rows count as accepted and
give no record of their own.
"""

import functools
import operator
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from landingzone.feed import Feed, Field, Kind
from processor import codes, rules
from processor.mapping import Mapping
from processor.reading import Batch, Damage
from processor.reading.table import shorten

_LINES_KEPT: Final = 20
_FORMS_KEPT: Final = 5000
"""Different values of a field up to which lost leading zeros are looked for."""

_SECOND_FAMILY: Final = 1000
"""Seeds from here on give hashes that are independent of the first ones."""


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
        accepted: `line` (Int64), then every field of the feed in order (String, normalised, "" for empty); rising
        lines,
            identical rows collapsed.
        rejects: `line` (Int64), `field`, `value`, `code`, `message` (String), then the columns as read, `c0`, `c1`, ...
            (null for a damaged line, which has none). One row for each rejected row, damaged lines included; rising
            lines.
        rejected_keys: the key fields (String, normalised) of the rejected rows whose key could be read.
        unreadable_keys: rejected rows whose key could not be read, damaged lines included.
        collapsed: rows that repeat an earlier row in every field; accepted, without a record of their own.
        read: rows of the batch; always accepted.height + collapsed + rejects.height.
    """

    accepted: pl.DataFrame
    rejects: pl.DataFrame
    rejected_keys: pl.DataFrame
    unreadable_keys: int
    collapsed: int
    read: int


class _Effect(StrEnum):
    """What a broken rule does to the row."""

    REJECT = "reject"
    BLANK = "blank"
    TELL = "tell"


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
    """Checks the batches of one file, in order. Its state: keys seen so far (some 40 bytes a row), and counts."""

    def __init__(self, feed: Feed, mapping: Mapping, options: Options | None = None) -> None:
        self._feed = feed
        self._mapping = mapping
        self._options = options or Options()
        self._rules = [rule for field in feed.fields for rule in self._rules_of(field)]
        self._masks = [rule.suspect.alias(str(at)) for at, rule in enumerate(self._rules)]
        self._key_faults = [
            str(at)
            for at, rule in enumerate(self._rules)
            if rule.effect is _Effect.REJECT and rule.field.name in feed.key
        ]
        self._names = ["line", *feed.field_names]
        self._key = list(feed.key)
        self._columns = [pl.col("line"), *map(self._value, feed.fields), *self._extensions()]
        self._hashes = [
            *(pl.col(name).hash(seed).alias(name) for seed, name in enumerate(feed.field_names)),
            *(pl.col(name).hash(_SECOND_FAMILY + seed).alias(f"+{name}") for seed, name in enumerate(feed.key)),
        ]
        self._no_rejects = pl.DataFrame(schema=_REJECT_SCHEMA)
        self._seen = _Seen()
        self._shared = {name: _Seen() for name in feed.shared_is_warned}
        self._longest_forms: dict[str, dict[str, str]] = {name: {} for name in rules.identifiers(feed)}
        self._warned: dict[tuple[str, str], tuple[int, list[int]]] = {}
        self._reject_counts: Counter[str] = Counter()
        self._rejects: list[Reject] = []
        self.read = 0
        self.accepted = 0
        self.rejected = 0
        self.collapsed = 0
        self.unreadable_keys = 0

    def check(self, batch: Batch) -> Checked:
        """Apply every rule to a batch. Batches must come in the order of the file."""
        values, faulty = self._apply_rules(batch.frame)
        good = values.filter(~faulty.mask) if faulty else values
        good, repeated, collapsed = self._apart_repeated(batch.frame, good)
        for name in list(self._longest_forms):
            self._warn_lost_zeros(good, name)
        rejected = [faulty.rows] if faulty else []
        keys = faulty.keys if faulty else values[:0][self._key]
        if repeated is not None:
            rejected.append(repeated)
            keys = pl.concat([keys, values.join(repeated, on="line", how="semi")[self._key]])
        if batch.damaged:
            rejected.append(_damage_rows(batch.damaged))
        rejects = self._together(batch.frame, rejected)
        unreadable = rejects.height - keys.height
        self._count(batch, rejects, collapsed, unreadable)
        return Checked(good, rejects, keys, unreadable, collapsed, batch.frame.height + len(batch.damaged))

    def warnings(self) -> list[RowWarning]:
        """What the sender should know about the accepted rows so far, in the order of the feed's fields."""
        order = {name: at for at, name in enumerate(self._feed.field_names)}
        absent = [
            RowWarning("expected_missing", name, self._warning_text("expected_missing", name, 0), self.accepted, ())
            for name in self._mapping.missing_expected
        ]
        return absent + [
            RowWarning(code, name, self._warning_text(code, name, count), count, tuple(lines))
            for (code, name), (count, lines) in sorted(
                self._warned.items(), key=lambda item: (order.get(item[0][1], -1), item[0][0])
            )
        ]

    def reject_counts(self) -> dict[str, int]:
        """Rejected rows so far by code, damaged lines included."""
        return dict(self._reject_counts)

    def rejects(self) -> list[Reject]:
        """The first rejects (`Options.reject_limit`), damaged lines included."""
        return list(self._rejects)

    def _rules_of(self, field: Field) -> list[_Rule]:
        value = pl.col(field.name)
        required = field.required or (field.expected and self._options.strict_alt_phone)
        found = []
        if required:
            found.append(self._rule(field, "required_empty", value == "", _Effect.REJECT))
        if field.name not in self._mapping.columns:
            return found
        if field.expected and not required:
            found.append(self._rule(field, "expected_empty", value == "", _Effect.TELL))
        if field.kind is Kind.PHONE:
            found.append(self._rule(field, "extension_cut", pl.col(f"x {field.name}"), _Effect.TELL))
        if field.name in rules.identifiers(self._feed):
            odd, suspect = rules.like_a_number(value), rules.perhaps_like_a_number(value)
            found.append(self._rule(field, "number_like", odd, _Effect.TELL, suspect))
        for fault in rules.faults(field, value):
            code, effect = (fault.code, _Effect.REJECT) if required else (fault.blanked, _Effect.BLANK)
            found.append(self._rule(field, code, (value != "") & fault.broken, effect, fault.suspect))
        return found

    def _rule(self, field: Field, code: str, broken: pl.Expr, effect: _Effect, suspect: pl.Expr | None = None) -> _Rule:
        message = codes.message(code, field=field.label, limit=field.max_length or 0)
        return _Rule(field, code, effect, message, broken, broken if suspect is None else suspect)

    def _extensions(self) -> list[pl.Expr]:
        """Whether a phone as it was read has an extension, which its value no longer shows."""
        return [
            rules.has_extension(pl.col(f"c{self._mapping.columns[field.name]}")).alias(f"x {field.name}")
            for field in self._feed.fields
            if field.kind is Kind.PHONE and field.name in self._mapping.columns
        ]

    def _value(self, field: Field) -> pl.Expr:
        position = self._mapping.columns.get(field.name)
        if position is None:
            return pl.lit(field.default, dtype=pl.String).alias(field.name)
        return rules.normalised(field, rules.trimmed(f"c{position}")).alias(field.name)

    def _apply_rules(self, read: pl.DataFrame) -> tuple[pl.DataFrame, "_Faulty | None"]:
        """Reject by required fields, blank by optional ones; gives all values, and the rows that are to be rejected."""
        wide = read.select(self._columns)
        values = wide[self._names]
        masks = wide.select(self._masks)
        suspected = [at for at, mask in enumerate(masks.get_columns()) if mask.any()]
        masks = masks.with_columns(
            wide.select(self._rules[at].broken.alias(str(at)) for at in suspected).get_columns()
            if any(self._rules[at].suspect is not self._rules[at].broken for at in suspected)
            else ()
        )
        broken = [(self._rules[at], masks[str(at)]) for at in suspected if masks[str(at)].any()]
        rejecting = [mask for rule, mask in broken if rule.effect is _Effect.REJECT]
        mask = functools.reduce(operator.or_, rejecting) if rejecting else None
        blank: dict[str, pl.Series] = {}
        for rule, where in broken:
            if rule.effect is _Effect.REJECT:
                continue
            name = rule.field.name
            self._warn(rule.code, name, values["line"].filter(where if mask is None else where & ~mask))
            if rule.effect is _Effect.BLANK:
                blank[name] = blank[name] | where if name in blank else where
        if blank:
            values = values.with_columns(
                pl.when(pl.lit(where)).then(pl.lit("")).otherwise(pl.col(name)).alias(name)
                for name, where in blank.items()
            )
        return values, None if mask is None else self._reject(read, values, masks, mask)

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
        readable = masks.select(~pl.any_horizontal(pl.lit(value=False), *self._key_faults)).to_series()
        return _Faulty(
            mask, pl.concat([described, rows.drop("line")], how="horizontal"), values.filter(readable)[self._key]
        )

    def _shown(self, rows: pl.DataFrame, row: int, field: str) -> str:
        position = self._mapping.columns.get(field)
        return "" if position is None else shorten(rows[f"c{position}"][row].strip())

    def _apart_repeated(
        self, read: pl.DataFrame, values: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame | None, int]:
        """Collapse identical rows and reject later rows of a key that came before with other details."""
        if not values.height:
            return values, None, 0
        hashes = values.select(self._hashes)
        lines = values["line"].to_numpy()
        found = self._seen.add(
            key=_sum(hashes, self._key),
            check=_sum(hashes, [f"+{name}" for name in self._key]),
            row=_sum(hashes, list(self._feed.field_names)),
            line=lines,
        )
        for name, seen in self._shared.items():
            self._warn_shared(name, seen, values, hashes, found)
        if found is None:
            return values, None, 0
        identical = pl.Series(found.status == _IDENTICAL)
        different = pl.Series(found.status == _DIFFERENT)
        self._warn("identical_rows", "", values["line"].filter(identical))
        repeated = self._repeated(read, values.filter(different), found.first[found.status == _DIFFERENT].tolist())
        return values.filter(~(identical | different)), repeated, int(identical.sum())

    def _repeated(self, read: pl.DataFrame, values: pl.DataFrame, firsts: list[int]) -> pl.DataFrame | None:
        if not values.height:
            return None
        label = " and ".join(self._feed.field(name).label for name in self._feed.key)
        shown = [shorten(", ".join(row)) for row in values.select(self._feed.key).iter_rows()]
        lines = values["line"].to_list()
        described = pl.DataFrame(
            {
                "line": lines,
                "field": ["+".join(self._feed.key)] * len(lines),
                "value": shown,
                "code": ["duplicate_key"] * len(lines),
                "message": [codes.message("duplicate_key", field=label, line=first) for first in firsts],
            },
            schema=_REJECT_SCHEMA,
        )
        return described.join(read, on="line", how="left", maintain_order="left")

    def _warn_shared(
        self, name: str, seen: "_Seen", values: pl.DataFrame, hashes: pl.DataFrame, found: "_Repeats | None"
    ) -> None:
        kept = (values[name] != "").to_numpy()
        if found is not None:
            kept &= found.status == _NEW
        lines = values["line"].to_numpy()[kept]
        own = hashes[name].to_numpy()[kept]
        repeats = seen.add(key=own, check=own, row=own, line=lines)
        if repeats is not None:
            self._warn("shared_value", name, pl.Series(lines[repeats.status != _NEW]))

    def _warn_lost_zeros(self, good: pl.DataFrame, name: str) -> None:
        """Warn of identifiers that are another one without its leading zeros (`14` where `014` came before).

        Only of fields with few different values, such as schools: more cannot be kept for a file of any length.
        """
        longest = self._longest_forms[name]
        column = good[name]
        values = set(column if len(column) <= _FORMS_KEPT else column.unique())
        if len(longest) + len(values) > _FORMS_KEPT:
            del self._longest_forms[name]
            return
        numbers = [value for value in values if value.isascii() and value.isdecimal()]
        for value in numbers:
            number = value.lstrip("0")
            longest[number] = max(longest.get(number, ""), value, key=len)
        short = [value for value in numbers if len(value) < len(longest[value.lstrip("0")])]
        if short:
            self._warn("zeros_lost", name, good["line"].filter(good[name].is_in(short)))

    def _warn(self, code: str, name: str, lines: pl.Series) -> None:
        if not len(lines):
            return
        count, kept = self._warned.get((code, name), (0, []))
        kept.extend(lines.head(_LINES_KEPT - len(kept)).to_list())
        self._warned[code, name] = (count + len(lines), kept)

    def _warning_text(self, code: str, name: str, count: int) -> str:
        if not name:
            return codes.message(code, count=count)
        field = self._feed.field(name)
        return codes.message(code, field=field.label, limit=field.max_length or 0, count=count)

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

    def _count(self, batch: Batch, rejects: pl.DataFrame, collapsed: int, unreadable: int) -> None:
        read = batch.frame.height + len(batch.damaged)
        self.read += read
        self.rejected += rejects.height
        self.accepted += read - rejects.height
        self.collapsed += collapsed
        self.unreadable_keys += unreadable
        if not rejects.height:
            return
        self._reject_counts.update(rejects["code"].to_list())
        room = max(self._options.reject_limit - len(self._rejects), 0)
        self._rejects.extend(Reject(*row) for row in rejects.head(room).select(_REJECT_SCHEMA.names()).iter_rows())


@dataclass(frozen=True, slots=True)
class _Faulty:
    """Rows that break a rule: where they are in the batch, how they are told, and their keys if readable."""

    mask: pl.Series
    rows: pl.DataFrame
    keys: pl.DataFrame


_REJECT_SCHEMA: Final = pl.Schema(
    {"line": pl.Int64, "field": pl.String, "value": pl.String, "code": pl.String, "message": pl.String}
)


def _damage_rows(damaged: tuple[Damage, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [(each.line, "", each.value, each.code, codes.message(each.code)) for each in damaged],
        schema=_REJECT_SCHEMA,
        orient="row",
    )


def _sum(hashes: pl.DataFrame, names: list[str]) -> npt.NDArray[np.uint64]:
    """Hashes of several columns as one. Each column has a hash function of its own, so that order matters."""
    total: npt.NDArray[np.uint64] = hashes[names[0]].to_numpy().copy()
    for name in names[1:]:
        total += hashes[name].to_numpy()
    return total


_NEW: Final = 0
_IDENTICAL: Final = 1
_DIFFERENT: Final = 2


@dataclass(frozen=True, slots=True)
class _Repeats:
    """For each row: new, identical to an earlier one, or different with the same key; and the line of the first."""

    status: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]


class _Seen:
    """The keys seen so far: a hash table over numpy arrays, 24 bytes a row and 7 to 14 for the table.

    Two rows count as one key where 96 bits of two independent hashes agree: over 35 million rows the chance that two
    different keys do so is 1 in 10^14. Rows of one key count as identical where 64 further bits agree.
    """

    _FIRST_BITS: Final = 10
    _FULL: Final = 0.6
    _AT_ONCE: Final = 1 << 17
    _REHASHED_AT_ONCE: Final = 1 << 20

    def __init__(self) -> None:
        self._count = 0
        self._key = np.zeros(0, dtype=np.uint64)
        self._check = np.zeros(0, dtype=np.uint32)
        self._row = np.zeros(0, dtype=np.uint64)
        self._line = np.zeros(0, dtype=np.uint32)
        self._bits = self._FIRST_BITS
        self._table = self._empty_table()

    def add(
        self,
        *,
        key: npt.NDArray[np.uint64],
        check: npt.NDArray[np.uint64],
        row: npt.NDArray[np.uint64],
        line: npt.NDArray[np.int64],
    ) -> _Repeats | None:
        """Take in rows; gives which of them repeat an earlier key, None if none does."""
        start, stop = self._count, self._count + len(key)
        self._store(start, stop, key, check, row, line)
        ids = np.arange(start, stop, dtype=np.int64)
        if stop > self._FULL * len(self._table):
            self._grow(start, stop)
        owners = self._owners(ids)
        repeated = owners != ids
        if not repeated.any():
            return None
        status = np.zeros(len(key), dtype=np.uint8)
        status[repeated] = np.where(self._row[owners[repeated]] == row[repeated], _IDENTICAL, _DIFFERENT)
        return _Repeats(status, self._line[owners].astype(np.int64))

    def _owners(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each stored row the first one with its key, entering those that are the first themselves.

        Linear probing, all rows at once, one slot a round. Of rows that want one free slot the first gets it. The
        rows go in the order of their slots, roughly, so that memory is walked and not jumped about in.
        """
        owners = ids.copy()
        near = np.argsort((self._key[ids] >> np.uint64(48)).astype(np.uint16), kind="stable")
        for first in range(0, len(ids), self._AT_ONCE):
            self._enter(ids[near[first : first + self._AT_ONCE]], owners, int(ids[0]))
        return owners

    def _enter(self, pending: npt.NDArray[np.int64], owners: npt.NDArray[np.int64], start: int) -> None:
        """Enter some rows; where another has their key, note it in `owners`, which begins with row `start`."""
        slots = (self._key[pending] >> np.uint64(64 - self._bits)).astype(np.int64)
        while len(pending):
            found = self._table[slots]
            free = found < 0
            wanting, wanted = pending[free], slots[free]
            self._table[wanted[::-1]] = wanting[::-1]
            lost = np.flatnonzero(self._table[wanted] != wanting)
            taken = np.flatnonzero(~free)
            found = np.concatenate((found[taken], self._table[wanted[lost]])).astype(np.int64)
            pending = np.concatenate((pending[taken], wanting[lost]))
            slots = np.concatenate((slots[taken], wanted[lost]))
            same = (self._key[found] == self._key[pending]) & (self._check[found] == self._check[pending])
            owners[pending[same] - start] = found[same]
            pending, slots = pending[~same], (slots[~same] + 1) & (len(self._table) - 1)

    def _store(
        self,
        start: int,
        stop: int,
        key: npt.NDArray[np.uint64],
        check: npt.NDArray[np.uint64],
        row: npt.NDArray[np.uint64],
        line: npt.NDArray[np.int64],
    ) -> None:
        if stop > len(self._key):
            room = stop + (stop >> 3)
            for array in (self._key, self._check, self._row, self._line):
                array.resize(room, refcheck=False)
        self._key[start:stop], self._row[start:stop] = key, row
        self._check[start:stop], self._line[start:stop] = check >> np.uint64(32), line
        self._count = stop

    def _grow(self, entered: int, stop: int) -> None:
        """Double the table, as often as needed, and enter again what had been entered."""
        self._bits = int(stop / self._FULL).bit_length()
        del self._table  # so that the two never take room at once
        self._table = self._empty_table()
        for first in range(0, entered, self._REHASHED_AT_ONCE):
            self._owners(np.arange(first, min(first + self._REHASHED_AT_ONCE, entered), dtype=np.int64))

    def _empty_table(self) -> npt.NDArray[np.int32]:
        return np.full(1 << self._bits, -1, dtype=np.int32)
