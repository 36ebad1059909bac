"""Vectors in two dimensions: what is alike lies side by side.

Some rows, the landmarks, are laid out by t-SNE (van der Maaten and Hinton, 2008; openTSNE, Poličar et al., 2024) from
their first principal components; every other row lies among the landmarks that are nearest to it. So the time grows
with the rows alone, and no more is in memory than the places and a block of rows. Where openTSNE is not installed, or
rows are few, the place is that of the first two principal components, and `Layout.method` says so. The same vectors and
seed give the same places on any number of threads.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.arguments import check_whole
from semsearch.arrow_input import rows_in
from semsearch.hardware import threads
from semsearch.tabular import RowIds, Tabular
from semsearch.types import Metric, Vectors
from semsearch.vectors import stored_form

MOST_LANDMARKS = 10_000  # half a minute of one core
COMPONENTS = 50  # that are kept, as is usual before t-SNE
FEW_ROWS = 50  # rows that are laid out by their principal components
PERPLEXITY = 15.0
NEIGHBOURS = 45  # three times that, as is usual
EARLY, LATE = 100, 250  # steps with the neighbours drawn together, and without
EXAGGERATION = 12.0
AMONG = 3  # landmarks between which another row lies
ROWS_PLACED = 1_024  # at a time
TSNE, PRINCIPAL = "t-SNE", "principal components"


@dataclass(frozen=True, eq=False)
class Layout(Tabular):
    """Where rows lie.

    Attributes:
        places: `(n, 2)` float32, from 0 to 1 in the wider direction.
        method: "t-SNE" or "principal components".
        landmarks: How many rows were laid out themselves; the others lie among these.
        ids: Of the rows, where a frame had some.
    """

    places: NDArray[np.float32]
    method: str
    landmarks: int
    ids: RowIds | None = None

    def _index(self) -> RowIds | None:
        return self.ids if self.ids is not None and self.ids.indexed else None

    def _columns(self) -> dict[str, Any]:
        named: dict[str, Any] = {}
        if self._index() is None:
            named = {"row": np.arange(len(self.places))} if self.ids is None else {"id": list(self.ids.values)}
        return {**named, "x": self.places[:, 0], "y": self.places[:, 1]}


def layout(vectors: ArrayLike, *, seed: int = 0, metric: Metric | str = Metric.COSINE) -> Layout:
    """Rows `(n, dim)` in two dimensions, by t-SNE where openTSNE is installed (the extra `map`).

    Args:
        vectors: `(n, dim)`, perhaps mapped; or a frame of pandas, polars or pyarrow with a vector a row.
        seed: Chooses the landmarks, of more than 10,000 rows: the same gives the same places.
        metric: "cosine", "dot" (whose rows are laid out by their directions) or "l2".

    Raises:
        UsageError: `seed` is none.
        DataError: A row holds NaN or infinite numbers.
    """
    check_whole(seed, "seed", 0)
    given, ids = rows_in(vectors)
    metric = Metric.L2 if Metric.of(metric) == Metric.L2 else Metric.COSINE
    return replace(laid_out(stored_form(given, None, metric), seed), ids=ids)


def laid_out(vectors: Vectors, seed: int) -> Layout:
    """As `layout`, of vectors in the form in which they are stored."""
    with _one_thread_of_blas():  # on several it rounds in another way, and t-SNE makes much of the last bit
        return _laid_out(vectors, seed)


def _laid_out(vectors: Vectors, seed: int) -> Layout:
    count = len(vectors)
    if not count:
        return Layout(np.zeros((0, 2), dtype=np.float32), PRINCIPAL, 0)
    mean, axes = principal_axes(vectors)
    tsne = _open_tsne() if count >= FEW_ROWS else None
    if tsne is None or not axes.shape[1]:
        flat = np.concatenate(
            [_turned(vectors, slice(at, at + 4096), mean, axes[:, :2]) for at in range(0, count, 4096)]
        )
        return Layout(_fitted(np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))), PRINCIPAL, count)
    some = np.sort(np.random.default_rng(seed).choice(count, min(count, MOST_LANDMARKS), replace=False))
    known = np.concatenate([_turned(vectors, some[at : at + 4096], mean, axes) for at in range(0, len(some), 4096)])
    own = _by_tsne(tsne, known)
    places = np.empty((count, 2))
    for at in range(0, count, ROWS_PLACED):
        places[at : at + ROWS_PLACED] = _among(_turned(vectors, slice(at, at + ROWS_PLACED), mean, axes), known, own)
    places[some] = own
    return Layout(_fitted(places), TSNE, len(some))


def principal_axes(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean `(dim,)` and the directions of most variance `(dim, at most 50)`; those without any are left out."""
    mean = np.zeros(vectors.shape[1])
    for at in range(0, len(vectors), 4096):
        mean += vectors[at : at + 4096].sum(axis=0, dtype=np.float64)
    mean /= len(vectors)
    spread = np.zeros((vectors.shape[1], vectors.shape[1]))
    for at in range(0, len(vectors), 4096):
        part = vectors[at : at + 4096] - mean
        spread += part.T @ part
    variances, axes = np.linalg.eigh(spread / len(vectors))
    scale = float(mean @ mean) + max(float(variances[-1]), 0.0)
    kept = [at for at in range(len(variances) - 1, -1, -1) if variances[at] > 1e-9 * scale][:COMPONENTS]
    axes = axes[:, kept]
    if kept:  # the sign of a direction is nobody's choice: its largest component is positive
        largest = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[largest, np.arange(len(kept))])
    return mean, axes


