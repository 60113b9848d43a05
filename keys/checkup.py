"""What an operator should look at before it is urgent: keys that are weak, end, were never used, or open too much."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keys.key import Key, Refusal
from keys.public_key import PublicKey, PublicKeyError
from keys.rotation import Rotation
from landingzone.clock import iso


class Code(StrEnum):
    """What was found; stable."""

    WEAK = "weak"
    EXPIRED = "expired"
    EXPIRING = "expiring"
    NEVER_USED = "never_used"
    SHARED = "shared"
    NOT_ROTATED = "not_rotated"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a key.

    Attributes:
        account: the account's name.
        key: the key's number.
        fingerprint: SHA256:...
        label: what a person calls it.
        code: what was found.
        message: the same for a person, with what to do.
    """

    account: str
    key: int
    fingerprint: str
    label: str
    code: Code
    message: str


def findings(keys: Iterable[Key], rotations: Iterable[Rotation], *, at: datetime, soon: timedelta) -> list[Finding]:
    """What is to be said of keys, in their order; those that were revoked or replaced are left out.

    `keys` are those of all accounts, so that shared ones are found; `soon` is how far ahead an end is told.
    """
    standing = [key for key in keys if key.closed(at) in {None, Refusal.EXPIRED}]
    opened_by: dict[str, list[str]] = {}
    for key in standing:
        opened_by.setdefault(key.fingerprint, []).append(key.account)
    waiting = {one.new_key: one for one in rotations if one.state == "waiting"}
    return [
        Finding(key.account, key.id, key.fingerprint, key.label, code, message)
        for key in standing
        for code, message in _of(key, at=at, soon=soon, others=opened_by[key.fingerprint], rotation=waiting.get(key.id))
    ]


def _of(
    key: Key, *, at: datetime, soon: timedelta, others: list[str], rotation: Rotation | None
) -> Iterable[tuple[Code, str]]:
    try:
        PublicKey.parse(key.public_key)
    except PublicKeyError as weak:
        yield Code.WEAK, str(weak)
    if key.expires_at is not None and key.expires_at <= iso(at):
        yield Code.EXPIRED, f"It has ended on {key.expires_at[:10]}. Revoke it, or add a new one."
    elif key.expires_at is not None and key.expires_at <= iso(at + soon):
        yield Code.EXPIRING, f"It ends on {key.expires_at[:10]}: ask for a new one, `landingzone keys rotate`."
    if rotation is not None and rotation.overlap_ends_at <= iso(at + soon):
        yield Code.NOT_ROTATED, f"It was never used, and what it replaces ends on {rotation.overlap_ends_at[:10]}."
    elif key.last_used_at is None:
        yield Code.NEVER_USED, f"It was never used since {key.added_at[:10]}: does anybody need it?"
    elsewhere = sorted(set(others) - {key.account})
    if elsewhere:
        yield Code.SHARED, f"It opens {', '.join(elsewhere)} too: whoever loses it loses all of them."
