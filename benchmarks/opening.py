"""A large collection from nothing to the first answer, and what a search costs beside its index.

    python benchmarks/opening.py [--rows 1000000] [--folder FOLDER] [--out FILE]

Makes a collection of random unit vectors (kept in --folder for the next time), then opens it in fresh processes and
asks one query exactly, as a one-shot `semsearch query` does, with the page cache warm. Then, in one process, with
100,000 real questions under an HNSW index and other ones asked, the time of `Collection.search` and `search_many`
beside `VectorIndex.search` of the very same index: what the join, the checksums and the true scores add. The last also
with the queries in the order in which `search_many` asks them, which is quicker.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from texts import short_texts
from vector_sets import encoded

import semsearch
from semsearch.local.locality import side_by_side
from semsearch.types import Document

DIM = 384
BATCH = 50_000
OPENING = """
import sys, time
start = time.perf_counter()
import numpy as np, semsearch
imported = time.perf_counter()
with semsearch.open(sys.argv[1], home=sys.argv[2]) as collection:
    opened = time.perf_counter()
    hits = collection.search(vector=np.ones(384, dtype=np.float32), k=10)
    print(imported - start, opened - imported, time.perf_counter() - opened, len(hits))
"""


def made(home: Path, rows: int) -> str:
    """The name of a collection of `rows` random unit vectors, made unless it is there."""
    name = f"random-{rows}"
    if (home / name).exists():
        return name
    rng = np.random.default_rng(0)
    with semsearch.create(
        name, encoder=None, dim=DIM, home=home, index="exact", options={"codes": "none"}
    ) as collection:
        for first in range(0, rows, BATCH):
            vectors = rng.standard_normal((min(BATCH, rows - first), DIM)).astype(np.float32)
            documents = [Document(f"d{first + i}", f"text number {first + i}") for i in range(len(vectors))]
            collection.add(documents, vectors=vectors)
    return name


def opening(home: Path, name: str, rounds: int = 5) -> dict[str, float]:
    """Median seconds to import, open and answer, each in a fresh process."""
    times = []
    for _ in range(rounds + 1):
        done = subprocess.run(
            [sys.executable, "-c", OPENING, name, str(home)], capture_output=True, text=True, check=True
        )
        times.append([float(value) for value in done.stdout.split()[:3]])
    imported, opened, answered = (statistics.median(column) for column in zip(*times[1:], strict=True))
    return {"import": imported, "open": opened, "first answer": answered}


def overhead(home: Path, rows: int = 100_000) -> dict[str, float]:
    """Median milliseconds of searches through a collection of real texts, and of its index alone."""
    vectors, texts = encoded(), short_texts()
    order = np.random.default_rng(1).permutation(len(vectors))
    asked = min(1024, len(order) // 10)
    queries, kept = vectors[order[:asked]], order[asked : asked + rows]
    with semsearch.create("texts", encoder=None, dim=DIM, home=home, index="hnsw") as collection:
        collection.add([Document(str(i), texts[i]) for i in kept.tolist()], vectors=vectors[kept])
        collection.load_index()
        with collection.engine.store.read() as view:
            index = collection.engine._loader.loaded(view.snapshot)
        singles: dict[str, list[float]] = {"index": [], "collection": []}
        batches: dict[str, list[float]] = {"index": [], "ordered": [], "collection": []}
        for query in queries[:300]:
            singles["index"].append(_timed(lambda query=query: index.search(query[None], 10)))
            singles["collection"].append(_timed(lambda query=query: collection.search(vector=query, k=10)))
        for _ in range(15):
            batches["index"].append(_timed(lambda: index.search(queries, 10)))
            batches["ordered"].append(_timed(lambda: index.search(queries[side_by_side(queries)], 10)))
            batches["collection"].append(_timed(lambda: collection.search_many(vectors=queries, k=10)))
    single = {key: 1000 * statistics.median(values) for key, values in singles.items()}
    batch = {key: 1e6 * statistics.median(values) / len(queries) for key, values in batches.items()}
    return {
        "texts": len(kept),
        "asked": len(queries),
        "VectorIndex.search, ms": single["index"],
        "Collection.search, ms": single["collection"],
        "Collection.search adds, ms": single["collection"] - single["index"],
        "VectorIndex.search of many, us a query": batch["index"],
        "the same, similar ones side by side, us a query": batch["ordered"],
        "search_many, us a query": batch["collection"],
        "search_many adds, us a query": batch["collection"] - batch["index"],
    }


def _timed(call: object) -> float:
    start = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the collections are kept [default: a temporary folder]")
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.folder or Path(temporary)
        times = opening(home, made(home, options.rows))
        costs = overhead(Path(temporary))
    print(f"{options.rows:,} x {DIM}, page cache warm, median of 5 fresh processes")
    for name, seconds in times.items():
        print(f"  {name:14} {seconds:.2f} s")
    print("texts under an HNSW index, medians")
    for name, value in costs.items():
        print(f"  {name:48} {value:,.3f}")
    if options.out:
        with options.out.open("a") as file:
            facts = {"benchmark": "opening", "rows": options.rows, "seconds": times, "costs": costs}
            file.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
