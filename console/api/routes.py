"""How a call is entered: its name, its sentence, and the problems that it may answer with."""

import inspect
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from console.api.access import require_known_parameters
from console.api.problem import Code, documented

_ALWAYS = (Code.TOKEN_REFUSED, Code.NOT_ALLOWED, Code.INVALID, Code.TOO_MANY_REQUESTS, Code.AWAY)
_CHANGES = (Code.REFUSED, Code.TOO_LARGE)


def group(name: str) -> APIRouter:
    """Calls of one kind."""
    return APIRouter(tags=[name], dependencies=[Depends(require_known_parameters)])


def add(
    router: APIRouter,
    method: str,
    path: str,
    function: Callable[..., Any],
    *,
    status: int = 200,
    content: dict[str, str] | None = None,
    refuses: bool = False,
) -> None:
    """Enter a call; what it says stands in its function's docstring.

    Args:
        router: its group.
        method: GET, POST, PUT, DELETE.
        path: where.
        function: does it.
        status: the answer's, if all goes well.
        content: media type and description, where the answer is no JSON.
        refuses: whether one that only reads may be refused, too.
    """
    codes = [*_ALWAYS, *(_CHANGES if method != "GET" else ()), *((Code.REFUSED,) if refuses else ())]
    if "{" in path or method != "GET" or "account" in inspect.signature(function).parameters:
        codes.append(Code.NOT_FOUND)
    responses = documented(*codes)
    if content is not None:
        media_type, said = next(iter(content.items()))
        responses[status] = {"description": said, "content": {media_type: {"schema": {"type": "string"}}}}
    summary, _, more = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    router.add_api_route(
        path,
        function,
        methods=[method],
        status_code=status,
        summary=" ".join(summary.split()).rstrip("."),
        description=" ".join(more.split()) or " ",
        operation_id=f"{function.__module__.rpartition('.')[2]}_{function.__name__}".rstrip("_"),
        responses=responses,
        response_class=Response if content is not None else JSONResponse,
    )
