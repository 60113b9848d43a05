"""What is kept of the columns that somebody has chosen: the file is read exactly so, and other files as before."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from console.columns import ColumnsRefused, FirstRows, proposed, to_keep
from landingzone.feed import load_catalogue
from landingzone.kept_mapping import NO_COLUMN, KeptMapping
from processor.mapping import looks_like_header, resolve

CATALOGUE = load_catalogue()
STUDENTS = CATALOGUE["students"]
NEEDED = ("student_id", "first_name", "last_name", "phone", "school_id")
NAMES = [
    "Student ID",
    "First",
    "Last",
    "Phone 1",
    "Phone 2",
    "School",
    "email",
    "Email Address",
    "Handy",
    "x",
    "",
    "Grade",
]


def seen(header: "list[str] | None", width: int = 0, *, found: bool = True) -> FirstRows:
    return FirstRows(tuple(header) if header is not None else None, found, width or len(header or ()), ())


@given(st.data())
def test_a_file_is_read_as_it_was_chosen_or_it_is_refused(data: st.DataObject) -> None:
    header = data.draw(st.lists(st.sampled_from(NAMES), min_size=5, max_size=10))
    fields = data.draw(st.permutations(STUDENTS.column_names))
    places = data.draw(st.permutations(range(len(header))))
    chosen = dict(zip(fields, places[: data.draw(st.integers(1, len(header)))], strict=False))
    kept = data.draw(
        st.none() | st.builds(KeptMapping, st.dictionaries(st.sampled_from(fields), st.sampled_from(NAMES)))
    )
    first = seen(header, found=data.draw(st.booleans()))
    try:
        made = to_keep(first, STUDENTS, kept, chosen)
    except ColumnsRefused:
        return
    reads = resolve(STUDENTS, first.header, first.width, made or kept)
    assert reads.columns == chosen
    assert first.found_header or looks_like_header(STUDENTS, tuple(header), made or kept)


@given(st.permutations(NAMES[:9]), st.permutations(NEEDED))
def test_names_of_their_own_can_always_be_chosen(header: list[str], fields: list[str]) -> None:
    chosen = dict(zip(fields, range(5), strict=True))
    assume(len({name.lower() for name in header}) == len(header))
    to_keep(seen(header), STUDENTS, None, chosen)


def test_what_is_known_already_keeps_nothing() -> None:
    header = ["Student ID", "First", "Last", "Phone Number", "School"]
    assert to_keep(seen(header), STUDENTS, None, dict(zip(NEEDED, range(5), strict=True))) is None


def test_what_other_files_need_stays_kept() -> None:
    nightly = KeptMapping({"phone": "Tel", "grade": "Klasse"}, {"student_id": 0})
    header = ["Student ID", "First", "Last", "Handy", "School", "email"]
    made = to_keep(seen(header), STUDENTS, nightly, dict(zip(NEEDED, range(5), strict=True)))
    assert made is not None
    assert made.headers["grade"] == "Klasse"
    assert made.headers["phone"] == "Handy"
    assert made.headers["email"] == NO_COLUMN
    assert made.positions == {"student_id": 0}
    night = resolve(STUDENTS, ("Student ID", "First", "Last", "Klasse", "School"), 5, made)
    assert night.how["grade"] == "kept"


def test_without_names_places_are_kept() -> None:
    chosen = dict(zip(NEEDED, (4, 3, 2, 1, 0), strict=True))
    made = to_keep(seen(None, 6), STUDENTS, KeptMapping({"phone": "Tel"}), chosen)
    assert made == KeptMapping({"phone": "Tel"}, chosen)
    assert to_keep(seen(None, 6), STUDENTS, made, chosen) is None


@pytest.mark.parametrize(
    ("header", "chosen", "words"),
    [
        (["a", "a", "b"], {"student_id": 0}, "no name of its own"),
        (["a", "", "b"], {"student_id": 1}, "no name of its own"),
        (["a", "b"], {"student_id": 7}, "no name of its own"),
        (["a", "b"], {"nonsense": 0}, "not known"),
        (["a", "b"], {}, "Not one column"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(header: list[str], chosen: dict[str, int], words: str) -> None:
    with pytest.raises(ColumnsRefused, match=words):
        to_keep(seen(header), STUDENTS, None, chosen)


def test_further_groups_of_families_can_be_chosen() -> None:
    families = CATALOGUE["families"]
    names = [each.name for each in families.required] + ["guardian_2_phone"]
    header = [f"Spalte {at}" for at in range(len(names))]
    chosen: dict[str, Any] = {name: at for at, name in enumerate(names)}
    made = to_keep(seen(header), families, None, chosen)
    assert resolve(families, tuple(header), len(header), made).columns == chosen


def test_what_was_not_to_be_used_is_not_suggested_again() -> None:
    header = ["Student ID", "First", "Last", "Phone Number", "School", "email"]
    kept = KeptMapping({"email": NO_COLUMN})
    assert [one.field for one in proposed(seen(header), STUDENTS, kept, ())] == [*NEEDED, ""]
