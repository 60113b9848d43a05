"""Search, as from the top of every page."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from console.api.access import Staff, TheDesk
from console.api.model import PRINTABLE, Model
from console.api.routes import add, group
from console.search import search

_Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE),
    Query(
        description="Part of an account's name or title, of a file's name, a SHA-256, a landing's id or a fingerprint."
    ),
]


class AccountFound(Model):
    """An account."""

    name: str
    title: str


class FileFound(Model):
    """A file; `run` is empty while it waits for its first one."""

    account: str
    name: str
    landing_id: str
    run: str
    outcome: str
    sha256: str


class KeyFound(Model):
    """A key."""

    account: str
    id: int
    label: str
    fingerprint: str


class SearchAnswer(Model):
    """What was found: some of each kind, the newest files first."""

    accounts: list[AccountFound]
    files: list[FileFound]
    keys: list[KeyFound]


def calls() -> APIRouter:
    """The calls."""
    router = group("search")
    add(router, "GET", "/search", find)
    return router


def find(desk: TheDesk, who: Staff, q: _Text) -> SearchAnswer:
    """Search accounts, files and keys."""
    with desk.here.db.read() as tx:
        found = search(tx, q)
    return SearchAnswer(
        accounts=[AccountFound(name=name, title=title) for name, title in found.accounts],
        files=[FileFound.model_validate(one) for one in found.files],
        keys=[KeyFound.model_validate(one) for one in found.keys],
    )
