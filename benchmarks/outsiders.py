"""Graph indexes that semsearch does not build on, by hand, as their documentation has it: usearch and Intel's SVS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from semsearch.types import Metric, Vectors
from semsearch.vector_index import Baseline

DEGREE = 32  # neighbours of a point, as HNSW with M = 16 has them on its lowest level
WIDTH = 200  # of the search while building: hnswlib's default here
LADDER = (10, 20, 40, 80, 160, 320, 640)


def usearch(vectors: Vectors, metric: Metric, threads: int) -> Baseline:
    """usearch: HNSW with kernels of its own."""
    from usearch.index import Index

    kinds = {Metric.COSINE: "ip", Metric.DOT: "ip", Metric.L2: "l2sq"}
    index: Any = Index(
        ndim=vectors.shape[1], metric=kinds[metric], dtype="f32", connectivity=DEGREE // 2, expansion_add=WIDTH
    )
    index.add(np.arange(len(vectors)), vectors, threads=threads)

    def turn(width: int) -> None:
        index.expansion_search = width

    def search(queries: Vectors, k: int) -> Any:
        return np.atleast_2d(index.search(queries[0] if len(queries) == 1 else queries, k, threads=threads).keys)

    return Baseline(turn, search)


def scalable_vs(vectors: Vectors, metric: Metric, threads: int) -> Baseline:
    """Intel's Scalable Vector Search: a Vamana graph over float32 vectors."""
    import svs

    product = metric is not Metric.L2
    parameters = svs.VamanaBuildParameters(graph_max_degree=DEGREE, window_size=WIDTH, alpha=0.95 if product else 1.2)
    kind = svs.DistanceType.MIP if product else svs.DistanceType.L2
    index: Any = svs.Vamana.build(parameters, vectors, kind, num_threads=threads)

    def turn(width: int) -> None:
        index.search_window_size = width

    return Baseline(turn, lambda queries, k: index.search(queries, k)[0].astype(np.int64))


OUTSIDERS: dict[str, Callable[[Vectors, Metric, int], Baseline]] = {"usearch": usearch, "scalable-vs": scalable_vs}
