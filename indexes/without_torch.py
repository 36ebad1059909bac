"""Exact search for a question or two by numpy alone: importing torch would take longer than the answer."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from indexes.first_pass import UNIT_LENGTH
from indexes.pair_scores import Pairs
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vectors import top_k

FEW_QUERIES = 4  # queries
MOST_COMPONENTS = 1 << 29  # components that are looked at: a second's work


def serves(vectors: Vectors, queries: Vectors, metric: Metric) -> bool:
    """Whether numpy answers before torch would be there."""
    few = len(queries) <= FEW_QUERIES and len(queries) * vectors.size <= MOST_COMPONENTS
    return few and metric == Metric.COSINE and "torch" not in sys.modules


def search(
    keys: Keys, pairs: Pairs, vectors: Vectors, queries: Vectors, k: int, rows: NDArray[np.int64] | None
) -> Neighbors:
    """The `k` best of the `rows`, or of all, for each query, as `semsearch.vectors.brute_force` has them.

    A product of float32, summed in any order, is off by at most 2 d 2⁻²⁴ of the lengths (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2002, section 3.1, with the bound doubled). So a row whose product lies more
    than twice that below the k-th best can't be among the k best; what is left is scored truly.
    """
    found = Neighbors(
        np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -np.inf, dtype=np.float32)
    )
    chosen = vectors if rows is None else vectors[rows]
    for place, query in enumerate(queries):
        products = chosen @ query  # (n,)
        length = float(np.linalg.norm(query.astype(np.float64)))
        error = 2 * (len(query) + 2) * 2.0**-24 * length * UNIT_LENGTH
        candidates = np.arange(len(products))
        if len(products) > k:
            least = np.partition(products, len(products) - k)[len(products) - k]
            candidates = np.flatnonzero(~(products < least - 2 * error))  # with NaN, which is told by who scores it
        at = candidates if rows is None else rows[candidates]
        scores = pairs.exactly(queries, np.full(len(at), place), at)
        best = top_k(keys[at], scores, k)
        found.keys[place, : len(best)] = keys[at[best]]
        found.scores[place, : len(best)] = scores[best]
    return found
