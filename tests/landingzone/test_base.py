"""The base: ids, names, sources, feeds, the zone, the database, settings, logs."""

import io
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from landingzone import log, tables
from landingzone.command import Installation
from landingzone.db import Database, is_disk_full
from landingzone.feed import FeedError, load_catalogue
from landingzone.landing import IdMaker, Landing, NameRefused, check_name, moment_of
from landingzone.settings import LogSettings, explain, load_settings
from landingzone.source import Source, is_temporary
from landingzone.zone import Mark, Upload, Zone, write_file


def test_ids_rise_strictly_even_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    make, present = IdMaker(), time.time_ns()
    moments = iter([present + step for step in (0, 0, 0, -5_000_000_000, 10_000_000, 0) for _ in range(50)])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [make() for _ in range(300)]
    assert made == sorted(set(made))
    assert abs(moment_of(made[0]).timestamp() - present / 1e9) < 0.01


@given(st.text(max_size=200))
def test_a_name_is_accepted_whole_or_refused_with_a_reason(name: str) -> None:
    try:
        accepted = check_name(name)
    except NameRefused as refused:
        assert len(str(refused)) > 10
    else:
        assert accepted == name
        assert 1 <= len(name.encode()) <= 150
        assert "/" not in name
        assert "\0" not in name
        assert Landing.parse("a", Landing(IdMaker()(), "a", name).stored_name) is not None


@given(
    st.text(min_size=1, max_size=40).filter(lambda name: "\0" not in name and "/" not in name),
    st.sets(st.sampled_from(Mark)),
)
def test_what_an_uploads_file_name_says_is_read_back(name: str, marks: set[Mark]) -> None:
    upload = Upload(IdMaker()(), "a", name, frozenset(marks))
    assert Upload.parse("a", upload.stored_name) == upload


@pytest.mark.parametrize(
    "name",
    [
        "students.csv.filepart",
        "students.csv.part",
        ".students.csv.swp",
        "students.csv.abc12345.partial",
        "x.TMP",
        ".in.x.",
        "x~",
    ],
)
def test_temporary_names_never_match_a_source(name: str) -> None:
    assert is_temporary(name)
    assert not Source("any", name, "students", "full").matches(name)


def test_operators_declare_feeds_of_their_own_and_mistakes_are_named() -> None:
    fields = {"bus_id": {"label": "Bus", "required": True}, "driver": {}}
    own = {"buses": {"title": "Buses", "key": ["bus_id"], "fields": fields}}
    assert load_catalogue(extra=own)["buses"].field_names == ("bus_id", "driver")
    for broken, told in (
        ({"buses": {"title": "Buses", "key": ["nothing"], "fields": fields}}, "nothing"),
        ({"buses": {"key": ["bus_id"], "fields": fields}}, "title"),
        ({"Buses!": {"title": "", "key": ["bus_id"], "fields": fields}}, "Buses!"),
        ({"buses": {"title": "", "key": ["bus_id"], "fields": {**fields, "x": {"kindd": "text"}}}}, "kindd"),
        (
            {"buses": {"title": "", "key": ["bus_id"], "fields": {**fields, "x": {"headers": ["BUS ID"]}}}},
            "header name",
        ),
    ):
        with pytest.raises(FeedError, match=told):
            load_catalogue(extra=broken)


