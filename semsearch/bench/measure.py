"""One way to build an index, measured along its knob: the work of a process of its own.

So memory is that of one index, and threads are those that were asked for. The task comes as JSON on standard input, a
line of JSON goes out for each setting.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from semsearch import plugins
from semsearch.search.recall import Sample, sample_recall
from semsearch.search.truth import Truth
from semsearch.types import Metric, Neighbors, Vectors
from semsearch.vector_index import Baseline, VectorIndex

LARGEST_BATCH = 1024
SMALLEST_BATCH = 32  # batch whose rate is taken for that of batches
SINGLES = 300  # queries asked one at a time for the latencies
ENOUGH = 0.999  # recall at which the knob is turned no further


@dataclass(frozen=True)
class MeasureTask:
    """What to build and how long to measure."""

    folder: str  # holds vectors.npy, keys.npy, queries.npy, own.npy (perhaps), truth_keys.npy, truth_scores.npy
    backend: str
    options: dict[str, Any]
    metric: str
    k: int
    threads: int
    seconds: float
    rounds: int
    bare: bool


def measured(task: MeasureTask) -> Iterator[dict[str, Any]]:
    """A line for each value of the knob."""
    sample, keys, vectors = _read(Path(task.folder))
    metric = Metric(task.metric)
    kind = plugins.index_backend(task.backend)
    given = dict(task.options)
    if "threads" in kind.Params.__dataclass_fields__:
        given["threads"] = task.threads
    params = kind.Params.parse(given, f"index '{task.backend}'")
    before, start = resident(), time.perf_counter()
    index = kind.build(keys, vectors, metric, params)
    built = time.perf_counter() - start
    index.search(sample.queries[:1], task.k)
    taken = max(0, resident() - before)
    facts = {
        "backend": task.backend,
        "options": task.options,
        "threads": task.threads,
        "build_s": built,
        "memory_bytes": taken,
        "disk_bytes": _saved(index),
    }
    bare: Baseline | None = None
    if task.bare:
        start = time.perf_counter()
        bare = kind.baseline(vectors, metric, params, task.threads)
        if bare is not None:
            facts["bare_build_s"] = time.perf_counter() - start
    truth = Truth(keys, vectors, metric)
    knob = None if kind.knob is None else kind.knob.option
    values: Sequence[int | None] = [None] if kind.knob is None else kind.knob.ladder(len(keys))
    for value in values:
        if knob is not None:
            index.tune(replace(params, **{knob: value}))
        _, recall, _ = sample.weakest(sample_recall(index.search, sample, truth.scores_of, task.k))
        yield {**facts, "knob": knob, "value": value, "recall": recall, **_speed(index, bare, value, sample, task)}
        if recall >= ENOUGH:
            break


def resident() -> int:
    """Bytes of this process in memory, as far as the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def _speed(
    index: VectorIndex, bare: Baseline | None, value: int | None, sample: Sample, task: MeasureTask
) -> dict[str, Any]:
    """Latencies of single queries and the rate of batches, with the library by hand in between."""
    if bare is not None and value is not None:
        bare.turn(value)
    k = task.k
    singles = [query[None] for query in sample.queries[:SINGLES]]
    ours = _latencies(lambda query: index.search(query, k), singles)
    p50, p95, p99 = np.percentile(ours, [50, 95, 99]).tolist()
    facts: dict[str, Any] = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "latencies_ms": [round(t, 4) for t in ours]}
    rates: list[float] = []
    theirs: list[float] = []
    most = min(
        LARGEST_BATCH, max(SMALLEST_BATCH, int(1000 * task.seconds / p50))
    )  # a batch of slow ones would take minutes
    for _ in range(task.rounds):
        rates.append(rate(lambda queries: index.search(queries, k), sample.queries, task.seconds, most))
        if bare is not None:
            by_hand = bare.search
            theirs.append(rate(lambda queries: by_hand(queries, k), sample.queries, task.seconds, most))  # noqa: B023
    facts["qps"] = statistics.median(rates)
    facts["qps_single"] = 1000 / statistics.fmean(ours)
    if bare is not None:
        alone = _latencies(lambda query: bare.search(query, k), singles)
        facts["bare_p50_ms"] = float(np.median(alone))
        facts["bare_qps"] = statistics.median(theirs)
        facts["qps_ratio"] = statistics.median(a / b for a, b in zip(rates, theirs, strict=True))
        facts["single_ratio"] = facts["bare_p50_ms"] / p50
    return facts


def rate(
    search: Callable[[Vectors], Any],
    queries: Vectors,
    seconds: float,
    most: int = LARGEST_BATCH,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Queries a second of `clock`, in batches of at most `most`."""
    size = min(most, len(queries))
    parts = [queries[start : start + size] for start in range(0, len(queries) - size + 1, size)]
    search(parts[0])
    done, start = 0, clock()
    while (spent := clock() - start) < seconds or not done:
        search(parts[done % len(parts)])
        done += 1
    return done * size / max(spent, clock() - start)


def _latencies(search: Callable[[Vectors], Any], queries: list[Vectors]) -> list[float]:
    """Milliseconds of each."""
    search(queries[0])
    times = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - start))
    return times


def _saved(index: VectorIndex) -> int:
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def _read(folder: Path) -> tuple[Sample, Any, Vectors]:
    own = folder / "own.npy"
    truth = Neighbors(np.load(folder / "truth_keys.npy"), np.load(folder / "truth_scores.npy"))
    sample = Sample(np.load(folder / "queries.npy"), np.load(own) if own.exists() else None, truth)
    return sample, np.load(folder / "keys.npy"), np.load(folder / "vectors.npy", mmap_mode="r")


if __name__ == "__main__":
    import torch

    asked = MeasureTask(**json.load(sys.stdin))
    torch.set_num_threads(asked.threads)
    for line in measured(asked):
        print(json.dumps(line), flush=True)  # noqa: T201  (the protocol with the process that asked)
