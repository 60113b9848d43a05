"""Sources: which file is what, one per school, an account's own mapping, and what may not be declared."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landingzone.command import Installation
from landingzone.due import DueError
from landingzone.errors import LandingZoneError
from landingzone.feed import Mode
from landingzone.kept_mapping import KeptMapping
from landingzone.pattern import Pattern, PatternError, check_pattern, overlap
from landingzone.source import SourceError


@pytest.fixture
def district(here: Installation) -> Installation:
    here.accounts.add("springfield", actor="test")
    return here


def expect(here: Installation, pattern: str, feed: str = "students", **options: object) -> None:
    here.sources.expect("springfield", pattern, feed=here.catalogue[feed], actor="test", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "students.csv",
            ["STUDENTS.CSV", "students.txt", "students.csv.zst", "students.zip"],
            ["students", "xstudents.csv"],
        ),
        (
            "SIS_{date}.csv",
            ["sis_20260131.csv", "SIS_2026-01-31.csv", "sis_01312026.csv.gz"],
            ["sis_.csv", "sis_today.csv"],
        ),
        ("roster-{school}.csv", ["roster-014.csv", "Roster-North-East.csv"], ["roster-.csv", "roster-a_b.csv"]),
        ("pupils.dat", ["pupils.dat", "PUPILS.DAT"], ["pupils.csv"]),
    ],
)
def test_a_pattern_matches_what_it_says(pattern: str, matching: list[str], others: list[str]) -> None:
    checked = check_pattern(pattern)
    assert all(checked.match(name) for name in matching)
    assert not any(checked.match(name) for name in others)


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.csv", "{date}.csv", "a/b.csv", "s{week}.csv", "s{date.csv", "{school}{school}.csv", "x.part", ""],
)
def test_a_pattern_that_could_mean_anything_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        check_pattern(pattern)


@given(
    st.lists(st.sampled_from(["a", "b", "1", "-", "{date}", "{school}"]), min_size=1, max_size=4).map("".join),
    st.data(),
)
def test_whenever_one_name_matches_two_patterns_they_overlap(one: str, data: st.DataObject) -> None:
    other = data.draw(
        st.lists(st.sampled_from(["a", "b", "1", "-", "{date}", "{school}"]), min_size=1, max_size=4).map("".join)
    )
    values = {"{date}": ["20260131", "010131"], "{school}": ["a", "b1", "1-1"]}
    for first, second in itertools.product(values["{date}"], values["{school}"]):
        name = one.replace("{date}", first).replace("{school}", second)
        if (
            one.count("{school}") < 2
            and other.count("{school}") < 2
            and Pattern(one).match(name)
            and Pattern(other).match(name)
        ):
            assert overlap(Pattern(one), Pattern(other))


def test_declaring_a_source_replaces_the_default_of_its_feed(district: Installation) -> None:
    expect(district, "SIS_Export_{date}.csv", mode=Mode.DELTA, priority=5, due="6:30")
    source = district.sources.match("springfield", "sis_export_2026-01-31.csv")
    assert source is not None
    assert (source.name, source.mode, source.priority, source.due) == ("sis_export", "delta", 5, "06:30")
    assert district.sources.match("springfield", "students.csv") is None
    assert district.sources.match("springfield", "staff.csv") is not None


def test_each_school_has_a_source_of_its_own(district: Installation) -> None:
    expect(district, "students_{school}.csv")
    names = [district.sources.match("springfield", f"Students_{school}.csv") for school in ("014", "North")]
    assert [source.name for source in names if source] == ["students_014", "students_north"]


def test_patterns_that_could_take_the_same_file_are_refused(district: Installation) -> None:
    expect(district, "students_{school}.csv")
    with pytest.raises(SourceError, match="one source only"):
        expect(district, "students_east.csv", "staff")
    expect(district, "students-{date}.csv", name="late")
    with pytest.raises(DueError, match="06:30"):
        expect(district, "x.csv", due="half past six")


def test_a_mapping_is_kept_for_the_pattern_and_for_each_school(district: Installation) -> None:
    expect(district, "students_{school}.csv")
    kept = KeptMapping({"student_id": "Perm ID"}, {"grade": 4}, (10, 5))
    before = district.sources.match("springfield", "students_1.csv")
    assert before is not None
    with district.db.write() as tx:
        account = district.accounts.get("springfield")
        district.sources.id_of(tx, account.id, before)
    district.sources.keep_mapping("springfield", "students_{school}", kept, actor="test")
    found = district.sources.match("springfield", "students_1.csv")
    assert found is not None
    assert found.mapping == kept
    assert [source.mapping for source in district.sources.schools_of("springfield", "students_{school}")] == [kept]
    district.sources.keep_mapping("springfield", "students_{school}", None, actor="test")
    assert district.sources.get("springfield", "students_{school}").mapping is None


def test_a_retired_source_is_expected_no_longer_and_can_come_back(district: Installation) -> None:
    with district.db.write() as tx:
        assert district.sources.retire(tx, "springfield", "staff", actor="test")
    assert district.sources.match("springfield", "staff.csv") is None
    expect(district, "staff.csv", "staff")
    assert district.sources.match("springfield", "staff.csv") is not None
    with pytest.raises(LandingZoneError, match="no source 'nothing'"):
        district.sources.get("springfield", "nothing")


def test_what_is_declared_anew_of_a_pattern_holds_for_its_schools_too(district: Installation) -> None:
    expect(district, "students_{school}.csv")
    found = district.sources.match("springfield", "students_1.csv")
    assert found is not None
    with district.db.write() as tx:
        district.sources.id_of(tx, district.accounts.get("springfield").id, found)
    expect(district, "students_{school}.csv", priority=7, mode=Mode.DELTA)
    (school,) = district.sources.schools_of("springfield", "students_{school}")
    assert (school.priority, school.mode) == (7, "delta")


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ("s_{date}.csv.gz", "s_{school}.csv", "s_2026-01-31.csv.gz"),
        ("a.xlsx", "a.csv", "a.xlsx"),
        ("a.zip", "A.csv", "a.ZIP"),
        ("stra\u017fe.csv", "strase.csv", "STRASE.csv"),
        ("\u212aelvin.csv", "{school}.csv", "kelvin.csv"),
    ],
)
def test_packed_and_differently_written_names_overlap_too(one: str, other: str, name: str) -> None:
    assert Pattern(one).match(name)
    assert Pattern(other).match(name)
    assert overlap(Pattern(one), Pattern(other))


def test_what_only_looks_alike_does_not_overlap() -> None:
    assert not overlap(Pattern("a.txt"), Pattern("a.xlsx"))
    assert not overlap(Pattern("a_{date}.csv"), Pattern("a_east.csv"))
