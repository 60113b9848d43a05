"""Generates docs/reference from what the code declares: feeds, settings, commands, codes, outcomes and states, metrics,
the HTTP API, and the same of the upload utility.

`make docs` runs it. The output depends on nothing but the code: fixed width, no colours, defaults as declared.
It stands among the tests because it needs every part, which no part may import (the arrows of the design).
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from console.api import problem
from console.api.app import build_api
from console.desk import Desk
from landingzone.cli import app
from landingzone.command import Installation
from landingzone.feed import Feed, Field, load_catalogue
from landingzone.metrics import METRICS
from landingzone.settings import ENV_PREFIX, Settings
from processor import codes, guards, integrity, receipt
from processor.outcome import RETRYABLE, SUPERSEDABLE, Outcome
from processor.run import TRANSITIONS, State
from upload.cli import app as upload_app
from upload.outcome import Ending
from upload.settings import ServerSettings, SourceSettings

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
WIDTH = 100
_MADE = "<!-- Made by `make docs` from the code. Change the declaration there, not this page. -->"


def pages() -> dict[str, str]:
    """Every page of docs/reference: file name -> text."""
    made = {
        "api.md": api_page(),
        "feeds.md": feeds_page(),
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "codes.md": codes_page(),
        "metrics.md": metrics_page(),
        "runs.md": runs_page(),
        "upload.md": upload_page(),
    }
    return {name: "\n".join([_MADE, "", *lines]).rstrip() + "\n" for name, lines in made.items()}


# The HTTP API


def api_page() -> Iterator[str]:
    """Every call by its group, who may make it, and the problems; the webhooks."""
    document = api_document()
    yield from ("# The HTTP API", "", document["info"]["description"].strip(), "")
    yield "The document itself, with every field, is at `/api/v1/openapi.json` (OpenAPI 3.1)."
    groups: dict[str, list[tuple[str, ...]]] = {}
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            row = (f"`{method.upper()}`", f"`{path}`", ", ".join(call["x-roles"]), f"{call['summary']}.")
            groups.setdefault(call["tags"][0], []).append(row)
    for name, rows in groups.items():
        yield from ("", f"## {name[0].upper()}{name[1:]}", "")
        yield from _table(("Method", "Path", "Roles", "What it does"), rows)
    yield from ("", "## Problems", "")
    rows_ = ((f"`{code}`", str(problem.STATUS[code]), problem.MEANINGS[code]) for code in problem.Code)
    yield from _table(("Code", "Status", "Means"), rows_)
    yield from ("", "## Webhooks", "")
    yield "What `[notify] webhook_urls` are sent, signed as [Standard Webhooks](https://www.standardwebhooks.com/) say:"
    yield "`webhook-id`, `webhook-timestamp`, `webhook-signature`. `data` holds `account`, `district`, and:"
    yield ""
    schemas = document["components"]["schemas"]
    told = []
    for kind, calls in document["webhooks"].items():
        payload = _schema(schemas, calls["post"]["requestBody"]["content"]["application/json"]["schema"])
        data = _schema(schemas, payload["properties"]["data"])
        told.append(
            (
                f"`{kind}`",
                f"{calls['post']['summary']}.",
                _names(name for name in data["properties"] if name not in {"account", "district"}),
            )
        )
    yield from _table(("Type", "When", "Data"), told)


def api_document() -> dict[str, Any]:
    """The OpenAPI document; nothing of an installation goes into it."""
    return build_api(Desk(Installation())).openapi()


def _schema(schemas: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schemas[reference["$ref"].rpartition("/")[2]]
    return found


# Feeds


def feeds_page() -> Iterator[str]:
    """One section for each feed."""
    catalogue = load_catalogue()
    yield from ("# Feeds", "", "One section for each kind of file. `landingzone feeds show FEED` prints the same.", "")
    yield "- **Field** is the name in receipts and in the account's data."
    yield "- **Required** `yes`: an empty or faulty value rejects the row. `expected`: the column should be there; an"
    yield "  empty value is a warning. `no`: a faulty value is left out with a warning, and the row is imported."
    yield "- **At most** counts characters."
    yield "- **Header names** are compared without case, spaces and punctuation; the field's own name counts, too."
    yield ""
    rows = ((f"[{name}](#{name})", f"`{name}.csv`", feed.title.partition(": ")[2]) for name, feed in catalogue.items())
    yield from _table(("Feed", "File name by default", "Holds"), rows)
    for feed in catalogue.values():
        yield from ("", f"## {feed.name}", "", f"{feed.title}.", "")
        yield f"Key: {_names(feed.key)}. Mode: `{feed.mode.value}`.{_references(feed)}"
        if feed.note:
            yield from ("", feed.note)
        yield ""
        columns = ("Field", "Required", "At most", "Kind", "Header names", "Note")
        yield from _table(columns, (_field_row(field) for field in columns_of(feed)))


def columns_of(feed: Feed) -> tuple[Field, ...]:
    """The columns of a feed's files; a feed that gives records to others has more of them than it keeps."""
    return getattr(feed, "columns", feed.fields)


