"""The libraries by hand, as their own documentation has it: what a backend's speed is held against in the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.types import Metric, Vectors

Turn = Callable[[int], None]  # sets the knob
Search = Callable[[Vectors, int], Any]  # queries (q, dim) and k to whatever the library gives
Bare = tuple[Turn, Search]


def hnsw(vectors: Vectors, metric: Metric, params: Any, threads: int, saved: Path | None = None) -> Bare:
    """As hnswlib's README has it; or the `saved` graph of `vectors`, as no two built on several threads are alike."""
    import hnswlib

    index = hnswlib.Index(space="l2" if metric is Metric.L2 else "ip", dim=vectors.shape[1])
    index.set_num_threads(threads)
    if saved is None:
        index.init_index(len(vectors), M=params.M, ef_construction=params.ef_construction, random_seed=params.seed)
        index.add_items(vectors, np.arange(len(vectors)))
    else:
        index.load_index(str(saved), max_elements=len(vectors))
    return index.set_ef, lambda queries, k: index.knn_query(queries, k)[0]


def faiss_ivf(vectors: Vectors, metric: Metric, params: Any, threads: int) -> Bare:
    """Lists with the same cells and codes; codes are refined by FAISS's own index, with a copy of the vectors.

    It is trained on the rows that ours is: other cells would be of other sizes, and take longer or shorter. FAISS takes
    its threads from OMP_NUM_THREADS: set for the whole process, they would be torch's too.
    """
    import faiss

    dim = vectors.shape[1]
    lists = params.lists or max(1, min(int(4 * len(vectors) ** 0.5), len(vectors) // 39))
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    cells = faiss.IndexFlat(dim, kind)
    storage = params.storage if len(vectors) >= 39 * 16 and dim >= 8 else "flat"
    index: Any
    if storage == "pq":
        index = faiss.IndexIVFPQFastScan(cells, dim, lists, dim // 2 if dim % 2 == 0 else dim, 4, kind)
    elif storage == "sq8":
        index = faiss.IndexIVFScalarQuantizer(cells, dim, lists, faiss.ScalarQuantizer.QT_8bit, kind)
    else:
        index = faiss.IndexIVFFlat(cells, dim, lists, kind)
    index.cp.seed = params.seed
    outer: Any = index if storage == "flat" else faiss.IndexRefineFlat(index)
    if outer is not index:
        outer.k_factor = params.refine
    wanted = min(len(vectors), max(64 * lists, 256 * 16))
    outer.train(vectors[np.sort(np.random.default_rng(params.seed).choice(len(vectors), wanted, replace=False))])
    outer.add(vectors)

    def turn(nprobe: int) -> None:
        index.nprobe = nprobe

    return turn, lambda queries, k: outer.search(queries, k)[1]


def annoy(vectors: Vectors, metric: Metric, params: Any, threads: int) -> Bare:
    """As Annoy's README has it."""
    from annoy import AnnoyIndex

    names: Any = {Metric.COSINE: "angular", Metric.DOT: "dot", Metric.L2: "euclidean"}
    index = AnnoyIndex(vectors.shape[1], names[metric])
    index.set_seed(params.seed)
    for row, vector in enumerate(vectors):
        index.add_item(row, vector)
    index.build(params.trees, n_jobs=threads)
    nodes = [-1]

    def turn(search_k: int) -> None:
        nodes[0] = search_k

    return turn, lambda queries, k: [index.get_nns_by_vector(query, k, search_k=nodes[0]) for query in queries]


def exact(vectors: Vectors, metric: Metric, params: Any, threads: int) -> Bare | None:
    """A product of matrices and the best of each row; for distances torch has no single call."""
    import torch

    if metric is Metric.L2:
        return None
    stored = torch.from_numpy(np.array(vectors))
    return lambda value: None, lambda queries, k: torch.topk(torch.from_numpy(queries) @ stored.T, k).indices


BARE: dict[str, Callable[[Vectors, Metric, Any, int], Bare | None]] = {
    "exact": exact,
    "hnsw": hnsw,
    "faiss-ivf": faiss_ivf,
    "annoy": annoy,
}
