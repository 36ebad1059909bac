"""`semsearch mcp` as a client starts it: over stdin and stdout, and gone when the client goes."""

import asyncio
import json
import subprocess
import sys
import tomllib

import pytest

pytest.importorskip("mcp")

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from support.command_line import run, tiny_model

import semsearch
from semsearch import Document

pytestmark = pytest.mark.slow  # a process each


@pytest.fixture
def home(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    with semsearch.create("notes", encoder=str(model), home=tmp_path / "home") as notes:
        notes.add([Document("1", "Water boils at a hundred degrees.")])
    return tmp_path / "home"


def test_a_client_starts_it_asks_and_goes(home):
    async def asked():
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "semsearch", "mcp", "--home", str(home)], env=None
        )
        async with Client(server) as client:
            found = await client.call_tool("search", {"query": "Water boils at a hundred degrees."})
            wrong = await client.call_tool("search", {"query": "water", "where": "year >"})
            return client.instructions, found, wrong

    instructions, found, wrong = asyncio.run(asked())
    assert "- notes (1 documents)" in instructions
    assert found.structured_content["results"][0]["id"] == "1"
    assert wrong.is_error


def test_nothing_but_messages_on_stdout_and_it_ends_with_its_input(home):
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "a test", "version": "1"},
        },
    }
    started = [
        json.dumps(asked),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": 2,
                "method": "tools/call",
                "params": {"name": "search", "arguments": {"query": "water"}},
            }
        ),
    ]
    command = [sys.executable, "-m", "semsearch", "mcp", "--home", str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        server.stdin.write("".join(line + "\n" for line in started))
        server.stdin.flush()
        told = [json.loads(server.stdout.readline()) for _ in range(2)]
        server.stdin.close()
        assert server.stdout.read() == ""
        assert server.wait(timeout=60) == 0
    assert [one["id"] for one in told] == [1, 2]
    assert told[0]["result"]["protocolVersion"] == "2025-06-18"
    assert told[1]["result"]["structuredContent"]["results"][0]["id"] == "1"


def test_the_lines_for_clients_start_this_home(home):
    ended = run("mcp", "--install", "notes", "--home", str(home))
    assert ended.code == 0
    blocks = ended.out.split("\n\n")
    entry = json.loads(blocks[1])["mcpServers"]["semsearch"]
    assert entry["args"][-4:] == ["mcp", "notes", "--home", str(home)]
    assert tomllib.loads(blocks[4])["mcp_servers"]["semsearch"] == entry


def test_the_lines_for_a_server_that_runs():
    for said in ("http://127.0.0.1:7700", "http://127.0.0.1:7700/", "http://127.0.0.1:7700/mcp"):
        ended = run("mcp", "--install", "--url", said)
        assert ended.code == 0
        blocks = ended.out.split("\n\n")
        assert json.loads(blocks[1])["mcpServers"]["semsearch"] == {"url": "http://127.0.0.1:7700/mcp"}
        assert tomllib.loads(blocks[3])["mcp_servers"]["semsearch"] == {"url": "http://127.0.0.1:7700/mcp"}
    for slip in (
        ("--url", "http://127.0.0.1"),
        ("--install", "--url", "elsewhere"),
        ("--install", "notes", "--url", said),
    ):
        assert run("mcp", *slip).code == 2


def test_a_collection_that_is_not_there_is_an_error_before_a_client_waits(home):
    ended = run("mcp", "nots", "--home", str(home))
    assert ended.code == 4
    assert "notes" in ended.err
