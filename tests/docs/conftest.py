"""The documents as the tests read them."""

import importlib.util
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def generate() -> types.ModuleType:
    """The generator of docs/reference."""
    spec = importlib.util.spec_from_file_location("docs_generate", Path(__file__).with_name("generate.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def documents() -> dict[str, str]:
    """Every document: path in the repository -> text."""
    paths = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").rglob("*.md")]
    return {str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in sorted(paths)}


class Document(str):
    """A document's text, and what can be taken out of it."""

    __slots__ = ()

    def section(self, heading: str) -> "Document":
        """What stands under a heading, up to the next one of its level; a `#` in a fenced block is none."""
        level, found = 0, []
        for line in self._lines_with_fences_marked():
            marks = re.match(r"(#+) (.+)", line)
            if marks and level and len(marks[1]) <= level:
                break
            if level:
                found.append(line.removeprefix("\0"))
            elif marks and marks[2] == heading:
                level = len(marks[1])
        assert level, f"There is no heading {heading!r}."
        return Document("\n".join(found) + "\n")

    def _lines_with_fences_marked(self) -> Iterator[str]:
        """Every line; those of fenced blocks with a NUL before them."""
        fenced = False
        for line in self.splitlines():
            fence = line.startswith("```")
            yield f"\0{line}" if fenced or fence else line
            fenced ^= fence

    def fences(self, language: str = "") -> list[str]:
        """The fenced blocks, of one language if named."""
        found = re.findall(r"^```(\w*)\n(.*?)^```$", self, re.MULTILINE | re.DOTALL)
        return [text for name, text in found if language in {"", name}]

    def first_cells(self) -> list[str]:
        """What stands in backticks in the first column of tables."""
        cells = re.findall(r"^\| ([^|]*) \|", self, re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="session")
def document(documents: dict[str, str]) -> Callable[[str], Document]:
    """Makes a Document of a path in the repository."""

    def of(path: str) -> Document:
        return Document(documents[path])

    return of
