"""A server under load: what the web tier costs, what batching gives, and a plain server of embeddings beside it.

    python benchmarks/serving.py --corpus quora-pairs.tsv [--limit N] [--clients 1,8,64,256] [--seconds 5] [--out FILE]

Questions of a file (one a line, or the first column of questions of Quora's pairs) are indexed, others are asked. The
server is a process of its own, `semsearch serve`; the clients are one process with a connection each, that asks anew
as soon as it is answered. Told are requests a second, p50 and p99, and the processor's time of the server for each
request: on a machine that others use too, that is the figure to compare. Beside it: `Collection.search_many` of as many
questions at a time as there are clients, which is what the server could reach at best; and for `/v1/embeddings` a
plain server around sentence-transformers, which encodes each request by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import semsearch
from semsearch.encoder import resolve
from semsearch.encoder.load import DEFAULT_MODEL

K = 10
TICKS = os.sysconf("SC_CLK_TCK")
PEER = """
import asyncio, sys, uvicorn
from sentence_transformers import SentenceTransformer
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

model = SentenceTransformer({folder!r}, device="cpu")

async def embeddings(request):
    asked = await request.json()
    vectors = await run_in_threadpool(model.encode, asked["input"])
    return JSONResponse({{"data": [{{"index": n, "embedding": v.tolist()}} for n, v in enumerate(vectors)]}})

print("serving it at http://127.0.0.1:{port}", flush=True)
app = Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"])])
uvicorn.run(app, port={port}, log_level="error", access_log=False)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=137_551, help="questions that are indexed")
    parser.add_argument("--clients", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--index", default="exact")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    folder = str(resolve.find(options.model, None).folder)
    clients = [int(number) for number in options.clients.split(",")]
    texts = read_texts(options.corpus)
    random.Random(0).shuffle(texts)
    indexed, asked = texts[: options.limit], texts[options.limit :][:20_000] or texts[:5_000]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as home:
        with semsearch.create("questions", home=home, encoder=folder, index=options.index) as collection:
            collection.add(semsearch.Document(str(n), text) for n, text in enumerate(indexed))
            collection.load_index()
            rows += [direct(collection, asked, number, options.seconds) for number in clients]
        command = [sys.executable, "-m", "semsearch", "serve", "--home", home, "--port", "0", "--quiet", "-m", folder]
        with running(command) as (process, port):
            for number in clients:
                rows.append(load(process, port, "search", asked, number, options.seconds))
            for number in clients:
                rows.append(load(process, port, "embeddings", asked, number, options.seconds, model=folder))
        if not options.no_peer:
            peer = [sys.executable, "-c", PEER.format(folder=folder, port=free_port())]
            with running(peer) as (process, port):
                for number in clients:
                    rows.append(load(process, port, "embeddings", asked, number, options.seconds, what="plain server"))
    for row in rows:
        row |= {"documents": len(indexed), "index": options.index}
        print(json.dumps(row))
    if options.out is not None:
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def read_texts(file: Path) -> list[str]:
    """The questions of a file, each once."""
    found: dict[str, None] = {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            for cell in line.rstrip("\n").split("\t"):
                if len(cell) > 15:
                    found[cell] = None
    return list(found)


def direct(collection: semsearch.Collection, asked: Sequence[str], number: int, seconds: float) -> dict[str, Any]:
    """`search_many` of so many questions at a time."""
    collection.search_many(asked[:number], K)
    began, spent, count, took = time.perf_counter(), time.process_time(), 0, []
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        place = count % max(len(asked) - number, 1)
        collection.search_many(asked[place : place + number], K)
        took.append(time.perf_counter() - start)
        count += number
    return told("search_many", number, count, time.perf_counter() - began, took, time.process_time() - spent)


def told(what: str, number: int, count: int, passed: float, took: Sequence[float], spent: float) -> dict[str, Any]:
    """One row of the table."""
    ordered = sorted(took)
    return {
        "what": what,
        "clients": number,
        "requests_per_second": round(count / passed, 1),
        "p50_ms": round(1000 * statistics.median(ordered), 2),
        "p99_ms": round(1000 * ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)], 2),
        "server_cpu_ms_per_request": round(1000 * spent / max(count, 1), 3),
    }


@contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server, once it listens, and its port."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().strip().rpartition(":")[2])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                asyncio.run(asyncio.open_connection("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """One that nobody listens at."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """The processor's time of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(
    process: subprocess.Popen[str],
    port: int,
    kind: str,
    asked: Sequence[str],
    number: int,
    seconds: float,
    *,
    model: str = "",
    what: str = "server",
) -> dict[str, Any]:
    """Ask with so many clients for so long."""
    path = "/v1/collections/questions/search" if kind == "search" else "/v1/embeddings"

    def body(place: int) -> bytes:
        text = asked[place % len(asked)]
        return json.dumps({"query": text, "k": K} if kind == "search" else {"model": model, "input": [text]}).encode()

    async def client(first: int, until: float, took: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = first
        while time.perf_counter() < until:
            content = body(place)
            start = time.perf_counter()
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\n\r\n".encode()
                + content
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            content = await reader.readexactly(length)
            assert head.startswith(b"HTTP/1.1 200"), content
            took.append(time.perf_counter() - start)
            place += number
        writer.close()

    async def clients(until: float) -> list[float]:
        took: list[float] = []
        await asyncio.gather(*(client(first, until, took) for first in range(number)))
        return took

    asyncio.run(clients(time.perf_counter() + 1))  # warm
    began, before = time.perf_counter(), cpu_seconds(process)
    took = asyncio.run(clients(began + seconds))
    passed, spent = time.perf_counter() - began, cpu_seconds(process) - before
    return told(f"{what}, {kind}", number, len(took), passed, took, spent)


if __name__ == "__main__":
    main()
