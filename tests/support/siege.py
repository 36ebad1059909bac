"""A server under siege: `python -m support.siege [CONNECTIONS]` holds 10,000 open, and sends all that nobody should.

After each attack, and while it lasts where it does, somebody else asks a question and must be answered. Told is what
was tried and how often, how long the answers took meanwhile, and what the server holds on to in the end.
"""

import json
import resource
import select
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from semsearch.server.keys import add_key
from support.server_kills import server

DOCUMENTS = [{"id": str(number), "text": f"the cat {number}"} for number in range(200)]
SPARE_DESCRIPTORS = 200
MAX_BODY = 1 << 20
BAD_JSON = [
    b"{",
    b"[1,",
    b'{"query": }',
    b"\xff\xfe",
    b'"' * 3,
    b"{" * 5000,
    b"[" * 100_000,
    b'{"query": 1e999}',
    b"nul",
]
BAD_HEADS = [
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x00" * 100,
    b"\x16\x03\x01\x02\x00" + b"\x01" * 200,  # TLS
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


class Siege:
    """Attacks upon a server at a port, whose right key is `key`."""

    def __init__(self, port, key):
        self.port = port
        self.key = key
        self.told = {}

    def answers(self, what, count=20):
        """Ask a few questions as others would; note how long the answers took."""
        took = []
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as client:
            client.headers["X-API-Key"] = self.key
            for number in range(count):
                began = time.perf_counter()
                asked = client.post("/v1/collections/notes/search", json={"query": f"the cat {number}", "k": 3})
                assert asked.status_code == 200, (what, asked.text)
                assert len(asked.json()["hits"]) == 3
                took.append(time.perf_counter() - began)
            assert client.get("/livez").status_code == 200
        self.told[what] = {"answers": count, "p50_ms": round(1000 * statistics.median(took), 1)}

    def connected(self):
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def head(self, path, *headers):
        """The head of a request with the right key."""
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"X-API-Key: {self.key}", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def idle(self, count):
        """So many connections that say nothing, or half of a head, while others are answered."""
        with ExitStack() as held:
            for number in range(count):
                client = held.enter_context(self.connected())
                if number % 10 == 0:
                    client.sendall(b"GET /livez HTTP/1.1\r\nHost: loc")
            what = f"{count:,} idle connections"
            self.answers(what)
            self.told[what]["open"] = count

    def slow(self, count):
        """Clients that send a body byte by byte, and clients that never read what they asked for."""
        with ExitStack() as held:
            senders = [held.enter_context(self.connected()) for _ in range(count)]
            for client in senders:
                client.sendall(
                    self.head("/v1/collections/notes/search", "Content-Type: application/json", "Content-Length: 900")
                )
            deaf = [held.enter_context(self.connected()) for _ in range(count // 4)]
            for client in deaf:
                for _ in range(20):
                    client.sendall(self.head("/v1/engine/notes/lines/stored").replace(b"POST", b"GET", 1))
            for _ in range(5):
                for client in senders:
                    with suppress(OSError):
                        client.sendall(b" ")
                self.answers(f"{count} that send byte by byte, {count // 4} that never read", 5)

    def long(self, count):
        """Bodies, lines and heads that are too long or have no end."""
        body = b"x" * (1 << 16)
        tried = {
            "a body that says it is too long": self.head(
                "/v1/collections/notes/search", "Content-Type: application/json", "Content-Length: 10000000000"
            ),
            "a body without an end": self.head(
                "/v1/collections/notes/search", "Content-Type: application/json", "Transfer-Encoding: chunked"
            ),
            "a line without an end": self.head(
                "/v1/collections/notes/documents/stream",
                "Content-Type: application/x-ndjson",
                "Transfer-Encoding: chunked",
            ),
            "a head without an end": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
        }
        for what, head in tried.items():
            statuses = {}
            for _ in range(count):
                with self.connected() as client:
                    status = _pushed(client, head, body, b"" if "head" in what else b"chunk")
                statuses[status] = statuses.get(status, 0) + 1
            self.answers(what, 3)
            self.told[what]["answered"] = statuses
            assert set(statuses) <= {"413", "400", "431", "closed"}, statuses

    def malformed(self):
        """What is no JSON, and what is no HTTP."""
        count = 0
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as client:
            client.headers["X-API-Key"] = self.key
            for content in BAD_JSON:
                for path in ("/v1/collections/notes/search", "/v1/embeddings", "/v1/collections"):
                    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
                    assert answer.status_code == 400, (path, content[:20], answer.text)
                    count += 1
        for content in BAD_HEADS:
            with self.connected() as client, suppress(OSError):
                client.sendall(content)
                client.settimeout(2)
                client.recv(1 << 16)
            count += 1
        self.answers(f"{count} requests that are malformed", 3)

    def wrong_keys(self, count):
        """So many keys that are none."""
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as client:
            for number in range(count):
                answer = client.get("/v1/collections", headers={"Authorization": f"Bearer sk-semsearch-{number}"})
                assert answer.status_code == 401
        self.answers(f"{count:,} wrong keys", 3)


def _pushed(client, head, body, chunked):
    """The status that is answered to a head and a body that goes on and on, or "closed"."""
    try:
        client.sendall(head)
        for _ in range(1000):  # 64 MB
            client.sendall(b"%x\r\n%s\r\n" % (len(body), body) if chunked else body)
            if select.select([client], [], [], 0)[0]:
                break
    except OSError:
        pass
    try:
        client.settimeout(10)
        said = client.recv(1 << 16)
    except OSError:
        said = b""
    return said.split(b" ")[1].decode() if said.startswith(b"HTTP/1.1 ") else "closed"


@contextmanager
def besieged(folder):
    """A server with a collection and a key: the process and the attacks upon it."""
    key = add_key(Path(folder) / "keys.jsonl", "admin", "admin")
    process, port = server(Path(folder) / "home", f"{folder}/keys.jsonl", max_body=MAX_BODY)
    try:
        siege = Siege(port, key)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers={"X-API-Key": key}) as client:
            assert client.post("/v1/collections", json={"name": "notes"}).status_code == 201
            assert client.post("/v1/collections/notes/documents", json={"documents": DOCUMENTS}).status_code == 200
        siege.answers("before")
        yield process, siege
    finally:
        process.kill()
        process.join(60)


def held(process):
    """Open files of a process and its memory in megabytes."""
    files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    status = Path(f"/proc/{process.pid}/status").read_text()
    memory = int(status.partition("VmRSS:")[2].split()[0]) // 1024
    return {"files": files, "megabytes": memory}


def lay(folder, connections, slow, long, wrong):
    """All attacks; what was tried, and what the server holds before and after."""
    with besieged(folder) as (process, siege):
        before = held(process)
        siege.idle(connections)
        siege.slow(slow)
        siege.long(long)
        siege.malformed()
        siege.wrong_keys(wrong)
        until = time.monotonic() + 60
        while (after := held(process))["files"] > before["files"] + 40 and time.monotonic() < until:
            time.sleep(0.1)
        assert process.is_alive()
        return siege.told, before, after


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    connections = min(wanted, hard - SPARE_DESCRIPTORS)
    if connections < wanted:
        sys.stdout.write(f"this machine opens {hard:,} files a process: {connections:,} instead of {wanted:,}\n")
    with tempfile.TemporaryDirectory(prefix="semsearch-siege-") as folder:
        told, before, after = lay(folder, connections, slow=200, long=20, wrong=1000)
    for what, facts in told.items():
        sys.stdout.write(f"{what}: {json.dumps(facts)}\n")
    sys.stdout.write(f"held before {before}, after {after}\n")


if __name__ == "__main__":
    main()
