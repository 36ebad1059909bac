"""How long a hundred searches at once keep an event loop from its turn, by LangChain's adaptor and by its default way.

`python benchmarks/async_searches.py FOLDER` asks a collection made of a BEIR folder's corpus; without one, of generated
texts. A task that sleeps a millisecond at a time notes how late it was woken, and how long its thread meanwhile waited
for a processor, as Linux counts that: the rest is what the searches kept it for, holding the interpreter's lock. So is
the garbage collector's longest pause, which holds it as well. How late a loop of another process is that has nothing to
do, at the same time, tells how busy the machine is.

On a machine that others use, as root, the clock means something only where this goes before them:
`setsid -w sh -c 'echo -20 > /proc/self/autogroup && exec python benchmarks/async_searches.py FOLDER'`
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

SEARCHES = 100
TICK = 0.001  # seconds
MOST = 1000  # documents
SHARES = (0.5, 0.99, 1.0)  # of the wake-ups


class WakeUp(NamedTuple):
    """One wake-up of a loop, in milliseconds."""

    late: float
    kept: float  # of that, not for want of a processor
    computed: float  # by this process, on all processors, since the one before


def waited_for_a_processor() -> float:
    """How long this thread was ready to run and did not, in seconds."""
    return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]) / 1e9


async def lateness(stop: Callable[[], bool]) -> list[WakeUp]:
    """How a loop was woken every millisecond."""
    noted = []
    while not stop():
        computed, waited, due = time.process_time(), waited_for_a_processor(), time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late = time.perf_counter() - due
        kept = max(late - (waited_for_a_processor() - waited), 0.0)
        noted.append(WakeUp(1000 * late, 1000 * kept, 1000 * (time.process_time() - computed)))
    return noted


def do_nothing(ended: Event, told: Connection) -> None:
    """Tell how late the wake-ups of a loop were that has nothing to do."""
    told.send("started")
    told.send([one.late for one in asyncio.run(lateness(ended.is_set))])


@contextmanager
def pauses() -> Iterator[list[float]]:
    """The garbage collector's pauses, in milliseconds."""
    noted: list[float] = []
    began = 0.0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            noted.append(1000 * (time.perf_counter() - began))

    gc.callbacks.append(note)
    try:
        yield noted
    finally:
        gc.callbacks.remove(note)


async def measured(ask: Callable[[str], Awaitable[object]]) -> tuple[float, list[WakeUp]]:
    """Seconds for all searches, and how the loop was woken meanwhile."""
    stop = asyncio.Event()
    watcher = asyncio.create_task(lateness(stop.is_set))
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await asyncio.gather(*(ask(f"question {number} about the matter") for number in range(SEARCHES)))
    took = time.perf_counter() - began
    stop.set()
    return took, await watcher


def beside_an_idle_loop(ask: Callable[[str], Awaitable[object]]) -> str:
    """A row: what was measured of the searches, and of a loop that did nothing at the same time."""
    spawn = get_context("spawn")
    told, telling = spawn.Pipe(duplex=False)
    ended = spawn.Event()
    idle = spawn.Process(target=do_nothing, args=(ended, telling))
    idle.start()
    told.recv()
    with pauses() as collected:
        took, noted = asyncio.run(measured(ask))
    ended.set()
    nothing = told.recv()
    idle.join()
    late, kept = [one.late for one in noted], [one.kept for one in noted]
    rows = [f"{took:8.2f}", *map(spread, (late, kept, nothing)), f"{max(collected, default=0.0):.1f}"]
    return " | ".join(rows)


def spread(figures: list[float]) -> str:
    """The median, the 99th percentile and the worst."""
    ordered = sorted(figures)
    return " / ".join(f"{ordered[min(int(share * len(ordered)), len(ordered) - 1)]:.1f}" for share in SHARES)


def texts_of(folder: str | None) -> list[str]:
    """The texts of a corpus, or generated ones."""
    if folder is None:
        return [f"text {number} about matter {number % 97} and {number % 89}" for number in range(MOST)]
    lines = (Path(folder) / "corpus.jsonl").read_text("utf-8").splitlines()[:MOST]
    return [json.loads(line)["text"] or "empty" for line in lines]


def main(folder: str | None = None) -> None:
    """Print a row for each mode and way: seconds, and milliseconds as the median, the 99th percentile and the worst."""
    from langchain_core.vectorstores import VectorStore  # here, since the process of the idle loop needs none of it

    from semsearch.langchain import SemsearchVectorStore

    with tempfile.TemporaryDirectory() as home:
        store = SemsearchVectorStore("texts", home=home)
        store.add_texts(texts_of(folder))
        store.similarity_search("warm", 1, mode="hybrid")
        print(f"{len(store.collection):,} documents, load {os.getloadavg()[0]:.1f}\n")
        print("| mode | way | s | late, ms | kept by us, ms | an idle loop, ms | collector, ms |")
        print("|---|---|---|---|---|---|---|")
        for mode in ("dense", "lexical", "hybrid"):
            for name, kind in (("adaptor", SemsearchVectorStore), ("LangChain's default", VectorStore)):
                row = beside_an_idle_loop(
                    lambda text, kind=kind, mode=mode: kind.asimilarity_search(store, text, 4, mode=mode)
                )
                print(f"| {mode} | {name} | {row} |", flush=True)
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:2])
