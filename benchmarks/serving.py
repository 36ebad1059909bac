"""A server under load: what the web tier costs, what batching gives, and a plain server of embeddings beside it.

    python benchmarks/serving.py [--home FOLDER] [--limit N] [--clients 1,8,64,256] [--index exact,hnsw] [--out FILE]

The distinct Quora questions of SEMSEARCH_DATA (137,551; without it the shipped sentences) are indexed and asked, and
`--home` keeps the collection for the next time. The server is a process of its own, `semsearch serve`; the clients are
one process with a connection each, that asks anew as soon as it is answered. Told are requests a second, p50 and p99,
and the processor's time of the server for each request: on a machine that others use, that is what to compare, and
the subjects take turns, slice by slice. Beside it: `Collection.search_many` of as many questions at a time as there
are clients, which is what the server could reach at best, and of as many as the server had in a batch in the slice
before, which tells what the server adds to them; and for `/v1/embeddings` a plain server around
sentence-transformers, which encodes each request by itself (Starlette, on which FastAPI stands, so it is no slower),
in float32, which the server is asked to compute in, too. What batching gives is a server's row of many clients beside
its row of one, whose questions are encoded one at a time.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from texts import short_texts

import semsearch
from semsearch.encoder import DEFAULT_MODEL, resolve

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
    parser.add_argument("--home", type=Path, help="keeps the collection; without it it is made anew")
    parser.add_argument("--limit", type=int, help="questions that are indexed; by default all")
    parser.add_argument("--clients", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=2, help="of a slice")
    parser.add_argument("--rounds", type=int, default=3, help="slices of each subject")
    parser.add_argument("--index", default="exact,hnsw")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    import torch  # noqa: F401  (as the server has it: without it a question or two would go another way)

    folder = str(resolve.find(options.model, None).folder)
    clients = [int(number) for number in options.clients.split(",")]
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
        home = str(options.home or stack.enter_context(tempfile.TemporaryDirectory(dir=shm)))
        asked = fill(home, folder, options.limit)
        for index in options.index.split(","):
            rows += measured(home, folder, index, asked, clients, options)
    for row in rows:
        print(json.dumps(row))
    if options.out is not None:
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def fill(home: str, folder: str, limit: int | None) -> list[str]:
    """Index the questions, unless they are; what to ask."""
    texts = short_texts()
    random.Random(0).shuffle(texts)
    if "questions" not in semsearch.list_collections(home=home):
        with semsearch.create("questions", home=home, encoder=folder, index="exact") as collection:
            collection.add(semsearch.Document(str(n), text) for n, text in enumerate(texts[:limit]))
    return texts[-20_000:]


def measured(
    home: str, folder: str, index: str, asked: Sequence[str], clients: Sequence[int], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of one index: all subjects in turns."""
    rows = []
    tallies: dict[str, Tally] = {}
    with ExitStack() as stack:
        collection = stack.enter_context(semsearch.open("questions", home=home))
        if collection.info()["index"]["wanted"]["backend"] != index:
            collection.reindex(index)
        collection.load_index()
        command = [sys.executable, "-m", "semsearch", "serve", "--port", "0", "--quiet", "-m", folder, "--home"]
        command.append(home)
        server = stack.enter_context(running(command))
        with semsearch.open("questions", home=f"http://127.0.0.1:{server[1]}") as served:
            served.load_index()  # whose loading counts for none of the requests
        subjects: dict[str, Callable[[int, Tally], None]] = {
            "search_many": lambda number, tally: direct(collection, asked, number, options.seconds, tally),
            "server, search": lambda number, tally: batched(*server, asked, number, options.seconds, tally),
            "search_many, batches as the server's": lambda number, tally: direct(
                collection, asked, round(tallies["server, search"].batch), options.seconds, tally
            ),
        }
        if index == "exact":
            subjects["server, embeddings"] = lambda number, tally: load(
                *server, "embeddings", asked, number, options.seconds, tally, model=folder
            )
            if not options.no_peer:
                with_its_numbers = stack.enter_context(running([*command[:-1], ":memory:", "--dtype", "float32"]))
                subjects["server, embeddings, float32"] = lambda number, tally: load(
                    *with_its_numbers, "embeddings", asked, number, options.seconds, tally, model=folder
                )
                peer = stack.enter_context(
                    running([sys.executable, "-c", PEER.format(folder=folder, port=free_port())])
                )
                subjects["plain server, embeddings"] = lambda number, tally: load(
                    *peer, "embeddings", asked, number, options.seconds, tally
                )
        for number in clients:
            tallies.update((what, Tally()) for what in subjects)
            for _ in range(options.rounds):
                for what, run in subjects.items():
                    run(number, tallies[what])
            about = {"documents": len(collection), "index": index}
            rows += [
                {"benchmark": "serving", "what": what, "clients": number, **tally.told(), **about, "load": loaded()}
                for what, tally in tallies.items()
            ]
            print(json.dumps(ratios(tallies) | {"clients": number, **about}), file=sys.stderr, flush=True)
    return rows


