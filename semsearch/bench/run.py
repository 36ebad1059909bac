"""All installed indexes over one collection: each build in a process of its own, then the best of them picked out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from semsearch import plugins
from semsearch.bench.measure import MeasureTask
from semsearch.errors import SemsearchError, UsageError
from semsearch.hardware import cores, threads
from semsearch.search.recall import draw_sample
from semsearch.search.truth import Truth
from semsearch.types import Keys, Metric, Vectors

REPORTED_PACKAGES = (
    "semsearch",
    "numpy",
    "torch",
    "sentence-transformers",
)  # named in results, beside the backends' libraries
QUICK_QUERIES = 300  # queries of a quick run
SEED = 0

Measurement = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    k: int = 10
    backends: tuple[str, ...] = ()  # none named: all that are installed
    seconds: float = 0.5  # of each rate
    rounds: int = 3
    quick: bool = False
    bare: bool = True  # hold each against its library called by hand


def bench(
    keys: Keys, vectors: Vectors, metric: Metric, plan: Plan, queries: Vectors | None, tell: Callable[[str], None]
) -> Iterator[Measurement]:
    """The facts of the run, then a line for each setting of each build on one thread and on all.

    Args:
        keys: `(n,)`.
        vectors: `(n, dim)`, perhaps mapped.
        metric: How they are compared.
        plan: What to measure.
        queries: Real ones `(q, dim)`; without them vectors, each without itself, and points between them.
        tell: Is told what is being done, and which backends can't be had.
    """
    if len(keys) <= plan.k:
        raise UsageError(
            f"too little to measure on: the nearest {plan.k} of each query are counted, of {len(keys)} passages. "
            "Exact search, which needs no index, is best for so few."
        )
    tell(f"the true {plan.k} nearest of each query, by exact search")
    truth = Truth(keys, vectors, metric)
    sample = draw_sample(truth.neighbors, plan.k, truth.synthetic if queries is None else queries, SEED)
    if plan.quick:
        sample = sample.part(slice(0, QUICK_QUERIES))
    yield {
        "benchmark": "bench",
        "rows": len(keys),
        "dim": int(vectors.shape[1]),
        "metric": str(metric),
        "k": plan.k,
        "queries": len(sample.queries),
        "source": "synthetic" if queries is None else "queries",
        "seed": SEED,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        arrays: dict[str, Any] = {"keys": keys, "vectors": vectors, "queries": sample.queries, "own": sample.own}
        arrays |= {"truth_keys": sample.truth.keys, "truth_scores": sample.truth.scores}
        for name, array in arrays.items():
            if array is not None:
                np.save(place / f"{name}.npy", array)
        for backend, options in builds(plan, metric, tell):
            for count in sorted({1, threads()}):
                settings = " ".join(f"{name}={value}" for name, value in options.items())
                tell(f"{backend} {settings} on {count} thread{'s' if count > 1 else ''}")
                task = MeasureTask(
                    folder, backend, options, str(metric), plan.k, count, plan.seconds, plan.rounds, plan.bare
                )
                yield from _alone(task, tell)


def builds(plan: Plan, metric: Metric, tell: Callable[[str], None]) -> list[tuple[str, dict[str, Any]]]:
    """Backends with the options worth trying, of those that compare by `metric` and whose library is there."""
    found = []
    for name in plan.backends or plugins.names("semsearch.indexes"):
        try:
            kind = plugins.index_backend(name)
            if metric not in kind.metrics:
                raise UsageError(f"it does not compare by {metric}.")
            kind.build(np.empty(0, np.int64), np.empty((0, 8), np.float32), metric, kind.Params())
        except SemsearchError as error:
            if plan.backends:
                raise
            tell(f"{name} is left out: {error}")
            continue
        found += [(name, dict(options)) for options in kind.variants[: 1 if plan.quick else None]]
    return found


def _alone(task: MeasureTask, tell: Callable[[str], None]) -> Iterator[Measurement]:
    """The lines of one build, measured in a process of its own."""
    threads = str(task.threads)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "semsearch.bench.measure"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        said, complaint = process.communicate(json.dumps(asdict(task)))
    except BaseException:
        process.kill()
        process.wait()
        raise
    yield from (json.loads(line) for line in said.splitlines())
    if process.returncode:
        last = (complaint.strip().splitlines() or ["no reason given"])[-1]
        tell(f"{task.backend} ended early (exit code {process.returncode}): {last}")


def pareto(lines: Sequence[Measurement], speed: str = "qps") -> list[int]:
    """Places of the lines that none on as many threads beats in both recall and speed."""
    front = []
    for place, line in enumerate(lines):
        rivals = [other for other in lines if other["threads"] == line["threads"]]
        beaten = any(
            other["recall"] >= line["recall"]
            and other[speed] >= line[speed]
            and (other["recall"], other[speed]) != (line["recall"], line[speed])
            for other in rivals
        )
        if not beaten:
            front.append(place)
    return front


def recommended(lines: Sequence[Measurement], recall: float) -> Measurement | None:
    """The line of the least median latency of a single query, on all threads, among those that reach `recall`."""
    most = max((line["threads"] for line in lines), default=1)
    enough = [line for line in lines if line["threads"] == most and line["recall"] >= recall]
    return min(enough, key=lambda line: line["p50_ms"], default=None)


def machine() -> Mapping[str, Any]:
    """What the figures depend on."""
    versions = {}
    for name in REPORTED_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    for name in plugins.names("semsearch.indexes"):
        with suppress(UsageError):  # a plug-in that can't be loaded has no version either
            versions |= plugins.index_backend(name).library.versions
    return {"processor": _processor(), "cores": cores(), "python": platform.python_version(), "versions": versions}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
