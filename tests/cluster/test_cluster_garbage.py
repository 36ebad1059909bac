"""Whatever something between answers in a cluster's place is a sentence, and nothing counts as written or there."""

import contextlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

pytest.importorskip("orjson", reason="the extra 'opensearch' is not installed")

from support.cluster import FLAVOURS

import semsearch
from semsearch.cluster.dialects import ClusterAnswer
from semsearch.errors import EngineUnreachable, SemsearchError, StorageError
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document

pytestmark = pytest.mark.cluster
CATS = [Document(f"c{number}", f"cat number {number}", metadata={"n": number}) for number in range(6)]
CONTENTS = {
    "a page": (200, "text/html", b"<html><body>Please log in.</body></html>"),
    "a page of an error": (502, "text/html", b"<html>Bad Gateway</html>"),
    "a page that says JSON": (200, "application/json", b"<html>oops</html>"),
    "nothing": (200, "application/json", b""),
    "a list": (200, "application/json", b"[1, 2]"),
    "a text": (200, "application/json", b'"fine"'),
    "null": (200, "application/json", b"null"),
    "an empty object": (200, "application/json", b"{}"),
    "half an object": (200, "application/json", b'{"hits": {"hi'),
    "bytes": (200, "application/json", bytes(range(128, 256))),
    "another type": (200, "application/cbor", b"\xbf\xff"),
    "an error of another make": (500, "application/json", b'{"error": [{"what": 1}]}'),
    "no status of HTTP": (None, "", b"SSH-2.0-OpenSSH_9.9\r\n"),
    "less than it announces": (None, "", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}"),
}


class Garbage(BaseHTTPRequestHandler):
    """Answers everything in one way."""

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, kind, content = self.server.content
        if status is None:
            self.wfile.write(content)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in (("content-type", kind), ("content-length", str(len(content)))):
            self.send_header(name, value)
        self.send_header("x-elastic-product", "Elasticsearch")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def garbage():
    """A server that answers as its `content` says."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Garbage) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_is_no_cluster(garbage, monkeypatch, flavour, content):
    pytest.importorskip({"opensearch": "opensearchpy"}.get(flavour, flavour))
    monkeypatch.setattr("semsearch.cluster.cluster_connection.BUSY_PATIENCE", 0.2)
    garbage.content = CONTENTS[content]
    home = f"{flavour}://me:hunter2@127.0.0.1:{garbage.server_port}"
    for ask in (
        lambda: semsearch.list_collections(home=home),
        lambda: semsearch.open("cats", home=home),
        lambda: semsearch.create("cats", home=home, encoder=HashEncoder()),
        lambda: semsearch.drop("cats", home=home),
    ):
        with pytest.raises(StorageError) as told:
            ask()
        said = str(told.value)
        assert "127.0.0.1" in said
        assert "\n" not in said
        assert "hunter2" not in said


DRIPS = {
    "its header": b"HTTP/1.1 200 OK\r\nx-more: " + 100 * b"a",
    "its body": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n" + 100 * b" ",
    "pieces": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + 60 * b"1\r\n \r\n",
}


class Dripping(BaseHTTPRequestHandler):
    """Answers a byte at a time, each of them soon."""

    def answer(self):
        content = self.server.content
        fast = content.find(b"\r\n") + 2
        for piece in (content[:fast], *(content[at : at + 1] for at in range(fast, len(content)))):
            if self.server.over.wait(0.1):
                break
            self.wfile.write(piece)
            self.wfile.flush()
        else:
            self.server.waited = True
        self.close_connection = True

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("content", DRIPS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_drips_is_not_waited_for(flavour, content):
    """The time is that of the whole answer."""
    pytest.importorskip({"opensearch": "opensearchpy"}.get(flavour, flavour))
    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        server.content, server.over, server.waited = DRIPS[content], Event(), False
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(EngineUnreachable, match=r"did not answer in time .*timed out"):
                semsearch.list_collections(home=f"{flavour}://127.0.0.1:{server.server_port}?timeout=1")
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
        assert not server.waited


WORK = {
    "add": lambda cats: cats.add([replace(CATS[0], text="another cat"), Document("new", "a new one")]),
    "remove": lambda cats: cats.remove(["c1", "c2"]),
    "metadata": lambda cats: cats.update_metadata(["c3", "c4"], {"n": 77}),
    "search": lambda cats: [cats.search("cat", k=3, mode=m, where={"n": {"$gte": 0}}) for m in ("dense", "hybrid")],
    "read": lambda cats: (cats.get(["c1"]), cats.ids(), len(cats), cats.info()),
    "care": lambda cats: (cats.check(deep=True), cats.compact()),
    "language": lambda cats: cats.change_language("de"),
}  # fmt: skip
ANSWERS = (ClusterAnswer(200, {}), ClusterAnswer(200, "<html>oops</html>"))


@pytest.mark.parametrize("work", WORK)
def test_each_request_answered_with_garbage(url, work):
    """Not sent at all, or sent and its answer lost: a sentence, or the same outcome, and never half of it."""
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as cats:
        number, over = 0, False
        while not over:
            cats.add(CATS)
            cats.update_metadata(["c3", "c4"], {"n": 0})
            over = _garbled(cats, work, number)
            assert {one.id for one in cats} >= {"c0", "c5"}
            assert cats.add([Document(f"after {number}", "it goes on")]).added == 1
            broken = [problem for problem in cats.check(deep=True) if problem.part not in ("index", "database")]
            assert broken == [], number
            number += 1
            assert number < 100
        WORK[work](cats)
        cats.repair()
        assert cats.check(deep=True) == []


def _garbled(cats, work, number):
    """Do the work with the answer to one request garbled; whether there are no more requests than that."""
    dialect = cats.engine._connection.dialect
    send, count = dialect.send, 0

    def garbled(*asked):
        nonlocal count
        count += 1
        if count != number + 1:
            return send(*asked)
        if number % 2:
            send(*asked)
        return ANSWERS[number // 2 % len(ANSWERS)]

    dialect.send = garbled
    try:
        with contextlib.suppress(SemsearchError):
            WORK[work](cats)
    finally:
        dialect.send = send
    return count <= number
