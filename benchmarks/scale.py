"""How the cost of indexing and asking grows: five sizes from ten thousand to a million, and the exponent of each cost.

    python benchmarks/scale.py [--vectors FILE] [--sizes 10000 31623 100000 316228 1000000] [--out FILE]

Each size in a process of its own: documents are added with given vectors (real questions through all-MiniLM-L6-v2,
beyond their number points between two of them), the index is built that `auto` chooses, then real questions are asked
one at a time through the collection, by the index and exactly. Memory is the peak of the process less what it took
before. A cost c(n) is fitted as n^e by least squares of logarithms; the interval is Student's, 95 %.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from vector_sets import DEFAULT, vector_set

import semsearch
from semsearch.bench.run import machine
from semsearch.types import Document

SIZES = (10_000, 31_623, 100_000, 316_228, 1_000_000)
BATCH = 20_000
ASKED = 300
COSTS = ("add_s", "index_s", "indexed_ms", "exact_ms", "bytes", "memory_bytes")
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}  # 97.5 % by degrees of freedom


def measured(file: Path, rows: int) -> dict[str, object]:
    """The costs of one size."""
    data = vector_set(file, rows)
    vectors, asked = data.stored, data.asked
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as home:
        with semsearch.create("scale", encoder=None, dim=vectors.shape[1], home=home) as collection:
            start = time.perf_counter()
            for first in range(0, rows, BATCH):
                part = vectors[first : first + BATCH]
                documents = [Document(f"d{first + i}", f"question {first + i}") for i in range(len(part))]
                collection.add(documents, part, maintain=False)  # indexes are built once, below
            added = time.perf_counter() - start
            start = time.perf_counter()
            collection.maintain()
            indexed = time.perf_counter() - start
            collection.load_index()
            info = collection.info()
            line: dict[str, object] = {
                "rows": rows,
                "backend": info["index"]["backend"] if info["index"]["rows"] else "none",
                "add_s": added,
                "index_s": indexed,
                "indexed_ms": _median(collection, asked, exact=False),
                "exact_ms": _median(collection, asked, exact=True),
                "bytes": collection.engine.store.bytes(),
            }
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**line, "memory_bytes": 1024 * (peak - before)}


def _median(collection: semsearch.Collection, asked: np.ndarray, *, exact: bool) -> float:
    """Milliseconds of one question."""
    times = []
    for query in asked[:ASKED]:
        start = time.perf_counter()
        collection.search(vector=query, k=10, exact=exact)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def exponent(sizes: list[float], costs: list[float]) -> tuple[float, float]:
    """The exponent of a power law through the points, and the half width of its 95 % interval."""
    x, y = np.log(sizes), np.log(costs)
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    left = y - y.mean() - slope * centred
    freedom = len(x) - 2
    if freedom < 1:
        return slope, math.inf
    error = math.sqrt(float((left**2).sum()) / freedom / float((centred**2).sum()))
    return slope, STUDENT.get(freedom, 1.96) * error


def main() -> None:
    """Measure each size in turn, then fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help=f"see vector_sets.py [default: {DEFAULT}]")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # one size, in this process
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measured(options.vectors, options.only)))
        return
    lines = []
    for rows in options.sizes:
        command = [sys.executable, __file__, "--vectors", str(options.vectors), "--only", str(rows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        lines.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            json.dumps(
                {key: round(value, 4) if isinstance(value, float) else value for key, value in lines[-1].items()}
            )
        )
        sys.stdout.flush()
    fits = {}
    for cost in COSTS:
        known = [(line["rows"], line[cost]) for line in lines if line[cost] > 0]
        if len(known) > 1:
            slope, half = exponent([float(rows) for rows, _ in known], [float(value) for _, value in known])
            fits[cost] = {"exponent": slope, "half_width": half}
            print(f"{cost:14} n^{slope:.2f} ± {half:.2f}")
    if options.out:
        with options.out.open("a") as out:
            out.write(json.dumps({"benchmark": "scale", **machine(), "sizes": lines, "fits": fits}) + "\n")


if __name__ == "__main__":
    main()
