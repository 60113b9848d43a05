"""Rows against the rules: who is accepted, who is rejected and why, and that the counts add up."""

from collections.abc import Iterator
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landingzone.feed import Feed, load_catalogue
from processor.duplicates import Seen
from processor.hashing import RowHashes
from processor.key_table import KeyTable
from processor.listing import Beside
from processor.mapping import resolve
from processor.reading import Batch, Damage
from processor.validation import Checked, Options, Validator

CATALOGUE = load_catalogue()
STUDENTS, SECTIONS, TEACHERS = CATALOGUE["students"], CATALOGUE["sections"], CATALOGUE["teachers"]
STUDENT = ("1", "Ann", "Lee", "9195550123", "014", "en", "9195550124", "ann@example.org", "", "3", "F")


def batch(rows: list[tuple[str, ...]], *, first_line: int = 2, damaged: tuple[Damage, ...] = ()) -> Batch:
    width = len(rows[0]) if rows else 1
    columns = {f"c{at}": pl.Series([row[at] for row in rows], dtype=pl.String) for at in range(width)}
    return Batch(
        pl.DataFrame({"line": pl.Series(range(first_line, first_line + len(rows)), dtype=pl.Int64), **columns}), damaged
    )


def validator(feed: Feed, options: Options | None = None) -> Validator:
    return Validator(feed, resolve(feed, feed.field_names, len(feed.fields)), options)


def student(**changed: str) -> tuple[str, ...]:
    return tuple(changed.get(name, value) for name, value in zip(STUDENTS.field_names, STUDENT, strict=True))


def told(checked: Checked) -> list[tuple[int, str, str]]:
    return checked.rejects.select("line", "field", "code").rows()


def test_a_row_in_order_is_accepted_as_it_stands() -> None:
    checked = validator(STUDENTS).check(batch([STUDENT]))
    assert checked.accepted.columns == ["line", *STUDENTS.field_names]
    assert checked.accepted.rows() == [(2, *STUDENT)]
    assert checked.rejects.height == 0


def test_the_first_fault_in_the_order_of_the_fields_decides_a_rows_code() -> None:
    checked = validator(STUDENTS).check(batch([student(last_name="", phone="12", school_id="x" * 256)]))
    assert told(checked) == [(2, "last_name", "required_empty")]


def test_a_reject_shows_the_value_as_it_was_read_and_the_row_as_it_stood() -> None:
    checked = validator(STUDENTS).check(batch([student(phone=" 555-0123 ")]))
    (reject,) = checked.rejects.rows(named=True)
    assert reject["value"] == "555-0123"
    assert reject["c3"] == " 555-0123 "
    assert reject["message"].startswith("Phone Number w/ Area Code ")
    assert "0123 " not in reject["message"]


def test_the_key_of_a_rejected_row_is_known_where_it_can_be_read() -> None:
    checking = validator(STUDENTS)
    rows = [student(student_id="7", phone=""), student(student_id=" ", phone=""), student(student_id="x" * 256)]
    checked = checking.check(batch(rows, damaged=(Damage(9, "damaged_quote", "..."),)))
    assert checked.records[0].kept.rows() == [("7",)]
    assert checked.records[0].keep_all


def test_damaged_lines_are_rejects_among_the_others_in_the_order_of_lines() -> None:
    checking = validator(STUDENTS)
    damaged = (Damage(3, "damaged_fields", "1,2"), Damage(1, "damaged_nul", "x"))
    checked = checking.check(
        batch([student(phone=""), student(student_id="2", phone="")], first_line=2, damaged=damaged[:1])
    )
    assert [line for line, _, _ in told(checked)] == [2, 3, 3]
    assert checking.reject_counts() == {"required_empty": 2, "damaged_fields": 1}
    assert (checking.read, checking.accepted, checking.rejected) == (3, 0, 3)
    assert [(each.line, each.value) for each in checking.rejects() if each.code == "damaged_fields"] == [(3, "1,2")]