def _field_row(field: Field) -> tuple[str, ...]:
    note = field.note or (f"`{field.default}` where it is empty." if field.default else "")
    return (
        f"`{field.name}`",
        _required(field),
        str(field.max_length) if field.max_length else "no limit",
        field.kind.value,
        ", ".join(dict.fromkeys((field.label, *field.headers))),
        note,
    )


def _required(field: Field) -> str:
    if beside := getattr(field, "required_with", ""):
        return f"with `{beside}`"
    return "yes" if field.required else "expected" if field.expected else "no"


def _references(feed: Feed) -> str:
    return "".join(f" {_names(ref.fields)} names a row of [{ref.feed}](#{ref.feed})." for ref in feed.references)


# Settings


def settings_page() -> Iterator[str]:
    """Every setting with its variable, type, default and meaning."""
    yield from ("# Settings", "")
    yield "A setting is looked for on the command line, then in the environment, then in `landingzone.toml` under the"
    yield "root, then the default holds. `landingzone settings` prints what holds and where it came from."
    top = {name: info for name, info in Settings.model_fields.items() if not isinstance(info.default, BaseModel)}
    sections = {name: info for name, info in Settings.model_fields.items() if name not in top}
    yield from ("", "## At the top of the file", "", *_settings_table("", top))
    for name, info in sections.items():
        kind = type(info.default)
        yield from ("", f"## [{name}]", "", kind.__doc__ or "", "", *_settings_table(f"{name}__", kind.model_fields))


def _settings_table(prefix: str, settings: dict[str, FieldInfo]) -> Iterator[str]:
    rows = (
        (
            f"`{name}`",
            f"`{ENV_PREFIX}{prefix}{name}`".upper(),
            _what_may_be(info),
            f"`{_toml(info.get_default())}`",
            info.description or "",
        )
        for name, info in settings.items()
    )
    yield from _table(("Setting", "Variable", "May be", "Default", "Meaning"), rows)


def _what_may_be(info: FieldInfo) -> str:
    bounds = []
    for bound in info.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if getattr(bound, name, None) is not None:
                bounds.append(f"{sign} {getattr(bound, name)}")
        if getattr(bound, "pattern", None):
            bounds.append(f"`{bound.pattern}`")
    return ", ".join([_type(info.annotation), *bounds])


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if isinstance(annotation, UnionType):
        return " or ".join(_type(each) for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is tuple:
        return f"list of {_type(get_args(annotation)[0])}"
    names = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text", Path: "folder"}
    return names.get(annotation, "table")


def _toml(value: Any) -> str:
    match value:
        case str() | Path():
            return f'"{value}"'
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(_toml(one) for one in value)}]"
        case _:
            return str(value)


# Commands


def commands_page() -> Iterator[str]:
    """The help of every command, as it is printed where the terminal is plain."""
    yield from ("# Commands", "")
    yield "What `--help` says. Exit codes: 0 done, 1 refused or failed, 2 a usage error or an unusable setting."
    yield "Commands that print a listing take `--json`. `--root` stands before the command's name."
    for path, command in commands():
        if getattr(command, "commands", None) and len(path) > 1:
            continue  # its commands say more
        name = " ".join(path)
        yield from ("", f"## {name}", "", "```text", *_help(path, command).splitlines(), "```")


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of commands: the words that call it, and click's object for it."""
    yield from _below(("landingzone",), typer.main.get_command(app))


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _below((*path, name), inner)


