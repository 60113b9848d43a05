"""The processor is killed with SIGKILL at every step of a run, and started again: nothing lost, nothing done twice."""

import hashlib
import json
import os
import random
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landingzone.landing import Landing

DYING = runpy.run_path(str(Path(__file__).parent / "dying_processor.py"))
EVERY = [
    *DYING["MOMENTS_OF_INTEREST"],
    *(f"{when} commit:{state}" for state in DYING["STATES"] for when in ("before", "after")),
]
SOME = [
    *(f"after {name}" for name in ("claim", "recognise", "examine", "add_rows", "compress", "keep", "receipt_link")),
    *("before receipt_file", "before commit:applied", "after commit:applied", "after commit:archived"),
]
"""In `make test`; `make deaths` tries every moment, as does the model of the runs' life (test_run_life.py)."""
MOMENTS = EVERY if "EVERY_DEATH" in os.environ else SOME


def check_one_import(night: Any, landings: dict[Landing, bytes]) -> None:
    """Every landing has exactly one run and one receipt, its bytes are archived, nothing is left lying about."""
    for landing, content in landings.items():
        sha256 = hashlib.sha256(content).hexdigest()
        assert night.receipt(landing)["sha256"] == sha256
        assert night.archived_sha256(landing) == sha256
    until = time.monotonic() + 10
    while (night.left_over() or any(run.state != "receipted" for run in night.runs())) and time.monotonic() < until:
        time.sleep(0.05)
    assert night.left_over() == []
    assert sorted(run.landing_id for run in night.runs()) == sorted(landing.id for landing in landings)
    own = [path.name for path in night.receipts.glob("*.receipt.json") if not path.name.startswith("latest-")]
    assert sorted(own) == sorted(f"{landing.id}-{landing.name}.receipt.json" for landing in landings)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_whose_process_dies_ends_as_if_nothing_had_happened(
    night: Any, students: Callable[..., bytes], moment: str
) -> None:
    first, second = students(60), students(60, start=1003, phone={5: "not a phone"}, grade={9: "PK", 10: "PK"})
    landings = {night.land("students.csv", first): first}
    night.start(die_at=moment)
    night.receipt(next(iter(landings)))
    night.armed.touch()
    landings[night.land("students.csv", second)] = second
    assert night.wait_for_death() == -9
    night.start()
    check_one_import(night, landings)

    told = night.receipt(list(landings)[1])
    assert told["outcome"] == "imported_with_rejects"
    expected = {"read": 60, "accepted": 59, "rejected": 1, "added": 3, "changed": 2, "unchanged": 54, "deactivated": 3}
    assert {name: told["rows"][name] for name in expected} == expected
    rows = night.rows("students")
    assert [(row[0], row[-1]) for row in rows] == [(f"{number}", number >= 1003) for number in range(1000, 1063)]
    rejects = (night.receipts / f"{told['landing_id']}-students.csv.rejects.csv").read_text("utf-8-sig")
    assert [line.partition(",")[0] for line in rejects.splitlines()] == ['"line"', '""', '"5"']


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        *((0, f"after {name}") for name in ("load", "finish_load", "write_listing", "keep_listing")),
        *((1, f"after {name}") for name in ("compare", "write_listing", "keep_listing")),
        (0, "before commit:applied"),
        (1, "before commit:applied"),
    ],
)
def test_a_large_file_whose_process_dies_while_it_is_loaded_or_compared_is_imported_once(
    night: Any, students: Callable[..., bytes], moment: str, day: int
) -> None:
    files = [students(60), students(60, start=1003, phone={5: "not a phone"}, grade={9: "PK", 10: "PK"}), students(58)]
    landings = {}
    night.settings["LANDINGZONE_PROCESSOR__LARGE_MEBIBYTES"] = "0"
    night.start(die_at=moment)
    for number, content in enumerate(files):
        if number == day:
            night.armed.touch()
        landing = night.land("students.csv", content)
        landings[landing] = content
        if number == day:
            assert night.wait_for_death() == -9
            night.armed.unlink()
            night.start()
        night.receipt(landing)
    check_one_import(night, landings)
    told = [night.receipt(landing) for landing in landings]
    assert [one["outcome"] for one in told] == ["imported", "imported_with_rejects", "imported"]
    names = ("read", "accepted", "added", "changed", "unchanged", "deactivated", "reactivated")
    assert [[one["rows"][name] for name in names] for one in told] == [
        [60, 60, 60, 0, 0, 0, 0],
        [60, 59, 3, 2, 54, 3, 0],
        [58, 58, 3, 2, 53, 5, 3],
    ]
    active = [row[0] for row in night.rows("students") if row[-1]]
    assert active == [f"{number}" for number in range(1000, 1058)]


def test_killed_at_random_moments_while_many_files_wait_every_file_is_imported_once(
    night: Any, students: Callable[..., bytes]
) -> None:
    chance = random.Random(20260131)
    files = {name: students(40 + 5 * number) for number, name in enumerate(["students.csv", "STUDENTS.CSV"] * 10)}
    landings = {}
    for number in range(20):
        content = students(40 + number)
        landings[night.land(list(files)[number % 2], content)] = content
    for _ in range(5):
        done = len(list(night.receipts.glob("*.receipt.json")))
        night.start()
        night.wait_until_started()
        until = time.monotonic() + 30
        while len(list(night.receipts.glob("*.receipt.json"))) == done and time.monotonic() < until:
            time.sleep(0.01)  # a file in whose hands three processes have died is set aside
        time.sleep(0.1 * chance.random())
        night.kill()
    night.start()
    check_one_import(night, landings)
    assert [run.outcome for run in night.runs()] == ["imported"] * 20
    assert [run.landing_id for run in night.runs()] == [landing.id for landing in landings]
    latest = json.loads((night.receipts / "latest-students.receipt.json").read_bytes())
    assert latest["landing_id"] == list(landings)[-1].id
    assert len(night.rows("students")) == 59
