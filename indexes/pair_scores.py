"""Scores of chosen pairs of a query and a row: the true ones, and float32 ones with the bounds of their error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError
from semsearch.types import Keys, Metric, Scores, Vectors
from semsearch.vector_codes import UNDERFLOW, as_tensor
from semsearch.vectors import MAX_SCORE, score_each

CLOSE = 1 << 14  # scored in float32 at a time


class Pairs:
    """The rows of an index, scored one pair at a time wherever they lie."""

    def __init__(self, keys: Keys, vectors: Vectors, metric: Metric) -> None:
        self._keys = keys
        self._vectors = vectors
        self._metric = metric

    def exactly(self, queries: Vectors, query: NDArray[np.int64], rows: NDArray[np.int64]) -> Scores:
        """The true scores of the pairs `(query[i], rows[i])`."""
        scores = score_each(queries, query, self._vectors, rows, self._metric)
        within = np.abs(scores) < MAX_SCORE
        if not within.all():
            self._name_bad(rows[~within])
        return scores

    def approximately(
        self, queries: Vectors, query: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two numbers between which each pair's true score lies; by torch, on all threads, and so much faster.

        A sum of d products of float32 is off by at most d·2⁻²⁴ of the sum of their sizes, which for a dot product is
        at most ‖q‖·‖x‖ and for a squared distance the distance itself; twice that is allowed, and the roundings of
        differences and of the true score.
        """
        import torch

        asked, stored = torch.from_numpy(queries), as_tensor(self._vectors)
        scores, errors = np.empty(len(rows)), np.empty(len(rows))
        relative = (2 * queries.shape[1] + 16) * 2.0**-24
        for start in range(0, len(rows), CLOSE):
            pairs = slice(start, start + CLOSE)
            x, q = stored[torch.from_numpy(rows[pairs])], asked[torch.from_numpy(query[pairs])]
            if self._metric == Metric.L2:
                near = -(x.sub_(q).square_().sum(dim=1)).double()
                error = near.abs() * relative
            else:
                error = relative * (torch.linalg.vector_norm(q, dim=1).double() * torch.linalg.vector_norm(x, dim=1))
                near = x.mul_(q).sum(dim=1).double()
            scores[pairs], errors[pairs] = near.numpy(), error.numpy() + UNDERFLOW
        unsure = ~(np.isfinite(scores) & np.isfinite(errors))  # float32 overflowed, or a stored vector is none
        scores[unsure], errors[unsure] = 0, np.inf
        return scores - errors, scores + errors

    def _name_bad(self, rows: NDArray[np.int64]) -> None:
        """Raise for a stored vector that is none; a score may also be at its bound because vectors are very long."""
        bad = rows[~np.isfinite(self._vectors[rows]).all(axis=1)]
        if len(bad):
            raise DataError(
                f"row {bad[0]} of the vectors (key {self._keys[bad[0]]}) holds NaN or infinite numbers: encode it anew."
            )
