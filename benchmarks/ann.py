"""Every index beside its bare library, called by hand with the same parameters, in one run on real questions.

    python benchmarks/ann.py [--vectors FILE] [--rows 100000] [--index hnsw …] [--outsiders usearch …] [--out FILE]

For each: seconds to build, bytes on disk, resident memory that it took, and along the knob recall@10 beside queries a
second: one at a time, and in batches. semsearch and the bare library take turns at each setting; recall is tie-safe,
from scores that are computed here. Then the outsiders, graph indexes that semsearch does not build on. A line of JSON
for each setting. `--vectors` also takes the field's own sets (`vector_sets.py`); if their authors tell the true
neighbours, ours are held against them first. On a machine that others use, OMP_NUM_THREADS=1, --option threads=1 and
--clock cpu compare the work done on one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from outsiders import LADDER, OUTSIDERS
from vector_sets import DEFAULT, VectorSet, vector_set

from indexes.hnsw import GRAPH_FILE as GRAPH
from semsearch import hardware, plugins
from semsearch.bench.measure import rate, resident
from semsearch.bench.run import machine
from semsearch.plugins import index_backend
from semsearch.search.recall import tie_safe_recall
from semsearch.search.truth import Truth
from semsearch.types import Metric, Neighbors, Vectors
from semsearch.vector_index import Baseline

K = 10
MODULES = {"usearch": "usearch", "scalable-vs": "svs"}
Line = dict[str, Any]


def measure(name: str, options: dict[str, str], data: VectorSet, truth: Neighbors, given: Any) -> Iterator[Line]:
    """Build both ways, then walk the knob."""
    clock = _clock(given)
    vectors, asked = data.stored, data.asked
    keys = np.arange(len(vectors))
    kind = index_backend(name)
    params = kind.Params.parse(options, f"index '{name}'")
    memory, start = resident(), clock()
    index = kind.build(keys, vectors, data.metric, params)
    built, taken = clock() - start, resident() - memory
    threads = getattr(params, "threads", 0) or hardware.threads()  # `exact` has no say in them
    bare, by_hand = None, None
    if name != "exact":  # which benchmarks/exact.py holds against its peers
        start = clock()
        bare = kind.baseline(vectors, data.metric, params, threads)
        by_hand = clock() - start
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        if name == "hnsw":  # both search one graph, and both loaded: just built, it is searched up to a tenth slower
            index = kind.load(Path(folder), keys, vectors, data.metric, params)
            bare = _loaded_by_hand(Path(folder) / GRAPH, vectors, data.metric, threads)
    facts = {
        "index": name,
        **options,
        "build_s": built,
        "bare_build_s": by_hand,
        "mb": size / 1e6,
        "memory_mb": taken / 1e6,
    }
    knob = None if kind.knob is None else kind.knob.option
    for value in kind.knob.ladder(len(keys)) if kind.knob is not None else [None]:
        if knob:
            index.tune(replace(params, **{knob: value}))
        recall = _recall(index.search(asked, K).keys, truth, data)
        line: Line = {**facts, "knob": knob, "value": value, "recall": recall}
        for batch in (1, 1024):
            ours, theirs = [], []
            for _ in range(given.rounds):
                ours.append(rate(lambda queries: index.search(queries, K), asked, given.seconds, batch, clock))
                if bare is not None:
                    bare.turn(value)
                    search = bare.search
                    theirs.append(rate(lambda queries: search(queries, K), asked, given.seconds, batch, clock))  # noqa: B023
            line[f"qps_{batch}"] = statistics.median(ours)
            if theirs:
                line[f"bare_qps_{batch}"] = statistics.median(theirs)
                line[f"ratio_{batch}"] = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        if bare is not None:
            line["single_us_over_bare"] = 1e6 / line["qps_1"] - 1e6 / line["bare_qps_1"]
        yield line
        if recall >= given.enough:
            break


def outside(name: str, threads: int, data: VectorSet, truth: Neighbors, given: Any) -> Iterator[Line]:
    """An index that is nothing to semsearch, along its knob."""
    clock = _clock(given)
    memory, start = resident(), clock()
    turn, search = OUTSIDERS[name](data.stored, data.metric, threads)
    facts = {"index": name, "build_s": clock() - start, "memory_mb": (resident() - memory) / 1e6}
    for value in LADDER:
        turn(value)
        recall = _recall(np.asarray(search(data.asked, K)).astype(np.int64), truth, data)
        line: Line = {**facts, "knob": "width", "value": value, "recall": recall}
        for batch in (1, 1024):
            rates = [
                rate(lambda queries: search(queries, K), data.asked, given.seconds, batch, clock)
                for _ in range(given.rounds)
            ]
            line[f"qps_{batch}"] = statistics.median(rates)
        yield line
        if recall >= given.enough:
            break


def _clock(given: Any) -> Callable[[], float]:
    return time.perf_counter if given.clock == "wall" else time.process_time


def _recall(rows: np.ndarray, truth: Neighbors, data: VectorSet) -> float:
    found = Neighbors(rows, np.zeros(rows.shape, dtype=np.float32))
    keys = np.arange(len(data.stored))
    return float(tie_safe_recall(found, truth, data.asked, Truth(keys, data.stored, data.metric).scores_of).mean())


def _loaded_by_hand(graph: Path, vectors: Vectors, metric: Metric, threads: int) -> Baseline:
    """The graph that semsearch saved, searched by hnswlib: no two graphs built on several threads are alike."""
    import hnswlib

    index = hnswlib.Index(space="l2" if metric is Metric.L2 else "ip", dim=vectors.shape[1])
    index.load_index(str(graph), max_elements=len(vectors))
    index.set_num_threads(threads)
    return Baseline(index.set_ef, lambda queries, k: index.knn_query(queries, k)[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help=f"see vector_sets.py [default: {DEFAULT}]")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--index", nargs="+", default=plugins.names("semsearch.indexes"))
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of every index named")
    parser.add_argument("--enough", type=float, default=0.995, help="recall at which to stop turning the knob")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--outsiders", nargs="*", default=list(OUTSIDERS), choices=list(OUTSIDERS))
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    given = parser.parse_args()
    data = vector_set(given.vectors, given.rows)
    exact = index_backend("exact")
    keys = np.arange(len(data.stored))
    truth = exact.build(keys, data.stored, data.metric, exact.Params(codes="none")).search(data.asked, K)
    facts = {"benchmark": "ann", "set": data.name, "metric": str(data.metric), "k": K, "queries": len(data.asked)}
    facts |= {"rows": len(data.stored), "dim": data.stored.shape[1], "clock": given.clock, **machine()}
    if data.truth is not None:
        facts["authors_recall"] = _recall(data.truth[:, :K].astype(np.int64), truth, data)
    options = dict(pair.split("=", 1) for pair in given.option)
    lines = [facts]
    print(json.dumps(facts))

    def told(line: Line) -> None:
        print(json.dumps({key: round(item, 4) if isinstance(item, float) else item for key, item in line.items()}))
        sys.stdout.flush()
        lines.append(line)

    for name in given.index:
        for line in measure(name, options, data, truth, given):
            told(line)
    for name in given.outsiders:
        if importlib.util.find_spec(MODULES[name]) is None:
            print(f"{name} is not installed: pip install {name}", file=sys.stderr)
            continue
        for line in outside(name, int(options.get("threads", hardware.threads())), data, truth, given):
            told(line)
    if given.out:
        with given.out.open("a") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
