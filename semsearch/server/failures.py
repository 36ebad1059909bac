"""What went wrong, as a client is told it: a status, a stable code, a sentence without a path, the parameter at fault.

A code stays what it means; a sentence may be put better. What is nobody's slip (`internal_error`) says no more than the
id of the request, under which the log has the rest.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semsearch import errors
from semsearch.errors import SemsearchError

RETRY_SECONDS = 1


class Status(NamedTuple):
    """The status of HTTP and the code of a kind of error."""

    number: int
    code: str


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})
        self.notes = tuple(notes)

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        facts: dict[str, Any] = {"code": self.code, "message": self.message, "param": self.param}
        return {"error": facts | ({"notes": list(self.notes)} if self.notes else {})}


# The first kind that an error is of tells: what is special stands before what is general.
STATUSES: Mapping[type[BaseException], Status] = {
    errors.DocumentNotFound: Status(404, "document_not_found"),
    errors.MissingDependency: Status(501, "not_installed"),
    errors.Untrusted: Status(403, "untrusted"),
    errors.FilterError: Status(400, "invalid_filter"),
    errors.CollectionClosed: Status(503, "collection_closed"),
    errors.UsageError: Status(400, "invalid_request"),
    errors.EncodingFailed: Status(422, "encoding_failed"),
    errors.DimensionMismatch: Status(422, "dimension_mismatch"),
    errors.DataError: Status(422, "invalid_data"),
    errors.ModelError: Status(503, "model_unavailable"),
    errors.CollectionNotFound: Status(404, "collection_not_found"),
    errors.CollectionExists: Status(409, "collection_exists"),
    errors.CollectionDamaged: Status(500, "collection_damaged"),
    errors.DocumentChanged: Status(409, "document_changed"),
    errors.ModelMismatch: Status(409, "model_mismatch"),
    errors.ReadOnly: Status(403, "read_only"),
    errors.CollectionError: Status(409, "collection_error"),
    errors.IndexDamaged: Status(500, "index_damaged"),
    errors.EngineUnreachable: Status(503, "engine_unreachable"),
    errors.StorageError: Status(507, "storage_failed"),
    errors.CollectionLocked: Status(423, "collection_locked"),
}
AGAIN = frozenset({423, 429, 503})  # the same may do in a moment
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
KINDS_BY_CODE: Mapping[str, type[SemsearchError]] = {  # by code, for whoever is told of an error and raises it again
    status.code: kind for kind, status in STATUSES.items() if issubclass(kind, SemsearchError)
}

_PUT_OTHERWISE: Mapping[type[BaseException], str] = {  # which list what a key may not be for, or commands
    errors.CollectionNotFound: "there is no such collection, or none any more: GET /v1/collections lists them.",
    errors.CollectionExists: "there is a collection of that name already: choose another name, or drop it.",
}
_PATH = re.compile(r"(?<![\w./:])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\"<>|:;,()\[\]]+){2,}[/\\]?")


def too_many() -> Refusal:
    """More wait than the server can answer in time."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Refusal(429, "too_many_requests", "too many wait already: come again in a moment.", None, headers)


def refusal_of(error: BaseException, request: str, private: Sequence[str] = ()) -> Refusal:
    """What a client is told of an error.

    Args:
        error: Whatever was raised.
        request: The id of the request.
        private: Paths that no answer may hold.
    """
    if isinstance(error, Refusal):
        return error
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            if kind in _PUT_OTHERWISE:
                return Refusal(status.number, status.code, _PUT_OTHERWISE[kind])
            headers = {"Retry-After": str(RETRY_SECONDS)} if status.number in AGAIN else {}
            param = "where" if isinstance(error, errors.FilterError) else None
            notes = [without_paths(note, private) for note in getattr(error, "__notes__", ())]
            return Refusal(status.number, status.code, without_paths(str(error), private), param, headers, notes)
    if isinstance(error, MemoryError):
        message = "there is not enough memory for this now: ask for less, or again later."
        return Refusal(503, "out_of_memory", message, None, {"Retry-After": str(RETRY_SECONDS)})
    if isinstance(error, OSError) and error.errno in FULL:
        return Refusal(507, "storage_failed", "the disk of the server is full: nothing of this was written.")
    if isinstance(error, TimeoutError):
        message = "the server did not get this done in its time: ask for less, or again later."
        return Refusal(503, "timed_out", message, None, {"Retry-After": str(RETRY_SECONDS)})
    return Refusal(500, "internal_error", f"something went wrong in the server; its log has it under {request}.")


def without_paths(message: str, private: Sequence[str] = ()) -> str:
    """A sentence in which paths of this machine are no more than their last name."""
    for path in sorted(filter(None, private), key=len, reverse=True):
        message = message.replace(path + os.sep, "").replace(path, "the server")

    def shortened(found: re.Match[str]) -> str:
        path = found[0]
        first = path.lstrip("~").replace("\\", "/").split("/")[1]
        there = path[0] == "~" or path[1:2] == ":" or os.path.lexists(f"/{first}")
        return Path(path.replace("\\", "/")).name if there else path

    return _PATH.sub(shortened, message)
