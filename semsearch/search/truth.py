"""What a recall is measured by, where all vectors are at hand: exact search, true scores, queries made of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from semsearch import plugins
from semsearch.search.recall import synthetic_queries
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import VectorIndex
from semsearch.vectors import score_each


class Truth:
    """Exact search over `vectors` `(n, dim)`, perhaps mapped, under `keys` `(n,)`."""

    def __init__(self, keys: Keys, vectors: Vectors, metric: Metric) -> None:
        self._keys = keys
        self._vectors = vectors
        self._metric = metric

    def neighbors(self, queries: Vectors, k: int) -> Neighbors:
        """The true `k` nearest."""
        return self._exact.search(queries, k)

    def scores_of(self, queries: Vectors, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """The true scores of `keys` `(q, m)` for the query of their row, `(q, m)`; -inf where the key is -1."""
        asked, _ = np.nonzero(keys >= 0)
        order = self._order
        rows = order[np.searchsorted(self._keys, keys[keys >= 0], sorter=order)]
        scores = np.full(keys.shape, -np.inf, dtype=np.float32)
        scores[keys >= 0] = score_each(queries, asked, self._vectors, rows, self._metric)
        return scores

    def synthetic(self, count: int, rng: np.random.Generator) -> tuple[Vectors, Keys]:
        """Queries of the two kinds, `count` of each; see `synthetic_queries`."""
        return synthetic_queries(self._keys, self._vectors, count, rng)

    @cached_property
    def _exact(self) -> VectorIndex:
        backend = plugins.index_backend("exact")
        params = backend.Params.parse({"codes": "none"}, "index 'exact'")
        return backend.build(self._keys, self._vectors, self._metric, params)

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self._keys)
