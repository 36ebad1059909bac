"""`/mcp`: the tools for assistants over streamable HTTP, in both eras of the protocol.

Each request stands for itself: there is no session that another key could take over, and no stream without end that a
server which is told to end would wait for. Who asks is known by the key of the request, and sees what it covers.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from semsearch.server.application import HUNG_UP, check_media_type
from semsearch.server.batching import HungUp
from semsearch.server.bodies import read_query, whole
from semsearch.server.failures import Refusal
from semsearch.server.gate import send_refusal
from semsearch.server.keys import Grant
from semsearch.server.operations import JSON, NoParameters
from semsearch.server.service import Service

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.tools import Tool

    from semsearch.mcp.tools import Tools

PATH = "/mcp"
INTRODUCED = (b"initialize", b"discover")  # what a client asks that wants to know what a server says of itself

_request: ContextVar[str] = ContextVar("request", default="mcp")  # its id, under which the log has its faults


def routes(service: Service) -> list[BaseRoute]:
    """What the application routes beside its table."""
    return [Route(PATH, _Assistants(service), methods=["POST"])]


class _Assistants:
    """The application at `/mcp`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tools: dict[Grant, tuple[Tools, list[Tool]]] = {}  # of each key that has asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, grant, note = self._service, scope["semsearch.grant"], scope["semsearch.note"]
        note["route"] = PATH
        if grant.name:
            note["key"] = grant.name
        request = Request(scope, receive)
        read_query(NoParameters, request.query_params.multi_items())
        check_media_type(request, JSON)
        try:
            body = await whole(request, service.options.max_body, service.options.idle_seconds)
        except HungUp:
            note["hung_up"] = True
            service.instruments.dropped()
            await send_refusal(send, Refusal(HUNG_UP, "hung_up", "the client left."))
            return
        _request.set(scope["semsearch.id"])
        server = await service.run("read", partial(self._server, grant, body))
        await _answer(server, body, scope, receive, send)

    def _server(self, grant: Grant, body: bytes) -> MCPServer:
        """A server of what a key covers, which lives as long as the request."""
        try:
            from semsearch.mcp.protocol import described, server_of
            from semsearch.mcp.tools import Tools
        except ImportError as error:
            message = f"for assistants the server needs {error.name}: pip install 'semsearch[mcp]'."
            raise Refusal(501, "not_installed", message) from error
        if grant not in self._tools:
            tools = Tools(self._service.collections, _asker(self._service, grant))
            self._tools[grant] = (tools, described(tools))
        tools, listed = self._tools[grant]
        instructions = tools.instructions() if any(word in body for word in INTRODUCED) else None
        return server_of(tools, listed, instructions, listens=False)


def _asker(service: Service, grant: Grant) -> Any:
    from semsearch.mcp.asker import Asker

    def sentence(error: Exception) -> str:
        refusal = service.refusal(error, _request.get())
        if refusal.code == "internal_error":
            service.log_fault(_request.get(), error)
        return " ".join([refusal.message, *refusal.notes])

    return Asker(
        covers=grant.covers,
        shown_path=lambda path: service.shown_path(path, grant),
        shown_model=lambda name: service.shown_model(name, grant),
        reranker=service.reranker_name,
        sentence=sentence,
        run=partial(service.run, "read"),
    )


async def _answer(server: MCPServer, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    from mcp.server.transport_security import TransportSecuritySettings

    server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=max(len(body), 1),  # it was bounded already
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the gate has looked
    )
    told: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def heard() -> Message:
        return told.pop() if told else await receive()

    manager = server.session_manager
    async with manager.run():
        await manager.handle_request(scope, heard, send)
