"""What the k-th nearest of each row scores at least, from a look at some rows near it: a floor for exact search.

Rows are put into about √n cells around centres, each into its own and some more that are near, and those of one cell
are compared with each other. Any k scores are a floor; that these rows are near makes it a high one, below which all
pairs can then be passed over. Which cells there are decides how fast the answer comes, never what it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Metric, Vectors
from semsearch.vector_codes import UNDERFLOW, as_tensor, squared_lengths

FLOORS_FROM = 256  # rows of a side from which it is
CELLS = 4  # that a row is in, the nearest first
LLOYD_ROUNDS = 3  # of Lloyd's iteration
IN_A_CELL = 2048  # rows of the other side that are looked at
CHUNK = 1024  # rows compared at a time


def neighbour_floors(left: Vectors, right: Vectors, metric: Metric, k: int, *, same: bool) -> NDArray[np.float64]:
    """For each row of `left` `(n, dim)` what its `k`-th nearest of `right` scores at least `(n,)`; -inf if unknown.

    A row is not its own neighbour where both sides are the `same`.
    """
    floors = np.full(len(left), -np.inf)
    if len(right) < FLOORS_FROM:
        return floors
    centres = _centres(right, metric)
    own = _nearest_cells(left, centres, metric, 1)[:, 0]
    cells = _nearest_cells(right, centres, metric, min(CELLS, len(centres)))
    by_cell = np.argsort(cells.T.ravel(), kind="stable")  # those of which it is the nearest first
    ends = np.cumsum(np.bincount(cells.ravel(), minlength=len(centres)))
    order = np.argsort(own, kind="stable")
    begins = np.searchsorted(own[order], np.arange(len(centres) + 1))
    for cell, end in enumerate(ends):
        start = ends[cell - 1] if cell else 0
        others = by_cell[start : min(end, start + IN_A_CELL)] % len(right)
        rows = order[begins[cell] : begins[cell + 1]]
        if len(others) <= k:  # any others are better than none
            others = np.arange(min(len(right), IN_A_CELL))
        if len(others) > k:
            near = np.array(right[others])
            for at in range(0, len(rows), CHUNK):
                part = rows[at : at + CHUNK]
                floors[part] = _floors(np.array(left[part]), near, metric, k, part[:, None] == others if same else None)
    return floors


def _floors(
    rows: Vectors, others: Vectors, metric: Metric, k: int, itself: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """By float32, less twice what its sum of d products may err by."""
    import torch

    scores = torch.from_numpy(rows) @ torch.from_numpy(others).T
    error = (2 * rows.shape[1] + 16) * 2.0**-24
    squares, other = squared_lengths(rows), squared_lengths(others)
    doubt = error * np.sqrt(squares * other.max())
    if metric == Metric.L2:
        scores = 2 * scores - torch.from_numpy(other.astype(np.float32))
        doubt = 4 * error * (squares + other.max())
    if itself is not None:
        scores[torch.from_numpy(itself)] = -torch.inf
    kth = torch.topk(scores, k, dim=1).values[:, -1].numpy().astype(np.float64)
    kth = kth - squares if metric == Metric.L2 else kth
    lowered: NDArray[np.float64] = kth - doubt - np.abs(kth) * 2.0**-22 - UNDERFLOW
    return np.where(np.isnan(lowered), -np.inf, lowered)


def _centres(rows: Vectors, metric: Metric) -> Vectors:
    """About √n of them, always the same."""
    count = int(np.sqrt(len(rows)))
    rng = np.random.default_rng(0)
    some = np.array(rows[np.sort(rng.choice(len(rows), min(len(rows), 32 * count), replace=False))])
    centres = some[np.sort(rng.choice(len(some), count, replace=False))].astype(np.float32)
    for _ in range(LLOYD_ROUNDS):
        cell = _nearest_cells(some, centres, metric, 1)[:, 0]
        order = np.argsort(cell, kind="stable")
        there, begins = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(some[order], begins, axis=0)
        lengths = np.linalg.norm(sums, axis=1) if metric != Metric.L2 else np.bincount(cell, minlength=count)[there]
        centres[there] = sums / np.maximum(lengths, UNDERFLOW)[:, None]
    return centres


def _nearest_cells(rows: Vectors, centres: Vectors, metric: Metric, count: int) -> NDArray[np.int64]:
    """The nearest `count` centres of each row `(n, count)`."""
    import torch

    middle = torch.from_numpy(centres)
    found = np.empty((len(rows), count), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        near = as_tensor(rows[start : start + CHUNK]) @ middle.T
        if metric == Metric.L2:
            near -= (middle**2).sum(dim=1) / 2
        found[start : start + CHUNK] = torch.topk(near, count, dim=1).indices.numpy()
    return found
