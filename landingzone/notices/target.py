"""Whom notices go to: the operator's webhooks and addresses (settings), and addresses of an account (its contacts)."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from landingzone.errors import LandingZoneError
from landingzone.settings import NotifySettings

MOST_ADDRESS = 254
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")


class NotifyError(LandingZoneError):
    """Notices cannot be sent as the settings or the command say."""


class Channel(StrEnum):
    """How a notice goes out."""

    WEBHOOK = "webhook"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Target:
    """Who gets notices.

    Attributes:
        channel: how.
        address: a URL or an e-mail address.
        of_account: the account whose contact it is; empty: the operator's.
    """

    channel: Channel
    address: str
    of_account: str = ""

    @property
    def key(self) -> str:
        """What the database knows it by: a URL often holds a secret and is not kept there."""
        if self.channel is Channel.WEBHOOK:
            return hashlib.sha256(self.address.encode()).hexdigest()[:16]
        return f"{self.of_account}:{self.address}"

    def __str__(self) -> str:
        """For people and logs: of a URL only the host."""
        return urlsplit(self.address).netloc if self.channel is Channel.WEBHOOK else self.address


def targets(settings: NotifySettings, contacts: Iterable[tuple[str, str]]) -> Iterator[Target]:
    """Everybody who gets notices; `contacts` are (account, address)."""
    yield from (Target(Channel.WEBHOOK, url) for url in settings.webhook_urls)
    if settings.smtp_host:
        yield from (Target(Channel.EMAIL, address) for address in settings.email_to)
        yield from (Target(Channel.EMAIL, address, account) for account, address in contacts)


def check_address(text: str) -> str:
    """The e-mail address, if it is one; raises NotifyError."""
    if len(text) > MOST_ADDRESS or not _ADDRESS.fullmatch(text):
        raise NotifyError("This is not an e-mail address: write it as name@example.org.")
    return text
