"""The first look at a tile: upper bounds of all its pairs by one product, of float32 or of codes.

What is multiplied are the rows as `semsearch.applications.upper_bounds` projects them. Where the processor multiplies
integers or bfloat16 faster than float32, as GPUs do, these are encoded once more, as exact search encodes vectors, and
what that leaves out is added to the bound (`semsearch.vector_codes`). So neither the device nor the type decides what
is found, only how much is looked at more closely.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.upper_bounds import PER_COMPONENT, PROJECTED_ROWS, Projection
from semsearch.errors import DataError
from semsearch.hardware import cpu_has, multiplies_int8
from semsearch.scratch import scratch
from semsearch.types import Metric, Vectors
from semsearch.vector_codes import LENGTH, RESIDUAL, SCALE, Multiplier, as_tensor, encode
from semsearch.vectors import in_range

if TYPE_CHECKING:
    import torch

TILE = 1024  # rows and columns multiplied together: what comes out, 4 MB, is still in cache when it is looked at
TRIED_WIDTH, WIDE, TRIES = 64, 256, 8  # of the products that tell which type is multiplied fastest, and how fast


@cache
def fastest_codes(device: str) -> str:
    """What tiles are multiplied as: "int8", "bf16", or "none" where float32 is the fastest, which is tried."""
    if device != "cpu":
        return "bf16"
    kinds = ["none"]
    kinds += ["int8"] if multiplies_int8() else []
    kinds += ["bf16"] if cpu_has("avx512_bf16") or cpu_has("amx_tile") else []
    return kinds[0] if len(kinds) == 1 else min(kinds, key=lambda kind: _seconds(kind, TRIED_WIDTH))


@cache
def component_cost(device: str, kind: str) -> float:
    """The nanoseconds that one component more takes of each pair, which is tried."""
    if device != "cpu":
        return PER_COMPONENT / 2  # of which nothing but ratios to other work matters
    more = _seconds(kind, WIDE) - _seconds(kind, TRIED_WIDTH)
    return max(more, 0.0) / (WIDE - TRIED_WIDTH) / TILE**2 * 1e9


def _seconds(kind: str, width: int) -> float:
    """What a tile of so many components takes."""
    rows = np.random.default_rng(0).standard_normal((TILE, width), dtype=np.float32)
    side = Multiplied.of(rows, np.ones(len(rows)), kind)
    bounds = TileBounds(side, side, Metric.DOT, "cpu")
    whole = slice(0, len(rows))
    taken = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        bounds.product(whole, whole, scaled=False)
        taken.append(time.perf_counter() - begun)
    return min(taken)


@dataclass
class Multiplied:
    """One side of all tiles, in memory or in a temporary file."""

    rows: NDArray[Any]  # (n, columns) float32; or codes of these
    lengths: NDArray[np.float64]  # (n,) rounded up
    finer: NDArray[np.float32]  # (n, more) for what is let through
    facts: NDArray[np.float32] | None  # (n, 4) of codes
    halves: NDArray[np.float32] | None  # (n,) −‖x‖²/2, where codes are multiplied and distances compared

    @classmethod
    def of(cls, rows: Vectors, lengths: NDArray[np.float64], kind: str = "none") -> Multiplied:
        """Of rows that are few enough to be held."""
        none = np.empty((len(rows), 0), dtype=np.float32)
        codes, facts = (rows, None) if kind == "none" else encode(rows, Metric.DOT, kind)
        return cls(codes, lengths, none, facts, None)

    @classmethod
    def project(
        cls,
        vectors: Vectors,
        metric: Metric,
        projection: Projection,
        kind: str,
        name_row: Callable[[int, bool], str],
        *,
        right: bool,
    ) -> Multiplied:
        """Of all vectors `(n, dim)`, some thousand at a time.

        Raises:
            DataError: One is no vector.
        """
        n, distances = len(vectors), metric == Metric.L2
        lengths = np.empty(n)
        parts: dict[str, Any] = {}
        as_they_are = projection.directions is None and not distances and kind == "none"
        for start in range(0, n, PROJECTED_ROWS):
            part = vectors[start : start + PROJECTED_ROWS]
            if not in_range(part):
                row = start + next(at for at in range(len(part)) if not in_range(part[at]))
                raise DataError(f"{name_row(row, right)} holds NaN, infinite or far too large numbers: encode it anew.")
            rows, finer, lengths[start : start + PROJECTED_ROWS] = projection.of(part, metric, right=right)
            if as_they_are:
                continue
            made: dict[str, NDArray[Any]] = {"rows": rows, "finer": finer}
            if kind != "none":
                if distances:
                    made["halves"] = rows[:, -1 if right else -2]
                    rows = np.ascontiguousarray(rows[:, :-2])
                made["rows"], made["facts"] = encode(rows, Metric.DOT, kind)
            for name, array in made.items():
                if name not in parts:
                    parts[name] = scratch((n, *array.shape[1:]), array.dtype)
                parts[name][start : start + PROJECTED_ROWS] = array
        none = np.empty((n, 0), dtype=np.float32)
        return cls(
            parts.get("rows", vectors), lengths, parts.get("finer", none), parts.get("facts"), parts.get("halves")
        )


class TileBounds:
    """Bounds of tiles of two sides, which are on the device as a whole; threads may share it."""

    def __init__(self, left: Multiplied, right: Multiplied, metric: Metric, device: str, tile: int = TILE) -> None:
        self.left, self.right = left, right
        self.device = device
        self._metric = metric
        self._tile = tile
        self._own = threading.local()
        integer = left.rows.dtype == np.int8
        self._way = None if left.facts is None else Multiplier.of(integer, device, tile)
        self._a = self._on_device(left)
        self._b = self._a if right is left else self._on_device(right)

    def _on_device(self, side: Multiplied) -> torch.Tensor:
        import torch

        if self._way is not None and self.device != "cpu":
            return self._way.tensor(side.rows)
        rows = as_tensor(side.rows)  # codes that are not multiplied as they are are converted tile by tile
        return (rows if rows.dtype != torch.uint16 else rows.view(torch.bfloat16)).to(self.device)

    def product(
        self, rows: slice, columns: slice, *, scaled: bool
    ) -> tuple[torch.Tensor, NDArray[np.float64] | None, float]:
        """Bounds of a tile less what all its pairs share.

        Returns:
            The bounds `(rows, columns)`, until the next call of this thread; what each row's are to be multiplied with
            `(rows,)`, None if nothing or if they are `scaled` here; and what the codes may have left out, at most.
        """
        import torch

        a, b = (side.narrow(0, at.start, at.stop - at.start) for side, at in ((self._a, rows), (self._b, columns)))
        bounds = self._room(len(a), len(b))
        if self._way is None:
            torch.mm(a, b.T, out=bounds)
            return bounds, None, 0.0
        own, other = (self._facts(side, part) for side, part in ((self.left, rows), (self.right, columns)))
        self._way.multiply(a, self._way.typed(b).T, bounds)
        left_out = self._left_out(rows, columns, a.shape[1])
        unit = None
        if self._way.integer:
            bounds.mul_(self._moved(other[:, SCALE]))
            if scaled or self._metric == Metric.L2:
                bounds.mul_(self._moved(own[:, SCALE]).unsqueeze(1))
            else:
                unit = own[:, SCALE].astype(np.float64)
        if self._metric == Metric.L2:
            assert self.left.halves is not None
            assert self.right.halves is not None
            bounds.add_(self._moved(self.left.halves[rows]).unsqueeze(1)).add_(self._moved(self.right.halves[columns]))
        return bounds, unit, left_out

    def reaching(
        self, bounds: torch.Tensor, own: NDArray[np.float32], other: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places, row by row, and bounds of the pairs that reach their row's limit or their column's."""
        import torch

        if self.device != "cpu":
            passing = bounds >= torch.as_tensor(own, device=self.device)
            if other is not None:
                passing |= bounds >= torch.as_tensor(other, device=self.device)
            places = passing.flatten().nonzero()[:, 0]
            return places.cpu().numpy(), bounds.flatten()[places].cpu().numpy()
        wide = bounds.numpy()  # numpy compares several times as fast as torch on one thread
        over, more = (room[: wide.size].reshape(wide.shape) for room in self._own.over)
        np.greater_equal(wide, own, out=over)
        if other is not None:
            np.logical_or(over, np.greater_equal(wide, other, out=more), out=over)
        at = _places(over.ravel())
        return at, wide.ravel()[at]

    def _left_out(self, rows: slice, columns: slice, width: int) -> float:
        """‖q‖·r + ‖q − q̂‖·h + (γ + u)·‖q̂‖·h for the longest of the tile."""
        assert self._way is not None
        own, other = (
            self._facts(side, part).max(axis=0).astype(np.float64)
            for side, part in ((self.left, rows), (self.right, columns))
        )
        rounded = (self._way.gamma(width) + self._way.output * 1.01) * own[LENGTH] * other[LENGTH]
        length = float(self.left.lengths[rows].max())
        return float((length * other[RESIDUAL] + own[RESIDUAL] * other[LENGTH] + rounded) * (1 + 2.0**-20))

    @staticmethod
    def _facts(side: Multiplied, part: slice) -> NDArray[np.float32]:
        assert side.facts is not None
        return side.facts[part]

    def _moved(self, array: NDArray[np.float32]) -> torch.Tensor:
        return as_tensor(np.ascontiguousarray(array)).to(self.device)

    def _room(self, rows: int, columns: int) -> torch.Tensor:
        """Where this thread's bounds go: new memory for each tile would cost as much as the look at it."""
        import torch

        if not hasattr(self._own, "room"):
            self._own.room = torch.empty(self._tile * self._tile, device=self.device)
            self._own.over = np.empty((2, self._tile * self._tile if self.device == "cpu" else 0), dtype=bool)
        room: torch.Tensor = self._own.room.narrow(0, 0, rows * columns).view(rows, columns)
        return room


def _places(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where it is true, which is hardly anywhere: eight are looked at together."""
    if len(mask) % 8:
        return np.flatnonzero(mask)
    some = np.flatnonzero(mask.view(np.uint64))
    if len(some) > len(mask) // 64:
        return np.flatnonzero(mask)
    near: NDArray[np.int64] = (8 * some[:, None] + np.arange(8)).ravel()
    return near[mask[near]]
