"""Thinning near-duplicates: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998), for them alone.

In the original any likeness to a hit above costs a hit its place. The good answers to one question are alike, and what
is unlike them is mostly no answer: so likeness counts from near-duplicates on, and all other hits keep their order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Scores, Vectors

NEAR = 0.9  # near-duplicates are so much of the way from what is least like the best hit to the very same


def marginal_relevance(gains: NDArray[np.float64], vectors: Vectors, k: int, mmr_lambda: float) -> NDArray[np.intp]:
    """Positions of `k` candidates, each the best of `λ · r − (1 − λ) · s` when it is chosen.

    Args:
        gains: `(n,)` each candidate's `r`, on the scale of cosines; see `on_scale`.
        vectors: `(n, dim)`, best first; `s` is the greatest cosine to a near-duplicate that was chosen before, 0
            without any.
        k: How many.
        mmr_lambda: λ; 1 keeps the order of the scores.
    """
    count = len(gains)
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    # the candidates tell what is near: with some models any two texts have a cosine of 0.8
    least = float((unit @ unit[0]).min()) if count else 0.0
    near = least + NEAR * (1 - least)
    nearest = np.zeros(count)  # the cosine of each to the nearest duplicate among the chosen
    left = np.ones(count, dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, count):
        value = np.where(left, mmr_lambda * gains - (1 - mmr_lambda) * nearest, -np.inf)
        best = int(np.argmax(value))  # of equals the first, which scored higher
        chosen.append(best)
        left[best] = False
        cosines = unit @ unit[best]
        nearest = np.maximum(nearest, np.where(cosines >= near, cosines, 0.0))
    return np.asarray(chosen, dtype=np.intp)


def on_scale(scores: Scores, low: float, high: float) -> NDArray[np.float64]:
    """Scores of any kind, their order kept, spread from `low` to `high`; all `high` where they don't differ."""
    wide = scores.astype(np.float64)
    least, most = float(wide.min()), float(wide.max())
    return low + (high - low) * (wide - least) / (most - least) if most > least else np.full(len(wide), high)
