"""HNSW by hnswlib: a graph of neighbours, walked greedily (Malkov and Yashunin, arXiv:1603.09320).

The best single-query speed at high recall for what it costs: a slow build and a second copy of the vectors, which
hnswlib keeps inside its graph. Labels in the graph are row positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from indexes.structure import LOOKED_ROWS, Cursor, each_once, same_bytes
from indexes.translation import built_otherwise, checked_queries, checked_rows, neighbors, nothing
from semsearch.errors import StorageError
from semsearch.hardware import threads
from semsearch.options import Options, option
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import Baseline, Knob, Library

GRAPH_FILE = "graph.hnsw"


@dataclass(frozen=True)
class HNSWParams(Options):
    """Options of the graph and of walking it."""

    M: int = option(16, "links of a node; memory grows with it", low=2, high=256)
    ef_construction: int = option(200, "candidates looked at when a node is linked", low=8, high=4096)
    ef: int = option(64, "candidates looked at in a search", low=1, high=1 << 20, tunable=True)
    seed: int = option(100, "of the nodes' levels", low=0, high=2**31 - 1)
    deterministic: bool = option(False, "build on one thread, so that the same vectors give the same graph")
    threads: int = option(0, "of a build or a batch; 0 takes those of the process", low=0, high=1024, tunable=True)


def ladder(count: int) -> list[int]:
    """Values of `ef` worth trying."""
    steps = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048]
    return [10, *[ef for ef in steps if ef < 2 * count]]


class HNSWIndex:
    """A graph in memory. L2 by its own space, COSINE and DOT by inner product."""

    Params: ClassVar = HNSWParams
    library: ClassVar = Library("hnswlib", install="semsearch[hnsw]")
    metrics: ClassVar = frozenset(Metric)
    knob: ClassVar[Knob | None] = Knob("ef", ladder)
    exact: ClassVar[bool] = False
    filterable: ClassVar[bool] = False  # hnswlib calls a Python function for every row that it looks at
    variants: ClassVar[Sequence[Mapping[str, Any]]] = ({"M": 16}, {"M": 32})

    def __init__(self, graph: Any, keys: Keys, dim: int, metric: Metric, params: HNSWParams) -> None:
        self._graph = graph  # None when empty: hnswlib has no empty search
        self._keys = keys
        self._dim = dim
        self._metric = metric
        self._params = params
        self.tune(params)

    @classmethod
    def bytes_per_row(cls, dim: int, params: HNSWParams) -> float:
        """A copy of its vector and its links: 2 M in the lowest layer, M in each that few rows reach."""
        return 4 * dim + 8 * params.M + 20

    @classmethod
    def baseline(cls, vectors: Vectors, metric: Metric, params: HNSWParams, threads: int) -> Baseline:
        """As hnswlib's README has it."""
        index = _graph(metric, vectors.shape[1])
        index.set_num_threads(threads)
        index.init_index(len(vectors), M=params.M, ef_construction=params.ef_construction, random_seed=params.seed)
        index.add_items(vectors, np.arange(len(vectors)))
        return Baseline(index.set_ef, lambda queries, k: index.knn_query(queries, k)[0])

    @classmethod
    def build(cls, keys: Keys, vectors: Vectors, metric: Metric, params: HNSWParams) -> Self:
        """Link all rows into a graph."""
        keys, vectors = checked_rows(keys, vectors)
        graph = _graph(metric, vectors.shape[1])
        if not len(keys):
            return cls(None, keys, vectors.shape[1], metric, params)
        graph.init_index(len(keys), M=params.M, ef_construction=params.ef_construction, random_seed=params.seed)
        count = 1 if params.deterministic else params.threads or threads()
        graph.add_items(vectors, np.arange(len(keys)), num_threads=count)
        return cls(graph, keys, vectors.shape[1], metric, params)

    def search(self, queries: Vectors, k: int) -> Neighbors:
        """Approximately the `k` best; fewer where the graph hangs together too loosely to reach that many."""
        queries, k = checked_queries(queries, k, self._dim)
        if self._graph is None or not len(queries):
            return nothing(len(queries), k)
        wanted = min(k, len(self._keys))
        count = 1 if len(queries) == 1 else self._params.threads or threads()  # a query is never shared
        try:
            rows, distances = self._graph.knn_query(queries, wanted, num_threads=count)
        except RuntimeError:  # some query reached fewer than `wanted`
            rows, distances = self._reached(queries, wanted)
        # hnswlib's inner product distance is 1 - q·x
        scores = -distances if self._metric == Metric.L2 else np.subtract(1, distances, dtype=np.float32)
        return neighbors(self._keys, rows.astype(np.int64), scores, k)

    def tune(self, params: HNSWParams) -> None:
        """Take over `ef` and `threads`."""
        self._params = self._params.tuned(params)
        if self._graph is not None:
            self._graph.set_ef(self._params.ef)  # a search for more than ef looks at k

    def save(self, folder: Path) -> None:
        """One file; its size is checked, because hnswlib says nothing when the disk is full."""
        if self._graph is None:
            return
        path = folder / GRAPH_FILE
        self._graph.save_index(str(path))
        expected = self._graph.index_file_size()
        written = path.stat().st_size if path.exists() else 0
        if written != expected:
            raise StorageError(f"writing {path} stopped after {written} of {expected} bytes: is the disk full?")

    @classmethod
    def load(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: HNSWParams) -> Self:
        """Read the graph; its file must have been verified, hnswlib trusts every byte."""
        graph = None
        if len(keys):
            graph = _graph(metric, vectors.shape[1])
            graph.load_index(str(folder / GRAPH_FILE), max_elements=len(keys))
            if graph.get_current_count() != len(keys):
                raise built_otherwise(len(keys), graph.get_current_count())
        return cls(graph, keys, vectors.shape[1], metric, params)

    @classmethod
    def verify(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: HNSWParams) -> None:
        """Every id, level, length and link of the graph is within it, and its vectors are the stored ones."""
        if len(keys):
            _verify(Cursor(folder / GRAPH_FILE), vectors)

    def __len__(self) -> int:
        return 0 if self._graph is None else int(self._graph.get_current_count())

    def _reached(self, queries: Vectors, wanted: int) -> tuple[Any, Any]:
        """As many of the `wanted` best as each query reaches, padded with -1."""
        rows = np.full((len(queries), wanted), -1, dtype=np.int64)
        distances = np.full((len(queries), wanted), np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            low, high = 0, wanted + 1  # `low` are known to be reached, `high` are known not to be
            while high - low > 1:
                k = wanted if high > wanted else (low + high) // 2
                try:
                    found = self._graph.knn_query(query[None], k, num_threads=1)
                except RuntimeError:
                    high = k
                else:
                    low = k
                    rows[i, :k], distances[i, :k] = found[0][0], found[1][0]
        return rows, distances


def _verify(file: Cursor, vectors: Vectors) -> None:
    """As hnswlib's `saveIndex` lays it out: sizes, then a block for each row, then the links of the upper layers."""
    n, dim = vectors.shape
    level0, room, count, block, label, data = file.values("6Q")
    top, entry, most, most0, links, _, _ = file.values("iI3QdQ")
    file.expect(count == n and n <= room, f"it holds {count:,} rows, not {n:,}")
    file.expect(1 <= links <= 1 << 12 and (most, most0) == (links, 2 * links), "its nodes have other links")
    file.expect((level0, data, label) == (0, 8 * links + 4, 8 * links + 4 + 4 * dim), "its rows are laid out otherwise")
    file.expect(block == label + 8, "its rows are of another size")
    layout = np.dtype([("links", "<u4", 2 * links + 1), ("data", "<u4", dim), ("label", "<u8")])
    nodes = file.array(n, layout)
    file.expect(each_once(nodes["label"], n), "a row comes twice")
    for start in range(0, n, LOOKED_ROWS):
        some = nodes[start : start + LOOKED_ROWS]
        file.expect(_within(some["links"], n), "a link leads out")
        file.expect(same_bytes(some["data"], vectors, some["label"].astype(np.int64)), "a vector is another")
    levels, upper = np.zeros(n, dtype=np.int64), []
    for node in range(n):
        (size,) = file.values("I")
        if size:
            height, rest = divmod(size, 4 * links + 4)
            file.expect(not rest and height <= 64, "a node reaches too high")
            levels[node] = height
            upper.append(file.array(height * (links + 1), "<u4").reshape(height, links + 1))
    file.end()
    file.expect(entry < n and top == levels[entry] == levels.max(), "it has no entry")
    for own in upper:
        file.expect(_within(own, n), "a link leads out")
        for height, (linked, *rows) in enumerate(own, start=1):
            file.expect(bool((levels[rows[:linked]] >= height).all()), "a link leads to a layer that is not there")


def _within(lists: Any, n: int) -> bool:
    """Whether lists of links, each behind its length, are of rows below `n`."""
    counts, rows = lists[:, 0], lists[:, 1:]
    used = np.arange(rows.shape[1]) < counts[:, None]
    return bool((counts <= rows.shape[1]).all() and (rows[used] < n).all())


def _graph(metric: Metric, dim: int) -> Any:
    return HNSWIndex.library.load().Index(space="l2" if metric == Metric.L2 else "ip", dim=dim)
