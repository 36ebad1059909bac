"""Embedding servers that misbehave."""

import contextlib
import gzip
import json
import signal
import socketserver

from attack.arena import DIM, documents

FAMILY = "hostile servers"
SHARE = 6
KEY = "sk-very-secret-key"
ENDLESS = 1 << 40


class Request(socketserver.StreamRequestHandler):
    """Reads one request and lets the server's `behave` write what it likes."""

    def handle(self):
        lines = []
        while (line := self.rfile.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
            lines.append(line.decode("latin-1").strip())
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        with self.server.log.open("a") as log:
            log.write(json.dumps([self.server.server_address[1], lines]) + "\n")
        with contextlib.suppress(OSError):
            for part in self.server.behave(body, headers):
                self.wfile.write(part)


class Server(socketserver.ThreadingTCPServer):
    """Answers as `behave` says, and keeps what it was sent."""

    daemon_threads = True
    allow_reuse_address = True


def answer(body, status="200 OK", *more):
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "Connection: close",
        *more,
    ]
    return ["\r\n".join(head).encode() + b"\r\n\r\n" + body]


def asked(body):
    return len(json.loads(body)["input"])


def embeddings(count, vector=(1.0,) * DIM):
    return {"data": [{"index": number, "embedding": list(vector)} for number in range(count)]}


def said(value):
    """A server that says the same to everything; a function is given how many embeddings are due."""
    return lambda body, headers: answer(json.dumps(value(asked(body)) if callable(value) else value).encode())


def raw(*parts):
    return lambda body, headers: iter(parts)


