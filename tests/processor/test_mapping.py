"""Which column of a file holds which field of its feed."""

import pytest

from landingzone.feed import load_catalogue
from landingzone.kept_mapping import KeptMapping
from processor.mapping import looks_like_header, resolve

CATALOGUE = load_catalogue()
STUDENTS = CATALOGUE["students"]
SECTIONS = CATALOGUE["sections"]


@pytest.mark.parametrize("name", ["Student_id", "SIS ID", "student number", " STUDENT ID# ", "student-id"])
def test_header_names_are_known_whatever_their_case_blanks_and_punctuation(name: str) -> None:
    mapping = resolve(STUDENTS, (name, "First", "Last", "Phone", "School"), 5)
    assert mapping.columns["student_id"] == 0
    assert mapping.how["student_id"] == "header"
    assert mapping.missing == ()


def test_columns_may_stand_in_any_order_and_further_ones_are_ignored() -> None:
    mapping = resolve(SECTIONS, ("Room", "Section#", "Course Name", "Period", "Staff ID", "School ID#"), 6)
    assert mapping.columns == {"staff_id": 4, "school_id": 5, "section_id": 1, "period": 3, "course_name": 2}
    assert mapping.ignored == ("Room",)


def test_of_two_columns_for_one_field_the_one_with_the_fields_own_name_is_taken() -> None:
    mapping = resolve(SECTIONS, ("School Code", "School ID", "Section#"), 3)
    assert mapping.columns["school_id"] == 1
    assert mapping.ignored == ("School Code",)


def test_of_two_columns_with_equally_good_names_the_first_is_taken() -> None:
    mapping = resolve(SECTIONS, ("School", "School Code", "Section#"), 3)
    assert mapping.columns["school_id"] == 0
    assert mapping.ignored == ("School Code",)


def test_the_accounts_own_mapping_wins_over_the_names_that_the_feed_knows() -> None:
    kept = KeptMapping(headers={"school_id": "Bldg", "phone": "Mother's number"})
    header = ("Student ID", "First", "Last", "Phone", "School", "BLDG", "Mothers Number")
    mapping = resolve(STUDENTS, header, 7, kept)
    assert (mapping.columns["school_id"], mapping.how["school_id"]) == (5, "kept")
    assert (mapping.columns["phone"], mapping.how["phone"]) == (6, "kept")
    assert mapping.ignored == ("Phone", "School")


def test_what_is_missing_is_named() -> None:
    mapping = resolve(STUDENTS, ("Student ID", "First", "Last"), 3)
    assert mapping.missing == ("phone", "school_id")
    assert mapping.missing_expected == ("alt_phone",)


def test_without_a_header_columns_go_by_the_feeds_order_if_they_can() -> None:
    mapping = resolve(SECTIONS, None, 5)
    assert mapping.columns == {"staff_id": 0, "school_id": 1, "section_id": 2, "period": 3, "course_name": 4}
    assert set(mapping.how.values()) == {"position"}


@pytest.mark.parametrize("width", [1, 4, 7])
def test_without_a_header_a_width_that_cannot_fit_maps_nothing(width: int) -> None:
    mapping = resolve(SECTIONS, None, width)
    assert mapping.columns == {}
    assert mapping.missing == ("staff_id", "school_id", "section_id", "period", "course_name")


def test_without_a_header_kept_positions_win() -> None:
    kept = KeptMapping(positions={"school_id": 0, "staff_id": 1, "section_id": 9})
    mapping = resolve(SECTIONS, None, 5, kept)
    assert mapping.columns == {"staff_id": 1, "school_id": 0}
    assert set(mapping.how.values()) == {"kept"}


@pytest.mark.parametrize("feed", CATALOGUE.values(), ids=list(CATALOGUE))
def test_the_labels_of_a_feed_are_a_header_of_it(feed: object) -> None:
    known = CATALOGUE[feed.name]  # type: ignore[attr-defined]
    fields = [each.numbered(1) if each.repeated else each for each in known.columns]
    labels = tuple(each.label for each in fields)
    assert looks_like_header(known, labels)
    assert resolve(known, labels, len(labels)).columns == {each.name: at for at, each in enumerate(fields)}


def test_data_is_not_taken_for_a_header() -> None:
    assert not looks_like_header(STUDENTS, ("1001", "Grade", "School", "9195550123", "014", "en"))
    assert not looks_like_header(SECTIONS, ("10081", "001", "ALGE210-1", "1", "Mathematics", "Mr. Ames"))
    assert not looks_like_header(SECTIONS, ("", "", ""))


def test_a_header_with_mostly_foreign_names_is_one_if_the_account_knows_them() -> None:
    header = ("Schueler", "Vorname", "Nachname", "Telefon", "Schule")
    assert not looks_like_header(STUDENTS, header)
    fields = ("student_id", "first_name", "last_name", "phone", "school_id")
    assert looks_like_header(STUDENTS, header, KeptMapping(headers=dict(zip(fields, header, strict=True))))


def test_of_two_columns_with_one_name_none_is_used() -> None:
    mapping = resolve(STUDENTS, ("Student ID", "First", "Last", "Phone", "PHONE", "School", "Email", "Email"), 8)
    assert mapping.missing == ("phone",)
    assert "email" not in mapping.columns
    assert mapping.twice == ("Phone", "PHONE", "Email")
    assert mapping.ignored == ()


def test_a_name_that_stands_twice_does_no_harm_where_another_column_gives_the_field_or_none_needs_it() -> None:
    mapping = resolve(STUDENTS, ("Student ID", "First", "Last", "Phone", "Home Phone", "Phone", "School", "X", "X"), 9)
    assert mapping.columns["phone"] == 4
    assert (mapping.twice, mapping.ignored) == ((), ("Phone", "Phone", "X", "X"))


def test_a_kept_name_that_stands_twice_is_not_used_either() -> None:
    kept = KeptMapping(headers={"phone": "Call"})
    mapping = resolve(STUDENTS, ("Student ID", "First", "Last", "Call", "Call", "School"), 6, kept)
    assert (mapping.missing, mapping.twice) == (("phone",), ("Call",))
