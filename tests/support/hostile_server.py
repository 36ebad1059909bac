"""A server of embeddings that answers in every wrong way, on this machine alone.

A behaviour is a function of the handler and the request's body, under the name by which a test asks for it; what it
leaves unsaid, `serve` closes.
"""

import base64
import gzip
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIM = 8
PAUSE = 0.02  # seconds between the bytes of a drip
BEHAVIOURS: dict[str, Callable[["Handler", dict], None]] = {}


def behaviour(function):
    """Register one under its name."""
    BEHAVIOURS[function.__name__] = function
    return function


def items(body, vector=None):
    """What a sound server has under 'data'."""
    return [{"object": "embedding", "index": n, "embedding": vector or [1.0] * DIM} for n in range(len(body["input"]))]


class Handler(BaseHTTPRequestHandler):
    """Answers the first request, for the dimension, soundly, and all others as it is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or '{"input": []}')
        self.server.asked.append((self.path, dict(self.headers), body))
        with suppress(OSError):  # whoever asked is gone, as hoped
            if body["input"] == ["dimension"] and not self.server.at_once:
                self.json({"data": items(body)})
            else:
                BEHAVIOURS[self.server.behaviour](self, body)

    do_GET = do_POST

    def begin(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def raw(self, content, status=200, **headers):
        self.begin(status, Content_Length=str(len(content)), **headers)
        self.wfile.write(content)

    def json(self, value, status=200, **headers):
        self.raw(json.dumps(value).encode(), status, **headers)

    def chunk(self, content):
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")

    def pause(self):
        """A while; an error once the test is over."""
        if self.server.over.wait(PAUSE):
            raise OSError

    def wait(self):
        self.server.over.wait(30)

    def log_message(self, *_):
        pass


class HostileServer(ThreadingHTTPServer):
    """Behaves as `behaviour` says; with `at_once` at the very first request, too."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour, self.at_once, self.secret, self.elsewhere = "sound", False, "", ""
        self.asked = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_):
        pass


@contextmanager
def serve() -> Iterator[HostileServer]:
    """One that runs."""
    server = HostileServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@behaviour
def sound(handler, body):
    handler.json({"data": items(body)})


@behaviour
def sound_and_packed(handler, body):
    handler.raw(gzip.compress(json.dumps({"data": items(body)}).encode()), Content_Encoding="gzip")


@behaviour
def sound_and_wordy(handler, body):
    text = json.dumps({"data": items(body, [0.12345678901234567] * DIM)}, indent=12)
    handler.raw(text.encode())


# ------------------------------------------------------------------------------------------------------ without an end


@behaviour
def endless_body(handler, body):
    handler.begin(Transfer_Encoding="chunked")
    while not handler.server.over.is_set():
        handler.chunk(b" " * 65536)


@behaviour
def endless_body_of_an_error(handler, body):
    handler.begin(404, Transfer_Encoding="chunked")
    handler.chunk(b"no such model, says the server, and goes on")
    while not handler.server.over.is_set():
        handler.chunk(b" " * 65536)


@behaviour
def a_length_of_terabytes(handler, body):
    handler.begin(Content_Length=str(1 << 42))
    while not handler.server.over.is_set():
        handler.wfile.write(b"[" * 65536)


@behaviour
def drip_of_the_body(handler, body):
    handler.begin(Content_Length="1000000")
    while True:
        handler.wfile.write(b" ")
        handler.pause()


