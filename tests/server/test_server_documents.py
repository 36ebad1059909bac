"""Documents over HTTP, one answer or a stream of lines; what is acknowledged is there."""

import asyncio
import base64
import json
import socket
import threading

import pytest
from support.named_hash import until

import semsearch
from semsearch.local.view import LocalView
from semsearch.server import upload

STREAM = "/v1/collections/animals/documents/stream"
NDJSON = {"content-type": "application/x-ndjson"}


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def streamed(server, content, **how):
    """The answers to a stream."""
    answer = server.post(STREAM, content=content, headers=NDJSON, **how)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_documents_are_put_in_read_and_changed(server, animals):
    assert server.ask("/v1/collections/animals/documents/a/bird") == {"schema": 1, "title": "", **animals[2]}
    asked = server.ask("/v1/collections/animals/documents/get", {"ids": ["dog", "nobody"]})["documents"]
    assert asked == [animals[1], None]
    assert server.refused("/v1/collections/animals/documents/nobody", status=404)["code"] == "document_not_found"
    again = server.ask("/v1/collections/animals/documents", {"documents": [*animals, {"id": "fish", "text": "fish"}]})
    assert (again["added"], again["unchanged"]) == (1, 3)
    change = {"ids": ["cat", "nobody"], "metadata": {"seen": True}}
    assert server.ask("/v1/collections/animals/documents", change, method="PATCH")["documents"] == 1
    change = {"where": "legs = 4", "metadata": {"n": 1}, "replace": True}
    assert server.ask("/v1/collections/animals/documents", change, method="PATCH")["documents"] == 2
    assert server.ask("/v1/collections/animals/documents/cat")["metadata"] == {"n": 1}


def test_documents_are_taken_out(server):
    assert server.ask("/v1/collections/animals/documents/a/bird", method="DELETE")["documents"] == 1
    assert server.refused("/v1/collections/animals/documents/a/bird", status=404, method="DELETE")
    assert server.ask("/v1/collections/animals/documents/delete", {"ids": ["cat", "nobody"]})["documents"] == 1
    assert server.ask("/v1/collections/animals/documents/delete", {"where": {"kind": "pet"}})["documents"] == 1
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 0
    for body in ({}, {"ids": ["x"], "where": "n = 1"}):
        assert server.refused("/v1/collections/animals/documents/delete", body)["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("documents", "status", "code"),
    [
        ([{"id": "x", "text": ""}], 422, "invalid_data"),
        ([{"id": "", "text": "y"}], 422, "invalid_data"),
        ([{"id": "x"}], 400, "missing_parameter"),
        ([{"id": "x", "text": "y", "colour": 1}], 400, "unknown_parameter"),
        ([{"id": 4, "text": "y"}], 400, "invalid_parameter"),
        ("no list", 400, "invalid_parameter"),
    ],
)
def test_a_bad_document_costs_nothing_that_came_with_it(server, documents, status, code):
    body = (
        {"documents": [{"id": "good", "text": "good text"}, *documents]}
        if isinstance(documents, list)
        else {"documents": documents}
    )
    error = server.refused("/v1/collections/animals/documents", body, status)
    assert error["code"] == code
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 3


