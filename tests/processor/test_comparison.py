"""Large files are compared while they are read, by hashes: to the same end as small ones, whatever happens to them."""

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landingzone import landing_record
from landingzone.command import Installation
from landingzone.db import DatabaseBusy
from landingzone.feed import Mode
from landingzone.tables import runs as runs_table
from landingzone.tables import sources
from processor import account_data, bulk_load, merged, requests
from processor import run as runs
from processor.bulk_load import BulkLoad, LoadFailed
from processor.changes import ChangesFile, loaded
from processor.context import Context
from processor.durable_steps import durable_steps
from processor.listing import Listing
from processor.service import open_context

pytestmark = pytest.mark.both_databases

HEADERS = {
    "students": "Student ID,First Name,Last Name,Phone Number,School ID#,Alternate Phone,Email",
    "guardians": "Student ID,Guardian ID,Category,First Name,Last Name,Phone Number",
    "families": (
        "Student ID,Student First Name,Student Last Name,Guardian 1 ID Number,Guardian 1 First Name,"
        "Guardian 1 Last Name,Guardian 1 Category,Guardian 1 Phone Number"
    ),
    "enrollments": "Student ID,School ID#,Section#,Instructor",
}
NUMBERS = itertools.count()


def rows_of(feed: str, draw: st.DrawFn) -> list[str]:
    numbers = draw(st.lists(st.integers(0, 7), min_size=1, max_size=12))
    phone = st.sampled_from(["2065550101", "2065550102", "2065550103", "bad"])
    lines = []
    for number in numbers:
        name = draw(st.sampled_from(["Al", "Bo", ""]))
        match feed:
            case "students":
                lines.append(f"{number},{name},Lee,{draw(phone)},001,,a{draw(st.integers(0, 1))}@example.org")
            case "guardians":
                lines.append(f"{number},G{draw(st.integers(0, 4))},Mother,{name},Lee,{draw(phone)}")
            case "families":
                lines.append(f"{number},{name},Lee,G{draw(st.integers(0, 4))},Ann,Lee,Mother,{draw(phone)}")
            case _:
                lines.append(f"{number},001,M{draw(st.integers(0, 2))},{name}")
    return lines


@st.composite
def nights(draw: st.DrawFn) -> tuple[str, str, list[bytes | str]]:
    """A feed, a mode, and what happens night by night: a file comes, or the newest run is reverted."""
    feed = draw(st.sampled_from(sorted(HEADERS)))
    mode = draw(st.sampled_from(["full", "delta"]))
    happens: list[bytes | str] = []
    for _ in range(draw(st.integers(2, 5))):
        if happens and draw(st.integers(0, 4)) == 0:
            happens.append("revert")
        else:
            happens.append(("\r\n".join([HEADERS[feed], *rows_of(feed, draw)]) + "\r\n").encode())
    return feed, mode, happens


class Zone:
    """A zone in which files from a given size on are compared while they are read."""

    def __init__(self, template: Path, root: Path, *, large: int) -> None:
        shutil.copytree(template, root)
        self.here = Installation(root)
        self.here.accounts.add("springfield", actor="test")
        self.here.zone.prepare_account("springfield")
        guards = {"deactivate_share": 1.0, "reject_share": 1.0, "contacts_share": 1.0, "few_rows_share": 0.01}
        changed = {
            "processor": self.here.settings.processor.model_copy(update={"large_mebibytes": large}),
            "guards": self.here.settings.guards.model_copy(update=guards),
        }
        self.context = open_context(self.here.settings.model_copy(update=changed), self.here.db)

    def expect(self, feed: str, mode: str) -> None:
        declared = self.here.catalogue[feed]
        self.here.sources.expect("springfield", f"{feed}.csv", feed=declared, actor="test", mode=Mode(mode))

    def land(self, name: str, content: bytes) -> str:
        zone = self.here.zone
        upload, descriptor = zone.begin_upload("springfield", name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        landing = zone.new_landing("springfield", name)
        zone.land(upload, landing)
        with self.here.db.write() as tx:
            landing_record.note(tx, landing)
            return runs.add(tx, landing)

    def bring(self, name: str, content: bytes) -> dict[str, Any]:
        return self.take(self.land(name, content))

    def take(self, run_id: str) -> dict[str, Any]:
        durable_steps(self.context)(run_id)
        with self.here.db.read() as tx:
            run = runs.get(tx, run_id)
        assert run.outcome is not None
        report = run.report or {}
        told = ("rows", "warnings", "rejects", "hold", "reason")
        return {"outcome": run.outcome.value, **{name: report.get(name) for name in told}}

    def revert(self) -> dict[str, Any] | None:
        with self.here.db.read() as tx:
            applied = runs.applied_to(tx, 1)
        if not applied:
            return None
        return self.take(requests.revert(self.here.db, self.context.archive, applied[0].id, actor="test"))

    def rows(self, feed: str) -> list[tuple[Any, ...]]:
        table = account_data.table_of(self.here.catalogue[feed])
        with self.here.db.read() as tx:
            return sorted((*tuple(row)[1:-3], row.ended_run is None) for row in tx.execute(table.select()))

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        found = {}
        with self.here.db.read() as tx:
            account = self.here.accounts.get("springfield").id
            for feed in account_data.kept_feeds(self.here.catalogue):
                rows = tx.execute(sa.select(merged.merged(tx, feed, account))).all()
                found[f"merged {feed.name}"] = sorted(tuple(row) for row in rows)
        return found | {name: self.rows(name) for name in ("students", "guardians", "associations", "enrollments")}

    def close(self) -> None:
        self.here.db.close()
        self.context.progress.close()
        shutil.rmtree(self.here.settings.root)


@pytest.fixture
def make_zone(_empty_root: Path, tmp_path: Path) -> Callable[..., Zone]:
    return lambda large=0: Zone(_empty_root, tmp_path / f"zone-{next(NUMBERS)}", large=large)


@pytest.fixture
def zone(make_zone: Callable[..., Zone]) -> Iterator[Zone]:
    one = make_zone()
    yield one
    one.close()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=nights())