def test_an_optional_fault_blanks_its_value_only() -> None:
    checking = validator(STUDENTS)
    checked = checking.check(batch([student(email="ann@", alt_phone="55", grade="g" * 256)]))
    assert checked.accepted.select("email", "alt_phone", "grade", "phone").rows() == [("", "", "", "9195550123")]
    assert [(each.code, each.field, each.lines) for each in checking.warnings()] == [
        ("phone_blanked", "alt_phone", (2,)),
        ("email_blanked", "email", (2,)),
        ("too_long_blanked", "grade", (2,)),
    ]


def test_an_alternative_phone_is_required_only_to_the_letter() -> None:
    rows = [student(alt_phone=""), student(student_id="2", alt_phone="55")]
    assert validator(STUDENTS).check(batch(rows)).accepted.height == 2
    strict = validator(STUDENTS, Options(strict_alt_phone=True)).check(batch(rows))
    assert told(strict) == [(2, "alt_phone", "required_empty"), (3, "alt_phone", "phone_digits")]


def test_a_teacher_without_an_address_is_rejected_for_there_it_is_required() -> None:
    checked = validator(TEACHERS).check(batch([("1", "A", "L", "u1", "u1@", "")]))
    assert told(checked) == [(2, "email", "email_invalid")]


def test_the_first_of_two_different_rows_stays_across_batches() -> None:
    checking = validator(STUDENTS)
    checking.check(batch([STUDENT]))
    checked = checking.check(batch([student(grade="4"), student(student_id="2")], first_line=70))
    assert told(checked) == [(70, "student_id", "duplicate_key")]
    assert "Line 2 " in checked.rejects["message"][0]
    assert checked.records[0].kept.rows() == [("1",)]
    assert not checked.records[0].keep_all
    assert checked.accepted["line"].to_list() == [71]


def test_identical_rows_collapse_even_if_written_differently() -> None:
    checking = validator(STUDENTS)
    checked = checking.check(batch([STUDENT, student(phone="(919) 555-0123", email="<ann@example.org>;")]))
    assert checked.accepted["line"].to_list() == [2]
    assert (checked.collapsed, checking.accepted, checking.rejected) == (1, 2, 0)


def test_a_faulty_row_does_not_stand_in_the_way_of_a_good_one_with_its_key() -> None:
    checked = validator(STUDENTS).check(batch([student(phone=""), STUDENT]))
    assert checked.accepted["line"].to_list() == [3]
    assert told(checked) == [(2, "phone", "required_empty")]


def test_a_key_of_several_fields_does_not_mix_them_up() -> None:
    rows = [("1", "ab", "c", "1", "Art", ""), ("1", "a", "bc", "1", "Art", ""), ("1", "c", "ab", "1", "Art", "")]
    assert validator(SECTIONS).check(batch(rows)).accepted.height == 3


def test_absent_columns_give_empty_values_or_the_default() -> None:
    mapping = resolve(STUDENTS, ("student id", "first", "last", "phone", "school"), 5)
    checking = Validator(STUDENTS, mapping)
    checked = checking.check(batch([STUDENT[:5]]))
    assert checked.accepted.rows() == [(2, *STUDENT[:5], "", "", "", "", "", "")]
    assert [each.code for each in checking.warnings()] == ["expected_missing"]


def test_warnings_name_the_first_twenty_lines_and_count_all() -> None:
    checking = validator(STUDENTS)
    rows = [student(student_id=str(number), alt_phone="") for number in range(30)]
    checking.check(batch(rows))
    (warning,) = checking.warnings()
    assert (warning.count, len(warning.lines), warning.lines[:2]) == (30, 20, (2, 3))
    assert "30" in warning.message


def test_an_empty_batch_changes_nothing() -> None:
    checked = validator(STUDENTS).check(
        Batch(pl.DataFrame(schema={"line": pl.Int64, **{f"c{at}": pl.String for at in range(11)}}))
    )
    assert checked.accepted.height == checked.rejects.height == checked.read == 0


