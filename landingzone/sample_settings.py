"""The settings file that `landingzone init` writes: every setting with its default and meaning, commented out."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from landingzone.settings import FILE_NAME, Settings
from landingzone.zone import FILE_MODE

_NOT_IN_FILE = ("root", "feeds")


def write_sample_settings(root: Path) -> Path:
    """Write `landingzone.toml` under the root, unless there is one; returns its path."""
    path = root / FILE_NAME
    if not path.exists():
        path.touch(mode=FILE_MODE)
        path.write_text("\n".join(sample_settings()) + "\n", encoding="utf-8")
    return path


def sample_settings() -> Iterator[str]:
    """The lines of the file."""
    yield "# Remove the # before a line to change it; `landingzone settings` shows what holds and why."
    yield ""
    sections: dict[str, BaseModel] = {}
    for name, info in Settings.model_fields.items():
        if isinstance(info.default, BaseModel):
            sections[name] = info.default
        elif name not in _NOT_IN_FILE:
            yield f"# {info.description}"
            yield f"# {name} = {json.dumps(info.default)}"
    for section, defaults in sections.items():
        yield ""
        yield f"[{section}]"
        for name, info in type(defaults).model_fields.items():
            yield f"# {info.description}"
            yield f"# {name} = {json.dumps(info.default)}"