def endless(start, part):
    def behave(body, headers):
        yield start
        for _ in range(ENDLESS // len(part)):
            yield part

    return behave


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
BEHAVIOURS = {
    "endless body": endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"[1.0, " * 20_000),
    "endless chunks": endless(CHUNKED, b"10000\r\n" + b"1" * 0x10000 + b"\r\n"),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 5000 + b"\r\n"),
    "endless line": endless(b"HTTP/1.1 200 OK", b"y" * 60_000),
    "endless error": endless(b"HTTP/1.1 400 Bad\r\n\r\n", b"no " * 20_000),
    "a length of a terabyte": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n", b" " * 60_000),
    "a gzip bomb": lambda body, headers: answer(gzip.compress(bytes(1 << 30), 1), "200 OK", "Content-Encoding: gzip"),
    "a bomb of whole JSON": lambda body, headers: answer(
        gzip.compress(b'{"data": [' + b" " * (1 << 29) + b"]}", 1), "200 OK", "Content-Encoding: gzip"
    ),
    "no gzip at all": lambda body, headers: answer(b"\x1f\x8bnonsense", "200 OK", "Content-Encoding: gzip"),
    "a key that is echoed": lambda body, headers: answer(
        json.dumps({"error": {"message": f"bad key {headers.get('authorization')}"}}).encode(), "401 No"
    ),
    "a key that is echoed as text": lambda body, headers: answer(f"{headers}".encode(), "400 Bad"),
    "a key that is echoed in JSON": lambda body, headers: answer(json.dumps(headers).encode()),
    "controls in an error": lambda body, headers: answer("\x1b]0;pwned\x07\x9b31m\u202eno".encode(), "403 No"),
    "controls in a reason": raw(b"HTTP/1.1 418 \x1b[31mred\x07\r\nContent-Length: 0\r\n\r\n"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH\r\n"),
    "nothing": raw(),
    "half": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"data": ['),
    "a negative length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
    "bytes that are no text": lambda body, headers: answer(b"\xff\xfe\x00{"),
    "deep JSON": lambda body, headers: answer(b"[" * 200_000),
    "deep data": lambda body, headers: answer(b'{"data": [{"embedding": ' + b"[" * 900 + b"]" * 900 + b"}]}"),
    "a long number": lambda body, headers: answer(b'{"data": ' + b"9" * 100_000 + b"}"),
    "NaN": said(lambda count: embeddings(count, [float("nan")] * DIM)),
    "Infinity": said(lambda count: embeddings(count, [float("inf")] * DIM)),
    "numbers too large": lambda body, headers: answer(json.dumps(embeddings(asked(body), [1e39] * DIM)).encode()),
    "whole numbers too large": said(lambda count: embeddings(count, [10**400] * DIM)),
    "zeros": said(lambda count: embeddings(count, [0] * DIM)),
    "text for numbers": said(lambda count: embeddings(count, ["1"] * DIM)),
    "truth for numbers": said(lambda count: embeddings(count, [True] * DIM)),
    "lists for numbers": said(lambda count: embeddings(count, [[1.0]] * DIM)),
    "null for numbers": said(lambda count: embeddings(count, [None] * DIM)),
    "no components": said(lambda count: embeddings(count, [])),
    "millions of components": said(lambda count: embeddings(1, [0.5] * 3_000_000)),
    "one too few": said(lambda count: embeddings(count - 1 if count > 1 else 1)),
    "one too many": said(lambda count: embeddings(count + 1 if count > 1 else 1)),
    "other dimensions later": said(lambda count: embeddings(count, [1.0] * (DIM if count == 1 else DIM + 1))),
    "an index twice": said(lambda count: {"data": [{"index": 0, "embedding": [1.0] * DIM}] * count}),
    "indexes that are none": said(
        lambda count: {"data": [{"index": i, "embedding": [1.0] * DIM} for i in ([0], "x", None, 1.5, -1)[:count]]}
    ),
    "an index that is a list": said({"data": [{"index": [], "embedding": [1.0] * DIM}]}),
    "a list": said([]),
    "a number": said(7),
    "no data": said({}),
    "data that is text": said({"data": "x"}),
    "items that are text": said({"data": ["x"]}),
    "a redirect elsewhere": lambda body, headers: answer(b"", "307 There", "Location: {elsewhere}"),
    "a redirect to itself": lambda body, headers: answer(b"", "301 There", "Location: /v1/embeddings"),
    "a redirect to a file": lambda body, headers: answer(b"", "302 There", "Location: file:///etc/passwd"),
    "cookies": lambda body, headers: answer(
        json.dumps(embeddings(asked(body))).encode(), "200 OK", *[f"Set-Cookie: a{n}=b" for n in range(90)]
    ),
    "a wait of ages": lambda body, headers: answer(b"no", "400 Bad", "Retry-After: 1e308"),
    "a wait that is no number": lambda body, headers: answer(b"no", "404 Bad", "Retry-After: nan"),
    "an error that is odd": lambda body, headers: answer(b'{"error": {"message": ["x"]}}', "422 No"),
    "an error that is null": lambda body, headers: answer(b'{"error": null}', "413 No"),
    "an informational answer": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}


def serve(listener, behave, log):
    """In a child: answer until killed."""
    with contextlib.suppress(KeyboardInterrupt):
        listener.behave, listener.log = behave, log
        listener.serve_forever()


def started(case, behave):
    """A server in a process of its own; its port and the process."""
    server = Server(("127.0.0.1", 0), Request)
    port = server.server_address[1]
    log = case.place / "requests"
    log.touch()
    child = case.start(serve, server, behave, log)
    server.server_close()
    return port, child, log


def a_strangers_collection(case):
    """A collection from elsewhere names a server: asking it something must not send our key there."""
    port, child, log = started(case, said(lambda count: embeddings(count)))
    case.note("a collection from elsewhere whose model is behind a server")
    model = f"openai-compatible:http://127.0.0.1:{port}/v1#model"
    theirs = {"SEMSEARCH_STATE": str(case.place / "their-state"), "SEMSEARCH_API_KEY": "theirs"}
    try:
        case.run("index", records(case), "--name", "new", "-m", model, environment=theirs)
        for words in (["query", "new", "word1"], ["index", records(case, 4), "--name", "new", "--add"]):
            case.run(*words, environment={"SEMSEARCH_API_KEY": KEY})
    finally:
        child.signal(signal.SIGKILL)
        child.wait(5)
    if KEY in log.read_text():
        case.problems.append("the key was sent where nobody said that it may go")
    case.whole("vectors", "v")


def records(case, count=3):
    path = case.work / "records.jsonl"
    path.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in documents("b", count)))
    return path


def attack(case):
    """Ask a server that misbehaves; the key must go nowhere else, and nothing of it may be stored or shown."""
    name = [*BEHAVIOURS, None][case.number % (len(BEHAVIOURS) + 1)]
    if name is None:
        a_strangers_collection(case)
        return
    elsewhere, other, log = started(case, said(lambda count: embeddings(count)))
    target = f"http://127.0.0.1:{elsewhere}/v1/embeddings".encode()

    def behave(body, headers):
        for part in BEHAVIOURS[name](body, headers):
            yield part.replace(b"{elsewhere}", target)

    port, child, log = started(case, behave)
    case.note(f"a server with {name}")
    model = f"openai-compatible:http://127.0.0.1:{port}/v1#model"
    environment = {"SEMSEARCH_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
    try:
        ended = case.run(
            "index",
            records(case),
            "--name",
            "new",
            "-m",
            model,
            deadline=30,
            environment=environment,
            terminal=case.rng.random() < 0.5,
        )
    finally:
        for process in (child, other):
            process.signal(signal.SIGKILL)
            process.wait(5)
    if KEY in ended.out + ended.err:
        case.problems.append("the key was printed")
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    if any(at == elsewhere for at, _ in sent):
        case.problems.append("the request was sent to another address")
    there = case.look("new", own=False) if ended.code == 0 else None
    if ended.code == 0 and there is None:
        case.problems.append("what was indexed can't be read")
    case.whole("vectors", "v")
