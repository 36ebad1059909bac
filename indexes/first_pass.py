"""First passes of exact search: cheap upper bounds of the true scores, proven for every rounding on the way.

With x̂ and q̂ what a pass multiplies instead of x and q, s̃ the product it returns, and h = ‖x̂‖, r = ‖x − x̂‖,

    q·x ≤ s̃ + ‖q‖·r + ‖q − q̂‖·h + γ·‖q̂‖·h + u·|s̃|

by Cauchy and Schwarz; γ bounds the rounding of a sum of d products (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.1: d·2⁻²⁴ in any order; twice that is used), u that of the value returned. For L2 the passes rank
by q·x − ‖x‖²/2, which orders rows as −‖q − x‖² = 2(q·x − ‖x‖²/2) − ‖q‖² does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Metric, Scores, Vectors

if TYPE_CHECKING:
    import torch

BLOCK = 32  # rows whose bounds are first seen as their maximum
UNIT_LENGTH = 1 + 2.0**-18  # a normalised float32 vector is at most this long
TINY = 2.0**-100  # more than all underflow of a sum of products


@dataclass(frozen=True)
class Asked:
    """Queries as a first pass wants them."""

    codes: torch.Tensor  # (dim, q)
    squares: NDArray[np.float64]  # (q,) squared lengths of the queries
    slack: NDArray[np.float64]  # (q,) the part of the bound that all rows share
    weights: torch.Tensor | None  # (columns, q) of the part that rows don't share; None: they share all


class FirstPass(Protocol):
    """Upper bounds for all rows."""

    def ask(self, queries: Vectors) -> Asked:
        """The queries `(q, dim)`, prepared once for all rows."""
        ...

    def upper(self, asked: Asked, rows: slice | NDArray[np.int64]) -> torch.Tensor:
        """Bounds `(rows, q)`, the rows padded with -inf to a multiple of `BLOCK`."""
        ...

    def threshold(self, asked: Asked, scores: Scores) -> NDArray[np.float32]:
        """For each query the bound that a row with a true score of at least `scores` `(q,)` has or exceeds."""
        ...


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """A tensor over the same memory; torch warns of arrays mapped for reading, and nothing here writes."""
    import torch

    if array.flags.writeable:
        return torch.from_numpy(array)
    interface = dict(array.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    return torch.from_numpy(np.asarray(_Writable(interface, array)))


@dataclass
class _Writable:
    __array_interface__: dict[str, Any]
    owner: NDArray[Any]  # keeps the memory alive


def squared_lengths(vectors: Vectors) -> NDArray[np.float64]:
    """‖x‖² of each row, float64, a few thousand rows at a time."""
    squares = np.empty(len(vectors), dtype=np.float64)
    for start in range(0, len(vectors), 4096):
        part = vectors[start : start + 4096].astype(np.float64)
        squares[start : start + 4096] = np.einsum("nd,nd->n", part, part)
    return squares


def product_rounding(dim: int) -> float:
    """γ, relative to ‖q̂‖·‖x̂‖; larger where the user let torch multiply float32 in fewer bits."""
    import torch

    reduced = 0.0 if torch.get_float32_matmul_precision() == "highest" else 2.0**-6
    return 2 * dim * 2.0**-24 + reduced


def score_floor(asked: Asked, scores: Scores, metric: Metric, dim: int) -> NDArray[np.float64]:
    """The least q·x (for L2 q·x − ‖x‖²/2) that can round to a true score of `scores`, oracle's error included."""
    wide = scores.astype(np.float64)
    wide = wide - np.abs(wide) * (2.0**-23 + 2 * dim * 2.0**-52) - TINY
    return (wide + asked.squares) / 2 if metric is Metric.L2 else wide


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 values, none above its float64."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


class Float32Pass:
    """The vectors themselves: nothing is prepared, kept or copied."""

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        self._vectors = vectors
        self._metric = metric
        self._rows: torch.Tensor | None = None
        self._columns: torch.Tensor | None = None

    def ask(self, queries: Vectors) -> Asked:
        """Transposed; the error is γ·‖q‖·‖x‖, one number where all x have unit length."""
        import torch

        dim = queries.shape[1]
        squares = squared_lengths(queries)
        lengths = np.sqrt(squares)
        gamma = product_rounding(dim)
        slack = TINY + np.zeros(len(queries))
        weights = None
        if self._metric is Metric.COSINE:
            slack += gamma * lengths * UNIT_LENGTH
        else:
            weights = torch.from_numpy(np.stack([(gamma + 2.0**-20) * lengths, np.ones(len(queries))])).float()
            slack += 2 * dim * 2.0**-52 * squares  # the float64 error of the oracle's own differences
        return Asked(torch.from_numpy(queries).T, squares, slack, weights)

    def upper(self, asked: Asked, rows: slice | NDArray[np.int64]) -> torch.Tensor:
        """One matrix product."""
        import torch

        if self._rows is None:
            self._rows = as_tensor(self._vectors)
        part = self._rows[rows if isinstance(rows, slice) else torch.from_numpy(rows)]
        bounds = padded(len(part), asked.codes.shape[1])
        multiply(part, asked.codes, bounds[: len(part)])
        if asked.weights is not None:
            columns = self._row_columns()
            columns = columns[rows] if isinstance(rows, slice) else columns[torch.from_numpy(rows)]
            bounds[: len(part)].addmm_(columns, asked.weights)
        return bounds

    def threshold(self, asked: Asked, scores: Scores) -> NDArray[np.float32]:
        """The score's floor less what the rows share of the error."""
        floor = score_floor(asked, scores, self._metric, self._vectors.shape[1])
        return round_down(floor - asked.slack)

    def _row_columns(self) -> torch.Tensor:
        if self._columns is None:
            self._columns = row_columns(squared_lengths(self._vectors), self._metric)
        return self._columns


def row_columns(squares: NDArray[np.float64], metric: Metric) -> torch.Tensor:
    """`(n, 2)`: ‖x‖ and what is added to q·x (L2: −‖x‖²/2), both rounded upwards by more than their use costs."""
    import torch

    base = -squares / 2 * (1 - 2.0**-20) if metric is Metric.L2 else np.zeros(len(squares))
    return torch.from_numpy(np.stack([np.sqrt(squares) * (1 + 2.0**-20), base], axis=1).astype(np.float32))


def padded(rows: int, queries: int) -> torch.Tensor:
    """Room for bounds `(rows, queries)`, with rows of -inf up to the next full block."""
    import torch

    bounds = torch.empty(-(-rows // BLOCK) * BLOCK, queries)
    bounds[rows:] = -torch.inf
    return bounds


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