def test_large_and_small_files_are_imported_to_the_same_end(
    make_zone: Callable[..., Zone], plan: tuple[str, str, list[bytes | str]]
) -> None:
    feed, mode, happens = plan
    large, small = make_zone(0), make_zone(1000)
    for one in (large, small):
        one.expect(feed, mode)
    for what in happens:
        told = [one.revert() if isinstance(what, str) else one.bring(f"{feed}.csv", what) for one in (large, small)]
        assert told[0] == told[1]
        assert large.state() == small.state()
    for one in (large, small):
        one.close()


def file_of(count: int, *, start: int = 0, school: str = "001", instructor: str = "Orr") -> bytes:
    lines = [HEADERS["enrollments"], *(f"{start + at},{school},M{at % 3},{instructor}" for at in range(count))]
    return ("\r\n".join(lines) + "\r\n").encode()


def listing_of(zone: Zone) -> Path:
    (folder,) = zone.here.zone.folder("listings", "springfield").iterdir()
    return folder


@pytest.mark.parametrize("accident", ["lost", "damaged", "keys lost", "older", "none"])
def test_a_listing_that_is_not_as_it_should_be_is_made_anew(zone: Zone, accident: str, tmp_path: Path) -> None:
    zone.bring("enrollments.csv", file_of(100))
    folder = listing_of(zone)
    shutil.copytree(folder, tmp_path / "older")
    zone.bring("enrollments.csv", file_of(102, instructor="Poe"))
    match accident:
        case "lost":
            shutil.rmtree(folder)
        case "damaged":
            kept = bytearray((folder / "listing").read_bytes())
            kept[-300] ^= 0xFF
            (folder / "listing").write_bytes(kept)
        case "keys lost":
            next(folder.glob("keys.*")).unlink()
        case "older":
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "older", folder)
    told = zone.bring("enrollments.csv", file_of(95, start=3, instructor="Poe"))
    assert told["outcome"] == "imported"
    expected = {"added": 0, "changed": 0, "unchanged": 95, "deactivated": 7}
    assert {name: told["rows"][name] for name in expected} == expected
    active = [row[0] for row in zone.rows("enrollments") if row[-1]]
    assert active == sorted(map(str, range(3, 98)))


def test_a_listing_that_contradicts_the_database_is_thrown_away_and_the_run_begins_again(zone: Zone) -> None:
    zone.bring("enrollments.csv", file_of(100))
    feed = zone.here.catalogue["enrollments"]
    table = account_data.table_of(feed)
    with zone.here.db.write() as tx:  # behind its back: a row more, a row less
        row = dict(tx.execute(table.select().limit(1)).mappings().one())
        tx.execute(table.insert().values({**row, "student_id": "500"}))
        tx.execute(table.delete().where(table.c.student_id == "7"))
    told = zone.bring("enrollments.csv", file_of(99) + b"500,001,M0,Orr\r\n")
    assert told["outcome"] == "imported"
    assert (told["rows"]["added"], told["rows"]["deactivated"]) == (1, 1)
    active = {row[0] for row in zone.rows("enrollments") if row[-1]}
    assert active == {*map(str, range(99)), "500"}


