"""The public keys that open an account."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from console.api.access import Absent, Operator, Staff, TheDesk
from console.api.accounts import found_account
from console.api.model import (
    AccountPath,
    AfterNumber,
    Asked,
    Day,
    Limit,
    Line,
    Model,
    Moment,
    NumberPath,
    OfAccount,
    Page,
    page,
)
from console.api.routes import add, group
from console.desk import Desk
from keys.checkup import Code, findings
from keys.key import Key, KeyStoreError
from keys.public_key import MAX_INPUT_BYTES, PublicKey
from keys.rotation import Rotation
from landingzone.clock import now

_Days = Annotated[int, Query(ge=0, le=3660, description="How many days ahead an end is told.")]


class KeyAnswer(Model):
    """A key that was given to an account."""

    id: int
    account: str
    state: str
    fingerprint: str
    algorithm: str
    bits: int
    public_key: str
    label: str
    networks: list[str]
    expires_at: Moment | None
    added_at: Moment
    added_by: str
    revoked_at: Moment | None
    revoked_by: str | None
    revoked_reason: str
    last_used_at: Moment | None
    last_used_from: str | None
    last_used_client: str | None
    retires_at: Moment | None


class AddedKey(Model):
    """A key that was added, and the other accounts that it opens: whoever loses it loses all of them."""

    key: KeyAnswer
    opens_too: list[str]


class LookedAt(Model):
    """What a public key is."""

    fingerprint: str
    algorithm: str
    bits: int
    comment: str
    public_key: str


class RotationAnswer(Model):
    """A new key that takes the place of old ones, and where that stands."""

    id: int
    account: str
    state: str
    new_key: int
    new_fingerprint: str
    new_label: str
    old_keys: list[int]
    started_at: Moment
    started_by: str
    overlap_ends_at: Moment
    uses: int
    uses_wanted: int
    new_last_used_at: Moment | None
    old_last_used_at: Moment | None
    ended_at: Moment | None
    ended_because: str | None


class FindingAnswer(Model):
    """Something about a key that somebody should look at."""

    account: str
    key: int
    fingerprint: str
    label: str
    code: Code
    message: str


_Network = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^!?[0-9A-Fa-f.:/]+$")]


class PublicKeyText(Asked):
    """A public key: OpenSSH, RFC 4716, PuTTY or PEM."""

    public_key: Annotated[str, Field(max_length=MAX_INPUT_BYTES)]


class NewKey(PublicKeyText):
    """A key that is to open the account."""

    label: Annotated[Line, Field(description="What a person calls it; the key's own comment by default.")] = ""
    expires: Annotated[Day, Field(description="The last day on which it opens (UTC).")] | None = None
    networks: list[_Network] = Field(
        default_factory=list, max_length=50, description="Where it may come from, CIDR; `!` before one shuts it."
    )
    again: Annotated[bool, Field(description="Also if it was revoked here by mistake.")] = False


class NewRotation(PublicKeyText):
    """A key that is to take the place of old ones."""

    label: Line = ""
    expires: Day | None = None
    networks: list[_Network] = Field(default_factory=list, max_length=50)
    replaces: list[Annotated[int, Field(ge=1, le=2_147_483_647)]] = Field(
        default_factory=list, max_length=50, description="The keys that go, if there are several."
    )
    overlap_hours: Annotated[int, Field(ge=1, le=366 * 24, description="How long the old key opens at most.")] = 336
    uses: Annotated[int, Field(ge=1, le=1000, description="Logins with the new key that end it earlier.")] = 3


class Revoke(Asked):
    """Why."""

    reason: Line = ""


def calls() -> APIRouter:
    """The calls."""
    router = group("keys")
    add(router, "GET", "/keys", list_)
    add(router, "GET", "/keys/findings", findings_)
    add(router, "GET", "/keys/rotations", rotations)
    add(router, "POST", "/keys/look", look)
    add(router, "POST", "/accounts/{account}/keys", add_, status=201)
    add(router, "POST", "/accounts/{account}/keys/rotate", rotate, status=201)
    add(router, "GET", "/accounts/{account}/keys/{key}", show)
    add(router, "POST", "/accounts/{account}/keys/{key}/revoke", revoke)
    return router


def list_(
    desk: TheDesk, who: Staff, account: OfAccount = None, after: AfterNumber = None, limit: Limit = 50
) -> Page[KeyAnswer]:
    """List keys, revoked and expired ones too, by their numbers."""
    if account is not None:
        found_account(desk, who, account)
    desk.keys.settle()
    found = sorted((one for one in desk.keys.of(account) if one.id > (after or 0)), key=lambda one: one.id)
    return page(found[: limit + 1], limit, _key, lambda one: one.id)


def show(desk: TheDesk, who: Staff, account: AccountPath, key: NumberPath) -> KeyAnswer:
    """Show one key of an account."""
    found_account(desk, who, account)
    desk.keys.settle()
    return _key(_found(desk, account, key))


def look(desk: TheDesk, who: Operator, asked: PublicKeyText) -> LookedAt:
    """Say what a public key is, and save nothing."""
    key = PublicKey.parse(asked.public_key.encode())
    return LookedAt(
        fingerprint=key.fingerprint, algorithm=key.algorithm, bits=key.bits, comment=key.comment, public_key=key.line
    )


def add_(desk: TheDesk, who: Operator, account: AccountPath, asked: NewKey) -> AddedKey:
    """Let a public key open an account: ed25519, ECDSA, or RSA from 3072 bits."""
    found_account(desk, who, account)
    made = desk.keys.add(
        account,
        PublicKey.parse(asked.public_key.encode()),
        label=asked.label,
        expires_at=end_of(asked.expires),
        networks=tuple(asked.networks),
        again=asked.again,
        actor=who.actor,
    )
    return AddedKey(key=_key(made), opens_too=desk.keys.others_with(made))


def rotate(desk: TheDesk, who: Operator, account: AccountPath, asked: NewRotation) -> RotationAnswer:
    """Let a new key take the place of an old one, which opens until the new one was used, or the overlap ends."""
    found_account(desk, who, account)
    begun = desk.keys.rotate(
        account,
        PublicKey.parse(asked.public_key.encode()),
        overlap=timedelta(hours=asked.overlap_hours),
        uses=asked.uses,
        replaces=tuple(map(str, asked.replaces)),
        label=asked.label,
        expires_at=end_of(asked.expires),
        networks=tuple(asked.networks),
        actor=who.actor,
    )
    return _rotation(begun)


def revoke(desk: TheDesk, who: Operator, account: AccountPath, key: NumberPath, asked: Revoke) -> KeyAnswer:
    """Close the door for a key of an account, at once and for good; its open sessions end, too."""
    found_account(desk, who, account)
    _found(desk, account, key)
    return _key(desk.keys.revoke(account, str(key), reason=asked.reason, actor=who.actor))


def rotations(
    desk: TheDesk, who: Staff, account: OfAccount = None, after: AfterNumber = None, limit: Limit = 50
) -> Page[RotationAnswer]:
    """Say where each rotation stands, the newest first."""
    if account is not None:
        found_account(desk, who, account)
    found = [one for one in desk.keys.rotations(account) if after is None or one.id < after]
    return page(found[: limit + 1], limit, _rotation, lambda one: one.id)


def findings_(
    desk: TheDesk,
    who: Staff,
    account: OfAccount = None,
    days: _Days = 30,
    after: AfterNumber = None,
    limit: Limit = 50,
) -> Page[FindingAnswer]:
    """Find keys that are weak, expired, expiring, never used, shared, or not rotated in time."""
    if account is not None:
        found_account(desk, who, account)
    found = findings(desk.keys.of(), desk.keys.rotations(), at=now(), soon=timedelta(days=days))
    told = [one for one in found if account in {None, one.account}]
    begin = after or 0
    some = list(enumerate(told[begin : begin + limit + 1], begin + 1))
    return page(some, limit, lambda one: FindingAnswer.model_validate(one[1]), lambda one: one[0])


def end_of(day: Day | None) -> datetime | None:
    """The first moment after a day, in UTC."""
    return None if day is None else datetime.combine(day, time(0), UTC) + timedelta(days=1)


def _found(desk: Desk, account: str, number: int) -> Key:
    try:
        return desk.keys.get(account, str(number))
    except KeyStoreError:
        raise Absent from None


def _key(one: Key) -> KeyAnswer:
    shown = {name: getattr(one, name) for name in KeyAnswer.model_fields if name not in {"state", "networks"}}
    return KeyAnswer(**shown, networks=list(one.networks), state=one.state(now()))


def _rotation(one: Rotation) -> RotationAnswer:
    shown = {name: getattr(one, name) for name in RotationAnswer.model_fields if name != "old_keys"}
    return RotationAnswer(**shown, old_keys=list(one.old_keys))
