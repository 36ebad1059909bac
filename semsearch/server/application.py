"""The table of operations as an application of ASGI: routed, checked, run where they belong, and answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semsearch.server.batching import HungUp
from semsearch.server.bodies import read_json, read_query, refuse_body, whole
from semsearch.server.failures import Refusal, refusal_of
from semsearch.server.gate import Gate, send_refusal
from semsearch.server.json_bytes import json_bytes
from semsearch.server.operations import JSON, Call, HTTPAnswer, Operation, Streamed, Table
from semsearch.server.service import Service

HUNG_UP = 499  # as others note a client that left; nobody gets it


def application(service: Service, table: Table, others: Iterable[BaseRoute] = ()) -> ASGIApp:
    """The application of a server.

    Args:
        service: What it holds; closed when the application ends.
        table: What it can be asked.
        others: Applications of their own beside it, a page say; they pass the same gate.
    """

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[None]:
        yield
        service.draining = True
        await asyncio.to_thread(service.close)

    endpoints = {(one.method, one.path): _Endpoint(one, service) for one in table.operations}
    routes: list[BaseRoute] = [Route(path, endpoint, methods=[way]) for (way, path), endpoint in endpoints.items()]
    routed = Router([*routes, *others], redirect_slashes=False, default=_not_found, lifespan=lifespan)

    fixed = {(way, path): endpoint for (way, path), endpoint in endpoints.items() if "{" not in path}

    async def found(scope: Scope, receive: Receive, send: Send) -> None:
        """A path without parameters is looked up; the others are tried one after the other."""
        endpoint = fixed.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        await (routed if endpoint is None else endpoint)(scope, receive, send)

    told: dict[tuple[str, str], Any] = {
        (one.method, one.path): one.refused for one in table.operations if one.refused is not None
    }
    return Gate(found, service, told)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise Refusal(404, "not_found", "there is nothing at that path: /openapi.json lists what there is.")


class _Endpoint:
    """One operation, for the requests that are routed to it."""

    def __init__(self, operation: Operation, service: Service) -> None:
        self._operation = operation
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note = scope["semsearch.note"]
        note["route"] = self._operation.path
        begun = False

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(scope, receive, noticed)
        except HungUp:
            note["hung_up"] = True
            self._service.instruments.dropped()
            if not begun:
                await send_refusal(send, Refusal(HUNG_UP, "hung_up", "the client left."))
        except Exception as error:
            if begun or self._operation.refused is None:
                raise
            refusal = refusal_of(error, scope["semsearch.id"], self._service.private)
            if refusal.code == "internal_error":
                self._service.log_fault(scope["semsearch.id"], error)
            self._service.instruments.refused(refusal.code)
            note["code"] = refusal.code
            status, told = self._operation.refused(refusal)
            await send_refusal(send, refusal, told, status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation, service = self._operation, self._service
        request = Request(scope, receive, send)
        path = request.path_params
        grant = scope["semsearch.grant"]
        note = scope["semsearch.note"]
        if grant.name:
            note["key"] = grant.name
        if "collection" in path:
            note["collection"] = path["collection"]
        if operation.role is not None:
            if not grant.has(operation.role):
                raise Refusal(403, "not_allowed", f"that needs a key of the role '{operation.role}'.")
            if "collection" in path and not grant.covers(path["collection"]):
                raise Refusal(403, "not_allowed", "the key is not for that collection.")
        options = service.options
        if operation.body is None and operation.takes == JSON:
            refuse_body(request)
        query = read_query(operation.query, request.query_params.multi_items())
        call: Call[Any] = Call(service, grant, path, query, None, request)
        if operation.body is not None:
            check_media_type(request, operation.takes)
            call.body = read_json(operation.body, await whole(request, options.max_body, options.idle_seconds))
        elif operation.takes != JSON:
            check_media_type(request, operation.takes)  # who takes it reads it
        answer = await (self._run(call) if operation.takes == JSON else _awaited(operation.run(call)))
        if isinstance(answer, Streamed):
            await answer.send(send)
            return
        await _send(
            send, answer if isinstance(answer, HTTPAnswer) else HTTPAnswer(answer, operation.status), operation.gives
        )

    async def _run(self, call: Call[Any]) -> Any:
        """The operation's answer; who hangs up meanwhile ends it where it can be."""
        left = threading.Event()
        call.gone = left.is_set
        if self._operation.is_async:
            work = asyncio.ensure_future(self._operation.run(call))
        else:
            work = asyncio.ensure_future(
                self._service.run(self._operation.pool, lambda: _finished(self._operation.run(call)))
            )
        listening = asyncio.ensure_future(_hang_up(call.request))
        try:
            await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                left.set()
                work.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await work
                raise HungUp
            return work.result()
        finally:
            listening.cancel()


async def _awaited(answer: Any) -> Any:
    return await answer


async def _hang_up(request: Request) -> None:
    """Come to an end when the client leaves; what is left of a body that nobody reads is passed over."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _finished(answer: Any) -> Any:
    """An answer with its JSON written, which is done in the thread, too."""
    if isinstance(answer, HTTPAnswer):
        if not isinstance(answer.content, bytes):
            answer.content = json_bytes(answer.content)
        return answer
    return answer if isinstance(answer, bytes | Streamed) else json_bytes(answer)


def check_media_type(request: Request, wanted: str) -> None:
    """Refuse a body whose Content-Type says that it is of another type."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != wanted:
        raise Refusal(
            415,
            "unsupported_media_type",
            f"the body must be of the type '{wanted}', as its Content-Type says; it says '{said:.60}'.",
        )


async def _send(send: Send, answer: HTTPAnswer, gives: str) -> None:
    content = answer.content if isinstance(answer.content, bytes) else json_bytes(answer.content)
    media_type = gives if answer.media_type == JSON else answer.media_type
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
