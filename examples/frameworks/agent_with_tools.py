"""pydantic-ai: an agent that has semsearch's tools over the Model Context Protocol, from `semsearch mcp`.

Needs `pip install 'semsearch[mcp]' 'pydantic-ai-slim[mcp]'`. Run it:
`python examples/frameworks/agent_with_tools.py "how do I treat a burn?"`, or with a model that pydantic-ai knows behind
the question: `… openai:gpt-4o-mini`. Without one a stand-in calls `search` and says what it was told.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

import semsearch

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def stand_in(question: str) -> FunctionModel:
    """A model that calls the tool `search` with the question, and then says what the tool said."""

    def reply(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if not returned:
            return ModelResponse([ToolCallPart("search", {"query": question, "k": 3})])
        return ModelResponse([TextPart(returned[0].model_response_str())])

    return FunctionModel(reply)


def main(question: str = "how do I treat a burn?", model: str | None = None) -> str:
    """Index the samples, and let an agent ask."""
    lines = (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as home:
        with semsearch.create("samples", home=home) as samples:
            samples.add(map(json.loads, lines))
        command = StdioTransport(sys.executable, ["-m", "semsearch", "mcp", "--home", home])
        agent = Agent(model or stand_in(question), toolsets=[MCPToolset(command, init_timeout=200)])
        said = asyncio.run(agent.run(question)).output
    print(said)
    return said


if __name__ == "__main__":
    main(*sys.argv[1:3])
