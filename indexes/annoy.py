"""A forest of random splits by Annoy: quick to build, its file mapped and shared, its recall dear in speed.

Items in the trees are row positions: Annoy reserves room for the largest id, so keys must never reach it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from indexes.structure import LOOKED_ROWS, Cursor, same_bytes
from indexes.translation import built_otherwise, checked_queries, checked_rows, neighbors, nothing
from semsearch.errors import StorageError
from semsearch.hardware import threads
from semsearch.options import Options, option
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import Baseline, Knob, Library

FOREST_FILE = "forest.annoy"


@dataclass(frozen=True)
class AnnoyParams(Options):
    """Options of the forest and of searching it."""

    trees: int = option(100, "more give more recall, and a larger file", low=1, high=10_000)
    search_k: int = option(0, "nodes looked at in a search; 0 takes trees times k", low=0, high=2**31 - 1, tunable=True)
    seed: int = option(1, "of the splits", low=0, high=2**31 - 1)
    threads: int = option(0, "of the build; 0 takes those of the process", low=0, high=1024)


def ladder(count: int) -> list[int]:
    """Values of `search_k` worth trying; beyond eight times the rows nothing is left to look at."""
    return [nodes for nodes in (250 * 2**step for step in range(12)) if nodes < 8 * count + 500]


class AnnoyIndex:
    """Trees in a mapped file."""

    Params: ClassVar = AnnoyParams
    library: ClassVar = Library("annoy", install="semsearch[annoy]")
    metrics: ClassVar = frozenset(Metric)
    knob: ClassVar[Knob | None] = Knob("search_k", ladder)
    exact: ClassVar[bool] = False
    filterable: ClassVar[bool] = False
    variants: ClassVar[Sequence[Mapping[str, Any]]] = ({"trees": 50},)

    def __init__(self, forest: Any, keys: Keys, dim: int, metric: Metric, params: AnnoyParams) -> None:
        self._forest = forest  # None when empty
        self._keys = keys
        self._dim = dim
        self._metric = metric
        self._params = params

    @classmethod
    def bytes_per_row(cls, dim: int, params: AnnoyParams) -> float:
        """Its vector, and its share of the leaves and splits of every tree, as measured with 128 and 384 components."""
        return 4 * dim + 12 + 11 * params.trees

    @classmethod
    def baseline(cls, vectors: Vectors, metric: Metric, params: AnnoyParams, threads: int) -> Baseline:
        """As Annoy's README has it."""
        forest = _forest(metric, vectors.shape[1])
        forest.set_seed(params.seed)
        for row, vector in enumerate(vectors):
            forest.add_item(row, vector)
        forest.build(params.trees, n_jobs=threads)
        nodes = [-1]

        def turn(search_k: int) -> None:
            nodes[0] = search_k

        return Baseline(
            turn, lambda queries, k: [forest.get_nns_by_vector(query, k, search_k=nodes[0]) for query in queries]
        )

    @classmethod
    def build(cls, keys: Keys, vectors: Vectors, metric: Metric, params: AnnoyParams) -> Self:
        """Split all rows at random, `trees` times."""
        keys, vectors = checked_rows(keys, vectors)
        forest = _forest(metric, vectors.shape[1])
        if not len(keys):
            return cls(None, keys, vectors.shape[1], metric, params)
        forest.set_seed(params.seed)
        for row, vector in enumerate(vectors):
            forest.add_item(row, vector)
        forest.build(params.trees, n_jobs=params.threads or threads())
        return cls(forest, keys, vectors.shape[1], metric, params)

    def search(self, queries: Vectors, k: int) -> Neighbors:
        """Approximately the `k` best; Annoy answers one query at a time."""
        queries, k = checked_queries(queries, k, self._dim)
        if self._forest is None or not len(queries):
            return nothing(len(queries), k)
        wanted = min(k, len(self._keys))
        nodes = max(self._params.search_k or self._params.trees * wanted, wanted)
        rows = np.full((len(queries), wanted), -1, dtype=np.int64)
        distances = np.full((len(queries), wanted), np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            found, away = self._forest.get_nns_by_vector(query, wanted, search_k=nodes, include_distances=True)
            rows[i, : len(found)] = found
            distances[i, : len(found)] = away
        return neighbors(self._keys, rows, self._scores(distances), k)

    def tune(self, params: AnnoyParams) -> None:
        """Take over `search_k`."""
        self._params = self._params.tuned(params)

    def save(self, folder: Path) -> None:
        """One file, which is mapped from now on."""
        if self._forest is None:
            return
        path = folder / FOREST_FILE
        try:
            self._forest.save(str(path))
        except OSError as error:
            raise StorageError(f"writing {path} failed: {error}.") from error

    @classmethod
    def load(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: AnnoyParams) -> Self:
        """Map the file; it must have been verified, Annoy trusts every byte."""
        forest = None
        if len(keys):
            forest = _forest(metric, vectors.shape[1])
            forest.load(str(folder / FOREST_FILE))
            if forest.get_n_items() != len(keys):
                raise built_otherwise(len(keys), forest.get_n_items())
        return cls(forest, keys, vectors.shape[1], metric, params)

    @classmethod
    def verify(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: AnnoyParams) -> None:
        """Every node leads to rows or to nodes before it, each by one way, and its vectors are the stored ones."""
        if len(keys):
            _verify(Cursor(folder / FOREST_FILE), vectors, metric)

    def __len__(self) -> int:
        return 0 if self._forest is None else int(self._forest.get_n_items())

    def _scores(self, distances: Any) -> Any:
        if self._metric == Metric.DOT:
            return distances  # Annoy returns the inner product itself
        squared = np.square(distances)
        return -squared if self._metric == Metric.L2 else 1 - squared / 2  # |a - b|² = 2 - 2 cos for unit lengths


CHILDREN = {Metric.COSINE: 1, Metric.DOT: 1, Metric.L2: 2}  # where they begin in a node, in numbers of four bytes …
VECTOR = {Metric.COSINE: 3, Metric.DOT: 4, Metric.L2: 4}  # … and where its vector does


def _verify(file: Cursor, vectors: Vectors, metric: Metric) -> None:
    """As Annoy lays it out: nodes of one size, first the rows, then those that hold few rows or split, roots last."""
    (n, dim), first = vectors.shape, CHILDREN[metric]
    numbers = file.array(file.left // 4, "<i4")
    file.end()
    file.expect(not len(numbers) % (VECTOR[metric] + dim), "its nodes are of another size")
    nodes = numbers.reshape(-1, VECTOR[metric] + dim)
    below, count, width = np.array(nodes[:, 0]), len(nodes), nodes.shape[1] - first
    file.expect(count > n and below[-1] == n and bool((below[:n] == 1).all()), f"it doesn't hold {n:,} rows")
    for start in range(0, n, LOOKED_ROWS):
        rows = slice(start, min(start + LOOKED_ROWS, n))
        file.expect(same_bytes(nodes[rows, VECTOR[metric] :], vectors, rows), "a vector is another")
        file.expect(bool(np.isfinite(nodes[rows, 1 : VECTOR[metric]].view("<f4")).all()), "a length is no number")
    inner = below[n:]
    file.expect(bool((inner >= 1).all() and (inner <= n).all()), "a node holds more rows than there are")
    for start in range(0, len(inner), LOOKED_ROWS):
        own = inner[start : start + LOOKED_ROWS]
        held = nodes[n + start : n + start + len(own), first:]
        used = (np.arange(width) < own[:, None]) & (own <= width)[:, None]
        file.expect(bool((held[used] >= 0).all() and (held[used] < n).all()), "a node holds a row that is not there")
    parents = n + np.flatnonzero(inner > width)
    children = np.array(nodes[parents, first : first + 2])
    file.expect(bool((children >= 0).all() and (children < parents[:, None]).all()), "a node leads to none before it")
    others = np.flatnonzero(below != n)
    roots = np.arange(others[-1] + 1 if len(others) else 0, count)
    if len(roots) > 1 and nodes[roots[0], first] == nodes[roots[-1], first]:
        roots = roots[1:]  # the last tree's, a copy of which comes last, as of all
    reached = np.bincount(children.ravel(), minlength=count) > 0
    reached[roots] = True
    ways = np.bincount(children[reached[parents]].ravel(), minlength=count)
    file.expect(bool((ways[n:] <= 1).all()), "a node is reached by two ways")


def _forest(metric: Metric, dim: int) -> Any:
    names = {Metric.COSINE: "angular", Metric.DOT: "dot", Metric.L2: "euclidean"}
    return AnnoyIndex.library.load().AnnoyIndex(dim, names[metric])
