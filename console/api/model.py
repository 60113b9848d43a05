"""What every request and answer is made of: frozen models, texts with bounds, times, pages of a listing.

What comes in is taken strictly: a number is no text, a field that is not known is refused.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, field_validator

from landingzone.clock import iso

MOST = 200
"""Items on one page of a listing."""
_LARGEST = (1 << 31) - 1
"""What the database's numbers go up to."""
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DAY = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"
_AT = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$"
T = TypeVar("T")
S = TypeVar("S")


class Model(BaseModel):
    """Part of an answer; made from our own dataclasses, too."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Asked(BaseModel):
    """Part of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:  # noqa: ANN401 - what pydantic is given
        """In JSON 3.0 is a whole number, too."""
        if isinstance(value, list):
            return [_as_whole(one) for one in value]
        if isinstance(value, dict):
            return {name: _as_whole(one) for name, one in value.items()}
        return _as_whole(value)


def _as_whole(value: Any) -> Any:  # noqa: ANN401 - what pydantic is given
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _moment(value: Any) -> Any:  # noqa: ANN401 - what pydantic is given
    return iso(value) if isinstance(value, datetime) else value


def _day(value: Any) -> Any:  # noqa: ANN401 - likewise
    if isinstance(value, str) and re.fullmatch(_DAY, value):
        return date.fromisoformat(value)
    raise ValueError("a day is written like 2026-12-31")


def _at(value: Any) -> Any:  # noqa: ANN401 - likewise
    if isinstance(value, str) and re.fullmatch(_AT, value):
        return datetime.fromisoformat(value).astimezone(UTC)
    raise ValueError("a moment is written like 2026-12-31T06:00:00Z")


Moment = Annotated[
    str,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T06:00:00.000Z"]}),
]
"""A time, UTC, ISO 8601."""
Day = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "pattern": _DAY, "examples": ["2026-12-31"]}),
]
At = Annotated[
    datetime,
    BeforeValidator(_at),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _AT, "examples": ["2026-12-31T06:00:00Z"]}),
]
"""A moment that is asked for."""
Line = Annotated[str, StringConstraints(max_length=255, pattern=PRINTABLE)]
"""A text without control characters."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=PRINTABLE)]
FeedName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
RunName = Annotated[str, StringConstraints(pattern=f"^{_UUID}(:[1-9][0-9]{{0,5}})?$")]
"""A run's id, `<landing-id>:<attempt>`; the landing's alone means its newest attempt."""
AccountText = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$"), Field(examples=["springfield"])]
UserText = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._+@-]{1,199}$")]

AccountPath = Annotated[AccountText, Path(description="The account's name.")]
FeedPath = Annotated[FeedName, Path(description="The feed's name.")]
SourcePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=150, pattern=r"^[^/\x00-\x1f\x7f-\x9f]+$"),
    Path(description="The source's name.", examples=["students"]),
]
RunPath = Annotated[RunName, Path(description="A run's id; a landing's id means its newest attempt.")]
NumberPath = Annotated[int, Path(ge=1, le=_LARGEST, description="Its number.")]
UserPath = Annotated[UserText, Path(description="The user's name.")]

OfAccount = Annotated[AccountText | None, Query(alias="account", description="Only of this account.")]
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most so many items.")]
AfterNumber = Annotated[
    int | None, Query(alias="after", ge=1, le=_LARGEST, description="What `next` of the page before says.")
]
AfterAccount = Annotated[AccountText | None, Query(alias="after", description="What `next` of the page before says.")]


class Page(Model, Generic[T]):
    """One page of a listing. `next` goes into `after` to get the page that follows; null: this is the last one."""

    items: list[T]
    next: str | None


def page(found: Sequence[S], limit: int, make: Callable[[S], T], key: Callable[[S], object]) -> Page[T]:
    """A page of what was found; one more than `limit` was asked for, which tells whether there are more."""
    some = found[:limit]
    return Page(items=[make(one) for one in some], next=str(key(some[-1])) if len(found) > limit else None)
