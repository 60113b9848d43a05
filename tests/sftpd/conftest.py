"""The door's own parts, put together as the server does, on a real zone and database, without SSH around them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from landingzone.command import Installation
from landingzone.db import Database
from landingzone.room import Rooms
from landingzone.settings import DoorSettings, LimitSettings
from sftpd.expectation import Expectation
from sftpd.jail import Jail
from sftpd.receiving import Receiving
from sftpd.view import View
from sftpd.visitor import Visitor

ACCOUNT = "springfield"

MakeJail = Callable[..., Jail]


def build_jail(here: Installation, visitor: Visitor, limits: LimitSettings | None = None, **settings: Any) -> Jail:
    """A jail with everything behind it."""
    threads = ThreadPoolExecutor(2)
    receiving = Receiving(
        here.zone,
        here.db,
        Database(here.settings.url, durability="normal"),
        Expectation(here.sources.of, threads),
        DoorSettings(**settings),
        threads,
        Rooms(here.zone, limits or LimitSettings()),
    )
    return Jail(None, visitor, View(here.zone, receiving.recent), receiving)


@pytest.fixture(scope="session", name="build_jail")
def _build_jail() -> MakeJail:
    """Builds the jail of a visitor in an installation."""
    return build_jail


@pytest.fixture
def make_jail(here: Installation) -> MakeJail:
    """Makes the jail of an account, which is made with it."""

    def make(account: str = ACCOUNT, **settings: Any) -> Jail:
        here.accounts.add(account, title="", time_zone="UTC", actor="test")
        here.zone.prepare_account(account)
        return build_jail(here, Visitor(account, "s1", "192.0.2.1", "SHA256:x"), **settings)

    return make