def _turned(
    vectors: Vectors, rows: slice | NDArray[np.int64], mean: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    return (np.asarray(vectors[rows], dtype=np.float64) - mean) @ axes


def _nearest(
    asked: NDArray[np.float64], known: NDArray[np.float64], count: int, itself: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each row the `count` nearest of `known`, the nearest first, and their distances."""
    far = np.maximum((asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * (asked @ known.T), 0.0)
    if itself is not None:
        far[np.arange(len(asked)), itself] = np.inf
    found = np.argpartition(far, count - 1, axis=1)[:, :count] if count < far.shape[1] else np.argsort(far, axis=1)
    distances = np.take_along_axis(far, found, axis=1)
    order = np.lexsort((found, distances))
    return np.take_along_axis(found, order, axis=1), np.sqrt(np.take_along_axis(distances, order, axis=1))


def _by_tsne(tsne: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places of landmarks, which begin where their first two components put them."""
    count = len(rows)
    neighbours = min(NEIGHBOURS, count - 1)
    found = [
        _nearest(rows[at : at + ROWS_PLACED], rows, neighbours, np.arange(at, min(at + ROWS_PLACED, count)))
        for at in range(0, count, ROWS_PLACED)
    ]
    near = tsne.nearest_neighbors.PrecomputedNeighbors(
        np.concatenate([rows for rows, _ in found]), np.concatenate([distances for _, distances in found])
    )
    affinities = tsne.affinity.PerplexityBasedNN(
        knn_index=near, perplexity=min(PERPLEXITY, neighbours / 3), n_jobs=threads()
    )
    begin = np.pad(rows[:, :2], ((0, 0), (0, 2 - rows[:, :2].shape[1])))
    begin = begin / (begin[:, 0].std() or 1.0) * 1e-4
    made = tsne.TSNEEmbedding(begin, affinities, negative_gradient_method="fft", n_jobs=threads(), random_state=0)
    made.optimize(EARLY, exaggeration=EXAGGERATION, momentum=0.8, inplace=True)
    made.optimize(LATE, momentum=0.8, inplace=True)
    return np.asarray(made, dtype=np.float64)


def _among(rows: NDArray[np.float64], known: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the places of the nearest landmarks, weighted by how near they are."""
    found, distances = _nearest(rows, known, min(AMONG, len(known)))
    weights = 1 / (distances + 1e-9)
    placed: NDArray[np.float64] = (own[found] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return placed


def _fitted(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """From 0 to 1 in the wider direction, in the middle of the other."""
    low, high = places.min(axis=0), places.max(axis=0)
    wide = float((high - low).max())
    if not wide > 0:
        return np.full(places.shape, 0.5, dtype=np.float32)
    fitted: NDArray[np.float32] = ((places - (low + high) / 2) / wide + 0.5).astype(np.float32)
    return fitted


def _one_thread_of_blas() -> AbstractContextManager[Any]:
    """Where threadpoolctl is not installed, openTSNE, which needs it, is not either."""
    try:
        import threadpoolctl
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(limits=1, user_api="blas")
    return limits


def _open_tsne() -> Any:
    """The library, or None where it is not installed."""
    try:
        import openTSNE
        import openTSNE.nearest_neighbors
    except ImportError:
        return None
    return openTSNE