def test_a_first_load_that_is_held_leaves_no_rows_and_counts_for_nothing(zone: Zone) -> None:
    small = zone.context.settings.guards.model_copy(update={"reject_share": 0.2})
    object.__setattr__(zone.context, "settings", zone.context.settings.model_copy(update={"guards": small}))
    bad = b"\r\n".join(b",001,M1,Orr" for _ in range(50))
    told = zone.bring("enrollments.csv", file_of(100) + bad + b"\r\n")
    assert told["outcome"] == "held"
    assert zone.rows("enrollments") == []
    assert list(zone.here.zone.folder("listings", "springfield").glob("*/listing")) == []


def changes_of(zone: Zone) -> Path:
    (path,) = (zone.here.zone.root / "archive").rglob("1.changes.enrollments.*")
    return path


@pytest.mark.parametrize("form", ["count", "rows"])
def test_a_first_load_is_undone_by_the_rows_that_it_listed_first(zone: Zone, form: str) -> None:
    """Archives of older versions hold each row of a first load."""
    zone.bring("enrollments.csv", file_of(100))
    feed, kept = zone.here.catalogue["enrollments"], changes_of(zone)
    assert loaded(kept) == 100
    if form == "rows":
        kept.unlink()
        rows = pl.DataFrame([row[:-1] for row in zone.rows("enrollments")], schema=feed.field_names, orient="row")
        file = ChangesFile(kept.parent, feed)
        file.add("added", rows)
        file.close()
        written = kept.parent / "changes.enrollments.parquet"
        written.rename(written.with_name(f"1.{written.name}"))
    told = zone.revert()
    assert told is not None
    assert (told["outcome"], told["rows"]["deactivated"]) == ("reverted", 100)
    assert [row[-1] for row in zone.rows("enrollments")] == [False] * 100
    told = zone.bring("enrollments.csv", file_of(99))
    assert (told["rows"]["reactivated"], told["rows"]["unchanged"]) == (99, 0)


def test_undoing_all_since_a_first_load_ends_what_it_listed_and_what_came_since(zone: Zone) -> None:
    first = zone.land("enrollments.csv", file_of(100))
    zone.take(first)
    zone.bring("enrollments.csv", file_of(102, start=3, instructor="Poe"))
    told = zone.take(requests.revert(zone.here.db, zone.context.archive, first, through=True, actor="test"))
    assert told["outcome"] == "reverted"
    assert {row[-1] for row in zone.rows("enrollments")} == {False}
    by_number = {int(row[0]): row[-2] for row in zone.rows("enrollments")}
    assert len(by_number) == 105
    assert {by_number[at] for at in range(100)} == {"Orr"}


def test_rows_of_a_load_under_way_count_for_nobody(zone: Zone) -> None:
    zone.expect("enrollments", "full")
    run_id = zone.land("enrollments.csv", file_of(10))
    source_id = begin(zone, run_id)
    with load_of(zone, run_id, source_id) as load:
        load.add(*batch(zone, 10))
        load.finish()
    assert len(zone.rows("enrollments")) == 10
    feed = zone.here.catalogue["enrollments"]
    with zone.here.db.read() as tx:
        account = zone.here.accounts.get("springfield").id
        assert merged.speaking(tx, feed, account) == []
        assert not merged.ever_sent(tx, feed, account)
        assert account_data.active_counts(tx, zone.here.catalogue, account)["enrollments"] == 0
        assert account_data.active_of_source(tx, zone.here.catalogue, account, "enrollments") == 0
    told = zone.take(run_id)
    assert told["outcome"] == "imported"
    assert told["rows"]["added"] == 10
    assert len(zone.rows("enrollments")) == 10


def test_a_load_whose_run_was_taken_over_writes_nothing_more(zone: Zone) -> None:
    zone.expect("enrollments", "full")
    run_id = zone.land("enrollments.csv", file_of(10))
    source_id = begin(zone, run_id)
    with zone.here.db.write() as tx:
        tx.execute(runs_table.update().values(owner="another"))
    with load_of(zone, run_id, source_id) as load, pytest.raises(runs.TakenOver):
        load.add(*batch(zone, 10))
        load.finish()
    assert zone.rows("enrollments") == []


