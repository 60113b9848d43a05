"""Sends what waits: each delivery until its target takes it, with pauses that grow, for about a day."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.notices import mail, notice, webhook
from landingzone.notices.notice import Delivery, Notice
from landingzone.notices.target import Channel, NotifyError, Target, targets
from landingzone.notices.webhook import NotTaken
from landingzone.settings import NotifySettings

PAUSES = (15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 28800)
"""Seconds after each attempt in vain; together about a day. After the last one it is given up."""

log = structlog.get_logger()

Commit = Callable[[], AbstractContextManager[sa.Connection]]


class Post:
    """How notices leave: the settings with their secrets, which are read when they are needed."""

    def __init__(self, settings: NotifySettings) -> None:
        self.settings = settings

    def deliver(self, target: Target, notices: list[Notice]) -> None:
        """Send notices to a target, all in one mail, or as one webhook each; raises NotTaken, NotifyError."""
        settings = self.settings
        if target.channel is Channel.EMAIL:
            password = _secret(settings.smtp_password, settings.smtp_password_file)
            mail.send(mail.mail_of(notices, target, sender=settings.email_from), settings, password=password)
            return
        key = webhook.secret_of(_secret(settings.webhook_secret, settings.webhook_secret_file))
        for one in notices:
            webhook.post(target.address, one, key, private=settings.private_addresses)


def send_waiting(db: Database, post: Post, commit: Commit, go_on: Callable[[], None]) -> dict[str, int]:
    """Try all that is due; returns counts.

    Args:
        db: the database.
        post: how notices leave.
        commit: a write transaction that commits only while the sending is ours.
        go_on: raises if the sending is to end here.
    """
    with db.read() as tx:
        known = {one.key: one for one in targets(post.settings, notice.addresses_of(tx))}
        by_target: dict[str, list[Delivery]] = defaultdict(list)
        for one in notice.waiting(tx):
            by_target[one.target].append(one)
    counts = {"sent": 0, "not_sent": 0}
    for key, deliveries in by_target.items():
        if key not in known:  # its setting or its contact is gone
            with commit() as tx:
                notice.not_delivered(tx, (one.id for one in deliveries), again_at=None, problem="nobody")
            continue
        for parcel in _parcels(deliveries, now()):
            go_on()
            if not _sent(known[key], parcel, post, commit):
                counts["not_sent"] += len(parcel)
                break  # who does not answer is not asked for each notice anew
            counts["sent"] += len(parcel)
    return {name: count for name, count in counts.items() if count}


def _parcels(deliveries: list[Delivery], present: datetime) -> Iterable[list[Delivery]]:
    """What is sent together: of mails all that waits as soon as one is due; of webhooks each due one by itself."""
    due = [one for one in deliveries if one.next_at <= iso(present)]
    if due and due[0].channel is Channel.EMAIL:
        return [deliveries]
    return [[one] for one in due]


def _sent(target: Target, parcel: list[Delivery], post: Post, commit: Commit) -> bool:
    told = {"channel": target.channel.value, "to": _shown(target), "count": len(parcel)}
    numbers = [one.id for one in parcel]
    try:
        post.deliver(target, [one.notice for one in parcel])
    except (NotTaken, NotifyError) as error:
        problem = str(error) if isinstance(error, NotTaken) else "secret"
        attempts = max(one.attempts for one in parcel)
        again_at = now() + timedelta(seconds=PAUSES[attempts]) if attempts < len(PAUSES) else None
        with commit() as tx:
            notice.not_delivered(tx, numbers, again_at=again_at, problem=problem)
            if again_at is not None:
                notice.put_off(tx, target.key, again_at)
        if again_at is None:
            log.error("notice.given_up", problem=problem, **told)
        else:
            log.warning("notice.not_sent", problem=problem, attempts=attempts + 1, **told)
        return False
    with commit() as tx:
        notice.delivered(tx, numbers)
    log.info("notice.sent", **told)
    return True


def _shown(target: Target) -> str:
    """A target for the log: addresses are personal data."""
    if target.channel is Channel.WEBHOOK:
        return urlsplit(target.address).hostname or ""
    return target.of_account or "operator"


def _secret(value: str, file: str) -> str:
    if not file:
        return value
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise NotifyError(f"The secret's file {file} cannot be read by this user.") from None
