"""First passes of exact search: cheap upper bounds of the true scores, proven for every rounding on the way.

They are those of `semsearch.vector_codes`, whose γ and u stand for the same here. For L2 the passes rank by
q·x − ‖x‖²/2, which orders rows as −‖q − x‖² = 2(q·x − ‖x‖²/2) − ‖q‖² does.

Where all vectors have unit length the bound is one number for a query and is taken off its threshold; else each row's
own part is added to its product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Metric, Vectors
from semsearch.vector_codes import PAD, UNDERFLOW, as_tensor, base_bounds, product_rounding, squared_lengths

if TYPE_CHECKING:
    import torch

BOUND_BLOCK = 32  # rows whose bounds are first seen as their maximum
UNIT_LENGTH = 1 + 2.0**-18  # a normalised float32 vector is at most this long
ALL = 1 << 40


@dataclass(frozen=True)
class Asked:
    """Queries as a first pass wants them."""

    codes: torch.Tensor  # (dim, q)
    unit: NDArray[np.float64]  # (q,) what a bound of 1 stands for
    squares: NDArray[np.float64]  # (q,) squared lengths of the queries
    slack: NDArray[np.float64]  # (q,) the part of the error that all rows share
    output: float  # u where it isn't part of the weights
    weights: torch.Tensor | None  # (columns, q) of the rows' own parts; None where they share all
    most: int  # rows to be multiplied at a time, so that what is converted on the way stays small


class FirstPass(Protocol):
    """Upper bounds for all rows."""

    metric: Metric
    device: str

    def ask(self, queries: Vectors) -> Asked:
        """The queries `(q, dim)`, prepared once for all rows."""
        ...

    def upper(self, asked: Asked, rows: slice | NDArray[np.int64], room: torch.Tensor) -> torch.Tensor:
        """Bounds `(rows, q)`, the rows padded with -inf to a multiple of `BOUND_BLOCK`, in the first rows of `room`."""
        ...

    def tightened(
        self, asked: Asked, query: NDArray[np.int64], rows: NDArray[np.int64], bounds: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Bounds of the pairs `(query[i], rows[i])`, made smaller by what is known of each row alone."""
        ...

    def at_least(self, asked: Asked, bounds: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """For each query what a row with the bound `bounds[i]` `(q,)` scores at least; None where that isn't known."""
        ...


def threshold(asked: Asked, scores: NDArray[np.floating[Any]], metric: Metric, dim: int) -> NDArray[np.float32]:
    """For each query the bound that a row with a true score of at least `scores` `(q,)` has or exceeds.

    The error of the oracle itself is allowed for: its float64 sum, and its rounding to float32.
    """
    wide = scores.astype(np.float64)
    wide = wide - np.abs(wide) * (2.0**-23 + 2 * dim * 2.0**-52) - UNDERFLOW
    floor = (wide + asked.squares) / 2 if metric == Metric.L2 else wide
    floor = floor - asked.slack
    floor = floor / (1 + np.where(floor > 0, asked.output, -asked.output))  # s̃ + u·|s̃| ≥ floor, solved for s̃
    limit: NDArray[np.float32] = np.nextafter((floor / asked.unit).astype(np.float32), np.float32(-np.inf))
    return limit


def picked(rows: slice | NDArray[np.int64], device: str) -> slice | torch.Tensor:
    """Rows as torch indexes by them."""
    import torch

    return rows if isinstance(rows, slice) else torch.from_numpy(rows).to(device)


def padded(room: torch.Tensor, rows: int) -> torch.Tensor:
    """Room for so many rows, with -inf in the rows up to the next full block."""
    import torch

    bounds = room[: -(-rows // BOUND_BLOCK) * BOUND_BLOCK]
    bounds[rows:] = -torch.inf
    return bounds


class Float32Pass:
    """The vectors themselves: nothing is prepared or kept, and on the CPU nothing is copied."""

    def __init__(self, vectors: Vectors, metric: Metric, device: str = "cpu") -> None:
        self.metric = metric
        self.device = device
        self._vectors = vectors
        self._rows: torch.Tensor | None = None
        self._columns: torch.Tensor | None = None

    def ask(self, queries: Vectors) -> Asked:
        """Transposed; the error is γ·‖q‖·‖x‖."""
        import torch

        dim = queries.shape[1]
        squares = squared_lengths(queries)
        lengths = np.sqrt(squares)
        gamma = product_rounding(dim)
        slack = UNDERFLOW + 2 * dim * 2.0**-52 * squares  # L2: the oracle's differences are rounded too
        weights = None
        if self.metric == Metric.COSINE:
            slack += gamma * lengths * UNIT_LENGTH
        else:
            weights = torch.from_numpy(np.stack([(gamma + PAD) * lengths, np.ones(len(queries))])).float()
            weights = weights.to(self.device)
        codes = torch.from_numpy(queries).to(self.device).T
        return Asked(codes, np.ones(len(queries)), squares, slack, 0.0, weights, ALL)

    def upper(self, asked: Asked, rows: slice | NDArray[np.int64], room: torch.Tensor) -> torch.Tensor:
        """One matrix product."""
        import torch

        if self._rows is None:
            self._rows = as_tensor(self._vectors).to(self.device)
        chosen = picked(rows, self.device)
        part = self._rows[chosen]
        bounds = padded(room, len(part))
        multiply(part, asked.codes, bounds[: len(part)])
        if asked.weights is not None:
            if self._columns is None:
                squares = squared_lengths(self._vectors)
                base = base_bounds(squares, self.metric, self._vectors.shape[1])
                columns = np.stack([np.sqrt(squares) * (1 + PAD), base], axis=1)
                self._columns = torch.from_numpy(columns).float().to(self.device)
            bounds[: len(part)].addmm_(self._columns[chosen], asked.weights)
        return bounds

    def tightened(
        self, asked: Asked, query: NDArray[np.int64], rows: NDArray[np.int64], bounds: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Nothing more is known."""
        return bounds

    def at_least(self, asked: Asked, bounds: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """The bounds are the products themselves, which err as much on one side as on the other."""
        if self.metric != Metric.COSINE:
            return None
        wide = bounds.astype(np.float64)
        lower: NDArray[np.float64] = wide - asked.slack - np.abs(wide) * 2.0**-22
        return np.where(np.isnan(lower), -np.inf, lower)  # of a spoilt vector, which is named when it is scored


def multiply(rows: torch.Tensor, queries: torch.Tensor, out: torch.Tensor) -> None:
    """`rows @ queries` into `out`; one query goes as eight products, which torch, unlike one, runs on all threads."""
    import torch

    groups = 8
    if queries.shape[1] > 1 or len(rows) < 1024:
        torch.mm(rows, queries, out=out)
        return
    even = len(rows) // groups * groups
    torch.bmm(
        rows[:even].view(groups, -1, rows.shape[1]),
        queries.expand(groups, -1, -1),
        out=out[:even].view(groups, -1, 1),
    )
    torch.mm(rows[even:], queries, out=out[even:])
