"""Answers to what cannot be done: `application/problem+json` with a stable code and a sentence that says what to do."""

from enum import StrEnum
from typing import Any

from fastapi.encoders import jsonable_encoder
from starlette.responses import JSONResponse

from console.api.model import Model

MEDIA_TYPE = "application/problem+json"


class Code(StrEnum):
    """Why something was not done. A code's meaning never changes; its sentence may become clearer."""

    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a code
    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    TOO_MANY_REQUESTS = "too_many_requests"
    ERROR = "error"
    AWAY = "away"


STATUS: dict[Code, int] = {
    Code.TOKEN_REFUSED: 401,
    Code.NOT_ALLOWED: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.REFUSED: 409,
    Code.TOO_LARGE: 413,
    Code.INVALID: 422,
    Code.TOO_MANY_REQUESTS: 429,
    Code.ERROR: 500,
    Code.AWAY: 503,
}
MEANINGS: dict[Code, str] = {
    Code.TOKEN_REFUSED: "There is no token, or this one opens nothing (any more).",
    Code.NOT_ALLOWED: "This token's user may not do that.",
    Code.NOT_FOUND: "There is no such thing, or it is none of this user's business.",
    Code.METHOD_NOT_ALLOWED: "This address does not take that method.",
    Code.REFUSED: "It was understood, and is not possible as things stand; the message says why.",
    Code.TOO_LARGE: "The request holds more than 1 MiB.",
    Code.INVALID: "The request is not as this document has it.",
    Code.TOO_MANY_REQUESTS: "Too many requests from this address; `Retry-After` says when to come again.",
    Code.ERROR: "An error of ours. It was logged.",
    Code.AWAY: "The database or the archive is away or busy; try again.",
}


class Problem(Model):
    """Why something was not done."""

    code: Code
    message: str


def answer(code: Code, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer that tells of a problem."""
    told = jsonable_encoder(Problem(code=code, message=message))
    return JSONResponse(told, STATUS[code], headers=headers, media_type=MEDIA_TYPE)


def documented(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """What the document says of these answers."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        STATUS[code]: {"description": MEANINGS[code], "content": {MEDIA_TYPE: {"schema": schema}}} for code in codes
    }
