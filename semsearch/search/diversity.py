"""Thinning near-duplicates: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Scores, Vectors


def marginal_relevance(scores: Scores, vectors: Vectors, k: int, relevance: float) -> NDArray[np.intp]:
    """Positions of `k` candidates, each the best of `relevance · r − (1 − relevance) · s` when it is chosen.

    Args:
        scores: `(n,)` of any scale; `r` is the score between 0 (the worst candidate) and 1 (the best).
        vectors: `(n, dim)`; `s` is the greatest cosine to a candidate that was chosen before.
        k: How many.
        relevance: 1 keeps the order of the scores.
    """
    count = len(scores)
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    low, high = (float(scores.min()), float(scores.max())) if count else (0.0, 0.0)
    gain = (scores.astype(np.float64) - low) / (high - low) if high > low else np.ones(count)
    nearest = np.zeros(count)  # the cosine of each to the nearest chosen one; being unlike everything earns nothing
    left = np.ones(count, dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, count):
        value = np.where(left, relevance * gain - (1 - relevance) * nearest, -np.inf)
        best = int(np.argmax(value))  # of equals the first, which scored higher
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, unit @ unit[best])
    return np.asarray(chosen, dtype=np.intp)
