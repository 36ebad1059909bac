"""How long a hundred searches at once keep an event loop from its turn, by LangChain's adaptor and by its default way.

`python benchmarks/async_searches.py FOLDER` asks a collection made of a BEIR folder's corpus; without one, of generated
texts. A task that sleeps a millisecond at a time notes how late it was woken, and how long this process's other threads
computed meanwhile: that is what the searches can have kept it from its turn, and the rest is the machine's. How late a
loop of another process is that has nothing to do, at the same time, tells how busy the machine is. Milliseconds.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

SEARCHES = 100
TICK = 0.001  # seconds
MOST = 200  # documents


async def lateness(stop: Callable[[], bool]) -> list[tuple[float, float]]:
    """Of each wake-up, how late it was and how long other threads of this process computed, in milliseconds."""
    noted = []
    while not stop():
        due, computed = time.perf_counter() + TICK, time.process_time() - time.thread_time()
        await asyncio.sleep(TICK)
        others = time.process_time() - time.thread_time() - computed
        noted.append((1000 * (time.perf_counter() - due), 1000 * others))
    return noted


def do_nothing(ended: Event, told: Connection) -> None:
    """Tell how late the wake-ups of a loop were that has nothing to do."""
    told.send("started")
    told.send([late for late, _ in asyncio.run(lateness(ended.is_set))])


async def measured(ask: Callable[[str], Awaitable[object]]) -> tuple[float, list[float], list[float]]:
    """Seconds for all searches; how late the loop was woken, and how long it was kept by other threads, sorted."""
    stop = asyncio.Event()
    watcher = asyncio.create_task(lateness(stop.is_set))
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await asyncio.gather(*(ask(f"question {number} about the matter") for number in range(SEARCHES)))
    took = time.perf_counter() - began
    stop.set()
    late, kept = zip(*await watcher, strict=True)
    return took, sorted(late), sorted(kept)


def beside_an_idle_loop(ask: Callable[[str], Awaitable[object]]) -> str:
    """A row: what was measured of the searches, and of a loop that did nothing at the same time."""
    spawn = get_context("spawn")
    told, telling = spawn.Pipe(duplex=False)
    ended = spawn.Event()
    idle = spawn.Process(target=do_nothing, args=(ended, telling))
    idle.start()
    told.recv()
    took, late, kept = asyncio.run(measured(ask))
    ended.set()
    nothing = sorted(told.recv())
    idle.join()
    shares = [f"{rows[-1]:6.1f} {rows[int(0.99 * len(rows))]:5.1f}" for rows in (kept, late, nothing)]
    return f"{took:6.2f} s; kept by us {shares[0]}; late {shares[1]}; an idle loop {shares[2]}"


def texts_of(folder: str | None) -> list[str]:
    """The texts of a corpus, or generated ones."""
    if folder is None:
        return [f"text {number} about matter {number % 97} and {number % 89}" for number in range(MOST)]
    lines = (Path(folder) / "corpus.jsonl").read_text("utf-8").splitlines()[:MOST]
    return [json.loads(line)["text"] or "empty" for line in lines]


def main(folder: str | None = None) -> None:
    """Print a row for each way and mode: seconds, then the worst and the 99th percentile, in milliseconds."""
    from langchain_core.vectorstores import VectorStore  # here, since the process of the idle loop needs none of it

    from semsearch.langchain import SemsearchVectorStore

    with tempfile.TemporaryDirectory() as home:
        store = SemsearchVectorStore("texts", home=home)
        store.add_texts(texts_of(folder))
        store.similarity_search("warm", 1, mode="hybrid")
        for mode in ("dense", "hybrid"):
            for name, kind in (("adaptor", SemsearchVectorStore), ("LangChain's default", VectorStore)):
                row = beside_an_idle_loop(
                    lambda text, kind=kind, mode=mode: kind.asimilarity_search(store, text, 4, mode=mode)
                )
                print(f"{mode:6} {name:20} {row}", flush=True)
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:2])
