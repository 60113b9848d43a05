"""What the code offers is documented, and what the documents name is there."""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from keys.store import Refusal
from landingzone.feed import load_catalogue
from landingzone.settings import Settings
from processor import codes, guards
from processor.outcome import Outcome
from processor.run import TRANSITIONS, State
from upload import statement
from upload.outcome import Ending
from upload.settings import parse_settings

PARTS = ("landingzone", "keys", "sftpd", "processor", "console")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
HEADINGS = {
    codes.Severity.REJECT: "Rejects",
    codes.Severity.WARNING: "Warnings",
    codes.Severity.TOLERATED: "Tolerated",
    codes.Severity.UNREADABLE: "Unreadable",
}
Node = TypeVar("Node", bound=ast.AST)
MakeDocument = Callable[[str], Any]


@pytest.fixture(scope="session")
def trees(repository: Path) -> list[ast.Module]:
    """The code of the parts."""
    paths = [path for part in PARTS for path in sorted((repository / part).rglob("*.py"))]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def nodes(trees: list[ast.Module], kind: type[Node]) -> list[Node]:
    """Every node of one kind."""
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, kind)]


@pytest.fixture(scope="session")
def calls(trees: list[ast.Module]) -> list[ast.Call]:
    """Every call in the code of the parts."""
    return nodes(trees, ast.Call)


@pytest.fixture(scope="session")
def log_calls(calls: list[ast.Call]) -> list[ast.Call]:
    """Every call that logs an event."""
    names = re.compile(rf"(.+\.)?_?log\.({'|'.join(LEVELS)})")
    return [call for call in calls if names.fullmatch(ast.unparse(call.func))]


