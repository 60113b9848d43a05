"""What is proposed for a file, and how sure the proposal is."""

from pathlib import Path

import pytest

from landingzone.feed import load_catalogue
from landingzone.kept_mapping import KeptMapping
from processor.examination import examine
from processor.suggestion import Suggestion, suggest

CATALOGUE = load_catalogue()
SAMPLES = Path(__file__).parents[2] / "landingzone" / "sample"


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.csv")), ids=lambda path: path.stem)
def test_the_samples_are_recognised_whatever_their_names(sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(sample.read_bytes())
    first, second, *_ = suggest(path, CATALOGUE)
    assert first.feed == sample.stem
    assert first.confidence > second.confidence
    assert first.confidence > 0.8
    assert first.missing == ()
    assert first.mapping == KeptMapping()


FOREIGN = (
    "StuPermID,Given,Family,Tel. home,Bldg,Mail address,Room\n"
    + "".join(f"9{n},Ann,Lee,(919) 555-01{n},0{n % 3},a{n}@example.org,\n" for n in range(10, 40))
)  # fmt: skip


def test_columns_are_proposed_by_words_and_by_what_their_values_look_like(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(FOREIGN)
    (found,) = suggest(path, CATALOGUE, feed="students")
    columns = {column.field: column for column in found.columns}
    assert {name: column.header for name, column in columns.items()} == {
        "student_id": "StuPermID", "first_name": "Given", "last_name": "Family", "phone": "Tel. home",
        "school_id": "Bldg", "email": "Mail address",
    }  # fmt: skip
    assert "100% are phone numbers" in columns["phone"].reasons
    assert "every value differs" in columns["student_id"].reasons
    assert all(0 < column.confidence <= 1 for column in found.columns)
    assert (found.missing, found.ignored) == ((), ("Room",))


def test_a_header_in_another_language_is_still_no_row(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("Nummer;Name;Vorname;Tel1;Tel2;Email_Adr\n77;Lee;Ann;919-555-0101;;a@example.org\n")
    (found,) = suggest(path, CATALOGUE, feed="students")
    columns = {column.field: column.header for column in found.columns}
    assert columns["phone"] == "Tel1"
    assert columns["email"] == "Email_Adr"
    assert found.mapping.headers["phone"] == "Tel1"


def test_what_is_proposed_can_be_kept_and_then_imports_the_file(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(FOREIGN)
    (found,) = suggest(path, CATALOGUE, feed="students")
    result = examine(path, name=path.name, feed=CATALOGUE["students"], kept=found.mapping)
    assert (result.read, result.rejected) == (30, 0)


def test_a_column_whose_values_speak_against_its_name_is_less_sure(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("Student ID,First Name,Last Name,Phone,School ID\n" + "1,A,L,none,1\n2,B,L,none,1\n")
    (found,) = suggest(path, CATALOGUE, feed="students")
    phone = next(column for column in found.columns if column.field == "phone")
    assert phone.confidence < 0.7
    assert "only 0% are phone numbers" in phone.reasons


def test_without_a_header_values_alone_propose_what_they_can(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("".join(f"1{n},Ann,Lee,91955501{n},a{n}@example.org\n" for n in range(10, 40)))
    (found,) = suggest(path, CATALOGUE, feed="students")
    assert all(column.confidence <= 0.7 for column in found.columns)
    columns = {column.field: column.position for column in found.columns}
    assert columns["phone"] == 3
    assert columns["email"] == 4
    assert found.mapping.positions == columns
    assert "school_id" in found.missing


def test_groups_of_guardians_make_a_families_file(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    groups = [f"Guardian {n} {name}" for n in (1, 2) for name in ("ID", "First", "Last", "Category", "Phone")]
    path.write_text(",".join(["Student ID", "First Name", "Last Name", *groups]) + "\n")
    assert suggest(path, CATALOGUE)[0].feed == "families"


def suggested(tmp_path: Path, text: str, feed: str | None = None, encoding: str = "utf-8") -> list[Suggestion]:
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode(encoding))
    return suggest(path, CATALOGUE, feed=feed)


def test_a_header_alone_says_what_a_file_is(tmp_path: Path) -> None:
    found = suggested(tmp_path, "Student ID,First,Last,Phone,School\n")
    assert (found[0].feed, found[0].missing) == ("students", ())


def test_titles_above_the_header_do_not_hide_it(tmp_path: Path) -> None:
    rows = "".join(f"9{n},Lee,Ann,(919) 555-01{n},0{n % 3}\n" for n in range(10, 40))
    found = suggested(tmp_path, "District export\n\nPerm ID,Last,First,Home Tel,Bldg\n" + rows)[0]
    assert (found.feed, found.confidence > 0.8, found.missing) == ("students", True, ())


def test_columns_with_one_name_are_not_proposed_for_they_cannot_be_told_apart(tmp_path: Path) -> None:
    rows = "".join(f"9{n},Ann,Lee,(919) 555-01{n},(919) 555-02{n},0{n % 3}\n" for n in range(10, 40))
    (found,) = suggested(tmp_path, "ID,Name,Name,Phone,Phone,School\n" + rows, feed="students")
    assert set(found.missing) == {"first_name", "last_name", "phone"}
    assert found.ignored == ("Name", "Name", "Phone", "Phone")
    assert found.mapping == KeptMapping()


def test_what_can_be_told_by_values_only_is_said_to_be_far_from_sure(tmp_path: Path) -> None:
    rows = "".join(f"9{n};Ann;Lee;(919) 555-01{n};0{n % 3}\n" for n in range(10, 40))
    (found,) = suggested(tmp_path, "Nummer;Vorname;Nachname;Telefon;Gebiet\n" + rows, "students", "utf-16")
    assert {column.field: column.header for column in found.columns}["phone"] == "Telefon"
    assert all(column.confidence < 0.7 for column in found.columns)
    assert found.confidence < 0.6


def test_a_file_that_is_none_of_the_feeds_is_not_called_one(tmp_path: Path) -> None:
    assert all(found.confidence < 0.5 and found.missing for found in suggested(tmp_path, "hello\nworld\n"))
