"""Communities: vectors that lie around one of them, none in two; the largest first, its centre first.

The definition is sentence-transformers' `community_detection`: whatever scores at least a threshold with a vector is
around it; from the vector with most around it downwards, who is not taken yet forms a community, if enough are left.
What is around each comes from all pairs, computed once, so that the answer is the same and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.applications.all_pairs import PairProgress
from semsearch.applications.pairs import HIGHER, FoundPairs, Wanted
from semsearch.applications.tiles import GroupedRows
from semsearch.arguments import check_number, check_whole
from semsearch.arrow_input import rows_in
from semsearch.scratch import scratch
from semsearch.tabular import RowIds, Tabular
from semsearch.types import Metric, Vectors
from semsearch.vectors import stored_form

COMMUNITY_SIZE = 10


class Communities(list[NDArray[np.int64]], Tabular):
    """Arrays of rows, the centre first, the largest community first; as a frame a row for each member.

    Attributes:
        ids: Of all rows, where a frame had some.
    """

    def __init__(self, found: Iterable[NDArray[np.int64]], ids: RowIds | None = None) -> None:
        super().__init__(found)
        self.ids = ids

    def _columns(self) -> dict[str, Any]:
        rows = np.concatenate([np.empty(0, dtype=np.int64), *self])
        sizes = np.array([len(members) for members in self], dtype=np.int64)
        centre = np.zeros(len(rows), dtype=bool)
        centre[np.cumsum(sizes) - sizes] = True
        named = {"row": rows} if self.ids is None else {"id": self.ids.of(rows)}
        return {**named, "community": np.repeat(np.arange(len(self)), sizes), "centre": centre}


def communities(
    vectors: ArrayLike,
    threshold: float = 0.75,
    min_size: int = COMMUNITY_SIZE,
    *,
    metric: Metric | str = Metric.COSINE,
    device: str = "auto",
    progress: PairProgress | None = None,
) -> Communities:
    """The communities of rows `(n, dim)`: arrays of row numbers, the centre first, then by falling score.

    Args:
        vectors: `(n, dim)`, perhaps mapped; or a frame of pandas, polars or pyarrow with a vector a row.
        threshold: What a row must score with the centre, which is in its community whatever it scores with itself.
        min_size: Rows that a community has at least.
        metric: "cosine", "dot" or "l2".
        device: "cpu", "cuda"; "auto" takes a GPU for many rows.
        progress: Called with the pairs that are done and those that there are.

    >>> import semsearch
    >>> [rows.tolist() for rows in semsearch.communities([[1, 0], [1, 0.1], [0, 1], [1, 0.2]], 0.9, min_size=2)]
    [[0, 1, 3]]

    Raises:
        UsageError: So many pairs reach the threshold that they can't be kept.
        DataError: A row holds NaN or infinite numbers.
    """
    check_number(threshold, "threshold")
    check_whole(min_size, "min_size")
    given, ids = rows_in(vectors)
    metric = Metric.of(metric)
    rows = stored_form(given, None, metric)
    return Communities(communities_of(rows, threshold, min_size, metric, device, progress), ids)


def communities_of(
    vectors: Vectors,
    threshold: float,
    min_size: int,
    metric: Metric,
    device: str = "auto",
    progress: PairProgress | None = None,
) -> list[NDArray[np.int64]]:
    """As `communities`, of vectors in the form in which they are stored."""
    if len(vectors) < min_size:
        return []
    found = FoundPairs(
        GroupedRows.apart(vectors),
        None,
        metric,
        Wanted(min_score=threshold, limit=None),
        device,
        progress=progress,
        advice=HIGHER,
    )
    with found.runs:
        around = _Around(found, len(vectors))
    # a row is around itself; the sort is stable, so that of equally many the smaller row comes first
    order = np.argsort(-(around.counts + 1), kind="stable")
    used = np.zeros(len(vectors), dtype=bool)
    made = []
    for centre in order.tolist():
        if around.counts[centre] + 1 < min_size:
            break
        if used[centre]:
            continue
        others = around.of(centre)
        others = others[~used[others]]
        if len(others) + 1 >= min_size:
            members = np.concatenate([[centre], others]).astype(np.int64)
            used[members] = True
            made.append(members)
    return sorted(made, key=len, reverse=True)


class _Around:
    """The rows around each row, by falling score: one after another in an array, in a file where they are many."""

    def __init__(self, found: FoundPairs, rows: int) -> None:
        self.counts = np.zeros(rows, dtype=np.int64)
        for first, second in _columns(found):
            self.counts += np.bincount(first, minlength=rows) + np.bincount(second, minlength=rows)
        self._ends = np.cumsum(self.counts)
        whole = int(self._ends[-1]) if rows else 0
        self._others = scratch((whole,), np.int64)
        place = self._ends - self.counts
        for first, second in _columns(found):  # best first
            own = np.stack([first, second], axis=1).ravel()
            other = np.stack([second, first], axis=1).ravel()
            order = np.argsort(own, kind="stable")
            own, other = own[order], other[order]
            rank = np.arange(len(own)) - np.searchsorted(own, own)
            self._others[place[own] + rank] = other
            place += np.bincount(own, minlength=rows)

    def of(self, row: int) -> NDArray[np.int64]:
        """Those around a row."""
        end = self._ends[row]
        return np.asarray(self._others[end - self.counts[row] : end])


def _columns(found: FoundPairs) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for run in found.stream():
        yield np.ascontiguousarray(run["first"]), np.ascontiguousarray(run["second"])