def test_keys_seen_are_told_from_each_other_where_half_of_their_hash_agrees() -> None:
    seen = Seen()
    same = np.full(3, 2**63 + 5, dtype=np.uint64)
    check = np.array([1 << 60, 2 << 60, 1 << 60], dtype=np.uint64)
    row = np.array([7 << 40, 7 << 40, 8 << 40], dtype=np.uint64)
    found = seen.add(key=same, check=check, row=row, line=np.array([10, 11, 12]))
    assert found is not None
    assert found.status.tolist() == [0, 0, 2]
    assert found.first.tolist() == [10, 11, 10]


def listed(rng: np.random.Generator, most: int) -> Beside:
    """Beside a listing of half of the keys that come."""
    keys = rng.permutation(most * 10)[: most * 5].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    table = KeyTable()
    table.enter_new(keys, (keys >> np.uint64(56)).astype(np.uint8))
    return Beside(table, rng.integers(0, 2, len(keys)).astype(np.uint64) << np.uint64(40))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400), st.booleans(), st.sampled_from([0.1, 1, 3, 50]))
def test_keys_seen_are_found_again_like_in_a_dictionary(seed: int, most: int, beside: bool, batches: float) -> None:
    rng = np.random.default_rng(seed)
    seen = listed(rng, most) if beside else Seen(batches)
    known: dict[int, tuple[int, int]] = {}
    line = 0
    for _ in range(6):
        count = int(rng.integers(1, 1500))
        keys = rng.integers(0, most * 10, count).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        rows = rng.integers(0, 2, count).astype(np.uint64) << np.uint64(40)
        lines = np.arange(line, line + count)
        line += count
        found, places = seen.enter(RowHashes(keys, keys, rows, pl.DataFrame()), lines)
        assert (places is not None) == beside
        for at, (key, row) in enumerate(zip(keys.tolist(), rows.tolist(), strict=True)):
            first = known.setdefault(key, (int(lines[at]), row))
            new = first[0] == lines[at]
            status = 0 if new else 1 if first[1] == row else 2
            assert (0 if found is None else found.status[at]) == status
            assert (lines[at] if found is None else found.first[at]) == first[0]
    if isinstance(seen, Seen):
        came = np.array(list(known), dtype=np.uint64)
        table, hashes = seen.taken()
        assert table.find(came, came).tolist() == list(range(len(came)))
        assert hashes.tolist() == [row for _, row in known.values()]


