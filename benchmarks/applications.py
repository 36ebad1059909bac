"""Pairs and communities beside sentence-transformers, in one run on the same vectors, at parts of a collection.

    python benchmarks/applications.py vectors.npy [--parts 0.5 1] [--pairs 100000] [--threshold 0.75] [--what pairs]

Both sides alternate, and CPU seconds stand beside wall seconds: on a machine that does other work only the former
compare. The exponent is that of a power law fitted to ours over the parts.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sentence_transformers.util import community_detection, paraphrase_mining_embeddings

import semsearch

TIE = 1e-6  # scores so close to the last may fall on either side: sentence-transformers sums in float32


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What comes out, wall seconds, CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def pairs(vectors: np.ndarray, count: int) -> tuple[list[float], list[float], str]:
    """Seconds of ours and of theirs, and how the answers differ."""
    ours, *own = timed(lambda: semsearch.pairs(vectors, limit=count, device="cpu"))
    theirs, *other = timed(lambda: paraphrase_mining_embeddings(torch.from_numpy(vectors), max_pairs=count))
    mine = dict(zip(zip(ours.first.tolist(), ours.second.tolist(), strict=True), ours.scores.tolist(), strict=True))
    yours = {(i, j): score for score, i, j in theirs}
    last = min(mine.values())
    differ = [pair for pair in mine.keys() ^ yours.keys() if abs(mine.get(pair, yours.get(pair, 0)) - last) > TIE]
    farthest = max(abs(mine[pair] - yours[pair]) for pair in mine.keys() & yours.keys())
    return own, other, f"{len(differ)} pairs differ beyond ties, scores by at most {farthest:.1e}, last {last:.4f}"


def communities(vectors: np.ndarray, threshold: float) -> tuple[list[float], list[float], str]:
    """As `pairs`."""
    ours, *own = timed(lambda: semsearch.communities(vectors, threshold, device="cpu"))
    theirs, *other = timed(lambda: community_detection(torch.from_numpy(vectors), threshold))
    same = {frozenset(members) for members in theirs} & {frozenset(members.tolist()) for members in ours}
    return own, other, f"{len(ours)} communities, theirs {len(theirs)}, {len(same)} of them the same"


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors")
    parser.add_argument("--parts", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--what", nargs="+", default=["pairs", "communities"])
    asked = parser.parse_args()
    vectors = np.load(asked.vectors)
    semsearch.pairs(vectors[:3000], limit=10, device="cpu")  # loads what is loaded once
    print("| what | rows | ours s (CPU s) | sentence-transformers s (CPU s) | ratio (CPU) | answers |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for what in asked.what:
        spent = []
        for part in asked.parts:
            some = np.ascontiguousarray(vectors[: int(part * len(vectors))])
            own, other, told = pairs(some, asked.pairs) if what == "pairs" else communities(some, asked.threshold)
            spent.append((len(some), own[1]))
            print(
                f"| {what} | {len(some):,} | {own[0]:.1f} ({own[1]:.1f}) | {other[0]:.1f} ({other[1]:.1f}) "
                f"| {other[0] / own[0]:.1f} ({other[1] / own[1]:.1f}) | {told} |",
                flush=True,
            )
        if len(spent) > 1:
            slope = np.polyfit(*np.log(np.array(spent)).T, 1)[0]
            print(f"\n{what}: CPU time grows with the {slope:.2f}th power of the rows\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of both: {peak:.1f} GB")


if __name__ == "__main__":
    main()
