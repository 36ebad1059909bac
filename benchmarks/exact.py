"""Exact search beside its peers, in one run, one after the other in each round; medians, and ratios to semsearch.

    python benchmarks/exact.py [--vectors FILE] [--rows 100000] [--out FILE]

Every answer is held against the true neighbours. A line of JSON for each peer and batch size. `bandwidth` is the share
of the memory bandwidth (a sum over 512 MB, measured in the same run on as many threads) at which a single query reads
the vectors, or what stands for them: above 1 they stay in a cache. On a machine that others use, OMP_NUM_THREADS=1 and
--clock cpu compare the work done on one thread, whatever else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import torch
from sentence_transformers.util import semantic_search
from vector_sets import DEFAULT, vector_set

from semsearch.bench.run import machine
from semsearch.plugins import index_backend
from semsearch.search.recall import tie_safe_recall
from semsearch.search.truth import Truth
from semsearch.types import Metric, Neighbors, Vectors

K = 10
BYTES = {"semsearch int8": 1, "semsearch bf16": 2}  # of a component in the first pass; 4 elsewhere
Search = Callable[[Vectors], np.ndarray]


def peers(vectors: Vectors, keys: np.ndarray, codes: list[str]) -> dict[str, Search]:
    """Functions from queries to the rows of their neighbours."""
    tensor = torch.from_numpy(vectors)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    backend = index_backend("exact")
    found: dict[str, Search] = {}
    for kind in codes:
        index = backend.build(keys, vectors, Metric.COSINE, backend.Params(codes=kind))
        found[f"semsearch {kind}"] = lambda queries, index=index: index.search(queries, K).keys
    found["faiss IndexFlatIP"] = lambda queries: flat.search(queries, K)[1]
    found["torch mm + topk"] = lambda queries: torch.mm(torch.from_numpy(queries), tensor.T).topk(K).indices.numpy()
    found["sentence-transformers semantic_search"] = lambda queries: np.array(
        [[hit["corpus_id"] for hit in hits] for hits in semantic_search(torch.from_numpy(queries), tensor, top_k=K)]
    )
    return found


def timed(search: Search, queries: Vectors, seconds: float, clock: Callable[[], float]) -> float:
    """The median milliseconds of a call, after a call that wakes the threads of this library and lets others sleep."""
    search(queries)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = clock()
        search(queries)
        times.append(clock() - start)
    return 1e3 * statistics.median(times)


def bandwidth(clock: Callable[[], float]) -> float:
    """Bytes a second that a sum over memory reads, the best of ten."""
    values = torch.ones(1 << 27)
    times = []
    for _ in range(10):
        start = clock()
        values.sum()
        times.append(clock() - start)
    return values.nbytes / min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help=f"see vector_sets.py [default: {DEFAULT}]")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 1024])
    parser.add_argument("--codes", nargs="+", default=["none", "int8", "bf16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each peer in each round")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    given = parser.parse_args()
    clock = time.perf_counter if given.clock == "wall" else time.process_time
    data = vector_set(given.vectors, given.rows)
    if data.metric is Metric.L2:
        sys.exit(f"{given.vectors} is compared by distance; its peers here know inner products. ann.py takes it.")
    vectors, asked = data.stored, data.asked
    keys = np.arange(len(vectors))
    searches = peers(vectors, keys, given.codes)
    most = bandwidth(clock)
    facts = {"benchmark": "exact", "set": data.name, "rows": len(vectors), "dim": vectors.shape[1], "k": K}
    lines: list[dict[str, object]] = [{**facts, "clock": given.clock, "bandwidth_gb_s": most / 1e9, **machine()}]
    print(json.dumps(lines[0]))
    backend = index_backend("exact")
    oracle = backend.build(keys, vectors, Metric.COSINE, backend.Params(codes="none"))
    for batch in given.batches:
        queries = asked[:batch]
        times: dict[str, list[float]] = {name: [] for name in searches}
        for _ in range(given.rounds):
            for name, search in searches.items():
                times[name].append(timed(search, queries, given.seconds, clock))
        truth = oracle.search(queries, K)
        medians = {name: statistics.median(values) for name, values in times.items()}
        fastest = min(value for name, value in medians.items() if name.startswith("semsearch"))
        for name, search in searches.items():
            rows = search(queries)
            found = Neighbors(rows.astype(np.int64), np.zeros(rows.shape, dtype=np.float32))
            recall = float(tie_safe_recall(found, truth, queries, Truth(keys, vectors, Metric.COSINE).scores_of).mean())
            line = {"batch": batch, "peer": name, "ms": round(medians[name], 3), "min_ms": round(min(times[name]), 3)}
            line |= {"times_semsearch": round(medians[name] / fastest, 2), "recall": round(recall, 5)}
            if batch == 1:
                size = len(vectors) * vectors.shape[1] * BYTES.get(name, 4)
                line["bandwidth"] = round(size / (1e-3 * medians[name]) / most, 3)
            lines.append(line)
            print(json.dumps(line))
            sys.stdout.flush()
    if given.out:
        with given.out.open("a") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
