"""What a server can be asked, as one table: it routes and checks requests, and the OpenAPI document is made of it.

An operation is a plain function of a `Call`. One that blocks (on a database, a model, a file) runs in a thread of the
pool that it names; `async` ones run in the event loop and may not block. Whatever a request holds that the operation
does not know is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from semsearch.server.keys import Grant

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Send

    from semsearch.server.service import Service

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Pool = Literal["read", "write"]
Body = TypeVar("Body")
FilterSaid = str | dict[str, Any]  # a filter on metadata, as text or as a mapping

JSON, NDJSON, BYTES = "application/json", "application/x-ndjson", "application/octet-stream"


class JSONShape(BaseModel):
    """The JSON of a request, or of an answer; a name that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class NoParameters(JSONShape):
    """A request without parameters."""


@dataclass(slots=True)
class Call(Generic[Body]):
    """One request, checked.

    Attributes:
        service: What the server holds.
        grant: What its key is for.
        path: The parameters in its path.
        query: Those behind the question mark.
        body: What its body says; None for an operation that reads it itself.
        request: The request.
        gone: Whether its client has hung up.
    """

    service: Service
    grant: Grant
    path: Mapping[str, str]
    query: Any
    body: Body
    request: Request
    gone: Callable[[], bool] = lambda: False

    @property
    def collection(self) -> str:
        """The name of the collection in the path."""
        return self.path["collection"]


@dataclass(slots=True)
class HTTPAnswer:
    """What an operation gives where plain JSON under its usual status is not all."""

    content: Any = None  # JSON values, or bytes as they are
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Streamed:
    """An answer that is sent bit by bit, by a function of its own."""

    send: Callable[[Send], Awaitable[None]]


RunOperation = Callable[[Call[Any]], Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the table.

    Attributes:
        method: Of HTTP.
        path: As Starlette has it: `{name}`, `{name:path}`.
        run: What is done.
        summary: In a few words, for the document.
        tag: The group it stands in.
        role: What a key must have; None for what is open to all.
        pool: Of threads, for a function that is not `async`.
        query: The parameters behind the question mark.
        body: Those in the body, as JSON; None where there is none or `takes` says otherwise.
        takes: The media type of the body, where it is not JSON.
        answer: The shape of the answer, for the document; None where it is not JSON.
        gives: The media type of the answer.
        status: Of an answer where all went well.
        example: A body, for the document; lines as text.
        refused: Of the error that is told in the words of others' routes: a function of a `Refusal`, to a status
            and JSON.
    """

    method: Method
    path: str
    run: RunOperation
    summary: str
    tag: str
    role: str | None = "read"
    pool: Pool = "read"
    query: type[JSONShape] = NoParameters
    body: type[BaseModel] | None = None
    takes: str = JSON
    answer: type[BaseModel] | None = None
    gives: str = JSON
    status: int = 200
    example: Mapping[str, Any] | str | None = None
    refused: Callable[[Any], tuple[int, Any]] | None = None

    @property
    def name(self) -> str:
        """Unique among all."""
        return self.run.__name__

    @property
    def is_async(self) -> bool:
        """Whether it runs in the event loop."""
        return inspect.iscoroutinefunction(self.run)

    @property
    def description(self) -> str:
        """What the function says of itself."""
        return inspect.getdoc(self.run) or ""


class Table:
    """Operations, in the order in which they are looked through."""

    def __init__(self, tag: str, *tables: Table) -> None:
        self.tag = tag
        self.operations: list[Operation] = [operation for table in tables for operation in table.operations]

    def add(self, method: Method, path: str, summary: str, **facts: Any) -> Callable[[RunOperation], RunOperation]:
        """Register a function as an operation."""

        def register(run: RunOperation) -> RunOperation:
            self.operations.append(Operation(method, path, run, summary, self.tag, **facts))
            return run

        return register
