"""The true scores of all pairs of two blocks of rows that score enough: bounds first, then the house's rule.

Three looks, each at what the one before let through: the bounds of `semsearch.applications.upper_bounds`, a float32
product with the bounds of its error, and the score itself (`semsearch.vectors`). Where most pairs get through, float64
products of whole blocks serve, and only a score that their rounding leaves open is summed by itself. So scores are the
same whatever the tile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.runs import SortedPairs, ordered, records
from semsearch.applications.scratch import scratch
from semsearch.applications.upper_bounds import PROJECTED_ROWS, UNDERFLOWS, Projection
from semsearch.errors import DataError
from semsearch.types import Metric, Vectors
from semsearch.vectors import in_range, score_each

if TYPE_CHECKING:
    import torch

    Limits = float | NDArray[np.float64]

TILE = 1024  # rows and columns multiplied together: what comes out, 4 MB, is still in cache when it is looked at
BLOCK_ROWS = 4096  # rows of one task
MANY_REACH = 1 / 16  # share of the pairs of a tile above which all are scored together
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
    ) -> None:
        self.left, self.right = left, right or left
        self.same = right is None
        self.metric = metric
        self.device = device
        self._grouped = self.left.grouped or self.right.grouped
        self._double = 2.0 if metric == Metric.L2 else 1.0  # a score is so many times its bound
        self._projection = projection
        self._own = threading.local()
        self._a, self._a_finer, self._a_lengths = self._multiplied(self.left, False, name_row)
        if self.same and metric != Metric.L2:
            self._b, self._b_finer, self._b_lengths = self._a, self._a_finer, self._a_lengths
        else:
            self._b, self._b_finer, self._b_lengths = self._multiplied(self.right, True, name_row)

    def _multiplied(
        self, rows: GroupedRows, right: bool, name_row: Callable[[int, bool], str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        """What is multiplied, of all rows: for all pairs, for what is let through, and the lengths of the first."""
        lengths = np.empty(len(rows))
        kept: Any = None
        more: Any = None
        for start in range(0, len(rows), PROJECTED_ROWS):
            part = rows.vectors[start : start + PROJECTED_ROWS]
            if not in_range(part):
                row = start + next(at for at in range(len(part)) if not in_range(part[at]))
                raise DataError(f"{name_row(row, right)} holds NaN, infinite or far too large numbers: encode it anew.")
            multiplied, finer, lengths[start : start + PROJECTED_ROWS] = self._projection.of(
                part, self.metric, right=right
            )
            if self._projection.directions is None and self.metric != Metric.L2:
                continue
            if kept is None:
                kept = scratch((len(rows), multiplied.shape[1]), np.float32)
                more = scratch((len(rows), finer.shape[1]), np.float32)
            kept[start : start + PROJECTED_ROWS], more[start : start + PROJECTED_ROWS] = multiplied, finer
        if kept is None:
            return rows.vectors, np.empty((len(rows), 0), dtype=np.float32), lengths
        return kept, more, lengths

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
        for i in range(rows.start, rows.stop, TILE):
            own = slice(i, min(i + TILE, rows.stop))
            for j in range(columns.start, columns.stop, TILE):
                other = slice(j, min(j + TILE, columns.stop))
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
        at, bounds = self._over(rows, columns, limits)
        count = columns.stop - columns.start
        if len(at) > MANY_REACH * count * (rows.stop - rows.start):
            return self._together(rows, columns, limits)
        i, j, bounds = self._counted(rows.start + at // count, columns.start + at % count, bounds)
        i, j = self._finer(i, j, bounds, rows, columns, limits)
        i, j = self._close(i, j, rows, columns, limits)
        scores = score_each(self.left.vectors, i, self.right.vectors, j, self.metric)
        keep = scores >= limits.of_pairs(i - rows.start, j - columns.start)
        return records(scores[keep], i[keep], j[keep])

    def _over(self, rows: slice, columns: slice, limits: _Limits) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places of the pairs, row by row, whose bounds reach a limit, and these bounds."""
        import torch

        a, b = self._tensor(self._a[rows]), self._tensor(self._b[columns])
        slack = self._projection.slack(
            float(self._a_lengths[rows].max()), float(self._b_lengths[columns].max()), a.shape[1]
        )
        bounds = self._room(len(a), len(b))
        torch.mm(a, b.T, out=bounds)
        own, other = limits.bounds(self._double, slack)
        if self.device == "cpu":
            wide = bounds.numpy()  # numpy compares several times as fast as torch on one thread
            over = wide >= own
            if other is not None:
                over |= wide >= other
            at = np.flatnonzero(over)
            return at, wide.ravel()[at]
        reached = bounds >= torch.as_tensor(own, device=self.device)
        if other is not None:
            reached |= bounds >= torch.as_tensor(other, device=self.device)
        places = reached.flatten().nonzero()[:, 0]
        return places.cpu().numpy(), bounds.flatten()[places].cpu().numpy()

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
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs that some more components don't rule out."""
        if not self._a_finer.shape[1] or not len(i):
            return i, j
        keep = np.empty(len(i), dtype=bool)
        left, right = float(self._a_lengths[rows].max()), float(self._b_lengths[columns].max())
        slack = self._projection.slack(left, right, self._a.shape[1]) + self._projection.finer_slack * left * right
        for start in range(0, len(i), LET_THROUGH):
            part = slice(start, start + LET_THROUGH)
            x, y = np.take(self._a_finer, i[part], axis=0), np.take(self._b_finer, j[part], axis=0)
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
                error = relative * self._a_lengths[one] * self._b_lengths[other]
            least = limits.of_pairs(one - rows.start, other - columns.start)
            keep[start : start + SCORED_CLOSELY] = ~(near + error + UNDERFLOWS < least - np.abs(least) * 2.0**-23)
        return i[keep], j[keep]

    def _together(self, rows: slice, columns: slice, limits: _Limits) -> SortedPairs:
        """All pairs of a tile by one float64 product, and by themselves those that its rounding leaves open."""
        x, y = self.left.vectors[rows].astype(np.float64), self.right.vectors[columns].astype(np.float64)
        wide = (self._tensor(x) @ self._tensor(y).T).cpu().numpy()
        a, b = (np.sqrt(np.einsum("nd,nd->n", part, part)) for part in (x, y))
        unit = (8 * x.shape[1] + 64) * 2.0**-53
        if self.metric == Metric.L2:
            wide = 2 * wide - (a**2)[:, None] - (b**2)[None]
            error = unit * (a[:, None] + b[None]) ** 2 + UNDERFLOWS
        else:
            error = unit * a[:, None] * b[None] + UNDERFLOWS
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

    def _room(self, rows: int, columns: int) -> torch.Tensor:
        """Where this thread's bounds go: new memory for each tile would cost as much as the look at it."""
        import torch

        if not hasattr(self._own, "room"):
            self._own.room = torch.empty(TILE * TILE, device=self.device)
        room: torch.Tensor = self._own.room[: rows * columns].view(rows, columns)
        return room

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        whole = array if array.flags.writeable else np.array(array)  # torch warns of arrays mapped for reading
        return torch.from_numpy(whole).to(self.device)


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

    def bounds(self, double: float, slack: float) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """What a bound must reach, of rows `(rows, 1)` and of columns `(columns,)`."""

        def lowered(least: float | NDArray[np.float64]) -> NDArray[np.float32]:
            wide = np.asarray(least, dtype=np.float64)
            wide = (wide - np.abs(np.where(np.isfinite(wide), wide, 0)) * 2.0**-22) / double - slack
            with np.errstate(over="ignore"):
                return np.nextafter(wide.astype(np.float32), np.float32(-np.inf))

        own = lowered(self.rows)
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
