"""Alert rules and dashboard ask only for what is there, in Prometheus' own grammar, and each alert has its advice."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from console.tokens import Refusal
from landingzone import metrics
from landingzone.metrics import METRICS, Kind
from landingzone.settings import StatusSettings
from processor.outcome import Outcome

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "landingzone.json").read_text())
SCRAPED = yaml.safe_load((DEPLOY / "prometheus" / "scrape.yaml").read_text())
PROMETHEUS_OWN = {"up": {"job", "instance"}}
PROCESS = {
    f"process_{name}"
    for name in (
        *("cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"),
        *("resident_memory_bytes", "virtual_memory_bytes"),
    )
}

RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = [(rule["alert"], rule["expr"]) for rule in RULES] + [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]


def exported() -> dict[str, set[str]]:
    """Every name that a query may use -> its labels."""
    found = {name: {"job", "instance"} for name in PROCESS} | PROMETHEUS_OWN
    for one in METRICS:
        labels = {*one.labels, "job", "instance"}
        if one.kind is Kind.HISTOGRAM:
            found |= {f"{one.full_name}_bucket": labels | {"le"}}
            found |= {f"{one.full_name}_{part}": labels for part in ("sum", "count")}
        else:
            found[one.full_name] = labels
    return found


def selectors(expression: Any) -> Iterator[Any]:
    """Every selector of series in a query."""
    kind = type(expression).__name__
    match kind:
        case "VectorSelector":
            yield expression
        case "MatrixSelector":
            yield expression.vector_selector
        case "BinaryExpr":
            yield from selectors(expression.lhs)
            yield from selectors(expression.rhs)
        case "Call":
            for argument in expression.args:
                yield from selectors(argument)
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from selectors(expression.expr)
        case "NumberLiteral" | "StringLiteral":
            return
        case _:
            pytest.fail(f"unknown: {kind}")


def grouped_by(query: str) -> set[str]:
    """The labels that a query groups by."""
    return {label.strip() for found in re.findall(r"\bby \(([^)]*)\)", query) for label in found.split(",")}


def known_values(label: str) -> set[str]:
    """Every value that a label of ours can have, as declared or documented."""
    page = (REPOSITORY / "docs" / "operator.md").read_text()
    match label:
        case "event" | "check":
            return set(re.findall(r"^\| `([a-z_.]+)`", page, re.MULTILINE))
        case _:
            return {value for one in METRICS for values in one.known if label in one.labels for value in values} | {
                "read",
                "rejected",
            }


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_asks_for_metrics_and_labels_that_are_there(name: str, query: str) -> None:
    names = exported()
    found = list(selectors(promql_parser.parse(query)))
    assert found or query.startswith("vector")
    allowed: set[str] = set()
    for selector in found:
        assert selector.name in names, f"{selector.name} is exported by nobody"
        allowed |= names[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in names[selector.name], f"{selector.name} has no label {matcher.name}"
            if matcher.name in {"outcome", "reason", "event", "check", "result"}:
                assert set(matcher.value.split("|")) <= known_values(matcher.name), matcher.value
            if matcher.name == "job":
                jobs = [job["job_name"] for job in SCRAPED["scrape_configs"]]
                assert any(re.fullmatch(matcher.value, job) for job in jobs)
    assert grouped_by(query) <= allowed


def test_each_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook"] == "docs/operator.md#alarms"
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_each_alert_has_its_line_on_the_page_for_operators_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "operator.md").read_text()
    section = page.split("### Alarms\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(LandingZone\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert {name: severity for name, severity, _, _ in rows} == {
        rule["alert"]: rule["labels"]["severity"] for rule in RULES
    }


def test_each_metric_that_counts_something_bad_is_watched() -> None:
    asked = " ".join(rule["expr"] for rule in RULES)
    for name in ("uploads_refused", "uploads_cut", "logins_refused", "run_waits", "scans_failed", "watch_restarts"):
        assert f"{name}_total" in asked
    for name in ("sign_ins_refused", "tokens_refused", "uploads_refused", "requests"):
        assert f"console_{name}_total" in asked


def test_the_ports_that_are_scraped_are_those_that_are_served() -> None:
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in SCRAPED["scrape_configs"]}
    default = StatusSettings()
    assert targets == {
        "landingzone-door": [f"127.0.0.1:{default.door_port}"],
        "landingzone-processor": [f"127.0.0.1:{default.processor_port}"],
        "landingzone-console": [f"127.0.0.1:{default.console_port}"],
    }


def test_the_dashboards_panels_lie_side_by_side_and_ask_the_chosen_prometheus() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & seen
        seen |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", []))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_what_is_told_from_the_start_is_what_can_happen() -> None:
    page = (REPOSITORY / "docs" / "operator.md").read_text()
    table = page[page.index("The reasons of `login.refused`") :].split("\n\n")[1]
    reasons = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(metrics.REFUSED_LOGINS) == reasons
    assert set(metrics.OUTCOMES) == set(Outcome)
    (refused,) = (line for line in page.splitlines() if line.startswith("| `upload.refused`"))
    at_the_door = refused.split("|")[2].partition("in the console")[0]
    assert set(metrics.REFUSED_UPLOADS) == set(re.findall(r"`([a-z_]+)`", at_the_door)) - {"free_mebibytes"}


def test_what_the_console_tells_from_the_start_is_what_can_happen() -> None:
    page = (REPOSITORY / "docs" / "operator.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2] for line in page.splitlines() if line.startswith("| `")}
    named = {event: set(re.findall(r"`([a-z_]+)`", said)) for event, said in rows.items()}
    beside = {"free_mebibytes", "bytes_missing", "write_refused"}
    assert set(metrics.REFUSED_BY_CONSOLE) == named["`upload.refused`"] - beside
    assert set(metrics.CUT_BY_CONSOLE) == named["`upload.cut`"] - {"kept"}
    assert set(metrics.REFUSED_SIGN_INS) - {"provider"} == named["`console.sign_in_refused`"] - {"peer"}
    assert set(metrics.REFUSED_TOKENS) == set(Refusal)


def test_prometheus_takes_the_rules_and_they_fire_when_they_should(need: Callable[[str], str], tmp_path: Path) -> None:
    promtool = need("promtool")
    tests = sorted(Path(__file__).parent.glob("alerts*_test.yaml"))
    for file in (DEPLOY / "prometheus" / "alerts.yaml", *tests):
        shutil.copy(file, tmp_path)
    for command in (("check", "rules", "alerts.yaml"), ("test", "rules", *(file.name for file in tests))):
        done = subprocess.run([promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