@pytest.mark.parametrize("part", [1, 64])
@pytest.mark.parametrize("at_start", [16, 4096])
def test_keys_seen_are_found_again_where_all_pile_up_at_the_tables_end(
    part: int, at_start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyTable, "_WENT_ROUND", at_start)
    monkeypatch.setattr(KeyTable, "_PLACED_AT_ONCE", 500)
    seen = Seen()
    rng = np.random.default_rng(part)
    keys = np.uint64(2**64 - 1) - rng.permutation(2000).astype(np.uint64) * np.uint64(2**50 // part)
    other = np.zeros(len(keys), dtype=np.uint64)
    for first in range(0, len(keys), 700):
        some = slice(first, first + 700)
        lines = np.arange(first, first + 700)[: len(keys[some])] + 2
        assert seen.add(key=keys[some], check=other[some], row=other[some], line=lines) is None
    again = seen.add(key=keys[::-1], check=other, row=other, line=np.arange(len(keys)))
    assert again is not None
    assert set(again.status.tolist()) == {1}
    assert again.first.tolist() == list(range(len(keys) + 1, 1, -1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_every_key_is_found_again_in_a_table_that_has_grown_piece_by_piece(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(KeyTable, "_PLACED_AT_ONCE", 300)
        patched.setattr(KeyTable, "_WENT_ROUND", 64)
        rng = np.random.default_rng(seed)
        keys = np.unique(rng.integers(0, 2**62, 6000).astype(np.uint64) * np.uint64(4))
        rng.shuffle(keys)
        table = KeyTable()
        for first in range(0, len(keys), 500):
            some = keys[first : first + 500]
            assert table.enter(some, some).tolist() == list(range(first, first + len(some)))
        assert table.find(keys, keys).tolist() == list(range(len(keys)))
        some = np.flatnonzero(rng.random(len(keys)) < 0.99)
        assert table.find(keys[some], keys[some]).tolist() == some.tolist()
        assert set(table.find(keys + np.uint64(1), keys).tolist()) == {-1}
        kept = KeyTable.of(tuple(array.copy() for array in table.arrays))
        assert kept.find(keys[::-1], keys[::-1]).tolist() == list(range(len(keys)))[::-1]
        again = KeyTable()
        small = (keys >> np.uint64(56)).astype(np.uint8)
        for first, stop in ((0, 10), (10, 4000), (4000, 4100), (4100, len(keys))):
            again.enter_new(keys[first:stop], small[first:stop])
        assert again.find(keys, keys).tolist() == list(range(len(keys)))


# --- a second reading of the rules, row by row in plain Python, to hold the first one against


def by_hand(feed: Feed, rows: list[tuple[str, ...]]) -> Iterator[tuple[int, str | tuple[str, ...]]]:
    """For each line its code, or its values, or `collapsed`."""
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line, row in enumerate(rows, start=2):
        values: dict[str, str] = {}
        fault = ""
        for field, raw in zip(feed.fields, row, strict=True):
            value, wrong = raw.strip(), ""
            if field.kind == "phone":
                value = "".join(each for each in value.split("x")[0] if each not in "()- .+")
                value = value[1:] if len(value) == 11 and value[0] == "1" else value
                wrong = "" if not value or (len(value) == 10 and value.isdecimal()) else "phone_digits"
            elif field.kind == "email" and value:
                name, at, domain = value.partition("@")
                wrong = (
                    "" if name and at and "." in domain and "@" not in domain and " " not in value else "email_invalid"
                )
            if not wrong and field.max_length and len(value) > field.max_length:
                wrong = "too_long"
            if field.required and not fault:
                fault = wrong or ("" if value else "required_empty")
            values[field.name] = "" if wrong else value
        key = tuple(values[name] for name in feed.key)
        taken = tuple(values.values())
        if fault:
            yield line, fault
        elif seen.setdefault(key, taken) is taken:
            yield line, taken
        else:
            yield line, "collapsed" if seen[key] == taken else "duplicate_key"


CHOICES = {
    "text": ["", " ", "A", "B", " A ", "é" * 255, "é" * 256],
    "phone": ["", "9195550123", "(919) 555-0124", "1-919-555-0123", "919-555-0123 x12", "555", "919555012a"],
    "email": ["", "a@example.org", "b@example.org", "a@example", "a b@example.org", "a@b@example.org"],
}


@pytest.mark.parametrize("feed", [STUDENTS, SECTIONS, TEACHERS], ids=lambda feed: feed.name)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 60), stretch=st.integers(1, 60))
def test_every_row_fares_as_in_a_reading_by_hand(feed: Feed, seed: int, size: int, stretch: int) -> None:
    dice = Random(seed)
    rows = [
        tuple(
            dice.choice([*CHOICES[field.kind.value], "A", "9195550123", "a@example.org"][-9:]) for field in feed.fields
        )
        if dice.random() < 0.3
        else tuple(dice.choice(CHOICES[field.kind.value][1:4]).strip() or "C" for field in feed.fields)
        for _ in range(size)
    ]
    expected = dict(by_hand(feed, rows))
    checking = validator(feed)
    checked = [
        checking.check(batch(rows[first : first + stretch], first_line=2 + first)) for first in range(0, size, stretch)
    ]
    got: dict[int, str | tuple[str, ...]] = dict.fromkeys(expected, "collapsed")
    got |= {row[0]: row[1:] for each in checked for row in each.accepted.rows()}
    got |= {line: code for each in checked for line, _, code in told(each)}
    assert got == expected
    assert checking.read == size == checking.accepted + checking.rejected
    assert checking.accepted == sum(each.accepted.height + each.collapsed for each in checked)
    assert checking.collapsed == sum(1 for outcome in expected.values() if outcome == "collapsed")
    assert sum(checking.reject_counts().values()) == checking.rejected