@dataclass
class Tally:
    """What was counted of a subject, in all its slices."""

    count: int = 0
    passed: float = 0.0  # seconds by the clock
    spent: float = 0.0  # seconds of the processor
    took: list[float] = field(default_factory=list)  # seconds of each answer
    batches: tuple[float, float] = (0.0, 0.0)  # that were searched together, and the questions in them

    @property
    def each(self) -> float:
        """Milliseconds of the processor for each request."""
        return 1000 * self.spent / max(self.count, 1)

    @property
    def batch(self) -> float:
        """Questions of a batch, in the mean; 1 where it isn't known."""
        count, questions = self.batches
        return questions / count if count else 1.0

    def told(self) -> dict[str, Any]:
        """One row of the table."""
        ordered = sorted(self.took)
        return {
            "requests_per_second": round(self.count / self.passed, 1),
            "p50_ms": round(1000 * statistics.median(ordered), 2),
            "p99_ms": round(1000 * ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)], 2),
            "cpu_ms_per_request": round(self.each, 3),
            **({"batch": round(self.batch, 1)} if self.batches[0] else {}),
        }


def ratios(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """The processor's time of the server, held against that of the others."""
    ours = tallies["server, search"]
    found: dict[str, Any] = {
        "search / search_many": round(ours.each / tallies["search_many"].each, 2),
        "at equal batches": round(ours.each / tallies["search_many, batches as the server's"].each, 2),
        "batch": round(ours.batch, 1),
    }
    if "plain server, embeddings" in tallies:
        theirs = tallies["plain server, embeddings"].each
        found["plain server / embeddings"] = round(theirs / tallies["server, embeddings"].each, 2)
        found["in float32"] = round(theirs / tallies["server, embeddings, float32"].each, 2)
    return found


def direct(collection: semsearch.Collection, asked: Sequence[str], number: int, seconds: float, tally: Tally) -> None:
    """`search_many` of so many questions at a time."""
    collection.search_many(asked[:number], K)
    began, spent = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        place = tally.count % max(len(asked) - number, 1)
        collection.search_many(asked[place : place + number], K)
        tally.took.append(time.perf_counter() - start)
        tally.count += number
    tally.passed += time.perf_counter() - began
    tally.spent += time.process_time() - spent


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


def batched(
    process: subprocess.Popen[str], port: int, asked: Sequence[str], number: int, seconds: float, tally: Tally
) -> None:
    """Search as `load` does, and note how many questions the server searched together."""
    before = searched_together(port)
    load(process, port, "search", asked, number, seconds, tally)
    counted = (now - then for now, then in zip(searched_together(port), before, strict=True))
    tally.batches = tuple(sum(pair) for pair in zip(tally.batches, counted, strict=True))  # type: ignore[assignment]


def searched_together(port: int) -> tuple[float, float]:
    """Batches so far, and the questions in them, as the server's /metrics tells."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[:1] != "#")
    name = "semsearch_search_batch_queries"
    return float(lines[f"{name}_count"]), float(lines[f"{name}_sum"])


def loaded() -> float:
    """How many processes want a processor, of the last minute: at the end of it the benchmark's own are among them."""
    return round(os.getloadavg()[0], 1)


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
    tally: Tally,
    *,
    model: str = "",
) -> None:
    """Ask with so many clients for so long."""
    path = "/v1/collections/questions/search" if kind == "search" else "/v1/embeddings"

    def body(place: int) -> bytes:
        text = asked[place % len(asked)]
        return json.dumps({"query": text, "k": K} if kind == "search" else {"model": model, "input": [text]}).encode()

    async def client(first: int, until: float, took: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = first + tally.count
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

    asyncio.run(clients(time.perf_counter() + 0.3))  # warm
    began, before = time.perf_counter(), cpu_seconds(process)
    took = asyncio.run(clients(began + seconds))
    tally.passed += time.perf_counter() - began
    tally.spent += cpu_seconds(process) - before
    tally.took += took
    tally.count += len(took)


if __name__ == "__main__":
    main()
