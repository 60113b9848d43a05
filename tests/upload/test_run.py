"""A run: what is sent is vouched for by its receipt, or the exit code and the log say why not."""

from pathlib import Path
from typing import Any

import pytest

from upload.outcome import Ending

SERVICE = "_shared_whole"

STUDENTS = Path("landingzone/sample/students.csv").read_text()


@pytest.fixture
def students(here: Any, uploader: Any) -> Any:
    here.sources.expect(uploader.account, "students.csv", feed=here.catalogue.get("students"), actor="test")
    uploader.file("students.csv", STUDENTS)
    uploader.settle("students")
    return uploader


def test_a_file_is_delivered_and_vouched_for_by_its_receipt(students: Any, service: Any) -> None:
    (attempt,) = students.run()
    assert attempt.ending is Ending.IMPORTED_WITH_REJECTS, (attempt, students.log())
    (landed,) = service.landed()
    assert (landed.name, landed.sha256) == (attempt.file, attempt.sha256)
    assert (attempt.landing_id, attempt.outcome, attempt.rows) == (landed.id, "imported_with_rejects", 24)
    assert students.modes() == {0o600}
