"""The true scores of all pairs of two blocks of rows that score enough: bounds first, then the house's rule.

Three looks, each at what the one before let through: the bounds of `semsearch.applications.upper_bounds`, where these
are loose a float32 product with the bounds of its error, and the score itself (`semsearch.vectors`). Where most pairs
get through, float64 products of whole blocks serve, and only a score that their rounding leaves open is summed by
itself. So scores are the same whatever the tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.runs import SortedPairs, ordered, records
from semsearch.applications.tile_bounds import TILE, Multiplied, TileBounds
from semsearch.applications.upper_bounds import MOST_LET_THROUGH, Projection
from semsearch.errors import DataError
from semsearch.types import Metric, Vectors
from semsearch.vector_codes import UNDERFLOW, as_tensor
from semsearch.vectors import score_each

if TYPE_CHECKING:
    Limits = float | NDArray[np.float64]

BLOCK_ROWS = 4096  # rows of one task
LET_THROUGH = 512  # pairs of which some more components are looked at at a time
SCORED_CLOSELY = 128  # pairs scored in float32 at a time, so that their vectors stay in cache


@dataclass(frozen=True)
class GroupedRows:
    """Vectors, and which belong together: pairs within a group don't count, of two groups only the best one does.

    Raises:
        DataError: Groups are not in ascending order.
    """

    vectors: Vectors  # (n, dim), perhaps mapped
    groups: NDArray[np.int64]  # (n,) ascending: 0, 0, 1, 2, 2, …

    def __post_init__(self) -> None:
        if len(self.groups) != len(self.vectors) or (np.diff(self.groups) < 0).any():
            raise DataError("the rows of one document must lie side by side.")

    @classmethod
    def apart(cls, vectors: Vectors) -> GroupedRows:
        """Each row for itself."""
        return cls(vectors, np.arange(len(vectors)))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def grouped(self) -> bool:
        """Whether a group has several rows."""
        return bool((self.groups[1:] == self.groups[:-1]).any())

    def one_of_each(self) -> Vectors:
        """A vector of each group; `groups` counts them up from 0."""
        return self.vectors if not self.grouped else self.vectors[np.unique(self.groups, return_index=True)[1]]

    def blocks(self, size: int = BLOCK_ROWS) -> list[slice]:
        """Slices of about so many rows that part no group."""
        ends = np.append(np.flatnonzero(np.diff(self.groups)) + 1, len(self)).astype(np.int64)
        cuts = [0]
        while cuts[-1] < len(self):
            fit = int(np.searchsorted(ends, cuts[-1] + size, side="right"))
            next_end = int(np.searchsorted(ends, cuts[-1], side="right"))
            cuts.append(int(ends[max(fit - 1, next_end)]))
        return [slice(start, stop) for start, stop in pairwise(cuts)]


class Tiles:
    """All pairs of two sets of rows, or of one with itself, a pair of blocks at a time; threads may share it."""

    def __init__(
        self,
        left: GroupedRows,
        right: GroupedRows | None,
        metric: Metric,
        projection: Projection,
        device: str = "cpu",
        name_row: Callable[[int, bool], str] = lambda row, right: f"row {row} of the vectors",
        codes: str = "none",
    ) -> None:
        self.left, self.right = left, left if right is None else right
        self.same = right is None
        self.metric = metric
        self.device = device
        self._grouped = self.left.grouped or self.right.grouped
        self._double = 2.0 if metric == Metric.L2 else 1.0  # a score is so many times its bound
        self._projection = projection
        self._loose = projection.directions is not None or codes == "int8"  # bounds, beside those of float32
        self._size = TILE if device == "cpu" else BLOCK_ROWS
        a = Multiplied.project(self.left.vectors, metric, projection, codes, name_row, right=False)
        b = a
        if not self.same or metric == Metric.L2:
            b = Multiplied.project(self.right.vectors, metric, projection, codes, name_row, right=True)
        self._a, self._b = a, b
        self._first_look = TileBounds(a, b, metric, device, self._size)

    def pairs(
        self, rows: slice, columns: slice, row_limits: Limits, column_limits: Limits | None = None
    ) -> SortedPairs:
        """The pairs of two blocks that score at least the limit of their row or of their column, unsorted.

        Args:
            rows: A block of the left.
            columns: A block of the right; of one set with itself the same block or a later one.
            row_limits: One, or one for each row `(rows,)`.
            column_limits: One for each column `(columns,)`, where a pair may count for its column alone.
        """
        found = []
        for i in range(rows.start, rows.stop, self._size):
            own = slice(i, min(i + self._size, rows.stop))
            for j in range(columns.start, columns.stop, self._size):
                other = slice(j, min(j + self._size, columns.stop))
                if self.same and other.stop - 1 <= own.start:
                    continue
                limits = _Limits.of(
                    row_limits, column_limits, slice(i - rows.start, own.stop - rows.start), j - columns.start, other
                )
                part = self._tile(own, other, limits)
                if len(part):
                    found.append(part)
        pairs = np.concatenate(found) if found else records(*(np.empty(0, dtype=np.float32),) * 3)  # type: ignore[arg-type]
        return self._best_of_groups(pairs) if self._grouped else pairs

    def _tile(self, rows: slice, columns: slice, limits: _Limits) -> SortedPairs:
        at, bounds, slack = self._over(rows, columns, limits)
        count = columns.stop - columns.start
        if len(at) > MOST_LET_THROUGH * count * (rows.stop - rows.start):
            return self._together(rows, columns, limits)
        i, j, bounds = self._counted(rows.start + at // count, columns.start + at % count, bounds)
        i, j = self._finer(i, j, bounds, rows, columns, limits, slack)
        if self._loose:
            i, j = self._close(i, j, rows, columns, limits)
        scores = score_each(self.left.vectors, i, self.right.vectors, j, self.metric)
        keep = scores >= limits.of_pairs(i - rows.start, j - columns.start)
        return records(scores[keep], i[keep], j[keep])

    def _over(
        self, rows: slice, columns: slice, limits: _Limits
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
        """Places of the pairs, row by row, whose bounds reach a limit, these bounds, and what is added to them."""
        bounds, unit, left_out = self._first_look.product(rows, columns, scaled=limits.columns is not None)
        slack = left_out + self._projection.slack(
            float(self._a.lengths[rows].max()), float(self._b.lengths[columns].max()), self._a.rows.shape[1]
        )
        own, other = limits.bounds(self._double, slack, unit)
        at, reached = self._first_look.reaching(bounds, own, other)
        if unit is not None:
            reached = (reached * unit[at // bounds.shape[1]]).astype(np.float32)
        return at, reached, slack

    def _counted(
        self, i: NDArray[np.int64], j: NDArray[np.int64], bounds: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Without pairs of one group, and of the two orders of a pair only one."""
        if not self.same:
            return i, j, bounds
        keep = (self.left.groups[i] != self.right.groups[j]) & (i < j)
        return i[keep], j[keep], bounds[keep]

    def _finer(
        self,
        i: NDArray[np.int64],
        j: NDArray[np.int64],
        bounds: NDArray[np.float32],
        rows: slice,
        columns: slice,
        limits: _Limits,
        slack: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs that some more components don't rule out."""
        if not self._a.finer.shape[1] or not len(i):
            return i, j
        keep = np.empty(len(i), dtype=bool)
        left, right = float(self._a.lengths[rows].max()), float(self._b.lengths[columns].max())
        slack += self._projection.finer_slack * left * right
        for start in range(0, len(i), LET_THROUGH):
            part = slice(start, start + LET_THROUGH)
            x, y = np.take(self._a.finer, i[part], axis=0), np.take(self._b.finer, j[part], axis=0)
            fallen = bounds[part].astype(np.float64) - x[:, -1] * y[:, -1] + np.vecdot(x[:, :-1], y[:, :-1]) + slack
            least = limits.of_pairs(i[part] - rows.start, j[part] - columns.start)
            keep[part] = ~(self._double * fallen < least - np.abs(least) * 2.0**-22)
        return i[keep], j[keep]

    def _close(
        self, i: NDArray[np.int64], j: NDArray[np.int64], rows: slice, columns: slice, limits: _Limits
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs that float32 doesn't rule out.

        A sum of d products is off by at most d·2⁻²⁴ of ‖q‖·‖x‖, of d squares by as much of itself; twice that is taken.
        """
        keep = np.empty(len(i), dtype=bool)
        relative = (2 * self.left.vectors.shape[1] + 16) * 2.0**-24
        for start in range(0, len(i), SCORED_CLOSELY):
            one, other = i[start : start + SCORED_CLOSELY], j[start : start + SCORED_CLOSELY]
            x, y = np.take(self.left.vectors, one, axis=0), np.take(self.right.vectors, other, axis=0)
            if self.metric == Metric.L2:
                x -= y
                near = -np.einsum("nd,nd->n", x, x).astype(np.float64)
                error = np.abs(near) * relative
            else:
                near = np.vecdot(x, y).astype(np.float64)
                error = relative * self._a.lengths[one] * self._b.lengths[other]
            least = limits.of_pairs(one - rows.start, other - columns.start)
            keep[start : start + SCORED_CLOSELY] = ~(near + error + UNDERFLOW < least - np.abs(least) * 2.0**-23)
        return i[keep], j[keep]

    def _together(self, rows: slice, columns: slice, limits: _Limits) -> SortedPairs:
        """All pairs of a tile by one float64 product, and by themselves those that its rounding leaves open."""
        x, y = self.left.vectors[rows].astype(np.float64), self.right.vectors[columns].astype(np.float64)
        wide = (as_tensor(x).to(self.device) @ as_tensor(y).to(self.device).T).cpu().numpy()
        a, b = (np.sqrt(np.einsum("nd,nd->n", part, part)) for part in (x, y))
        unit = (8 * x.shape[1] + 64) * 2.0**-53
        if self.metric == Metric.L2:
            wide = 2 * wide - (a**2)[:, None] - (b**2)[None]
            error = unit * (a[:, None] + b[None]) ** 2 + UNDERFLOW
        else:
            error = unit * a[:, None] * b[None] + UNDERFLOW
        low, high = (wide - error).astype(np.float32), (wide + error).astype(np.float32)
        reached = high >= limits.of_tile()
        i, j = np.nonzero(reached)
        low, high = low[i, j], high[i, j]
        i, j = i + rows.start, j + columns.start
        if self.same:
            keep = (self.left.groups[i] != self.right.groups[j]) & (i < j)
            i, j, low, high = i[keep], j[keep], low[keep], high[keep]
        unsure = np.flatnonzero(low != high)
        low[unsure] = score_each(self.left.vectors, i[unsure], self.right.vectors, j[unsure], self.metric)
        keep = low >= limits.of_pairs(i - rows.start, j - columns.start)
        return records(low[keep], i[keep], j[keep])

    def _best_of_groups(self, pairs: SortedPairs) -> SortedPairs:
        """Of two groups the best pair."""
        pairs = ordered(pairs)
        groups = self.left.groups[pairs["first"]], self.right.groups[pairs["second"]]
        order = np.lexsort((np.arange(len(pairs)), groups[1], groups[0]))
        own, other = groups[0][order], groups[1][order]
        new = np.ones(len(pairs), dtype=bool)
        new[1:] = (own[1:] != own[:-1]) | (other[1:] != other[:-1])
        return pairs[order[new]]


@dataclass(frozen=True)
class _Limits:
    """What the pairs of a tile must score: each its row's limit or its column's, where columns have some."""

    rows: float | NDArray[np.float64]  # one, or (rows,)
    columns: NDArray[np.float64] | None  # (columns,)

    @classmethod
    def of(
        cls,
        rows: Limits,
        columns: Limits | None,
        own: slice,
        start: int,
        other: slice,
    ) -> _Limits:
        """Of one tile, cut out of those of a block."""
        some = rows[own] if isinstance(rows, np.ndarray) else rows
        if columns is None:
            return cls(some, None)
        assert not isinstance(columns, float)
        return cls(some, columns[start : start + other.stop - other.start])

    def bounds(
        self, double: float, slack: float, unit: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """What a bound must reach, of rows `(rows, 1)` in their `unit` `(rows,)`, and of columns `(columns,)`."""

        def lowered(least: float | NDArray[np.float64], unit: float | NDArray[np.float64] = 1.0) -> NDArray[np.float32]:
            wide = np.asarray(least, dtype=np.float64)
            wide = ((wide - np.abs(np.where(np.isfinite(wide), wide, 0)) * 2.0**-22) / double - slack) / unit
            with np.errstate(over="ignore"):
                return np.nextafter(wide.astype(np.float32), np.float32(-np.inf))

        own = lowered(self.rows, 1.0 if unit is None else unit)
        return (own if own.ndim == 0 else own[:, None]), None if self.columns is None else lowered(self.columns)

    def of_pairs(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of pairs, by their places in the tile."""
        own = self.rows[row] if isinstance(self.rows, np.ndarray) else np.full(len(row), self.rows)
        return own if self.columns is None else np.minimum(own, self.columns[column])

    def of_tile(self) -> NDArray[np.float64]:
        """Of all pairs, to be compared with `(rows, columns)`."""
        own = np.asarray(self.rows)
        own = own if own.ndim == 0 else own[:, None]
        return own if self.columns is None else np.minimum(own, self.columns[None])
