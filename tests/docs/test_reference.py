"""docs/reference is what the generator makes of the code as it is."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGES = ("api.md", "codes.md", "commands.md", "feeds.md", "metrics.md", "runs.md", "settings.md", "upload.md")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_generator_makes_it(generate: Any, repository: Path, name: str) -> None:
    kept = (repository / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert generate.pages()[name] == kept, "The reference is out of date: run `make docs` and look at the difference."


def test_there_are_no_other_pages(generate: Any, repository: Path) -> None:
    assert sorted(path.name for path in (repository / "docs" / "reference").iterdir()) == list(PAGES)
    assert sorted(generate.pages()) == list(PAGES)


def test_terminal_locale_and_settings_change_nothing(generate: Any, repository: Path, tmp_path: Path) -> None:
    surroundings = {
        "COLUMNS": "41",
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "LC_ALL": "C",
        "LANDINGZONE_DOOR__PORT": "7",
        "LANDINGZONE_ROOT": str(tmp_path),
    }
    script = (
        "import importlib.util, json, sys;"
        "spec = importlib.util.spec_from_file_location('made', sys.argv[1]);"
        "made = importlib.util.module_from_spec(spec); spec.loader.exec_module(made); print(json.dumps(made.pages()))"
    )
    command = [sys.executable, "-c", script, str(repository / "tests" / "docs" / "generate.py")]
    done = subprocess.run(command, env={**os.environ, **surroundings}, capture_output=True, text=True, check=True)
    import json

    assert json.loads(done.stdout) == generate.pages()