def texts(node: ast.AST) -> Iterator[str]:
    """Every string in an expression."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def test_every_event_that_is_logged_is_documented_and_no_other(
    log_calls: list[ast.Call], document: MakeDocument
) -> None:
    logged = {f"run.{outcome}" for outcome in Outcome}  # processor.import_step logs the outcome by its name
    for call in log_calls:
        if ast.unparse(call.args[0]) != "_EVENTS[run.outcome]":
            assert isinstance(call.args[0], ast.Constant), f"Not a stable name: {ast.unparse(call)}"
            logged.add(str(call.args[0].value))
    section = document("docs/operator.md").section("What the log says")
    told = {name for name in section.first_cells() if "." in name}
    assert told == logged


def test_every_reason_in_the_log_is_documented(
    trees: list[ast.Module], log_calls: list[ast.Call], document: MakeDocument
) -> None:
    section = document("docs/operator.md").section("What the log says")
    told: list[ast.AST] = [word.value for call in log_calls for word in call.keywords if word.arg == "reason"]
    told += [node.value for node in nodes(trees, ast.Assign) if ast.unparse(node.targets[0]) == "reason"]
    reasons = {text for node in told for text in texts(node) if re.fullmatch(r"[a-z]+(_[a-z]+)*", text)}
    reasons |= {refusal.value for refusal in Refusal}
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in section] == []


def test_every_audited_action_is_documented(
    trees: list[ast.Module], calls: list[ast.Call], document: MakeDocument
) -> None:
    told: list[ast.AST] = [word.value for call in calls for word in call.keywords if word.arg == "action"]
    told += [node.value for node in nodes(trees, ast.Assign) if ast.unparse(node.targets[0]) == "action"]
    actions = {text for node in told for text in texts(node) if re.fullmatch(r"[a-z]+\.[a-z_]+", text)}
    actions |= {"run.retry", "run.approve", "run.reject", "run.revert"}  # processor.requests joins them of two words
    assert {"key.added", "account.enabled"} <= actions
    section = document("docs/operator.md").section("The audit trail")
    assert [action for action in sorted(actions) if f"`{action}`" not in section] == []


@pytest.mark.parametrize("path", ["docs/operator.md", "docs/customer.md", "docs/reference/codes.md"])
def test_every_reason_for_a_hold_is_documented(calls: list[ast.Call], document: MakeDocument, path: str) -> None:
    holds = {next(texts(call.args[0])) for call in calls if ast.unparse(call.func) == "Hold" and call.args}
    assert holds == set(guards.CODES)
    assert holds <= set(document(path).first_cells())


@pytest.mark.parametrize("path", ["docs/operator.md", "docs/customer.md", "docs/design.md", "docs/reference/runs.md"])
@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_documented(document: MakeDocument, path: str, outcome: Outcome) -> None:
    assert f"`{outcome}`" in document(path)


@pytest.mark.parametrize("code", codes.ALL, ids=lambda code: code.code)
def test_every_code_is_documented(document: MakeDocument, code: codes.Code) -> None:
    assert code.code in document("docs/reference/codes.md").section(HEADINGS[code.kind]).first_cells()


def test_every_feed_is_documented_for_districts(generate: Any, document: MakeDocument) -> None:
    for name, feed in load_catalogue().items():
        assert f"[`{name}.csv`](reference/feeds.md#{name})" in document("docs/customer.md")
        assert document("docs/reference/feeds.md").section(name).first_cells() == [
            field.name for field in generate.columns_of(feed)
        ]


def test_every_setting_is_documented(document: MakeDocument) -> None:
    page = document("docs/reference/settings.md")
    for name, info in Settings.model_fields.items():
        if isinstance(info.default, BaseModel):
            assert set(type(info.default).model_fields) <= set(page.section(f"[{name}]").first_cells())
        else:
            assert name in page.section("At the top of the file").first_cells()


def test_every_command_is_documented(generate: Any, documents: dict[str, str]) -> None:
    written = " ".join(" ".join(text.split()) for path, text in documents.items() if "/reference/" not in path)
    leaves = [" ".join(path) for path, command in generate.commands() if not getattr(command, "commands", None)]
    assert "landingzone keys add" in leaves
    assert [name for name in leaves if not re.search(rf"{name.removeprefix('landingzone ')}\b", written)] == []
    reference = documents["docs/reference/commands.md"]
    assert [name for name in leaves if f"## {name}\n" not in reference] == []


def test_every_command_and_setting_of_the_upload_utility_is_documented(generate: Any, document: MakeDocument) -> None:
    guide, reference = " ".join(document("docs/upload.md").split()), document("docs/reference/upload.md")
    leaves = [" ".join(path) for path, command in generate.upload_commands() if not getattr(command, "commands", None)]
    assert [name for name in leaves if not re.search(rf"`?{name}\b", guide)] == []
    assert [name for name in leaves if f"### {name}\n" not in reference] == []
    for heading, model in generate.UPLOAD_TABLES.items():
        assert set(model.model_fields) == set(reference.section(heading).first_cells())
        assert [name for name in model.model_fields if f"`{name}`" not in guide and f"\n{name} =" not in guide] != [""]
    assert set(generate.enum_texts(Ending)) == {one.name for one in Ending}
    for one in Ending:
        assert f"| `{one.value}` |" in document("docs/upload.md").section("What became of it")


def test_the_sources_in_the_guide_of_the_upload_utility_can_be_used(document: MakeDocument) -> None:
    server = f'[server]\nhost = "h"\naccount = "a"\nhost_keys = ["SHA256:{"x" * 43}"]\n'
    settings = parse_settings(server + "".join(document("docs/upload.md").fences("toml")))
    assert len(settings.source) > 5
    catalogue = load_catalogue()
    for source in settings.source:
        assert set(source.mapping.values()) <= set(catalogue[source.feed].column_names)
        assert not source.query or statement.checked(source.query)


def test_the_table_of_transitions_in_the_design_is_that_of_the_code(document: MakeDocument) -> None:
    section = document("docs/design.md").section("Runs")
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", section, re.MULTILINE)
    told = {State(to): tuple(map(State, re.findall(r"`(\w+)`", told))) for to, told in rows}
    assert told == TRANSITIONS


def test_the_account_data_in_the_design_is_that_of_the_code(document: MakeDocument) -> None:
    from processor.account_data import table_of

    feed = load_catalogue()["students"]
    columns = {column.name for column in table_of(feed).columns} - set(feed.field_names)
    assert columns == set(document("docs/design.md").section("Account data").first_cells())


# What the documents name is there


def test_every_command_line_in_the_documents_can_be_typed(
    generate: Any, documents: dict[str, str], document: MakeDocument
) -> None:
    known = {**dict(generate.commands()), **dict(generate.upload_commands())}
    wrong = []
    for path in documents:
        if "/reference/" in path:
            continue
        whole = document(path)
        fenced = "\n".join(whole.fences("bash")).replace("\\\n", " ")
        lines = re.findall(r"(?:^|[ (])(?:\.venv/bin/)?(landingzone(?:-upload)? (?:[a-z]).*)$", fenced, re.MULTILINE)
        lines += re.findall(r"`(landingzone(?:-upload)? [^`]+)`", whole)
        for line in lines:
            program, *words = line.partition("  #")[0].split()
            name: tuple[str, ...] = (program,)
            while len(words) > len(name) - 1 and (*name, words[len(name) - 1]) in known:
                name = (*name, words[len(name) - 1])
            options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
            given = re.findall(r" (--[a-z-]+)", " " + line)
            if len(name) == 1 or set(given) - options:
                wrong.append((path, line))
    assert wrong == []


def test_every_command_that_the_doctor_advises_can_be_typed(generate: Any, repository: Path) -> None:
    known = {" ".join(path) for path, _ in generate.commands()}
    texts_of_doctor = [
        path.read_text(encoding="utf-8") for path in (repository / "landingzone" / "doctor").glob("*.py")
    ]
    advised = {
        line.strip() for text in texts_of_doctor for line in re.findall(r"`(landingzone(?: [a-z]+(?![\w.-]*=))+)", text)
    }
    assert len(advised) > 10
    assert [line for line in sorted(advised) if line not in known and line.rpartition(" ")[0] not in known] == []


def test_every_make_target_in_the_documents_is_there(repository: Path, documents: dict[str, str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for text in documents.values() for target in re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert named <= targets


def test_the_clients_in_the_readme_are_those_that_ci_installs(repository: Path, document: MakeDocument) -> None:
    installed = re.search(r'^clients="([^"]+)"', (repository / ".ci" / "run").read_text(), re.MULTILINE)
    assert installed
    assert f"apt-get install {installed[1]}\n" in document("README.md")


def test_every_link_points_somewhere(repository: Path, documents: dict[str, str]) -> None:
    wrong = []
    for path, text in documents.items():
        plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", plain):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            to = (repository / path).parent / file if file else repository / path
            if not to.exists() or (anchor and anchor not in anchors(to)):
                wrong.append((path, target))
    assert wrong == []


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_says_what_every_folder_is(
    repository: Path, document: MakeDocument, need: Callable[[str], str]
) -> None:
    listed = subprocess.run([need("git"), "ls-files"], cwd=repository, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone")
    folders = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    told = {name.strip("/") for name in document("README.md").section("Where things are").first_cells()}
    assert {name for name in folders if not name.startswith(".")} <= told