def _help(path: tuple[str, ...], command: Any) -> str:
    """The help as click formats it: rich's boxes are for terminals."""
    command.rich_markup_mode = None
    context = command.context_class(
        command,
        info_name=" ".join(path),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    printed = command.get_help(context)
    return re.sub(r"[ \t]+$", "", printed, flags=re.MULTILINE)


# Codes


def codes_page() -> Iterator[str]:
    """Every code that a receipt can hold."""
    yield from ("# Codes", "")
    yield "A code's meaning never changes; its sentence may become clearer. Scripts should look at the code."
    headings = {
        codes.Severity.REJECT: ("Rejects", "The row is not imported. They stand in `rejects` and `reject_counts`."),
        codes.Severity.WARNING: ("Warnings", "The row is imported, perhaps without one value. See `warnings`."),
        codes.Severity.TOLERATED: (
            "Tolerated",
            "The file departs from the format asked for and was read all the same.",
        ),
        codes.Severity.UNREADABLE: (
            "Unreadable",
            "The file as a whole could not be read: the outcome is `rejected`, the sentence stands in `message`.",
        ),
    }
    for kind, (heading, said) in headings.items():
        yield from ("", f"## {heading}", "", said, "")
        rows = ((f"`{each.code}`", each.doc, each.message) for each in codes.ALL if each.kind is kind)
        yield from _table(("Code", "When", "What the customer reads"), rows)
    yield from (
        "",
        "## Between files",
        "",
        "Warnings about what the account's files say together; `accounts integrity` lists them all.",
        "",
    )
    yield from _table(("Code", "When"), ((f"`{code}`", said) for code, said in integrity.CODES.items()))
    yield from ("", "## Holds", "", "The run waits for an operator; see `hold`, whose sentence gives the figures.", "")
    yield from _table(("Code", "When"), ((f"`{code}`", said) for code, said in guards.CODES.items()))


# Runs


def runs_page() -> Iterator[str]:
    """Outcomes, states, and what follows what."""
    yield from ("# Outcomes and states of a run", "", "## Outcomes", "")
    yield "`retry`: an operator may ask for another attempt. `superseded`: a newer file of the same source that is"
    yield "applied ends this one as `superseded`."
    yield ""
    rows = (
        (
            f"`{outcome}`",
            receipt.SENTENCES[outcome],
            "yes" if outcome in RETRYABLE else "",
            "yes" if outcome in SUPERSEDABLE else "",
        )
        for outcome in Outcome
    )
    yield from _table(("Outcome", "What the receipt says", "retry", "superseded"), rows)
    yield from ("", "## States", "", "Each state with those from which it is entered.", "")
    entered = ((f"`{state}`", _names(TRANSITIONS.get(state, ())) or "(a file has landed)") for state in State)
    yield from _table(("State", "Entered from"), entered)


# Metrics


def metrics_page() -> Iterator[str]:
    """Every metric that /metrics tells."""
    yield from ("# Metrics", "")
    yield "What `/metrics` of the front door (`door`), of the import (`processor`) and of the console tell Prometheus,"
    yield "where [status] is enabled. Beside these stand `process_*`: CPU, memory, open files, start of the process."
    yield ""
    columns = ("Metric", "Kind", "Labels", "Of", "Meaning")
    rows = (
        (f"`{one.full_name}`", one.kind.value, _names(one.labels), ", ".join(one.parts), one.said) for one in METRICS
    )
    yield from _table(columns, rows)


# The upload utility


def upload_page() -> Iterator[str]:
    """Exit codes, settings and commands of `landingzone-upload`."""
    yield from (
        "# landingzone-upload",
        "",
        "[The guide](../upload.md) says how they are used.",
        "",
        "## Exit codes",
        "",
    )
    yield "Of several sources the worst one's is given."
    yield ""
    said = enum_texts(Ending)
    yield from _table(
        ("Code", "Name", "Means"), ((f"`{one.value}`", f"`{one.name}`", said[one.name]) for one in Ending)
    )
    yield from ("", "## Settings", "", "In `landingzone-upload.toml`. A key that is not listed here is refused.")
    for heading, model in UPLOAD_TABLES.items():
        yield from ("", f"### {heading}", "", model.__doc__ or "", "")
        rows = (
            (
                f"`{name}`",
                _what_may_be(info),
                "(has to be given)" if info.is_required() else f"`{_toml(info.get_default())}`",
                info.description or "",
            )
            for name, info in model.model_fields.items()
        )
        yield from _table(("Setting", "May be", "Default", "Meaning"), rows)
    yield from ("", "`[feeds.*]` declares feeds of the vendor's own, as the vendor declares them.", "", "## Commands")
    for path, command in upload_commands():
        if getattr(command, "commands", None) and len(path) > 1:
            continue
        yield from ("", f"### {' '.join(path)}", "", "```text", *_help(path, command).splitlines(), "```")


UPLOAD_TABLES: dict[str, type[BaseModel]] = {"[server]": ServerSettings, "[[source]]": SourceSettings}


def upload_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of commands of `landingzone-upload`."""
    yield from _below(("landingzone-upload",), typer.main.get_command(upload_app))


def enum_texts(kind: type[Enum]) -> dict[str, str]:
    """What stands below each member of an enum."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    return {
        ast.unparse(member.targets[0]): " ".join(str(ast.literal_eval(said.value)).split())
        for member, said in pairwise(body)
        if isinstance(member, ast.Assign) and isinstance(said, ast.Expr)
    }


# Writing


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(text: str) -> str:
    """Safe in a table: `|` would end the cell, `<` could begin a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _names(names: Iterable[str | Enum]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def write(folder: Path = FOLDER) -> None:
    """Write every page; remove those that are no longer made."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
