"""Bodies of requests: read within their bounds of bytes and seconds, and checked against the shape of the operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from semsearch.search.request import meant
from semsearch.server.batching import HungUp
from semsearch.server.failures import Refusal

BodyShape = TypeVar("BodyShape", bound=BaseModel)

SAID_ERRORS = 5


def too_long(most: int) -> Refusal:
    """The body has more bytes than the server takes."""
    return Refusal(
        413,
        "body_too_large",
        f"the body is longer than the {most:,} bytes that this server takes at once: send it in parts, or as a stream "
        "of lines (application/x-ndjson), or start the server with a larger --max-body.",
    )


def too_large_file(most: int) -> Refusal:
    """The body is a file, and has more bytes than the server takes of one."""
    return Refusal(
        413,
        "body_too_large",
        f"the file is longer than the {most:,} bytes that this server takes of one: split it, or start the server with "
        "a larger --max-upload.",
    )


async def chunks(
    request: Request, most: int, seconds: float, refusal: Callable[[int], Refusal] = too_long
) -> AsyncIterator[bytes]:
    """The bytes of a body as they come; at most `most`, and each within so many seconds of the last.

    Raises:
        Refusal: It is longer, or comes to a stop.
        HungUp: The client left before the end.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise refusal(most)
    count, stream = 0, aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, "body_timed_out", f"nothing of the body came for {seconds:g} seconds.") from None
        except ClientDisconnect:
            raise HungUp from None
        count += len(chunk)
        if count > most:
            raise refusal(most)
        if chunk:
            yield chunk


def refuse_body(request: Request) -> None:
    """Refuse a body where none is read: what stands in it was meant to change what is done."""
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        message = "that takes no body: what it knows stands in its path or behind the question mark."
        raise Refusal(400, "unexpected_body", message)


async def whole(request: Request, most: int, seconds: float) -> bytes:
    """All of a body; see `chunks`."""
    return b"".join([chunk async for chunk in chunks(request, most, seconds)])


def read_json(shape: type[BodyShape], content: bytes) -> BodyShape:
    """The body as its shape has it.

    Raises:
        Refusal: It is no JSON, or has something wrong, which is named.
    """
    try:
        return shape.model_validate_json(content or b"{}")
    except ValidationError as error:
        raise refused(error, shape) from None


def read_query(shape: type[BodyShape], given: Sequence[tuple[str, str]]) -> BodyShape:
    """What stands behind the question mark, as its shape has it: texts are read as JSON where no text is wanted."""
    values: dict[str, Any] = {}
    for name, text in given:
        if name in values:
            raise Refusal(400, "invalid_parameter", f"the parameter '{name:.60}' is given twice.", name)
        values[name] = _typed(shape, name, text)
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise refused(error, shape) from None


def _typed(shape: type[BaseModel], name: str, text: str) -> Any:
    known = shape.model_fields.get(name)
    if known is None or known.annotation in (str, str | None):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def refused(error: ValidationError, shape: type[BaseModel]) -> Refusal:
    """What pydantic found, in a sentence; the first of it names the parameter."""
    found = error.errors(include_url=False, include_context=True, include_input=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])  # which a missing one may be
    param = ".".join(str(part) for part in first["loc"] if not _is_a_branch(part)) or None
    if first["type"] == "json_invalid":
        why = str(first.get("ctx", {}).get("error", "")).rstrip(".")
        return Refusal(400, "invalid_json", f"the body is no JSON: {why}.")
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        there = sorted(shape.model_fields)
        near = meant(name, there) if len(first["loc"]) == 1 else None
        did_you_mean = f" Did you mean '{near}'?" if near else ""
        listed = f" There are {', '.join(there)}." if len(first["loc"]) == 1 and there else ""
        return Refusal(400, "unknown_parameter", f"there is no parameter '{name:.60}'.{did_you_mean}{listed}", param)
    if first["type"] == "missing":
        return Refusal(400, "missing_parameter", f"the parameter '{param}' is missing.", param)
    said = dict.fromkeys(_sentence(one) for one in found[:SAID_ERRORS])
    return Refusal(400, "invalid_parameter", " ".join(said), param)


def _sentence(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"] if not _is_a_branch(part)) or "the body"
    what = str(error["msg"])
    return f"{where}: {what[:1].lower()}{what[1:].rstrip('.')}."


def _is_a_branch(part: object) -> bool:
    """Whether pydantic says which form of several it tried, rather than a name."""
    return isinstance(part, str) and ("[" in part or part in {"str", "int", "float", "bool", "list", "dict"})