@behaviour
def drip_of_the_headers(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        handler.wfile.write(b"a")
        handler.pause()


@behaviour
def drip_of_the_body_of_an_error(handler, body):
    handler.begin(404, Content_Length="1000000")
    while True:
        handler.wfile.write(b"n")
        handler.pause()


@behaviour
def continues_without_end(handler, body):
    while True:
        handler.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        handler.pause()


@behaviour
def continues_at_once_without_end(handler, body):
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@behaviour
def silence(handler, body):
    handler.wait()


@behaviour
def silence_in_the_middle(handler, body):
    handler.begin(Content_Length="1000")
    handler.wfile.write(b'{"data": [')
    handler.wait()


@behaviour
def headers_without_end(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.over.is_set():
        handler.wfile.write(b"X-More: " + b"a" * 60000 + b"\r\n")


# ----------------------------------------------------------------------------------------------------- broken HTTP


@behaviour
def no_http(handler, body):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


@behaviour
def hangs_up(handler, body):
    handler.close_connection = True


@behaviour
def resets(handler, body):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


@behaviour
def hangs_up_in_the_middle(handler, body):
    handler.begin(Content_Length="1000")
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True


@behaviour
def echoes_the_key_for_a_status(handler, body):
    handler.wfile.write(f"HTTP/1.1 {handler.server.secret}\r\n\r\n".encode())
    handler.close_connection = True


def breaks_off(name, head, packed=False):
    """Register a sound answer that ends in the middle, after a head that says no length."""

    def answer(handler, body):
        content = json.dumps({"data": items(body)}).encode()
        content = gzip.compress(content) if packed else content
        handler.wfile.write(head + b"\r\n\r\n" + content[: len(content) // 2])
        handler.close_connection = True

    BEHAVIOURS[name] = answer


breaks_off("breaks_off_until_closed", b"HTTP/1.1 200 OK\r\nConnection: close")
breaks_off("breaks_off_as_of_old", b"HTTP/1.0 200 OK")
breaks_off("breaks_off_packed", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip", packed=True)
breaks_off("breaks_off_in_a_chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff")


@behaviour
def nothing_until_closed(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    handler.close_connection = True


# ----------------------------------------------------------------------------------------------------------- packed


@behaviour
def gzip_bomb(handler, body):
    handler.raw(bomb(), Content_Encoding="gzip")


@cache
def bomb():
    """64 MB of blanks in 64 kB."""
    pack = zlib.compressobj(9, wbits=31)
    return b"".join(pack.compress(b" " * (1 << 20)) for _ in range(64)) + pack.flush()


@behaviour
def gzip_in_gzip(handler, body):
    handler.raw(gzip.compress(gzip.compress(b"{}")), Content_Encoding="gzip, gzip")


@behaviour
def packed_as_nobody_asked(handler, body):
    handler.raw(b"\x28\xb5\x2f\xfd", Content_Encoding="zstd")


@behaviour
def gzip_that_is_none(handler, body):
    handler.raw(b"plain", Content_Encoding="gzip")


@behaviour
def gzip_cut_short(handler, body):
    handler.raw(gzip.compress(json.dumps({"data": items(body)}).encode())[:20], Content_Encoding="gzip")


# ------------------------------------------------------------------------------------------------------------ odd JSON


def answers(name, content):
    """Register an answer of a status 200; a function makes it of the request's body."""

    def answer(handler, body):
        made = content(body) if callable(content) else content
        handler.raw(made if isinstance(made, bytes) else json.dumps(made).encode())

    BEHAVIOURS[name] = answer


def first(body, vector):
    """A sound answer, but for its first vector."""
    return {"data": [{"index": 0, "embedding": vector}, *items(body)[1:]]}


answers("nothing", b"")
answers("blanks", b"  \n ")
answers("html", b"<!doctype html><title>Welcome to nginx</title>")
answers("a_page_in_latin1", "<html>Übersicht".encode("latin-1"))
answers("null", b"null")
answers("a_number", b"17")
answers("a_number_of_5000_digits", b"1" * 5000)
answers("a_text", b'"embeddings"')
answers("a_list", [])
answers("an_object", {})
answers("data_is_null", {"data": None})
answers("data_is_an_object", {"data": {"0": {"embedding": [1.0] * DIM}}})
answers("data_of_nulls", lambda body: {"data": [None] * len(body["input"])})
answers("data_of_lists", lambda body: {"data": [[1.0] * DIM] * len(body["input"])})
answers("an_error_with_status_200", {"error": {"message": "overloaded"}})
answers("too_few", lambda body: {"data": items(body)[1:]})
answers("too_many", lambda body: {"data": items(body) + items(body)})
answers("an_index_out_of_range", lambda body: {"data": [*items(body)[1:], {"index": 99, "embedding": [1.0] * DIM}]})
answers("an_index_below_zero", lambda body: {"data": [*items(body)[1:], {"index": -1, "embedding": [1.0] * DIM}]})
answers("an_index_twice", lambda body: {"data": [{"index": 0, "embedding": [1.0] * DIM} for _ in body["input"]]})
answers("an_index_of_text", lambda body: {"data": [{**item, "index": str(item["index"])} for item in items(body)]})
answers("an_index_that_is_true", lambda body: {"data": [{**item, "index": True} for item in items(body)]})
answers("an_index_that_is_a_list", lambda body: {"data": [{**item, "index": [0]} for item in items(body)]})
answers("nested_100000_deep", b"[" * 100_000 + b"]" * 100_000)
answers("nested_in_a_vector", lambda body: first(body, [[1.0] * DIM]))
answers("no_embedding", lambda body: {"data": [{"index": n} for n in range(len(body["input"]))]})
answers("an_empty_vector", lambda body: first(body, []))
answers("a_vector_too_short", lambda body: first(body, [1.0] * (DIM - 1)))
answers("a_vector_too_long", lambda body: first(body, [1.0] * (DIM + 1)))
answers("a_vector_of_texts", lambda body: first(body, ["1.0"] * DIM))
answers("a_vector_of_nulls", lambda body: first(body, [None] * DIM))
answers("a_vector_of_truths", lambda body: first(body, [True] * DIM))
answers("a_vector_of_base64", lambda body: first(body, base64.b64encode(b"\0" * 4 * DIM).decode()))
answers("base64_of_a_wrong_length", lambda body: first(body, "AAAA"))
answers("nan", lambda body: first(body, [float("nan")] * DIM))
answers("infinity", lambda body: first(body, [float("inf")] * DIM))
answers("beyond_float32", lambda body: first(body, [1e300] * DIM))
answers("beyond_float64", lambda body: first(body, [10**400] * DIM))


# ------------------------------------------------------------------------------------------------------- what it says


def refuses(name, status, content, **headers):
    """Register an answer of another status; `SECRET` in it becomes the key, HEAD and TAIL what lacks a character."""

    def answer(handler, body):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        key = handler.server.secret.encode()
        for word, shown in ((b"HEAD", key[:-1]), (b"TAIL", key[1:]), (b"SECRET", key)):
            text = text.replace(word, shown)
        handler.raw(text, status, **headers)

    BEHAVIOURS[name] = answer


refuses("echoes_the_key_in_a_message", 401, {"error": {"message": "Incorrect API key provided: SECRET. See SECRET"}})
refuses("echoes_the_key_in_text", 403, b"Bearer SECRET is not allowed")
refuses("echoes_the_key_in_the_middle", 500, b"a" * 170 + b" key SECRET")
refuses("echoes_the_key_as_no_json", 200, b"Bearer SECRET")
refuses("echoes_the_key_in_json", 200, {"authorization": "Bearer SECRET"})
refuses("echoes_the_key_as_a_vector", 200, {"data": [{"embedding": "SECRET"}, {"embedding": ["SECRET"]}]})
refuses("echoes_the_key_to_a_text", 400, {"error": "no SECRET"})
refuses("echoes_the_key_but_its_end", 401, {"error": {"message": "no such key: HEAD*"}})
refuses("echoes_the_key_but_its_start", 500, b"no such key: *TAIL, HEAD")
refuses("asks_to_wait_for_years", 429, b"slow down", Retry_After="1e9")
refuses("asks_to_wait_for_ever", 503, b"later", Retry_After="inf")
refuses("asks_to_wait_for_nan", 503, b"later", Retry_After="nan")
refuses("asks_to_wait_until_a_date", 503, b"later", Retry_After="Fri, 31 Dec 9999 23:59:59 GMT")
refuses("an_error_nested_deep", 404, b"[" * 60_000)
refuses("an_error_of_a_number", 404, b"9" * 5000)
refuses("an_error_of_null", 404, {"error": None})
refuses("drives_the_terminal", 404, {"error": {"message": "\x1b[2J\x1b]0;owned\x07\u202e"}})


@behaviour
def redirects_elsewhere(handler, body):
    handler.raw(b"", 307, Location=handler.server.elsewhere)


@behaviour
def redirects_to_itself(handler, body):
    handler.raw(b"", 308, Location=handler.server.url + "/embeddings")


@behaviour
def redirects_to_a_file(handler, body):
    handler.raw(b"", 302, Location="file:///etc/passwd")
