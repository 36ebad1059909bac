"""How long a hundred searches at once keep an event loop from its turn, by LangChain's adaptor and by its default way.

`python benchmarks/async_searches.py FOLDER` asks a collection made of a BEIR folder's corpus; without one, of generated
texts. A task that sleeps a millisecond at a time notes how late it was woken: milliseconds, worst of all.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from langchain_core.vectorstores import VectorStore

from semsearch.langchain import SemsearchVectorStore

SEARCHES = 100
TICK = 0.001  # seconds
MOST = 200  # documents


async def lateness(stop: asyncio.Event) -> list[float]:
    """How late each wake-up was, in milliseconds."""
    late = []
    while not stop.is_set():
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(1000 * (time.perf_counter() - due))
    return late


async def measured(ask) -> tuple[float, float, float]:  # noqa: ANN001
    """Seconds for all searches, the worst wake-up and the 99th percentile of them in milliseconds."""
    stop = asyncio.Event()
    watcher = asyncio.create_task(lateness(stop))
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await asyncio.gather(*(ask(f"question {number} about the matter") for number in range(SEARCHES)))
    took = time.perf_counter() - began
    stop.set()
    late = sorted(await watcher)
    return took, late[-1], late[int(0.99 * len(late))]


def texts_of(folder: str | None) -> list[str]:
    """The texts of a corpus, or generated ones."""
    if folder is None:
        return [f"text {number} about matter {number % 97} and {number % 89}" for number in range(MOST)]
    lines = (Path(folder) / "corpus.jsonl").read_text("utf-8").splitlines()[:MOST]
    return [json.loads(line)["text"] or "empty" for line in lines]


def main(folder: str | None = None) -> None:
    """Print a row for each way and mode."""
    with tempfile.TemporaryDirectory() as home:
        store = SemsearchVectorStore("texts", home=home)
        store.add_texts(texts_of(folder))
        store.similarity_search("warm", 1, mode="hybrid")
        for mode in ("dense", "hybrid"):
            for name, kind in (("adaptor", SemsearchVectorStore), ("LangChain's default", VectorStore)):
                took, worst, most = asyncio.run(
                    measured(lambda text, kind=kind, mode=mode: kind.asimilarity_search(store, text, 4, mode=mode))
                )
                print(f"{mode:6} {name:20} {took:6.2f} s, late at worst {worst:6.1f} ms, 99 % {most:5.1f} ms")
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:2])
