"""Metrics, health and readiness of the real service, asked over HTTP."""

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from landingzone import log, status
from landingzone.metrics import METRICS, Kind, Metrics, Part
from landingzone.settings import LogSettings, StatusSettings

SAMPLE = Path(__file__).parents[2] / "landingzone" / "sample" / "students.csv"
ON = {
    "status__enabled": "true",
    "status__refresh_seconds": 0.2,
    **{f"status__{part}_port": 0 for part in ("door", "processor", "console")},
}


def ask(port: int, path: str) -> tuple[int, str]:
    """The answer to a request, also to one that fails."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics_at(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample: name -> label values -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(ask(port, "/metrics")[1]):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def happened(samples: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Those that are not 0."""
    return {labels: value for labels, value in samples.items() if value}


def until(holds: Callable[[], Any], seconds: float = 30) -> Any:
    """What `holds` gives, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def ports(service: Any) -> dict[str, int]:
    """The ports at which the parts tell how they are."""
    count = 2 if service.part == "serve" else 1
    service.wait_for("status.opened", count=count, seconds=30)
    return {event["service"]: event["port"] for event in service.events("status.opened")}


async def put(service: Any, key: Path, account: str) -> None:
    """One login with asyncssh's own client that puts the sample file."""
    async with (
        asyncssh.connect(
            "127.0.0.1", service.port, username=account, client_keys=[str(key)], known_hosts=None, config=None
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        await sftp.put(str(SAMPLE), "students.csv")


@pytest.mark.timeout(180)
def test_what_happened_to_a_file_is_counted_from_login_to_receipt(
    make_service: Any, make_account: Any, account: str, make_key: Any
) -> None:
    key, stranger = make_account(), make_key("stranger")
    service = make_service("serve", **ON)
    asyncio.run(put(service, key, account))
    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(put(service, stranger, account))
    at = ports(service)
    size = SAMPLE.stat().st_size
    until(lambda: happened(metrics_at(at["processor"])["landingzone_runs_total"]))
    door, processor = metrics_at(at["sftpd"]), metrics_at(at["processor"])
    assert door["landingzone_door_logins_total"] == {(): 1}
    assert happened(door["landingzone_door_logins_refused_total"]) == {("unknown_key",): 1}
    assert happened(door["landingzone_door_landings_total"]) == {("yes",): 1}
    assert door["landingzone_door_landed_bytes_total"] == door["landingzone_door_received_bytes_total"] == {(): size}
    assert door["landingzone_door_landing_seconds_count"] == {(): 1}
    assert until(lambda: metrics_at(at["sftpd"])["landingzone_door_sessions"] == {(): 0})
    assert happened(processor["landingzone_runs_total"]) == {("imported_with_rejects",): 1}
    assert processor["landingzone_rows_total"][("read",)] == 24
    assert processor["landingzone_close_to_receipt_seconds_count"] == {(): 1}
    assert 0 < processor["landingzone_close_to_receipt_seconds_sum"][()] < 60
    assert processor["landingzone_runs_unanswered"] == {("held",): 0, ("failed",): 0}
    assert until(lambda: metrics_at(at["processor"])["landingzone_runs_waiting"] == {(): 0})
    for told in (door, processor):
        assert set(told["landingzone_ready"].values()) == {1}
        assert told["landingzone_disk_free_bytes"][()] > 0
        assert told["landingzone_database_bytes"][("control",)] > 0
        assert told["process_start_time_seconds"][()] > 0
    for port in at.values():
        text = ask(port, "/metrics")[1]
        assert ask(port, "/healthz")[0] == ask(port, "/readyz")[0] == 200
        assert account not in text
        assert "127.0.0.1" not in text
        assert "students" not in text


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", ["sftpd", "processor", "console"])
def test_every_declared_metric_is_exported_and_no_other(make_service: Any, night_log: Any, part: str) -> None:
    if part in {"sftpd", "console"}:
        service = make_service(part, console__port=0, **ON)
        port = ports(service)[part]
    else:
        port = night_log(**ON)
    until(lambda: ask(port, "/readyz")[0] == 200)
    declared = {one.full_name for one in METRICS if ("door" if part == "sftpd" else part) in one.parts}
    families = text_string_to_metric_families(ask(port, "/metrics")[1])
    told = {one.name + ("_total" if one.type == "counter" else "") for one in families}
    assert {name for name in told if name.startswith("landingzone_")} == declared
    assert {name for name in told if not name.startswith("landingzone_")} <= {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
    }


@pytest.fixture
def night_log(root: Path, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a processor alone; gives the port of its status."""
    started = []

    def start(**settings: Any) -> int:
        given = {f"LANDINGZONE_{name.upper()}": str(value) for name, value in settings.items()}
        path = tmp_path / "processor.log"
        with path.open("ab") as out:
            command = [sys.executable, "-m", "landingzone", "--root", str(root), "processor"]
            started.append(subprocess.Popen(command, stderr=out, env={**os.environ, **given}))

        def opened() -> list[int]:
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
            return [line["port"] for line in lines if line["event"] == "status.opened"]

        return int(until(opened)[0])

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.fixture
def metrics() -> Metrics:
    """The door's metrics."""
    return Metrics(Part.DOOR)


def watched(metrics: Metrics, checks: dict[str, Callable[[], bool]], **settings: Any) -> tuple[status.Status, int]:
    """A status that is served, and its port."""
    given = {"refresh_seconds": 0.05, "enabled": True, **settings}
    one = status.Status(metrics, StatusSettings(**given), port=0, checks=checks, samples=())
    one.start()
    until(lambda: one._server is not None)
    assert one._server
    return one, one._server.server_address[1]


def test_a_part_whose_main_loop_stands_still_is_not_healthy(metrics: Metrics) -> None:
    one, port = watched(metrics, {}, stalled_seconds=0.5)
    one.beat()
    assert ask(port, "/healthz")[0] == 200
    assert until(lambda: ask(port, "/healthz")[0] == 503)
    assert json.loads(ask(port, "/readyz")[1])["checks"]["pulse"] is False
    one.beat()
    assert ask(port, "/healthz")[0] == 200
    one.stop()


def test_readiness_names_what_does_not_hold_and_a_check_that_fails_is_one_that_does_not_hold(metrics: Metrics) -> None:
    room = [False]

    def broken() -> bool:
        raise OSError

    one, port = watched(metrics, {"disk": lambda: room[0], "database": broken})
    code, told = ask(port, "/readyz")
    assert (code, json.loads(told)["checks"]) == (
        503,
        {"pulse": True, "disk": False, "database": False, "serving": True},
    )
    room[0] = True
    until(lambda: json.loads(ask(port, "/readyz")[1])["checks"]["disk"])
    one.stop()
    assert json.loads(ask(port, "/readyz")[1])["checks"]["serving"] is False


def test_a_check_that_never_ends_keeps_no_request_waiting(metrics: Metrics) -> None:
    ended = threading.Event()
    one, port = watched(metrics, {"database": lambda: ended.wait(60)}, refresh_seconds=0.05, enabled=True)
    assert ask(port, "/readyz")[0] == 503
    assert ask(port, "/metrics")[0] == 200
    ended.set()
    one.stop()


def test_requests_that_never_end_are_cut_off_and_the_others_answered(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "REQUEST_SECONDS", 1.0)
    one, port = watched(metrics, {})
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(status.MOST_REQUESTS * 2)]
    for connection in silent:
        connection.settimeout(10)
    trickle = socket.create_connection(("127.0.0.1", port))
    trickle.sendall(b"GET /met")
    until(lambda: answered(port))
    assert all(connection.recv(1) == b"" for connection in silent)
    one.stop()


def answered(port: int) -> bool:
    """Whether a request is answered."""
    try:
        return ask(port, "/metrics")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "garbage", [b"\r\n\r\n", b"\x16\x03\x01\x02" * 99, b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_does_no_harm(metrics: Metrics, garbage: bytes) -> None:
    one, port = watched(metrics, {})
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
    assert ask(port, "/nothing")[0] == 404
    assert ask(port, "/metrics?name=x")[0] == 200
    one.stop()


def test_files_land_also_where_the_port_of_the_metrics_is_taken(
    make_service: Any, make_account: Any, account: str
) -> None:
    key = make_account()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = make_service("sftpd", **{**ON, "status__door_port": taken.getsockname()[1]})
        service.wait_for("status.not_served")
        asyncio.run(put(service, key, account))
    assert service.landed(count=1)


def test_an_event_counts_also_when_it_is_not_written(metrics: Metrics) -> None:
    out = io.StringIO()
    log.configure(LogSettings(format="json", level="error"), service="test", stream=out, note=metrics.note)
    logger = structlog.get_logger("test")
    logger.info("session.opened")
    logger.warning("login.refused", reason="unknown_key")
    logger.warning("login.refused", reason="Zyxwvut said so")
    assert out.getvalue() == ""
    logger.error("door.error")
    assert json.loads(out.getvalue())["event"] == "door.error"
    text = metrics.text()[0].decode()
    assert "landingzone_door_sessions 1.0" in text
    assert 'landingzone_door_logins_refused_total{reason="unknown_key"} 1.0' in text
    assert 'landingzone_door_logins_refused_total{reason="other"} 1.0' in text
    assert "Zyxwvut" not in text


def test_no_number_of_different_reasons_makes_the_metrics_grow_without_bound(metrics: Metrics) -> None:
    for number in range(1000):
        metrics.note({"event": "login.refused", "reason": f"made_up_{number}"})
    assert 100 < metrics.text()[0].count(b"landingzone_door_logins_refused_total{") <= 201


def test_a_line_that_goes_to_the_journal_bears_its_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+") as out:
        info = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{info.st_ino}")
        log.configure(LogSettings(format="json"), service="test", stream=out)
        structlog.get_logger("test").warning("upload.expired")
        structlog.get_logger("test").info("door.opened")
    lines = (tmp_path / "journal").read_text().splitlines()
    assert [line[:3] for line in lines] == ["<4>", "<6>"]
    assert json.loads(lines[0][3:])["event"] == "upload.expired"


def test_each_metric_says_what_it_is() -> None:
    assert len({one.name for one in METRICS}) == len(METRICS)
    for one in METRICS:
        assert one.said.endswith(".")
        assert bool(one.bounds) is (one.kind is Kind.HISTOGRAM)


def test_runs_that_wait_for_somebody_are_found_by_their_index(here: Any) -> None:
    import sqlalchemy as sa

    from processor.processor_status import unanswered

    with here.db.read() as tx:
        plan = tx.execute(sa.text(f"EXPLAIN QUERY PLAN {unanswered()}")).all()
    assert any("ix_runs_unanswered" in step[-1] for step in plan), plan