@pytest.mark.parametrize(
    "content",
    [
        b'{"documents": [',
        b"\xff\xfe",
        b'{"documents": NaN}',
        b"[" * 100_000,
        b'{"documents": [{"id": "\\ud800", "text": "x"}]}',
    ],
    ids=["cut", "bytes", "nan", "deep", "half"],
)
def test_what_is_no_json_is_said(server, content):
    answer = server.post(
        "/v1/collections/animals/documents", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"].endswith(".")


# ------------------------------------------------------------------------------------------------------------- streams


def test_lines_are_committed_in_batches_and_answered(server, monkeypatch):
    monkeypatch.setattr(upload, "BATCH_LINES", 4)
    records = [{"id": f"n{i}", "text": f"number {i}", "metadata": {"i": i}} for i in range(10)]
    content = lines(*records[:5]) + b"\n" + lines(*records[5:])[:-1]  # a blank line, and none at the end
    *answers, last = streamed(server, content)
    assert last == {**last, "done": True, "through": 11, "added": 10, "skipped": 0}
    assert [one["through"] for one in answers][-1] == 11
    assert sum(one["added"] for one in answers) == 10
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 13
    assert (
        server.ask("/v1/collections/animals/search", {"query": "number 7", "where": "i = 7"})["hits"][0]["id"] == "n7"
    )
    assert streamed(server, content)[-1]["unchanged"] == 10


def test_bad_lines_are_named_and_cost_only_themselves(server):
    content = (
        lines({"id": "a", "text": "one"})
        + b"{\n"
        + lines(
            {"id": "b"},
            {"id": "c", "text": "two", "more": 1},
            ["d"],
            {"id": "e", "text": "\ud800"},
            {"id": "f", "text": "three"},
        )
    )
    *answers, last = streamed(server, content)
    assert (last["added"], last["skipped"], last["through"]) == (2, 5, 7)
    errors = [error for one in answers for error in one["errors"]]
    assert [error.partition(":")[0] for error in errors] == [f"line {n}" for n in (2, 3, 4, 5, 6)]


def test_vectors_may_come_with_the_lines(server):
    server.ask("/v1/collections", {"name": "given", "dim": 2}, 201)
    content = lines({"id": "x", "text": "east", "vector": [1, 0]}, {"id": "y", "text": "north", "vector": [0, 1.0]})
    answer = server.post(STREAM.replace("animals", "given"), content=content, headers=NDJSON)
    assert json.loads(answer.text.splitlines()[-1])["added"] == 2
    assert server.ask("/v1/collections/given/search", {"vector": [0, 1]})["hits"][0]["id"] == "y"


@pytest.mark.parametrize("bad", ["[1]", "[]", "[1, NaN]", "[1, 1e39]", f"[1, {10**400}]", '[1, "2"]', "{}"])
def test_a_vector_that_is_none_costs_only_its_line(server, bad):
    server.ask("/v1/collections", {"name": "given", "dim": 2}, 201)
    content = b"\n".join(
        b'{"id": "%s", "text": "x", "vector": %s}' % pair
        for pair in ((b"before", b"[1, 0]"), (b"bad", bad.encode()), (b"behind", b"[0, 1]"))
    )
    told = server.post(STREAM.replace("animals", "given"), content=content, headers=NDJSON)
    *answers, last = map(json.loads, told.text.splitlines())
    assert (told.status_code, last["done"], last["through"], last["added"], last["skipped"]) == (200, True, 3, 2, 1)
    (error,) = [error for one in answers for error in one["errors"]]
    assert error.startswith("line 2: ")


@pytest.mark.parametrize("vector_first", [True, False])
def test_of_lines_with_the_same_id_the_last_counts_with_a_vector_or_without(server, vector_first):
    vector = [1.0] + [0.0] * 15
    with_vector, without = {"id": "x", "text": "with", "vector": vector}, {"id": "x", "text": "without"}
    first, last = (with_vector, without) if vector_first else (without, with_vector)
    assert streamed(server, lines(first, last))[-1]["through"] == 2
    assert server.ask("/v1/collections/animals/documents/x")["text"] == last["text"]


def test_an_empty_stream_is_done(server):
    assert streamed(server, b"") == [{**streamed(server, b"")[0], "done": True, "added": 0, "through": 0}]


def test_what_goes_wrong_in_the_midst_is_the_last_line(server, monkeypatch):
    monkeypatch.setattr(upload, "BATCH_LINES", 1)
    taken, commit = threading.Event(), upload.Upload._commit

    async def counted(self, *lines):  # what a reader sees is committed before the writer is through with it
        await commit(self, *lines)
        taken.set()

    monkeypatch.setattr(upload.Upload, "_commit", counted)

    def records():
        yield lines({"id": "first", "text": "first"})
        assert taken.wait(60)
        semsearch.drop("animals", home=server.service.home)
        yield lines({"id": "second", "text": "second"})

    *answers, last = streamed(server, records())
    assert last["error"]["code"] == "collection_not_found"
    assert (last["through"], last["added"]) == (1, 1)
    assert answers[0]["through"] == 1


def _count(server):
    return server.ask("/v1/collections/animals/count", {})["documents"]


def test_before_any_answer_an_error_has_its_status(server):
    answer = server.post(STREAM.replace("animals", "nobody"), content=lines({"id": "x", "text": "y"}), headers=NDJSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "collection_not_found")
    answer = server.post(STREAM, content=lines({"id": "x", "text": "y"}), headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_a_line_without_end_is_refused(serve, fill):
    with serve(max_body=10_000) as server:
        fill(server)
        answer = server.post(STREAM, content=b'{"id": "x", "text": "' + b"a" * 50_000, headers=NDJSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "line_too_long")
        assert _count(server) == 3


def connected(server):
    port = int(server.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def head(server, *more):
    port = server.url.rpartition(":")[2]
    return "\r\n".join(
        [f"POST {STREAM} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/x-ndjson", *more, "", ""]
    ).encode()


def chunk(content):
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_who_hangs_up_in_the_midst_loses_nothing_that_was_acknowledged(server, monkeypatch):
    """And leaves nothing half: a line that was cut short is none."""
    monkeypatch.setattr(upload, "BATCH_LINES", 2)
    whole = lines({"id": "one", "text": "first"}, {"id": "two", "text": "second"})
    with connected(server) as client:
        client.sendall(head(server, "Transfer-Encoding: chunked") + chunk(whole))
        answered = b""
        while b'"through":2' not in answered:
            answered += client.recv(65536)
        client.sendall(chunk(b'{"id": "three", "text": "thi'))
    until(lambda: any(note.get("hung_up") for note in server.noted))
    assert _count(server) == 5
    assert server.ask("/v1/collections/animals/documents/get", {"ids": ["one", "two", "three"]})["documents"][2] is None


def test_a_trickle_is_committed_without_waiting_for_company(server, monkeypatch):
    monkeypatch.setattr(upload, "LONGEST_PENDING", 0.01)
    with connected(server) as client:
        client.sendall(head(server, "Transfer-Encoding: chunked") + chunk(lines({"id": "one", "text": "first"})))
        answered = b""
        while b'"through":1' not in answered:
            answered += client.recv(65536)
        assert _count(server) == 4
        client.sendall(b"0\r\n\r\n")


def test_a_body_that_comes_to_a_stop_ends(serve, fill):
    with serve(idle_seconds=0.1) as server:
        fill(server)
        with connected(server) as client:
            client.sendall(head(server, "Content-Length: 1000") + b'{"id"')
            assert b"408" in client.recv(65536).split(b"\r\n")[0]


def test_answers_that_nobody_reads_hold_up_nothing(server, monkeypatch):
    """A client may send all before it reads; the answers are put together meanwhile."""
    monkeypatch.setattr(upload, "BATCH_LINES", 1)
    sent, blocked = [], None

    async def slow(message):
        sent.append(message)
        if len(sent) == 2:  # the first line of an answer: nobody reads on
            await blocked.wait()

    async def go():
        nonlocal blocked
        blocked = asyncio.Event()
        answers = upload._Answers(slow, 5)
        for through in range(1, 1001):
            answers.add(through, upload.IngestResult(added=1), [f"line {through}: bad."])
            await asyncio.sleep(0)
        blocked.set()
        await answers.end({"done": True})

    asyncio.run(go())
    told = [json.loads(one["body"]) for one in sent[1:-1]]
    assert [one.get("through") for one in told] == [1, 1000, None]
    assert sum(one.get("added", 0) for one in told) == 1000
    assert (len(told[1]["errors"]), told[1]["left_out"]) == (upload.TOLD_ERRORS, 999 - upload.TOLD_ERRORS)


def test_two_streams_at_once_are_both_taken(server):
    def send(name):
        streamed(server, lines(*({"id": f"{name}{i}", "text": f"{name} {i}"} for i in range(200))))

    threads = [threading.Thread(target=send, args=[name]) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert _count(server) == 603


# --------------------------------------------------------------------------------------------------------------- pages


def test_pages_hold_every_document_once(server):
    server.ask(
        "/v1/collections/animals/documents",
        {"documents": [{"id": f"d{i:02}", "text": f"t {i}", "metadata": {"i": i}} for i in range(25)]},
    )
    found, cursor = [], None
    while True:
        page = server.ask(
            "/v1/collections/animals/documents", params={"limit": 7, **({"cursor": cursor} if cursor else {})}
        )
        found += [document["id"] for document in page["documents"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ["cat", "dog", "a/bird", *(f"d{i:02}" for i in range(25))]
    page = server.ask("/v1/collections/animals/documents", params={"where": "i >= 20", "limit": 1000})
    assert ([document["id"] for document in page["documents"]], page["next"]) == (
        [f"d{i}" for i in range(20, 25)],
        None,
    )


def test_the_ids_of_a_collection_are_read_once_for_all_its_pages(server, monkeypatch):
    path, read, ids = "/v1/collections/animals/documents", [], LocalView.ids
    monkeypatch.setattr(LocalView, "ids", lambda self, where=None: read.append(where) or ids(self, where))

    def pages(**how):
        cursor, found = None, []
        while True:
            page = server.ask(path, params={"limit": 1, **how, **({"cursor": cursor} if cursor else {})})
            found += [document["id"] for document in page["documents"]]
            if (cursor := page["next"]) is None:
                return found

    assert (pages(), len(read)) == (["cat", "dog", "a/bird"], 1)
    assert (pages(where="legs = 4"), len(read)) == (["cat", "dog"], 2)
    page = server.ask(path, params={"limit": 1})
    server.ask(path, {"documents": [{"id": "eel", "text": "an eel"}]})
    behind = server.ask(path, params={"limit": 9, "cursor": page["next"]})
    assert [document["id"] for document in behind["documents"]] == ["dog", "a/bird", "eel"]
    server.ask("/v1/collections/animals", method="DELETE")
    server.ask("/v1/collections", {"name": "animals"}, 201)
    assert pages() == []


def test_a_cursor_stands_though_documents_before_it_go(server):
    server.ask(
        "/v1/collections/animals/documents", {"documents": [{"id": f"d{i}", "text": f"t {i}"} for i in range(20)]}
    )
    page = server.ask("/v1/collections/animals/documents", params={"limit": 10})
    last = page["documents"][-1]["id"]
    server.ask("/v1/collections/animals/documents/delete", {"ids": ["cat", "d1", last]})
    behind = server.ask("/v1/collections/animals/documents", params={"limit": 100, "cursor": page["next"]})
    assert [document["id"] for document in behind["documents"]] == [f"d{i}" for i in range(7, 20)]
    server.ask("/v1/collections/animals/documents/delete", {"ids": [one["id"] for one in page["documents"]]})
    refused = server.refused("/v1/collections/animals/documents", status=409, params={"cursor": page["next"]})
    assert refused["code"] == "cursor_expired"
    deep = base64.urlsafe_b64encode(b"[" * 10_000).decode()
    for cursor in ("rubbish", "W10", "", deep):
        assert (
            server.refused("/v1/collections/animals/documents", params={"cursor": cursor})["code"] == "invalid_cursor"
        )
    for limit in (0, 100_000, "x"):
        assert server.refused("/v1/collections/animals/documents", params={"limit": limit})["param"] == "limit"