def test_a_load_that_cannot_write_says_of_which_kind_the_error_is_and_no_value(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.expect("enrollments", "full")
    run_id = zone.land("enrollments.csv", file_of(10))
    source_id = begin(zone, run_id)
    with load_of(zone, run_id, source_id) as load, pytest.raises(LoadFailed) as failed:
        load.add(*batch(zone, 10))
        load.add(*batch(zone, 10))
        load.finish()
    assert str(failed.value) == "IntegrityError"  # of its kind, not its text
    elsewhere = {"into": "INSERT INTO nothing VALUES ", "row": "(?, ?, ?, ?, ?, ?)"}
    monkeypatch.setattr("processor.bulk_load._insert", lambda *_a: elsewhere)
    with load_of(zone, run_id, source_id) as load, pytest.raises(LoadFailed):
        load.add(*batch(zone, 1))
        load.finish()


def test_a_load_of_nothing_ends_also_if_its_process_is_gone_first(zone: Zone) -> None:
    """As of a file that is rejected before its first row: the end could no longer be told to anybody."""
    zone.expect("enrollments", "full")
    run_id = zone.land("enrollments.csv", file_of(10))
    source_id = begin(zone, run_id)
    for _ in range(5):
        with load_of(zone, run_id, source_id) as load:
            load._process.kill()
            load._process.wait()
    with load_of(zone, run_id, source_id) as load, pytest.raises(LoadFailed):
        load._process.kill()
        load._process.wait()
        load.finish()
    assert zone.rows("enrollments") == []


def test_a_load_waits_for_another_writer_and_then_says_that_it_was_kept_waiting(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.expect("enrollments", "full")
    run_id = zone.land("enrollments.csv", file_of(10))
    source_id = begin(zone, run_id)
    monkeypatch.setattr(bulk_load, "BUSY_MILLISECONDS", 200)
    with (
        load_of(zone, run_id, source_id) as load,
        zone.here.db.write(),
        pytest.raises(DatabaseBusy),
    ):
        load.add(*batch(zone, 10))
        load.finish()


def test_a_file_as_long_as_the_one_before_is_told_from_it_by_its_hash(zone: Zone) -> None:
    zone.expect("enrollments", "full")
    first = file_of(60)
    second = first.replace(b"\r\n7,001,M1,Orr", b"\r\n7,001,M1,Lee")
    assert len(second) == len(first)
    assert second != first
    for content, outcome in ((first, "imported"), (second, "imported"), (second, "unchanged"), (first, "imported")):
        run_id = zone.land("enrollments.csv", content)
        assert zone.take(run_id)["outcome"] == outcome
        with zone.here.db.read() as tx:
            assert runs.get(tx, run_id).sha256 == hashlib.sha256(content).hexdigest()


def test_a_large_file_that_could_not_be_compared_is_named_by_its_hash_all_the_same(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.expect("enrollments", "full")

    def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Listing, "compare", fails)
    run_id = zone.land("enrollments.csv", file_of(60))
    assert zone.take(run_id)["outcome"] == "failed"
    with zone.here.db.read() as tx:
        assert runs.get(tx, run_id).sha256 == hashlib.sha256(file_of(60)).hexdigest()


def begin(zone: Zone, run_id: str) -> int:
    """Up to the moment at which a load begins."""
    with zone.here.db.write() as tx:
        run = runs.get(tx, run_id)
        source = zone.here.sources.match("springfield", "enrollments.csv")
        assert source is not None
        source_id = zone.here.sources.id_of(tx, run.account_id, source)
        tx.execute(runs_table.update().values(owner=zone.context.owner, state="recognised", source_id=source_id))
        assert tx.execute(sa.select(sources.c.rows_run)).scalars().all() == [None]
    return source_id


def load_of(zone: Zone, run_id: str, source_id: int) -> BulkLoad:
    context: Context = zone.context
    with context.db.read() as tx:
        run = runs.get(tx, run_id)
    assert context.db.file is not None
    feeds = [context.catalogue["enrollments"]]
    return BulkLoad(context.db.file, run, owner=context.owner, source_id=source_id, feeds=feeds)


def batch(zone: Zone, count: int) -> tuple[Any, Any]:
    feed = zone.here.catalogue["enrollments"]
    values = {name: [f"M{at}" for at in range(count)] for name in feed.field_names}
    return feed, pl.DataFrame(values)


def test_many_days_of_few_changes_do_not_leave_many_files(zone: Zone) -> None:
    for day in range(25):
        zone.bring("enrollments.csv", file_of(60 + day))
    folder = listing_of(zone)
    assert len(list(folder.iterdir())) < 20
    told = zone.bring("enrollments.csv", file_of(80, start=3))
    assert [told["rows"][name] for name in ("added", "unchanged", "deactivated")] == [0, 80, 4]
    with zone.here.db.read() as tx:
        shows = tx.execute(sa.select(sources.c.rows_run)).scalar_one()
    assert Listing.load(folder, zone.here.catalogue["enrollments"], run=99, shows=shows) is not None
