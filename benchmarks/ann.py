"""Every index beside its bare library, called by hand with the same parameters, in one run on real questions.

    python benchmarks/ann.py --vectors questions.npy --rows 135000

For each: seconds to build, bytes on disk, resident memory that it took, and along the knob recall@10 beside queries a
second: one at a time, and in batches. semsearch and the bare library take turns at each setting; recall is tie-safe,
from scores that are computed here. A line of JSON for each setting. On a machine that others use, OMP_NUM_THREADS=1,
--option threads=1 and --clock cpu compare the work done on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from questions import stored_and_asked

from semsearch.bench.bare import BARE
from semsearch.bench.measure import resident
from semsearch.bench.run import cores, machine
from semsearch.plugins import index_backend
from semsearch.search.contract import tie_safe_recall
from semsearch.types import Metric, Neighbors, Vectors

K = 10


def rate(
    search: Callable[[Vectors], Any], queries: Vectors, batch: int, seconds: float, clock: Callable[[], float]
) -> float:
    """Queries a second, in batches of `batch`."""
    parts = [queries[start : start + batch] for start in range(0, len(queries) - batch + 1, batch)]
    search(parts[0])
    done, start = 0, clock()
    while clock() - start < seconds:
        search(parts[done % len(parts)])
        done += 1
    return done * batch / (clock() - start)


def measure(name: str, options: dict[str, str], vectors: Vectors, asked: Vectors, truth: Neighbors, given: Any) -> None:
    """Build both ways, then walk the knob."""
    clock = time.perf_counter if given.clock == "wall" else time.process_time
    keys = np.arange(len(vectors))
    kind = index_backend(name)
    params = kind.Params.parse(options, f"index '{name}'")
    memory, start = resident(), clock()
    index = kind.build(keys, vectors, Metric.COSINE, params)
    built, taken = clock() - start, resident() - memory
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    bare, by_hand = None, None
    if name in BARE and name != "exact":  # which benchmarks/exact.py holds against its peers
        start = clock()
        bare = BARE[name](vectors, Metric.COSINE, params, params.threads or cores())
        by_hand = clock() - start
    facts = {
        "index": name,
        **options,
        "build_s": built,
        "bare_build_s": by_hand,
        "mb": size / 1e6,
        "memory_mb": taken / 1e6,
    }
    knob = getattr(kind, "KNOB", None)
    for value in kind.ladder(len(keys)) if knob else [None]:
        if knob:
            index.tune(replace(params, **{knob: value}))
        found = index.search(asked, K)
        recall = float(tie_safe_recall(found, truth, keys, vectors, asked, Metric.COSINE).mean())
        line: dict[str, Any] = {**facts, "knob": knob, "value": value, "recall": recall}
        for batch in (1, 1024):
            ours, theirs = [], []
            for _ in range(given.rounds):
                ours.append(rate(lambda queries: index.search(queries, K), asked, batch, given.seconds, clock))
                if bare is not None:
                    bare[0](value)
                    search = bare[1]
                    theirs.append(rate(lambda queries: search(queries, K), asked, batch, given.seconds, clock))  # noqa: B023
            line[f"qps_{batch}"] = statistics.median(ours)
            if theirs:
                line[f"bare_qps_{batch}"] = statistics.median(theirs)
                line[f"ratio_{batch}"] = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        if bare is not None:
            line["single_us_over_bare"] = 1e6 / line["qps_1"] - 1e6 / line["bare_qps_1"]
        print(json.dumps({key: round(item, 4) if isinstance(item, float) else item for key, item in line.items()}))
        sys.stdout.flush()
        if recall >= given.enough:
            break


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="file of the questions' vectors, made if missing")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--index", nargs="+", default=["exact", "faiss-ivf", "hnsw", "annoy"])
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of every index named")
    parser.add_argument("--enough", type=float, default=0.995, help="recall at which to stop turning the knob")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    given = parser.parse_args()
    vectors, asked = stored_and_asked(given.vectors, given.rows)
    print(json.dumps({"rows": len(vectors), "dim": vectors.shape[1], "k": K, "queries": len(asked), **machine()}))
    exact = index_backend("exact")
    truth = exact.build(np.arange(len(vectors)), vectors, Metric.COSINE, exact.Params()).search(asked, K)
    options = dict(pair.split("=", 1) for pair in given.option)
    for name in given.index:
        measure(name, options, vectors, asked, truth, given)


if __name__ == "__main__":
    main()