def test_migrations_make_exactly_the_declared_tables(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    db = Database(f"sqlite:///{tmp_path / 'new.db'}")
    db.migrate()
    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    db.migrate()
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    import subprocess
    import sys

    url = f"sqlite:///{tmp_path / 'new.db'}"
    (tmp_path / "new.db").touch()
    migrate = f"from landingzone.db import Database; Database({url!r}).migrate()"
    started = [subprocess.Popen([sys.executable, "-c", migrate], stderr=subprocess.PIPE) for _ in range(4)]
    ended = [(process.communicate(timeout=90)[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0] * 4, ended
    assert Database(url).revision is not None


def test_a_write_transaction_that_fails_leaves_nothing(here: Installation) -> None:
    with pytest.raises(ZeroDivisionError), here.db.write() as tx:
        tx.execute(tables.accounts.insert().values(name="half", created_at="2026-01-01T00:00:00.000Z"))
        _ = 1 / 0
    assert here.accounts.find("half") is None


def test_a_full_disk_is_known_by_its_number_and_by_polars_text() -> None:
    import errno

    assert is_disk_full(OSError(errno.ENOSPC, "x"))
    assert is_disk_full(OSError("No space left on device (os error 28)"))
    wrapped = ValueError()
    wrapped.__cause__ = OSError(errno.EDQUOT, "x")
    assert is_disk_full(wrapped)
    assert not is_disk_full(OSError(errno.EIO, "x"))


def test_settings_come_from_the_file_then_the_environment_then_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "landingzone.toml").write_text('node = "file-1"\n[door]\nport = 2022\nresume_hours = 3\n')
    monkeypatch.setenv("LANDINGZONE_DOOR__PORT", "2023")
    settings = load_settings(root=tmp_path)
    assert (settings.node, settings.door.port, settings.door.resume_hours) == ("file-1", 2023, 3)
    origins = {setting.name: setting.origin for setting in explain(settings, given={"root": tmp_path})}
    assert origins["root"] == "command line"
    assert origins["node"] == origins["door.resume_hours"] == "landingzone.toml"
    assert origins["door.port"] == "LANDINGZONE_DOOR__PORT"
    assert origins["door.host"] == "default"


def test_the_sample_settings_file_holds_every_setting_and_changes_nothing(tmp_path: Path) -> None:
    import re

    from landingzone.sample_settings import write_sample_settings

    path = write_sample_settings(tmp_path)
    assert load_settings(root=tmp_path) == load_settings(root=tmp_path / "none").model_copy(update={"root": tmp_path})
    path.write_text(re.sub(r"^# (\w+ = .*)$", r"\1", path.read_text(), flags=re.MULTILINE))
    assert load_settings(root=tmp_path).door == load_settings(root=tmp_path / "none").door


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "receipt.json"
    write_file(path, b"first")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            write_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["receipt.json"]


def test_claiming_twice_is_claiming_once(here: Installation) -> None:
    zone = here.zone
    zone.prepare_account("springfield")
    upload, descriptor = zone.begin_upload("springfield", "students.csv")
    os.write(descriptor, b"x")
    os.close(descriptor)
    landing = zone.new_landing("springfield", "students.csv")
    zone.land(upload, landing)
    assert zone.waiting("springfield") == [landing]
    assert [zone.claim(landing), zone.claim(landing)] == [True, True]
    assert zone.claimed_path(landing).read_bytes() == b"x"
    gone = zone.new_landing("springfield", "students.csv")
    assert not zone.claim(gone)
    assert not zone.work_folder(gone).exists()


def test_the_reserve_gives_room_once_and_is_taken_again(tmp_path: Path) -> None:
    zone = Zone(tmp_path / "root")
    zone.prepare()
    zone.take_reserve(1)
    assert (tmp_path / "root" / ".reserve").stat().st_size == 1 << 20
    assert [zone.release_reserve(), zone.release_reserve()] == [True, False]


def test_a_log_line_tells_where_an_error_was_raised_and_never_its_text() -> None:
    out = io.StringIO()
    log.configure(LogSettings(format="json"), service="test", stream=out)
    try:
        _ = {"Zyxwvut": 1}["Qwertzu"]
    except KeyError as error:
        structlog.get_logger().error("run.failed", exc_info=error)
    import logging

    try:
        raise ValueError("Zyxwvut")
    except ValueError:
        logging.getLogger("dbos").exception("step failed")
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ["KeyError", "ValueError"]
    assert all("test_base.py" in line["frames"][-1] for line in lines)
    assert "Zyxwvut" not in out.getvalue()
    assert "Qwertzu" not in out.getvalue()
