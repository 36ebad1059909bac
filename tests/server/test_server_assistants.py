"""`/mcp`: the protocol's own client over HTTP, in both eras; keys, hosts, origins and bounds hold as everywhere."""

import asyncio
import json
import threading

import pytest

pytest.importorskip("mcp")

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from support.named_hash import until

from semsearch.server import serving
from semsearch.server.keys import Keyring, add_key

TODAY = "2026-07-28"
ERAS = ["legacy", "auto", TODAY]


def visit(server, work, key=None, mode="auto"):
    """What `work` makes of a client."""

    async def visited():
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as web,
            Client(streamable_http_client(f"{server.url}/mcp", http_client=web), mode=mode) as client,
        ):
            return await work(client)

    return asyncio.run(visited())


def call(server, name, key=None, **given):
    async def called(client):
        return await client.call_tool(name, given)

    return visit(server, called, key)


def post(server, message=None, **how):
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"} if message is None else message
    headers = {"Accept": "application/json, text/event-stream", **how.pop("headers", {})}
    return server.post("/mcp", json=asked, headers=headers, **how)


@pytest.mark.parametrize("mode", ERAS)
def test_the_protocols_own_client_searches_in_both_eras(server, mode):
    async def asked(client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        found = await client.call_tool("search", {"query": "the cat sleeps on the warm sofa", "k": 1})
        read = await client.read_resource("semsearch://animals/a/bird")
        return client.instructions, tools, found, read

    instructions, tools, found, read = visit(server, asked, mode=mode)
    assert sorted(tools) == ["get", "list_collections", "more_like_this", "search"]
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    assert [result["id"] for result in found.structured_content["results"]] == ["cat"]
    assert read.contents[0].text == "a bird sings in the old tree"
    if mode != TODAY:  # which asks for no introduction
        assert "- animals (3 documents)" in instructions


def test_what_it_says_of_itself_is_of_now(server, fill):
    async def introduced(client):
        return client.instructions

    assert "plants" not in visit(server, introduced)
    fill(server, "plants")
    assert "- plants (3 documents)" in visit(server, introduced)


def test_documents_are_read_and_compared(server):
    text = call(server, "get", collection="animals", id="dog", start=4).structured_content
    assert (text["text"], text["title"]) == ("dog runs in the park", "Dogs")
    near = call(server, "more_like_this", collection="animals", id="dog").structured_content
    assert {result["id"] for result in near["results"]} == {"cat", "a/bird"}
    assert call(server, "get", collection="animals", id="none").content[0].text == (
        "there is no document 'none' in collection 'animals'."
    )


@pytest.fixture
def keyed(serve, fill, tmp_path):
    """A server of 'animals' and 'secrets', with keys by name."""
    file = tmp_path / "keys"
    keys = {"all": add_key(file, "all", "admin"), "some": add_key(file, "some", "read", ["animals"])}
    with serve(keyring=Keyring.read(file)) as running:
        running.client.headers["Authorization"] = f"Bearer {keys['all']}"
        fill(running)
        fill(running, "secrets")
        running.client.headers.pop("Authorization")
        yield running, keys


def test_a_key_sees_what_it_covers_and_nothing_else(keyed):
    running, keys = keyed

    async def looked(client):
        listed = await client.call_tool("list_collections", {})
        found = await client.call_tool("search", {"query": "cat", "k": 9})
        named = await client.call_tool("search", {"query": "cat", "collections": ["secrets"]})
        read = await client.call_tool("get", {"collection": "secrets", "id": "cat"})
        try:
            await client.read_resource("semsearch://secrets/cat")
            resource = "read"
        except MCPError as error:
            resource = str(error)
        return client.instructions, listed, found, named, read, resource

    for mode in ("legacy", "auto"):
        instructions, listed, found, named, read, resource = visit(running, looked, keys["some"], mode)
        assert "secrets" not in instructions
        assert [one["name"] for one in listed.structured_content["collections"]] == ["animals"]
        assert {one["collection"] for one in found.structured_content["results"]} == {"animals"}
        assert named.content[0].text == "there is no collection 'secrets'; there are animals."
        assert read.content[0].text == "there is no collection 'secrets'; there are animals."
        assert "there is no collection 'secrets'" in resource
    everything = visit(running, looked, keys["all"])
    assert {one["collection"] for one in everything[2].structured_content["results"]} == {"animals", "secrets"}


def test_without_a_key_nothing_is_said(keyed):
    running, keys = keyed
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = post(running, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert post(running, headers={"Authorization": f"Bearer {keys['some']}"}).status_code == 200
    until(lambda: {note.get("key") for note in running.noted if note["route"] == "/mcp"} == {"some"})
    assert keys["some"] not in json.dumps(running.noted)


def test_a_page_of_another_origin_and_a_name_that_was_bent_here_are_refused(server):
    assert post(server, headers={"Origin": "https://elsewhere.example"}).json()["error"]["code"] == "foreign_origin"
    assert post(server, headers={"Host": "elsewhere.example"}).json()["error"]["code"] == "unknown_host"
    assert post(server, headers={"Origin": server.url}).status_code == 200


@pytest.mark.parametrize("method", ["get", "delete", "put"])
def test_there_are_no_sessions_and_no_streams_without_end(server, method):
    answer = getattr(server, method)("/mcp")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_bodies_are_bounded_and_of_json(serve, fill):
    with serve(max_body=4096) as running:
        fill(running)
        long = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {"x": "x" * 5000}}}
        assert post(running, long).json()["error"]["code"] == "body_too_large"
        assert running.post("/mcp", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        for version in ({}, {"MCP-Protocol-Version": TODAY}):
            for content in (b"{", b"[]", b"\xff", b"[" * 4000, b"null"):
                answer = running.post("/mcp", content=content, headers={**headers, **version})
                assert 400 <= answer.status_code < 500, (content, answer.text)


def test_a_reranker_that_is_not_served_is_none(server):
    told = call(server, "search", query="cat", rerank=True)
    assert told.is_error
    assert "this server has no reranker" in told.content[0].text


def test_paths_of_the_machine_are_for_those_who_look_after_it(serve, tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "tea.txt").write_text("tea is made with hot water", "utf-8")
    file = tmp_path / "keys"
    admin, reader = add_key(file, "admin", "admin"), add_key(file, "reader", "read")
    model = str(tmp_path / "model")
    with serve(keyring=Keyring.read(file), folders={"papers": folder}, encoders=(model,)) as running:
        running.client.headers["Authorization"] = f"Bearer {admin}"
        running.ask("/v1/collections", {"name": "drinks"}, 201)
        task = running.ask("/v1/collections/drinks/index", {"folder": "papers"}, 202)
        assert running.finished(task)["state"] == "done"
        with running.service.collections.lease("drinks") as drinks:
            drinks.describe("of papers", folder=str(folder))
        for key, shown in ((admin, str(folder)), (reader, "papers")):
            found = call(running, "search", key, query="tea is made with hot water").structured_content["results"][0]
            listed = call(running, "list_collections", key).structured_content["collections"][0]
            assert (str(tmp_path) in json.dumps([found, listed])) is (key == admin)
            assert found["about"] == ["of papers"]
            assert listed["folders"] == {shown: "of papers"}
            assert listed["model"] == (model if key == admin else "model")


def test_a_fault_is_told_without_its_words_and_logged(server, monkeypatch, caplog):
    def broken(*_, **__):
        raise ZeroDivisionError("at /home/me/secret")

    monkeypatch.setattr("semsearch.collection.Collection.get", broken)
    told = call(server, "get", collection="animals", id="cat")
    assert told.is_error
    assert "secret" not in told.content[0].text
    identity = told.content[0].text.rpartition(" ")[2].rstrip(".")
    assert any(
        identity in record.getMessage() and "ZeroDivisionError" in record.getMessage() for record in caplog.records
    )


def test_a_collection_that_was_dropped_and_made_anew_is_the_new_one(server):
    assert call(server, "get", collection="animals", id="cat").structured_content["text"].startswith("the cat")
    server.delete("/v1/collections/animals")
    assert call(server, "get", collection="animals", id="cat").is_error
    server.ask("/v1/collections", {"name": "animals"}, 201)
    server.ask("/v1/collections/animals/documents", {"documents": [{"id": "cat", "text": "another"}]})
    assert call(server, "get", collection="animals", id="cat").structured_content["text"] == "another"


def test_many_ask_at_once(server):
    async def asked(client):
        calls = [client.call_tool("search", {"query": f"{word} {n}"}) for n in range(10) for word in ("cat", "dog")]
        return await asyncio.gather(*calls)

    assert not any(found.is_error for found in visit(server, asked))


def test_what_is_under_way_is_answered_before_the_server_ends(serve, fill, monkeypatch):
    entered, go_on, told = threading.Event(), threading.Event(), []
    shutdown = serving.Server.shutdown

    async def ending(self, sockets=None):
        go_on.set()
        await shutdown(self, sockets)

    monkeypatch.setattr(serving.Server, "shutdown", ending)
    asked = {"name": "get", "arguments": {"collection": "animals", "id": "cat"}}
    with serve() as running:
        fill(running)
        usual = running.service.collections.use

        def held(names, work):
            entered.set()
            assert go_on.wait(60)
            return usual(names, work)

        monkeypatch.setattr(running.service.collections, "use", held)
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
        url, headers = f"{running.url}/mcp", {"Accept": "application/json, text/event-stream"}
        client = threading.Thread(
            target=lambda: told.append(httpx.post(url, json=message, headers=headers, timeout=60)), daemon=True
        )
        client.start()
        assert entered.wait(60)
    client.join(60)
    assert told[0].json()["result"]["structuredContent"]["text"].startswith("the cat")
