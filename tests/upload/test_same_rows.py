"""Writing a file anew changes nothing of what it says: every file of the corpus, beside its ideal form."""

from pathlib import Path
from typing import Any

import pytest

from landingzone.feed import load_catalogue
from processor.examination import Examined, UnreadableFile, examine
from tests.processor.reading.test_corpus import CASES as CORPUS
from tests.processor.reading.test_corpus import packed
from upload.preparation import _formatted
from upload.settings import SourceSettings

CASES = {name: case for name, case in CORPUS.items() if "widths" not in case}
CATALOGUE = load_catalogue()


def found(path: Path, feed: str) -> Examined | str:
    """What a file holds, or why it cannot be read."""
    try:
        return examine(path, name="data.csv", feed=CATALOGUE[feed])
    except UnreadableFile as unreadable:
        return str(unreadable)


def said(one: Examined) -> dict[str, Any]:
    """What must not change: lines do, where titles and blank lines are left out."""
    return {
        "missing": one.missing,
        "read": one.read,
        "rejects": [(reject["field"], reject["code"], reject["value"]) for reject in one.rejects],
        "records": [
            (records.feed.name, records.rows.rows(), records.kept.rows(), records.keep_all) for records in one.records
        ],
        "twice": one.twice,
        "by_position": one.by_position,
        "cut": (one.ends_without_line_end, one.open_quote_at_end, one.last_line_damaged),
        "warnings": {(warning["field"], warning["code"], warning["count"]) for warning in one.warnings},
    }


@pytest.mark.parametrize("name", CASES)
def test_the_ideal_form_says_what_the_file_says(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    feed = case.get("feed", "enrollments")
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_bytes(packed(case))
    made = _formatted(SourceSettings(feed=feed, file="before.csv"), CATALOGUE[feed], before, after)
    one, other = found(before, feed), found(after, feed)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        assert after.read_bytes() == before.read_bytes()
        return
    assert said(one) == said(other)
    if not made.as_it_is:
        assert made.rows == other.read or other.missing
        left = {"no_header", "trailing_delimiter", "last_line_without_end", "line_end_lf"}
        assert {note["code"] for note in other.tolerated} <= left | {"encoding_utf8"}
