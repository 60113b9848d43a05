"""What the operator's webhooks are sent (landingzone.notices), for the document. Signed by Standard Webhooks."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Header
from pydantic import ConfigDict, Field

from console.api.model import Model, Moment
from landingzone.notices.notice import Kind


class _Of(Model):
    """What every notice says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    account: Annotated[str, Field(description="The account's name.")]
    district: Annotated[str, Field(description="What a person calls it; may be empty.")]


class _OfFile(_Of):
    source: str
    feed: str
    file: Annotated[str, Field(description="The name, or pattern, under which it is expected.")]
    due_at: Moment


class LateData(_OfFile):
    """A file that is late: what came last of it, if anything did."""

    outcome: str | None = None
    run: str | None = None
    landed_at: Moment | None = None


class CameData(_OfFile):
    """A file that was late, and is in."""

    in_at: Moment


class RunData(_Of):
    """A run that ended so that somebody should look. What is not known is left out."""

    source: str | None = None
    file: str | None = None
    run: str
    landed_at: Moment
    ended_at: Moment
    outcome: str
    code: Annotated[str | None, Field(description="Of a held run: why.")] = None
    why: Annotated[str | None, Field(description="The same as a sentence.")] = None


class BroadcastData(_Of):
    """A broadcast that goes out soon, and lacks files."""

    broadcast: str
    goes_out_at: Moment
    sources: list[str]


class ManyData(_Of):
    """Too many notices of one kind within an hour: no more are sent of it."""

    of: str
    more_than: int


class TestData(_Of):
    """`landingzone notify test`."""


class _Told(Model):
    model_config = ConfigDict(frozen=True, extra="forbid")
    timestamp: Annotated[Moment, Field(description="When it was made; the same at each attempt.")]


class FileLate(_Told):
    """A file is late."""

    type: Literal[Kind.LATE]
    data: LateData


class FileCame(_Told):
    """A file that was late is in."""

    type: Literal[Kind.CAME]
    data: CameData


class RunHeld(_Told):
    """A file is held, and waits for an operator."""

    type: Literal[Kind.HELD]
    data: RunData


class RunFailed(_Told):
    """A file could not be imported, for a reason of ours."""

    type: Literal[Kind.FAILED]
    data: RunData


class RunRejected(_Told):
    """A file cannot be used."""

    type: Literal[Kind.REJECTED]
    data: RunData


class RunUnrecognised(_Told):
    """A file has a name that nobody expects."""

    type: Literal[Kind.UNRECOGNISED]
    data: RunData


class BroadcastIncomplete(_Told):
    """Something is missing for a broadcast."""

    type: Literal[Kind.BROADCAST]
    data: BroadcastData


class NoticesMany(_Told):
    """No more notices of a kind are sent for now."""

    type: Literal[Kind.MANY]
    data: ManyData


class Test(_Told):
    """A test."""

    type: Literal[Kind.TEST]
    data: TestData


PAYLOADS: dict[Kind, type[_Told]] = {
    Kind.LATE: FileLate,
    Kind.CAME: FileCame,
    Kind.HELD: RunHeld,
    Kind.FAILED: RunFailed,
    Kind.REJECTED: RunRejected,
    Kind.UNRECOGNISED: RunUnrecognised,
    Kind.BROADCAST: BroadcastIncomplete,
    Kind.MANY: NoticesMany,
    Kind.TEST: Test,
}
"""What is sent for each kind of notice."""
_ID = Annotated[str, Header(alias="webhook-id", description="The same at each attempt and for each receiver.")]
_AT = Annotated[str, Header(alias="webhook-timestamp", description="When this attempt was made: seconds since 1970.")]
_SIGNATURE = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and base64 of HMAC-SHA256 with the webhook's secret over `<webhook-id>.<webhook-timestamp>."
        "<body>`. Refuse what is not signed so, or is older than some minutes.",
    ),
]


def enter(webhooks: APIRouter) -> None:
    """Document each kind of notice."""
    for kind, payload in PAYLOADS.items():
        webhooks.add_api_route(
            kind.value,
            _received(payload),
            methods=["POST"],
            status_code=204,
            tags=["webhooks"],
            summary=" ".join((payload.__doc__ or "").split()).rstrip("."),
            operation_id=f"webhook_{kind.name.lower()}",
            responses={
                204: {"description": "Taken. Anything but 2xx within 10 seconds is tried again, for a day."},
                "4XX": {"description": "Not taken."},
            },
        )


def _received(payload: type[_Told]) -> Callable[..., None]:
    def received(body: Model, webhook_id: _ID, webhook_timestamp: _AT, webhook_signature: _SIGNATURE) -> None:
        """What a receiver gets."""

    received.__annotations__["body"] = payload
    return received
