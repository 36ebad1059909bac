"""The tools as the Model Context Protocol has them: an MCP server over collections, and documents as resources.

Nothing here writes. What people say of their collections stands in the server's instructions and in the answers of its
tools, so that an assistant knows which to ask; what documents hold stands in results alone, marked as data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.mcpserver.resources.templates import ResourceSecurity
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError
from pydantic_core import to_json

from semsearch import __version__
from semsearch.hardware import Compute
from semsearch.home import Home
from semsearch.mcp.asker import Asker, only
from semsearch.mcp.tools import MAX_BYTES, Tools
from semsearch.open_collections import OpenCollections
from semsearch.search.request import meant

URI = "semsearch://{collection}/{+id}"


def make_server(
    home: Home, names: Sequence[str] = (), *, device: str | None = None, max_bytes: int = MAX_BYTES
) -> MCPServer:
    """A server of the collections of `home`, ready to run.

    Args:
        home: Where they are.
        names: The only ones to show; all without any.
        device: Of their models, as in `semsearch.open`.
        max_bytes: Of an answer, in UTF-8.
    """
    for name in names:
        home.require(name)
    tools = Tools(OpenCollections(home, Compute(device)), only(*names), max_bytes)
    return server_of(tools, described(tools), tools.instructions())


def described(tools: Tools) -> list[Tool]:
    """The tools with their schemas, which take some milliseconds to make."""
    return [
        _tool("search", "Search documents", tools.search, tools.asker),
        _tool("get", "Read a document", tools.get, tools.asker),
        _tool("more_like_this", "Find similar documents", tools.more_like_this, tools.asker),
        _tool("list_collections", "List collections", tools.list_collections, tools.asker),
    ]


def server_of(tools: Tools, listed: list[Tool], instructions: str | None, *, listens: bool = True) -> MCPServer:
    """A server of these tools.

    Args:
        tools: That read documents.
        listed: The same as `described` gives them.
        instructions: What it says of itself.
        listens: Whether clients may wait for news, of which there are none yet, at a stream without end.
    """
    server: MCPServer = MCPServer(
        "semsearch",
        title="semsearch",
        version=__version__,
        log_level="WARNING",  # what a tool refuses is for the assistant alone
        instructions=instructions,
        tools=listed,
        subscriptions=None if listens else False,
    )

    @server.resource(
        URI,
        name="document",
        title="A document of a collection",
        mime_type="text/plain",
        security=ResourceSecurity(exempt_params={"id"}),  # an id is a name in a database, and no path
    )
    async def document(collection: str, id: str) -> str:  # noqa: A002  (what it is)
        """The text of a document, whole; `get` reads parts of one."""
        try:
            text: str = await tools.asker.run(lambda: tools.text_of(collection, id))
        except Exception as error:
            sentence = tools.asker.sentence(error)
            if sentence is None:
                raise
            raise ResourceNotFoundError(sentence) from error
        return text

    return server


class _ReadingTool(Tool):
    """A tool that only reads, refuses what it does not know instead of leaving it out, and says errors in sentences."""

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """See `Tool.run`."""
        known = list(self.fn_metadata.arg_model.model_fields)
        for one in arguments:
            if one not in known:
                near = meant(one, known)
                hint = f"Did you mean '{near}'?" if near else f"It has {', '.join(known) or 'none'}."
                raise ToolError(f"'{self.name}' has no parameter '{one:.60}'. {hint}")
        try:
            return _compact(await super().run(arguments, context, convert_result))
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                slips = (f"{'.'.join(map(str, slip['loc']))}: {slip['msg']}" for slip in error.__cause__.errors())
                raise ToolError(f"'{self.name}' can't take that: {'; '.join(slips)}.") from error
            if isinstance(error.__cause__, ToolError):
                raise ToolError(str(error.__cause__)) from error
            raise


def _compact(result: Any) -> Any:
    """A result whose text is as short as its bytes were counted: the SDK's own has each number of a list on a line."""
    if isinstance(result, CallToolResult) and result.structured_content is not None:
        result.content = [TextContent(type="text", text=to_json(result.structured_content).decode())]
    return result


def _tool(name: str, title: str, function: Callable[..., Any], asker: Asker) -> Tool:
    tool = _ReadingTool.from_function(
        _told(function, asker),
        name=name,
        title=title,
        description=" ".join((function.__doc__ or "").split()),
        annotations=ToolAnnotations(
            title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
        structured_output=True,
    )
    tool.parameters["additionalProperties"] = False
    return tool


def _told(function: Callable[..., Any], asker: Asker) -> Callable[..., Any]:
    """`function` beside the event loop; its errors for people reach the assistant as they are."""

    @wraps(function)
    async def told(*args: Any, **given: Any) -> Any:
        try:
            return await asker.run(lambda: function(*args, **given))
        except ToolError:
            raise
        except Exception as error:
            sentence = asker.sentence(error)
            if sentence is None:
                raise
            raise ToolError(sentence) from error

    return told
